"""Writes constraints.txt: the version of every package that `make` installs, the same for each Python that is supported.

    make constraints        once in a while, and when a dependency in pyproject.toml changes; then make test, and commit both

pip itself decides, as for a new environment of that Python: only wheels, so that nobody needs a compiler. Where the
Pythons differ, a line stands for each, with its marker.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
HEAD = "# What `make` installs: pyproject.toml says what may be, this what was tried. Written by `make constraints`.\n"


def main() -> None:
    """Resolve for every Python, and write what they have in common."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    pythons = [
        text.rpartition(" ")[2] for text in project["project"]["classifiers"] if text.startswith("Programming Language :: Python :: 3.")
    ]
    wanted = [".[dev,all]", *project["build-system"]["requires"], "editables"]
    found: dict[str, dict[str, str]] = {}
    for python in pythons:
        items = _resolved(wanted, python)
        while missing := _needed(items, python) - {_name(item) for item in items}:
            wanted += sorted(missing)
            items = _resolved(wanted, python)
        for item in items:
            found.setdefault(_name(item), {})[python] = item["version"]
    lines = [line for name in sorted(found) for line in _lines(name, found[name], pythons)]
    (ROOT / "constraints.txt").write_text(HEAD + "\n".join(lines) + "\n")
    print(f"constraints.txt has {len(found)} packages for Python {', '.join(pythons)}")


def _resolved(wanted: list[str], python: str) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        words = [
            "install",
            "--quiet",
            "--dry-run",
            "--ignore-installed",
            "--only-binary=:all:",
            "--python-version",
            python,
            "--target",
            folder,
        ]
        done = subprocess.run([sys.executable, "-m", "pip", *words, "--report", "-", *wanted], cwd=ROOT, stdout=subprocess.PIPE, check=True)
    return [item["metadata"] for item in json.loads(done.stdout)["install"] if "dir_info" not in item["download_info"]]


def _needed(items: list[dict[str, Any]], python: str) -> set[str]:
    """Return what a Python needs besides: pip judges the markers of a requirement for the Python that runs it."""
    there = {"extra": "", "python_version": python, "python_full_version": f"{python}.0"}
    wishes = [Requirement(text) for item in items for text in item.get("requires_dist", ())]
    return {canonicalize_name(wish.name) for wish in wishes if wish.marker and wish.marker.evaluate(there)}


def _name(item: dict[str, Any]) -> str:
    return canonicalize_name(item["name"])


def _lines(name: str, versions: dict[str, str], pythons: list[str]) -> list[str]:
    if set(versions) == set(pythons) and len(set(versions.values())) == 1:
        return [f"{name}=={versions[pythons[0]]}"]
    return [f'{name}=={version} ; python_version == "{python}"' for python, version in versions.items()]


if __name__ == "__main__":
    main()
