r"""Plain text for people out of what programs print and definitions say: nothing in it acts on the reader's side.

A terminal's escape sequences are taken out; other control characters, and those that turn the direction of writing, are
shown as what they are, `\x00` or `\u202e`. What is shown is one line, so text can begin no line of its own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

# Colours and movements (CSI), titles and links (OSC), other strings (DCS, SOS, PM, APC), and what has two characters.
_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|(?:\x1b\]|\x9d)[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[PX^_][^\x1b\x9c]*(?:\x1b\\|\x9c)?|\x1b[ -/]*[0-~]"
)
_JOINERS = "\u200c\u200d"  # of letters and of pictures: they turn nothing
_CUT = "..."


def line(text: str, most: int = 0) -> str:
    """Return a text as one line in which everything can be seen; longer than `most` characters, it is cut."""
    text = " ".join(_SEQUENCE.sub("", text).splitlines())
    shown = "".join(letter if letter.isprintable() or letter in _JOINERS else _visible(letter) for letter in text.expandtabs(4))
    return shown[: most - len(_CUT)] + _CUT if most and len(shown) > most else shown


def is_control(letter: str) -> bool:
    """Say whether a character acts on its reader: a control character, half of a pair, or one that turns or parts lines."""
    return (
        not (letter.isprintable() or letter.isspace() or letter in _JOINERS) or letter in "\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x85\u2028\u2029\t"
    )


def _visible(letter: str) -> str:
    if letter.isspace():
        return " "
    code = ord(letter)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def fitted(lines: Sequence[str], most: int, last: int = 1) -> list[str]:
    """Return lines that have at most so many characters together: first they are shortened, then left out from the second on.

    The `last` lines stay, as far as there is room: they say where the rest is.
    """
    found = list(lines)
    if _size(found) <= most:
        return found
    found = [line(item, 160) for item in found]
    if _size(found) <= most:
        return found
    first, middle, end = found[:1], found[1 : max(len(found) - last, 1)], found[max(len(found) - last, 1) :]
    while middle and _size([*first, _CUT, *middle, *end]) > most:
        del middle[0]
    room = most - _size(["", _CUT, *middle, *end])
    return [first[0][: max(room, 0)], _CUT, *middle, *end] if room > 0 else ["\n".join([*first, *end])[:most]]


def _size(lines: Sequence[str]) -> int:
    return sum(map(len, lines)) + max(len(lines) - 1, 0)
