"""The only senders to the outside. They run in processes of their own, with a deadline."""
