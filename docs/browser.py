"""The browser of the pictures, the tests and the benchmark of the web page: Debian's chromium, quiet and without a screen."""

from __future__ import annotations

import shutil

FLAGS = (
    "--no-sandbox",  # it opens pages of this machine alone, also where the user is root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def find() -> str:
    """Return the program, empty where there is none."""
    return shutil.which("chromium") or ""
