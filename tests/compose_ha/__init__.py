"""The deployment with deploy/compose.ha.yml, run for real: `make test-compose ARGS=--ha`. Takes 4 GB of memory."""
