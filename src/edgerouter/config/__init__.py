"""The configuration: its model, and loading it from a file, the environment and secret references."""
