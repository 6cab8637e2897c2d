"""Built-in steps; each is found by its entry point, as those of other distributions are."""
