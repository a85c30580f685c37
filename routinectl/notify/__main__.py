"""Sends one message through apprise: `python -m routinectl.notify`, with `{url, title, body, high}` on standard input.

Ends with 0 when it was delivered; else what went wrong is on standard output, without the secrets that the URL holds.
Title and body are plain text and are declared as that: apprise then writes them as whatever a service takes.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from typing import Any
from urllib.parse import unquote

from routinectl.core import legible

_AROUND_A_TITLE = 20  # characters of markup
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
    arrived = [deliver(server, asked["title"], asked["body"] or asked["title"], kind) for server in sender]
    if all(arrived):
        return 0
    print(without_secrets("; ".join(said) or "apprise could not deliver it", asked["url"])[:1000])
    return 1


def deliver(server: Any, title: str, body: str, kind: Any) -> bool:
    """Send plain text to one service, no longer than it takes; say whether it took it."""
    import apprise

    alone = apprise.Apprise()
    alone.add(server)
    title = legible.line(title, server.title_maxlen) if server.title_maxlen > 0 else title
    short = body
    while short and (over := _size(server, title, short) - server.body_maxlen) > 0:
        short = "\n".join(legible.fitted(body.split("\n"), max(len(short) - over, 0), 2))
    return bool(alone.notify(title=title, body=short or title, notify_type=kind, body_format=apprise.NotifyFormat.TEXT))


def _size(server: Any, title: str, body: str) -> int:
    """Return how long a text is as a service is sent it: markup may be longer than what it shows, and a title may be a part of it."""
    from apprise import NotifyFormat, conversion

    convert: Any = conversion.convert_between
    form = server.resolve_format(NotifyFormat.TEXT) if hasattr(server, "resolve_format") else server.notify_format
    own = 0 if server.title_maxlen > 0 else len(convert(NotifyFormat.TEXT, form, title)) + _AROUND_A_TITLE
    return own + len(convert(NotifyFormat.TEXT, form, body))


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
