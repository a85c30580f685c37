"""What runs in a run's own process, beside the program or the model that does its work."""
