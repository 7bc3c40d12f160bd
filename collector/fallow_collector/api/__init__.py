"""The HTTP API: JSON for people and dispatchers, text for Prometheus."""
