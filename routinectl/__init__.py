"""routinectl: a scheduler of routines that answers for every slot why it ran or why it did not."""
