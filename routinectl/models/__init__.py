"""The only caller of language models. Imported in a run's own process, never in serve or the commands: that takes a second."""
