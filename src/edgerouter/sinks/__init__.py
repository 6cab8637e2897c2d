"""The sinks that come with the router."""
