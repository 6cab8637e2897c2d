"""The command `new-plugin`, and the templates of what it writes."""
