"""What the router tells about itself: logs, metrics, health."""
