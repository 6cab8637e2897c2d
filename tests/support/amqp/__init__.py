"""A strict AMQP 1.0 server for tests, written from the specification; it shares no code with any client library."""
