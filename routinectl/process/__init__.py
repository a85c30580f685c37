"""The only user of processes and signals."""
