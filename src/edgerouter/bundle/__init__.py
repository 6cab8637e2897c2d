"""The support bundle: one file to send with a question, masked, bounded, and without payloads."""
