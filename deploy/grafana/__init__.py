"""Grafana: dashboards, provisioned from files."""
