"""The router's log on standard error: secrets masked, repeats folded, with priorities for systemd's journal."""
