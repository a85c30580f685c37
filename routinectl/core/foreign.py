"""JSON that somebody else wrote. What we take of it is the same under every Python, and can be written to any file of ours."""

from __future__ import annotations

import json
import math
import re
from itertools import accumulate
from typing import Any

MAX_DEPTH = 100
_TEXTS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_STEPS = {"[": 1, "{": 1, "]": -1, "}": -1}
_WHOLE = re.compile(r"[0-9]{1,18}", re.ASCII)


def parse(text: str | bytes) -> Any:
    """Return what a text of JSON says. Raises ValueError for what is none, no number, no text, or nested more than 100 levels deep."""
    if isinstance(text, bytes):
        text = text.decode(json.detect_encoding(text))
    if text.count("[") + text.count("{") > MAX_DEPTH and _depth(text) > MAX_DEPTH:
        raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")
    found = json.loads(text, parse_constant=_number, parse_float=_number)
    json.dumps(found, ensure_ascii=False).encode()  # half of a pair of surrogates is no text: not every file of ours could hold it
    return found


def whole(text: str) -> int | None:
    """Return a whole number that is written plainly, in at most 18 digits; None for everything else."""
    return int(text) if _WHOLE.fullmatch(text) else None


def _depth(text: str) -> int:
    return max(accumulate(_STEPS[sign] for sign in re.findall(r"[\[{\]}]", _TEXTS.sub("", text))), default=0)


def _number(text: str) -> float:
    found = float(text)
    if not math.isfinite(found):
        raise ValueError(f"{text[:40]} is no number of JSON")
    return found
