"""constraints.txt holds every package that `make` installs, and nothing that pyproject.toml forbids."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution

import pytest
from conftest import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PYTHONS = [text.rpartition(" ")[2] for text in PROJECT["project"]["classifiers"] if text.startswith("Programming Language :: Python :: 3.")]


def pinned(python: str) -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    wishes = [Requirement(line) for line in lines if line and not line.startswith("#")]
    there = {"python_version": python, "python_full_version": f"{python}.0"}
    return {
        canonicalize_name(wish.name): str(wish.specifier).removeprefix("==")
        for wish in wishes
        if not wish.marker or wish.marker.evaluate(there)
    }


def asked(python: str, texts: list[str], extras: set[str]) -> Iterator[Requirement]:
    for wish in map(Requirement, texts):
        there = [{"python_version": python, "python_full_version": f"{python}.0", "extra": extra} for extra in extras or {""}]
        if not wish.marker or any(wish.marker.evaluate(item) for item in there):
            yield wish


def closure(python: str) -> Iterator[Requirement]:
    """Yield what is asked for by pyproject.toml, by what that asks for, and so on, as far as it is installed here."""
    project = PROJECT["project"]
    extras = [text for texts in project["optional-dependencies"].values() for text in texts]
    waiting = [*asked(python, [*project["dependencies"], *extras, *PROJECT["build-system"]["requires"]], set())]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        wish = waiting.pop()
        key = (canonicalize_name(wish.name), frozenset(wish.extras))
        if key in seen or key[0] == project["name"]:
            continue
        seen.add(key)
        yield wish
        try:
            waiting += asked(python, distribution(wish.name).requires or [], set(wish.extras))
        except PackageNotFoundError:
            continue


@pytest.mark.parametrize("python", PYTHONS)
def test_every_package_has_a_version_that_may_be(python):
    versions = pinned(python)
    newer = [name for name, version in versions.items() if _installed(name) not in ("", version)]
    if newer:
        pytest.skip(f"these are not the versions of constraints.txt: {', '.join(newer[:5])}")
    wrong = [
        str(wish)
        for wish in closure(python)
        if not wish.specifier.contains(versions.get(canonicalize_name(wish.name), ""), prereleases=True)
    ]

    assert wrong == [], "make constraints"


def _installed(name: str) -> str:
    try:
        return distribution(name).version
    except PackageNotFoundError:
        return ""
