"""A routine in Python: what `main` returns is the run's summary line."""

import os
from pathlib import Path


def main(step: int) -> str:
    memory = Path(os.environ["ROUTINE_MEMORY"]) / "number"
    number = int(memory.read_text()) + step if memory.exists() else step
    memory.write_text(str(number))
    return f"counted to {number} at {os.environ['ROUTINE_SLOT']}"
