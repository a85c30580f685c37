"""`make run`, the first thing that anybody tries: again and again, and twice at once."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, Workspace, until


def try_out(folder: Path, workspace) -> subprocess.Popen:
    """Start what `make run` starts."""
    words = [sys.executable, str(folder / "run.py"), str(workspace.root)]
    return subprocess.Popen(words, env=workspace.env, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen) -> str:
    """Stop it as Ctrl-C does; return what it said."""
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert (process.returncode, "Traceback" in said) == (0, False), said
    return said


@pytest.fixture
def demo(tmp_path: Path, workspace) -> Path:
    """A checkout's examples, in whose workspace somebody has run a serve."""
    folder = tmp_path / "examples"
    shutil.copytree(ROOT / "examples/workspace", folder / "workspace")
    shutil.copy(ROOT / "examples/run.py", folder)
    other = Workspace(folder / "workspace", workspace.env)
    other.ok("run-now", "hello", "--wait")
    (folder / "workspace/routines/hello/memory").mkdir(exist_ok=True)
    (folder / "workspace/routines/hello/memory/note").write_text("theirs\n")
    shutil.rmtree(workspace.root)
    return folder


def journal(workspace) -> bytes:
    return b"".join(path.read_bytes() for path in sorted((workspace.root / ".routinectl/journal").glob("*.jsonl")))


def whole(workspace) -> None:
    """Wait for runs that outlive their serve, and have their ends recorded; then the record has no fault."""
    until(lambda: workspace.ok("list") and not running(workspace))
    workspace.ok("audit")


def running(workspace) -> set[str]:
    return {event["data"]["run"] for event in workspace.events("run.claimed")} - {
        event["data"]["run"] for event in workspace.events("run.ended")
    }


def test_make_run_goes_on_with_its_record(demo, workspace):
    first = try_out(demo, workspace)
    until(lambda: len(workspace.events("run.ended")) > 1)
    assert not list(workspace.root.glob("routines/hello/memory/note"))
    assert not workspace.events("slot.missed")
    second = try_out(demo, workspace)
    _, said = second.communicate(timeout=30)
    assert (second.returncode, "a serve is running in this workspace already" in said) == (75, True)
    ended(first)
    before = journal(workspace)
    whole(workspace)

    workspace.ok("edit", "load", "--every", "10s")
    workspace.ok("rm", "payload", "--yes")
    edited = (workspace.root / "routines/load/ROUTINE.yaml").read_bytes()
    for name in ("load", "slow"):
        with (demo / f"workspace/routines/{name}/ROUTINE.yaml").open("a") as file:
            file.write("tags: [newer]\n")
    kept = len(workspace.events("run.ended"))
    again = try_out(demo, workspace)
    until(lambda: len(workspace.events("run.ended")) > kept)
    said = ended(again)

    assert journal(workspace).startswith(before)
    assert (workspace.root / "routines/load/ROUTINE.yaml").read_bytes() == edited
    assert "newer" in (workspace.root / "routines/slow/ROUTINE.yaml").read_text()
    assert not (workspace.root / "routines/payload").exists()
    assert "routines/load/ROUTINE.yaml stays as you have it" in said
    assert "slow/ROUTINE.yaml stays" not in said
    whole(workspace)
    assert "mode 755" not in workspace.run("doctor").out


def test_make_run_twice_at_once_is_one_serve(demo, workspace):
    both = [try_out(demo, workspace) for _ in range(2)]
    until(lambda: any(process.poll() is not None for process in both) and len(workspace.events("run.ended")) > 1)
    (lost,), (won,) = ([process for process in both if (process.poll() is not None) == gone] for gone in (True, False))
    _, said = lost.communicate(timeout=30)
    assert (lost.returncode, "a serve is running in this workspace already" in said) == (75, True), said
    ended(won)
    whole(workspace)


def test_nothing_that_is_made_is_tracked():
    if not (ROOT / ".git").exists():
        pytest.skip("this is no checkout")
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    made = re.compile(
        r"(^|/)(\.routinectl|\.run|memory|__pycache__|out)/|(^|/)(state\.json|history\.jsonl|\.examples\.json)$|\.(lock|pyc)$"
    )
    assert [name for name in names if made.search(name)] == []
