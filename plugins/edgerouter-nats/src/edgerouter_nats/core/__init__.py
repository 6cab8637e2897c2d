"""Core NATS: the sink and the source nats."""
