"""Azure for tests: Azurite with a relay that disturbs it, a login service, a vault."""
