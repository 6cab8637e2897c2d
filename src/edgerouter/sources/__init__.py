"""The sources that come with the router."""
