"""Google Cloud for edgerouter: Pub/Sub, Cloud Storage, Secret Manager. Nothing is imported before a sink or store needs it."""
