"""CloudSync's REST API for edgerouter, and the sink that publishes to the broker that a request names."""
