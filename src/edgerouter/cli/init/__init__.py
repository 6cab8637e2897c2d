"""The command `init`: a configuration to begin with."""
