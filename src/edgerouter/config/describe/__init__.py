"""Descriptions of a configuration for people and editors: as it takes effect, as a manual, as a JSON Schema."""
