"""The HTTP face: parse, call an operation, show. It runs in a process of its own beside serve, over the same files."""
