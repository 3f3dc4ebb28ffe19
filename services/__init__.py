"""The programs of visit-counter around the domain of `visits`: backends, runtime, ingest, aggregator, api, command line."""
