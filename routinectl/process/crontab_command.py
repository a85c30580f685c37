"""Asking the system's crontab command for the user's own crontab."""

from __future__ import annotations

import shutil
import subprocess


def listed() -> tuple[bytes, str]:
    """Return the crontab and an empty text, or nothing and what was wrong."""
    if shutil.which("crontab") is None:
        return b"", "there is no crontab command here"
    done = subprocess.run(["crontab", "-l"], capture_output=True, check=False)
    return (done.stdout, "") if done.returncode == 0 else (b"", done.stderr.decode(errors="replace").strip() or "failed")
