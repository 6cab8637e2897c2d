"""Google Cloud Pub/Sub: the sink and the source gcp-pubsub."""
