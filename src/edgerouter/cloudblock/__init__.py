"""Start from environment variables alone, as users of balena's cloud block have them: makes a tree for the configuration."""
