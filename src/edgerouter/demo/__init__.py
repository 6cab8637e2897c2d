"""The demo: a broker in this process and simulated devices, so that data flows with nothing to install or configure."""
