"""Azure Blob Storage: the sink azure-blob."""
