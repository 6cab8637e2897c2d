"""Checks of a valid configuration: folders that cannot be written, loops between brokers, batches that never fill."""
