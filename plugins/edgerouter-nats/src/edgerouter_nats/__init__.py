"""NATS for edgerouter: core NATS and JetStream. Nothing is imported before a configuration names it."""
