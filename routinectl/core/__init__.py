"""Pure rules: no clock, no file, no process, no network, no logging. Instants come in as arguments."""
