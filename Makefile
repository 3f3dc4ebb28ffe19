# The commands of the project. `make` alone lists them.

.DEFAULT_GOAL := help
.PHONY: help run test test-compose test-helm unit check bench load docs dashboards widget format coverage lock environment tools clean pictures

PYTHON_BIN := .venv/bin/python
PYTEST := $(PYTHON_BIN) -m pytest

# Flags for the commands that take some: make run ARGS="--data /tmp/counter", make test ARGS="-x".
ARGS ?=
PORT ?=

help: ## List these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Start the counter with its demo portal (PORT=8080, ARGS= for further flags)
	@scripts/environment.sh run
	@.venv/bin/visit-counter up $(if $(PORT),--port $(PORT)) $(ARGS)

test: tools ## Install what the tests need, then run every test
	$(PYTEST) -m "not compose and not helm" --durations=25 $(ARGS)

test-compose: environment ## Run the deployment of docker-compose.yml and hurt it; needs a Docker engine
	@scripts/test-compose.sh $(ARGS)

test-helm: environment ## Hold the Helm chart against its goldens and Kubernetes' schemas; builds Helm the first time
	@scripts/helm-tools.sh
	$(PYTEST) -m helm tests/integration/deploy $(ARGS)

unit: environment ## Run the tests that need no server, in seconds
	$(PYTEST) --ignore=tests/integration --ignore=tests/e2e --ignore=tests/load --ignore=tests/compose --ignore=tests/compose_ha $(ARGS)

check: environment ## Format, lint, types and import rules, as CI and pre-commit run them
	$(PYTHON_BIN) -m ruff format --check .
	$(PYTHON_BIN) -m ruff check .
	$(PYTHON_BIN) -m mypy
	.venv/bin/lint-imports

format: environment ## Put the source in its form and mend what can be mended
	$(PYTHON_BIN) -m ruff format .
	$(PYTHON_BIN) -m ruff check --fix .

coverage: environment ## Show what the quick tests do not reach; every branch of visits/ must be
	$(PYTEST) tests/unit --cov=visits --cov-report=term-missing --cov-fail-under=100 $(ARGS)

bench: environment ## Measure rates and latencies on this machine (ARGS="NAME" some, --list names them)
	@scripts/test-tools.sh bench
	@$(PYTHON_BIN) -m tests.support.kafka
	$(PYTHON_BIN) -m tests.bench $(ARGS)

load: environment ## List the load tests; run one with NAME=steady (ARGS="--rate 2000 --duration 60s")
ifdef NAME
	$(PYTHON_BIN) -m tests.load.$(subst -,_,$(NAME)) $(ARGS)
else
	@$(PYTHON_BIN) -m tests.load
endif

docs: environment ## Build the documentation site into site/; a broken link fails
	.venv/bin/zensical build --strict --clean

widget: widget/node_modules/.package-lock.json ## Check the widget's types and make the minified file that is served
	npm run --silent --prefix widget check
	npm run --silent --prefix widget build

pictures: tools ## Take the pictures of README and docs anew (docs/images), by the tests that check what is on them
	VISIT_COUNTER_PICTURES=1 $(PYTEST) -m "" tests/e2e -k picture $(ARGS)

widget/node_modules/.package-lock.json: widget/package-lock.json
	npm ci --silent --no-audit --no-fund --prefix widget
	@touch $@

lock: environment ## Bring uv.lock up to pyproject.toml
	$(PYTHON_BIN) -m uv lock

deploy/grafana/node_modules/.package-lock.json: deploy/grafana/package-lock.json
	npm ci --silent --no-audit --no-fund --prefix deploy/grafana
	@touch $@

dashboards: environment ## Write deploy/grafana/dashboards and docs/metrics.md from their source
	$(PYTHON_BIN) -m deploy.grafana.source
	$(PYTHON_BIN) -m services.cli.metrics_page > docs/metrics.md

environment:
	@scripts/environment.sh dev

tools: environment
	@scripts/test-tools.sh
	@$(MAKE) --silent widget/node_modules/.package-lock.json deploy/grafana/node_modules/.package-lock.json
	@$(PYTHON_BIN) -m tests.support.kafka

clean: ## Remove the environment and all caches of this folder
	rm -rf .venv site .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .coverage
