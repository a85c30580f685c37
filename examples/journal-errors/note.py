"""Adds the line to a list in the routine's memory, and says what was found on which host."""

import json
import os
from pathlib import Path

message = json.loads(Path(os.environ["ROUTINE_PAYLOAD"]).read_text())
source = message.get("data", {}).get("SYSLOG_IDENTIFIER", "somebody")
with Path(os.environ["ROUTINE_MEMORY"], "errors.txt").open("a") as errors:
    errors.write(f"{source}: {message['text']}\n")
print(f"{message['groups']['what'].lower()}, said {source}")
