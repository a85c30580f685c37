"""The terminal app (extra `tui`)."""
