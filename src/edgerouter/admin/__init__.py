"""The router's own interface: status, health, metrics and control."""
