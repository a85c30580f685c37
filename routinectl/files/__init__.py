"""The only user of the file system (the keeper, in its run folders, is the named exception)."""
