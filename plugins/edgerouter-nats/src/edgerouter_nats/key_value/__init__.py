"""Key-value buckets: the sink and the source nats-kv."""
