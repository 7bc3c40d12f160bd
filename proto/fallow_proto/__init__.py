"""What both ends must agree on: the wire, the metric table, the words for states, the shapes of the API."""

WIRE = 1
"""Version of the wire contract in v1/telemetry.proto; raised when a new field changes what a peer may expect."""
