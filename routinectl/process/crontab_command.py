"""Asking the system's crontab command for the user's own crontab."""

from __future__ import annotations

import shutil
import subprocess


def listed() -> tuple[str, str]:
    """Return the crontab and an empty text, or an empty text and what was wrong."""
    if shutil.which("crontab") is None:
        return "", "there is no crontab command here"
    done = subprocess.run(["crontab", "-l"], capture_output=True, text=True, check=False)
    return (done.stdout, "") if done.returncode == 0 else ("", done.stderr.strip() or "failed")
