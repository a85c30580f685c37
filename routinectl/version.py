"""The version of routinectl, in the one place that a build, the command and the journal read it from."""

VERSION = "0.1.0"
