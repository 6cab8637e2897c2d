"""Streams of JetStream: the sink and the source nats-jetstream, and what the key-value bucket shares with them."""
