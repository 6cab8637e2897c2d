"""The tap: a bounded sample of the messages that pass, for an operator to look at."""
