"""Moves each file of the batch to data/sorted/<year>-<month>, and says how many there were."""

import json
import os
from pathlib import Path

batch = json.loads(Path(os.environ["ROUTINE_PAYLOAD"]).read_text())["files"]
moved = 0
for item in batch:
    path = Path(item["path"])
    if path.exists():  # whoever put it there may have taken it back
        target = Path(os.environ["ROUTINE_WORKSPACE"], "data/sorted", item["modified_at"][:7], path.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
        moved += 1
print(f"{moved} files sorted")
