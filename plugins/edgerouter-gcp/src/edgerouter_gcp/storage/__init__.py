"""Google Cloud Storage: the sink gcp-storage."""
