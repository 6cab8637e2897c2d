"""The volatile spool."""
