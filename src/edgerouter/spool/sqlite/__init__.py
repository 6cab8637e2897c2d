"""The durable spool: one append-only log in a SQLite file."""
