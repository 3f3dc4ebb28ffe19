"""Integration tests: our code against a real Kafka broker, a real Redis server and real files."""
