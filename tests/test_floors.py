"""Imports go only downwards (docs/architecture.md): every breach is named."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "routinectl"
FLOORS = [
    ["errors", "version"],
    ["core"],
    ["clock", "files", "process", "models", "notify"],
    ["agents"],
    ["engine"],
    ["operations"],
    ["api", "mcp"],
    ["tui"],
    ["cli"],
    ["__main__"],
]
HEIGHT = {name: number for number, floor in enumerate(FLOORS) for name in floor}
# The errors name what a problem is, for type checkers only.
EXCEPTIONS = {("errors.py", "core")}
IMPURE = {
    "os",
    "time",
    "subprocess",
    "socket",
    "threading",
    "logging",
    "pathlib",
    "signal",
    "shutil",
    "tempfile",
    "asyncio",
    "random",
    "secrets",
}


def imports_of(path: Path) -> list[tuple[int, str]]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found += [(node.lineno, f"{node.module}.{item.name}") for item in node.names]
        elif isinstance(node, ast.Import):
            found += [(node.lineno, item.name) for item in node.names]
    return found


def floor_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def breaches() -> list[str]:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        own = floor_of(path)
        if own == "__init__":
            continue
        for line, name in imports_of(path):
            parts = name.split(".")
            if parts[0] != "routinectl" or len(parts) < 2 or parts[1] == own:
                continue
            other = parts[1]
            if (path.name, other) not in EXCEPTIONS and HEIGHT[other] >= HEIGHT[own]:
                found.append(f"{path.relative_to(PACKAGE)}:{line} imports {name}")
    return found


def test_imports_go_only_downwards():
    assert breaches() == []


def test_core_has_no_clock_file_process_or_network():
    found = [
        f"{path.relative_to(PACKAGE)}:{line} imports {name}"
        for path in sorted((PACKAGE / "core").rglob("*.py"))
        for line, name in imports_of(path)
        if name.split(".")[0] in IMPURE
    ]
    assert found == []


def test_core_never_asks_for_the_time():
    found = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}"
        for path in sorted((PACKAGE / "core").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and node.attr in ("now", "today", "utcnow")
        and isinstance(node.value, ast.Name)
        and node.value.id in ("datetime", "date")
    ]
    assert found == []


def test_only_the_process_floor_starts_processes_or_handles_signals():
    allowed = {"process"}
    found = [
        f"{path.relative_to(PACKAGE)}:{line} imports {name}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for line, name in imports_of(path)
        if name.split(".")[0] == "subprocess" and floor_of(path) not in allowed
    ]
    assert found == []


def test_the_front_door_is_light():
    """`--version` must not pay for anything; `list` must not pay for what it does not use."""
    import subprocess

    program = "import sys; from routinectl.cli.main import main; main(['--version']); print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=PACKAGE.parent, check=True)
    loaded = set(done.stdout.split())

    assert not loaded & {"typer", "yaml", "jsonschema", "json", "zoneinfo", "dataclasses", "croniter", "watchdog"}
