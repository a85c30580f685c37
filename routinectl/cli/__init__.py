"""The front door: parse, call an operation, show. No truth of its own."""
