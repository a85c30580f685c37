"""The version of routinectl and its date, in the one place that a build, the command and the journal read it from."""

VERSION = "0.1.0"
RELEASED = "2026-11-21"
