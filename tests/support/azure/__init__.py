"""Azure for tests: Azurite with a relay that injects faults, a login service, a vault."""
