"""The log that all spools share: chunks, positions, ledgers, readers."""
