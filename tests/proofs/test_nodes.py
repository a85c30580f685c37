"""P12: nothing that the host has is changed in any attribute by a confined run, whatever node it names.

A run walks all that it can name (`nodes.py`) and tries to change mode, owner, times, attributes, flags and names of it. From
outside, every node that it tried and that the host has is compared before and after, as root and as a user, at each level.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_escapes import ATTEMPTS, CASES, USERS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.uname().machine != "x86_64", reason="need x86-64: attempts make calls by their numbers there"),
]
TRIES = Path(__file__).with_name("nodes.py")
SYSTEM = ("/usr", "/etc", "/dev", sys.prefix, sys.base_prefix)
PLACES = ("daily/notes.md", "daily/deep/er/file", "site/page", "site/deep/page", "routines/other/memory/notes", "secrets/token", "inbox/a/m", ".git/config",
          "site/.git/config", "routines/try/memory/kept", "routines/try/out/kept")  # fmt: skip


def state(path):
    """Return what can be said of a node without opening it, `None` where it is not there."""
    try:
        found = os.lstat(path)
        keys = os.listxattr(path, follow_symlinks=False)
        return (
            found.st_mode,
            found.st_uid,
            found.st_gid,
            found.st_ctime_ns,
            found.st_ino,
            {key: os.getxattr(path, key, follow_symlinks=False) for key in keys},
        )
    except OSError:
        return None


def every(top):
    yield top
    for above, folders, names in os.walk(top):
        yield from (os.path.join(above, name) for name in [*folders, *names])


@pytest.mark.parametrize(("level", "user"), CASES)
def test_no_node_of_the_host_is_changed_in_any_attribute(workspace, level, user):
    root, folder = workspace.root, workspace.root / "routines/try"
    for path in PLACES:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("given\n")
    os.setxattr(root / "daily/notes.md", "user.canary", b"kept")
    (root / "daily/link").symlink_to("notes.md")
    workspace.define("other", "timeout: 1m\naction: {command: [echo, other]}\n")
    for name in (TRIES, ATTEMPTS):
        (folder / name.name).write_text(name.read_text())
    own = [f"{folder}/out", f"{folder}/memory", f"{root}/site"]
    targets = json.dumps({"root": str(root), "own": own, "free": False, "copied": level == "propose_edits"})
    workspace.define("try", f'permissions: {{level: {level}, read: ["workspace:."], write: [out/, "workspace:site"]}}\ntimeout: 2m\n'
                     f"action: {{python: {{entrypoint: 'nodes:main', args: {{targets: {targets}}}}}}}\n")  # fmt: skip
    workspace.ok("validate")  # what routinectl itself makes, it has made
    before = {path: state(path) for top in (*SYSTEM, str(root), workspace.env["HOME"]) for path in every(top)}
    done = subprocess.run([*USERS[user], sys.executable, "-m", "routinectl", "run-now", "try", "--wait"], cwd=root, capture_output=True, text=True,
                          timeout=240, env=workspace.env, check=False)  # fmt: skip
    (end,) = workspace.events("run.ended", "try")
    (out,) = root.glob(".routinectl/runs/try/*/out")
    said = next((json.loads(line) for line in out.read_text().splitlines() if line.startswith('{"tried"')), None)
    assert said, (end, done.stderr, out.read_text()[-2000:])
    in_copy = f": {root}" if level == "propose_edits" else ": nowhere"
    assert [item for item in said["got"] if in_copy not in item] == []
    tried = [path for paths in said["tried"].values() for path in paths]
    assert len(said["tried"]["system"]) >= 3000
    assert {
        "/dev/null",
        "/dev/urandom",
        "/",
        "/etc",
        "/proc/self/fd/0",
        str(folder / "ROUTINE.yaml"),
        str(root / "daily/deep/er/file"),
    } <= set(tried)
    ours = {
        str(root),
        str(root / "routines"),
        str(root / "routines/other"),
        str(folder),
        str(root / "site"),
        str(folder / "out"),
        str(folder / "memory"),
    }  # folders in which names come and go
    compared = [path for path in {*tried, *(str(root / path) for path in PLACES), *(path for path in before if path.startswith((str(root), "/dev/")))}
                if before.get(path) and os.path.basename(path) not in ("state.json", "history.jsonl") and "/.routinectl" not in path and not any(path.startswith(f"{top}/") for top in own)
                and not path.startswith(("/dev/pts", "/dev/shm", "/dev/tty", "/dev/ptmx"))]  # fmt: skip
    after = {path: state(path) for path in compared}
    assert [(path, before[path], after[path]) for path in compared if path not in ours and after[path] != before[path]] == []
    assert [path for path in ours if path in after and after[path][:3] != before[path][:3]] == []
    print(f"{level}, {user}: {len(set(tried))} nodes tried, {len(compared)} of them and of the workspace compared")
    assert (root / "daily/notes.md").read_text() == "given\n"
