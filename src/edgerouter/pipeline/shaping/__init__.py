"""Shaping: the steps of a sink between its reader and its batches, and those of a source before the spool."""
