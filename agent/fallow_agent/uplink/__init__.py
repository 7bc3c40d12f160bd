"""The agent's half of the stream: a protocol without I/O (protocol.py) and the gRPC around it (channel.py)."""
