"""The database: its schema, what a transaction writes, and reading, trimming and compacting its rows."""
