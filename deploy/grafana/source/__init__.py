"""The dashboards as they are written; `python -m deploy.grafana.source` writes the JSON that Grafana reads."""
