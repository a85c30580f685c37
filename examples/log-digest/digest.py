"""Counts log lines by level since the last run."""

import os
import re
from collections import Counter
from pathlib import Path


def main(log: str) -> str:
    memory = Path(os.environ["ROUTINE_MEMORY"]) / "offset"
    offset = int(memory.read_text()) if memory.exists() else 0
    path = Path(log)
    if path.stat().st_size < offset:  # rotated
        offset = 0
    with path.open(errors="replace") as file:
        file.seek(offset)
        levels = Counter(match[0] for line in file if (match := re.search(r"\b(DEBUG|INFO|WARNING|ERROR)\b", line)))
        memory.write_text(str(file.tell()))
    for level, count in levels.most_common():
        print(f"{count:6} {level}")
    return ", ".join(f"{count} {level.lower()}" for level, count in levels.most_common()) or "no new lines"
