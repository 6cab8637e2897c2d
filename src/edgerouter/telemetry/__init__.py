"""Watches the event loop and its threads: which plugin blocked it, and for how long."""
