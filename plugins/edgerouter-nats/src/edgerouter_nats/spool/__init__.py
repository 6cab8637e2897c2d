"""One spool on a JetStream stream, shared by several routers."""
