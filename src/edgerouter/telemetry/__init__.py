"""The watch over the event loop: which plugin held it, and for how long."""
