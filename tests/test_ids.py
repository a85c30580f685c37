"""What a routine may be called, at every door; and that no name ever leads out of the workspace."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from routinectl.core.routine import is_id
from routinectl.errors import NotFoundError, RoutinectlError
from routinectl.files.layout import Layout
from routinectl.operations import write
from routinectl.operations.session import Session

ODD = [
    "UPPER",
    "../../precious",
    "..",
    ".",
    "",
    "a/b",
    "/tmp/precious",
    ".hidden",
    "events",
    "-x",
    "a_b",
    "a b",
    "x" * 64,
    "a\n",
    "é",
    "a.b",
    "--",
]
LEADING_OUT = ["../../precious", "..", ".", "", "a/b", "/tmp/precious", "a\0b"]
GOOD = {"timeout": "1m", "action": {"command": ["true"]}}
TEXT = "timeout: 1m\naction: {command: ['true']}\n"


def test_what_is_an_id():
    assert [name for name in ODD if is_id(name)] == []
    assert all(is_id(name) for name in ("a", "0", "a-b", "a--b", "a-", "x" * 63, "event"))


@pytest.mark.parametrize("name", LEADING_OUT)
def test_no_path_is_made_of_what_is_no_name(name):
    layout = Layout(Path("/w"))
    ways = [layout.folder, layout.definition, layout.agent, layout.proposal, lambda text: layout.run(text, "r"), lambda text: layout.run("r", text),
            lambda text: layout.lease(text, 0), lambda text: layout.sealed(text, "c"), lambda text: layout.resolve(text, "x")]  # fmt: skip
    for way in ways:
        with pytest.raises(NotFoundError):
            way(name)


@pytest.fixture
def precious(workspace) -> Path:
    """A folder beside the workspace, as somebody would lose it."""
    folder = workspace.root.parent / "precious"
    folder.mkdir()
    (folder / "thesis").write_text("years of work\n")
    (folder / "ROUTINE.yaml").write_text(TEXT)
    return folder


def everything(workspace) -> dict[str, str]:
    """Return all files but the record, and those of the folder beside."""
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder" for path in sorted(workspace.root.parent.rglob("*"))
            if ".routinectl" not in path.parts and path.name not in ("state.json", "history.jsonl", ".cache")}  # fmt: skip


MAKING = {
    "add --id": ["add", "Foo", "--id", "{}", "--daily", "9:00", "--", "true"],
    "add --id --dry-run": ["add", "Foo", "--id", "{}", "--daily", "9:00", "--dry-run", "--", "true"],
    "add --id --replace": ["add", "Foo", "--id", "{}", "--replace", "--daily", "9:00", "--", "true"],
    "add --template --id": ["add", "--template", "disk-space", "--id", "{}"],
    "add --from --id": ["add", "--from", "{file}", "--id", "{}"],
}


@pytest.mark.parametrize("words", MAKING.values(), ids=MAKING)
def test_no_command_makes_a_routine_of_an_odd_id(workspace, precious, words):
    file = workspace.root / "from.yaml"
    file.write_text(f"name: x\ntriggers: [{{daily: '09:00'}}]\n{TEXT}")
    workspace.ok("list")
    before = everything(workspace)
    for odd in ODD:
        done = workspace.run(*(word.replace("{file}", str(file)).replace("{}", odd) for word in words))
        assert (done.code, "is not an id" in done.err, "Hint: routinectl add --id" in done.err) == (2, True, True), (odd, done.err)
    assert everything(workspace) == before


@pytest.mark.parametrize("kind", ["bundle", "a file's name in a bundle"])
def test_no_bundle_lands_elsewhere(workspace, precious, kind):
    workspace.ok("list")
    before = everything(workspace)
    for odd in ODD if kind == "bundle" else ["../evil", "a/../../evil", "/tmp/evil", "sub/.git/config", ".git/config"]:
        named, name = (odd, "x.sh") if kind == "bundle" else ("fine", odd)
        files = {"ROUTINE.yaml": {"text": TEXT}, name: {"text": "x"}}
        text = json.dumps({"routinectl": "bundle", "schema": 1, "routines": [{"id": named, "files": files}]})
        done = workspace.run("import", "bundle", "-", stdin=text)
        assert done.code == 2, (odd, done.err)
        shutil.rmtree(workspace.root / "routines/fine", ignore_errors=True)
    assert everything(workspace) == before


def test_an_import_takes_an_id_that_is_free_and_is_one(workspace):
    long = "x" * 63
    workspace.define(long, TEXT)
    (workspace.root / "routines/taken").mkdir()
    for wanted, made in ((long, "x" * 61 + "-2"), ("taken", "taken-2")):
        text = json.dumps({"routinectl": "bundle", "schema": 1, "routines": [{"id": wanted, "files": {"ROUTINE.yaml": {"text": TEXT}}}]})
        workspace.ok("import", "bundle", "-", stdin=text)
        assert (workspace.root / "routines" / made / "ROUTINE.yaml").exists()


NAMING = [["rm", "{}", "--yes"], ["edit", "{}", "--set", "timeout=2m"], ["show", "{}"], ["logs", "{}"], ["export", "{}", "--format", "crontab"], ["env", "{}"],
          ["webhook", "{}"], ["backfill", "{}", "--from", "1d"], ["enable", "{}"], ["disable", "{}"], ["pause", "{}"], ["resume", "{}"], ["run-now", "{}"],
          ["test-run", "{}"], ["approve", "{}"], ["deny", "{}"], ["why", "{}"], ["history", "{}"], ["validate", "{}"], ["audit", "{}"], ["cancel", "{}"],
          ["simulate", "{}"], ["lint", "{}"], ["test", "{}"], ["describe", "{}"], ["agents", "show", "{}"], ["agents", "run", "{}", "x"],
          ["proposals", "show", "{}"], ["proposals", "apply", "{}"], ["templates", "show", "{}"], ["add", "--template", "{}", "--id", "t"], ["replay", "{}"],
          ["preview", "{}"], ["review", "{}"], ["budget", "{}"], ["lineage", "{}"]]  # fmt: skip


@pytest.mark.parametrize("words", NAMING, ids=lambda words: " ".join(words[:2]).replace(" {}", ""))
def test_no_command_reaches_what_lies_elsewhere(workspace, precious, words):
    workspace.define("one", TEXT)
    workspace.ok("list")
    before = everything(workspace)
    for odd in ("../../precious", "..", "x/../../../precious"):
        done = workspace.run(*(word.replace("{}", odd) for word in words))
        assert done.code in (1, 2, 3, 78), (odd, done.code, done.err)
        assert "years" not in done.out
    assert everything(workspace) == before


def test_a_following_routine_names_another(workspace, precious):
    workspace.define("one", f"triggers: [{{after: {{routine: ../../precious}}}}]\n{TEXT}")
    done = workspace.run("validate", "one")
    assert (done.code, "routines/one/ROUTINE.yaml:1" in done.err) == (78, True), done.err


def link(workspace, precious: Path, name: str = "x") -> Path:
    place = workspace.root / "routines" / name
    place.symlink_to(precious)
    return place


@pytest.mark.parametrize("words", [["rm", "x", "--yes"], ["rm", "x", "--yes", "--keep-history"], ["edit", "x", "--set", "timeout=2m"], ["disable", "x"],
                                   ["add", "X", "--id", "x", "--replace", "--daily", "9:00", "--", "true"], ["list"], ["run-now", "x"], ["approve", "x"]],
                         ids=lambda words: " ".join(words[:3]))  # fmt: skip
@pytest.mark.parametrize("holds", [True, False], ids=["with a definition", "without one"])
def test_nothing_is_written_or_removed_behind_a_link(workspace, precious, words, holds):
    if not holds:
        (precious / "ROUTINE.yaml").unlink()
    before = {path: path.read_bytes() for path in precious.iterdir()}
    place = link(workspace, precious)
    workspace.run("list")
    done = workspace.run(*words)
    assert {path: path.read_bytes() for path in precious.iterdir()} == before
    if words[0] == "rm" and holds:
        assert (done.code, place.is_symlink()) == (0, False), done.err
    if words[0] in ("edit", "disable", "add"):
        assert done.code != 0


def test_a_link_within_the_workspace_works_and_only_it_is_removed(workspace):
    shared = workspace.root / "shared"
    shared.mkdir()
    (shared / "ROUTINE.yaml").write_text(TEXT)
    (workspace.root / "routines/x").symlink_to("../shared")
    workspace.ok("run-now", "x", "--wait")
    workspace.ok("rm", "x", "--yes")
    assert (shared / "ROUTINE.yaml").read_text() == TEXT
    assert not (workspace.root / "routines/x").is_symlink()


def test_templates_of_a_workspace_leave_the_record_behind(workspace):
    template = workspace.root / "templates/mine"
    (template / "memory").mkdir(parents=True)
    for name in ("state.json", "history.jsonl", "memory/note", "run.sh", "ROUTINE.yaml"):
        (template / name).write_text(TEXT if name == "ROUTINE.yaml" else "x\n")
    workspace.ok("add", "--template", "mine", "--id", "new")
    assert sorted(path.name for path in (workspace.root / "routines/new").iterdir() if path.name != "state.json") == [
        "ROUTINE.yaml",
        "run.sh",
    ]


def test_a_line_of_the_journal_cannot_name_a_place_elsewhere(workspace, precious):
    workspace.define("one", TEXT)
    workspace.ok("list")
    before = everything(workspace)
    workspace.record("routine.paused", "../../precious", by="x")
    workspace.ok("list")
    workspace.ok("history")
    assert everything(workspace) == before
    assert not (precious / "state.json").exists()


@pytest.mark.parametrize("odd", ODD)
def test_whatever_calls_it_the_operation_refuses(workspace, odd):
    with Session(Layout(workspace.root)) as session, pytest.raises(RoutinectlError):
        write.store(session, odd, TEXT.encode(), created=True)
