"""JSON of strangers, as plain data that everything behind the door can hold: it is written to files, to the journal and back."""

from __future__ import annotations

import json
import math
import re
from typing import Any

_DEEPEST = 100  # levels
_WHOLE = re.compile(r"[0-9]{1,18}", re.ASCII)


def read(raw: bytes | str) -> Any:
    """Return the data of a JSON text. Raises ValueError for what is none, or no text, no number, or nested too deeply."""
    try:
        found = json.loads(raw, parse_constant=_number, parse_float=_number)
    except RecursionError:
        raise ValueError(f"it has more than {_DEEPEST} levels") from None
    if _is_deep(found):
        raise ValueError(f"it has more than {_DEEPEST} levels")
    json.dumps(found, ensure_ascii=False).encode()  # half of a pair of surrogates is no text: nothing could write it
    return found


def _number(text: str) -> float:
    found = float(text)
    if not math.isfinite(found):
        raise ValueError(f"{text[:40]} is no number")
    return found


def _is_deep(found: Any) -> bool:
    level = [found]
    for _ in range(_DEEPEST + 1):
        level = [
            item for value in level if isinstance(value, (dict, list)) for item in (value.values() if isinstance(value, dict) else value)
        ]
        if not level:
            return False
    return True


def whole(text: str) -> int | None:
    """Return a whole number that is written plainly, in at most 18 digits; None for everything else."""
    return int(text) if _WHOLE.fullmatch(text) else None
