"""Start a program confined in place of this one: `python -I -S -c ... FILE`, where FILE holds the entry as JSON.

For libraries that start programs by themselves: what they start is this, and it passes their pipes on.
"""

from __future__ import annotations

import json
import os
import sys

from routinectl.process import confine


def main(path: str) -> None:
    """Start it with our input, output and environment, wait for it, and end as it has ended."""
    with open(path, "rb") as file:
        entry = json.loads(file.read())
    pid, fate = confine.start({**entry, "stdin": 0, "errors": 2}, dict(os.environ), 1, -1)
    os.close(0)
    os.close(1)
    status, fault = confine.told(fate, os.waitpid(pid, 0)[1])
    if fault:
        sys.stderr.write(f"{fault}\n")
    os._exit(status >> 8 if status & 0x7F == 0 else 1)
