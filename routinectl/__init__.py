"""routinectl: recurring work in plain files, fired on time, with a ledger that answers for every slot."""

__version__ = "0.1.0"
