"""The node's certificate: how it comes by the first one and by the next ones.

`cryptography` is imported only by what a short-lived process runs: `fallow-agent enroll`, and renew.py, which the agent
starts. The agent itself reads certificates through the handshake of uplink/certificate.py.
"""
