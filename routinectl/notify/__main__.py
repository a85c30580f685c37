"""Sends one message through apprise: `python -m routinectl.notify`, with `{url, title, body, high}` on standard input.

Ends with 0 when it was delivered; else what went wrong is on standard output, without the secrets that the URL holds.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from typing import Any
from urllib.parse import unquote

_LEAST_SECRET = 5  # characters; shorter parts of a URL are words that a message may hold anyway


def main() -> int:
    """Send what standard input holds."""
    asked: dict[str, Any] = json.loads(sys.stdin.buffer.read())
    try:
        import apprise
    except ImportError:
        print("apprise is not installed: pip install 'routinectl[notify]'")
        return 1
    said: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]  # a handler in one line
    logging.getLogger("apprise").addHandler(handler)
    sender = apprise.Apprise()
    kind = apprise.NotifyType.FAILURE if asked["high"] else apprise.NotifyType.INFO
    if not sender.add(asked["url"]):
        print("it is no URL that apprise knows, or a part of it is missing")
        return 1
    if sender.notify(title=asked["title"], body=asked["body"] or asked["title"], notify_type=kind):
        return 0
    print(without_secrets("; ".join(said) or "apprise could not deliver it", asked["url"])[:1000])
    return 1


def without_secrets(text: str, url: str) -> str:
    """Return a text without the parts of a URL that may be secrets: all but its scheme and its host."""
    rest = url.partition("://")[2]
    host = re.split(r"[/?:#]", rest.rpartition("@")[2])[0]
    for part in sorted(re.split(r"[/:@?&=#,]+", rest), key=len, reverse=True):
        for form in {part, unquote(part)}:
            if len(form) >= _LEAST_SECRET and form != host:
                text = text.replace(form, "***")
    return text


if __name__ == "__main__":
    sys.exit(main())
