"""When: triggers as values that answer next_after, previous, count and last_n."""
