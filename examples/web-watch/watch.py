"""Compares a page with how it was at the last run."""

import hashlib
import os
import sys
from pathlib import Path
from urllib.request import urlopen

with urlopen(os.environ["URL"], timeout=20) as answer:
    digest = hashlib.sha256(answer.read()).hexdigest()
memory = Path(os.environ["ROUTINE_MEMORY"]) / "digest"
before = memory.read_text() if memory.exists() else ""
memory.write_text(digest)
result = Path(os.environ["ROUTINE_RESULT"])
if before == digest:
    result.write_text("")  # nothing to report: the outcome is `quiet`
    sys.exit(0)
result.write_text(f"{os.environ['URL']} {'changed' if before else 'seen for the first time'}\n")
