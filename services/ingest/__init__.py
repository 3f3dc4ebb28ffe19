"""Ingest: takes page views over HTTP and acknowledges them once the log has them."""
