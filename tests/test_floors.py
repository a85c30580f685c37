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


# Files that are opened plainly, and why nothing there can wait for ever or have no end. All others: `files/regular.py`.
OURS = "routinectl's own: only a run at `full` could put something else there, and it could as well end serve"
OPENS_PLAINLY = {
    "agents": "in the run's own process, under its deadline",
    "process": "of the kernel, of our own, or in the run's own process",
    "engine/host.py": "in the run's own process, under its deadline",
    "engine/keeping.py": OURS,
    "api/repeat.py": OURS,
    "api/page.py": "shipped with the package",
    "files/journal.py": OURS,
    "files/lock.py": OURS,
    "files/checkpoint.py": OURS,
    "files/config.py": "the settings: a person's, without which there is nothing to serve",
    "files/definitions.py": OURS,
    "files/deliveries.py": OURS,
    "files/globs.py": "a lease is asked for without waiting; the memory is ours",
    "files/outbox.py": OURS,
    "files/projections.py": OURS,
    "files/schemas.py": "shipped with the package",
    "files/served.py": OURS,
    "files/signs.py": OURS,
    "files/tokens.py": OURS,
    "files/watch.py": "the pipe that is a FIFO on purpose",
    "files/atomic.py": "made anew beside the file",
    "files/context.py": "opened part by part without following a link, and without waiting",
    "files/regular.py": "this is the place",
    "cli": "named by the person at the terminal, who can press Ctrl-C",
    "tui": "named by the person at the terminal, who can press Ctrl-C",
    "operations/check.py": "named by the person at the terminal",
    "operations/take_over.py": "named by the person at the terminal",
    "operations/templates.py": "shipped, or a person's own",
    "operations/init.py": "named by the person at the terminal",
    "operations/agents.py": OURS,
    "operations/doctor.py": OURS,
}


def test_what_others_may_have_put_there_is_opened_in_one_place():
    found = set()
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr if isinstance(node.func, ast.Attribute) else ""
            on_os = isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name) and node.func.value.id == "os"
            plain = (name == "open" and (isinstance(node.func, ast.Name) or on_os)) or name in ("read_bytes", "read_text")
            on_regular = ast.unparse(node).startswith(("open(regular.", "definitions.read_bytes(", "read_bytes(layout"))
            if plain and not on_regular and "O_DIRECTORY" not in ast.unparse(node):
                found.add(str(path.relative_to(PACKAGE)))
    known = {name for name in found if name in OPENS_PLAINLY or name.split("/")[0] in OPENS_PLAINLY}
    assert found - known == set()
    assert {name for name in OPENS_PLAINLY if not any(item == name or item.startswith(f"{name}/") for item in found)} == set()


def test_the_front_door_is_light():
    """`--version` must not pay for anything; `list` must not pay for what it does not use."""
    import subprocess

    program = "import sys; from routinectl.cli.main import main; main(['--version']); print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=PACKAGE.parent, check=True)
    loaded = set(done.stdout.split())

    assert not loaded & {"typer", "yaml", "jsonschema", "json", "zoneinfo", "dataclasses", "croniter", "watchdog"}


# What an error says, of any library: attributes and calls whose value is text for people.
TEXTS = {"message", "strerror", "problem", "context", "args", "msg", "reason", "stderr", "detail"}
ASKING = {"startswith", "endswith", "partition", "rpartition", "split", "find", "index", "count", "search", "match", "fullmatch", "findall"}


def asked_of_texts(path: Path) -> list[str]:
    """Return where a decision hangs on the words of a caught error, or of what a program said against something."""
    found = []
    for function in ast.walk(ast.parse(path.read_text())):
        if not isinstance(function, ast.FunctionDef):
            continue
        errors = {node.name for node in ast.walk(function) if isinstance(node, ast.ExceptHandler) and node.name}
        errors |= {item.arg for item in function.args.args if item.annotation and "Err" in ast.unparse(item.annotation)}
        words: set[str] = set()

        names = {f"type({name})" for name in errors}

        def is_text(node: ast.AST, errors: set[str] = errors, words: set[str] = words, names: set[str] = names) -> bool:
            for part in ast.walk(node):
                if isinstance(part, ast.Name) and part.id in words:
                    return True
                if isinstance(part, ast.Call) and ast.unparse(part) in {f"{call}({name})" for call in ("str", "repr") for name in errors}:
                    return True
                if isinstance(part, ast.Attribute):
                    owner = ast.unparse(part.value)
                    if (owner in errors and part.attr in TEXTS) or (part.attr == "stderr" and owner != "sys") or owner in names:
                        return True
            return False

        for node in ast.walk(function):
            if isinstance(node, ast.Assign) and not isinstance(node.value, ast.Dict) and is_text(node.value):
                targets = [part for target in node.targets for part in (target.elts if isinstance(target, ast.Tuple) else [target])]
                words |= {part.id for part in targets if isinstance(part, ast.Name)}
        for node in ast.walk(function):
            compared = isinstance(node, ast.Compare) and any(isinstance(sign, (ast.In, ast.NotIn, ast.Eq, ast.NotEq)) for sign in node.ops)
            if compared and any(is_text(part) for part in (node.left, *node.comparators)):
                found.append(f"{path.relative_to(PACKAGE)}:{node.lineno} {ast.unparse(node)}")
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ASKING:
                if is_text(node.func.value) or any(is_text(part) for part in node.args):
                    found.append(f"{path.relative_to(PACKAGE)}:{node.lineno} {ast.unparse(node)}")
    return found


def test_nothing_hangs_on_the_words_of_an_error():
    """They differ between versions and languages: a kind of error, a number or our own look at what was given decides."""
    told_once = "operations/serve.py:"  # it compares what it says with what it said, so as not to say it twice
    found = {place for path in PACKAGE.rglob("*.py") for place in asked_of_texts(path) if not place.startswith(told_once)}

    assert sorted(found) == []
