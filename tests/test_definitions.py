"""Definitions: every fault has its own sample, named after it, and is told with its place; good ones are read as meant."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from conftest import ROOT, Workspace

from routinectl.core.document import read
from routinectl.core.settings import Settings
from routinectl.errors import DefinitionError
from routinectl.files.definitions import load, parse
from routinectl.files.layout import Layout

SAMPLES = ROOT / "tests/sample_definitions"
NOWHERE = Layout(Path("/nonexistent"))
NOW = datetime(2026, 11, 21, tzinfo=UTC)


def named(folder: str) -> list:
    return [pytest.param(path, id=path.stem) for path in sorted((SAMPLES / folder).glob("*.yaml"))]


@pytest.mark.parametrize("path", named("invalid"))
def test_a_fault_is_told_with_its_place_and_what_to_write_instead(path: Path):
    raw = path.read_bytes()
    place, _, message = raw.decode().splitlines()[0].removeprefix("# expect ").partition(" ")
    with pytest.raises(DefinitionError) as caught:
        parse(NOWHERE, raw, "ROUTINE.yaml", "sample", Settings(), NOW, past=False)

    assert [(problem.where, problem.message) for problem in caught.value.problems] == [(f"ROUTINE.yaml:{place}", message)]
    assert all(problem.hint for problem in caught.value.problems)


def test_there_are_at_least_forty_of_them():
    assert len(named("invalid")) >= 40


@pytest.mark.parametrize("path", named("valid"))
def test_good_samples_are_good(path: Path):
    assert parse(NOWHERE, path.read_bytes(), "ROUTINE.yaml", "sample", Settings(min_interval=1), NOW, past=True).doc["action"]


def test_all_faults_of_a_file_are_told_at_once_in_the_order_of_the_file():
    text = b"nme: x\ntimezone: Nowhere\ntriggers:\n  - cron: '* * * *'\n  - every: 1s\ntimeout: 5\naction: {command: []}\n"
    with pytest.raises(DefinitionError) as caught:
        parse(NOWHERE, text, "F", "x", Settings(), NOW, past=True)
    schema_faults = [(problem.line, problem.message.split()[0]) for problem in caught.value.problems]
    text = b"timezone: Europe/Berlin\ntriggers:\n  - cron: '* * * *'\n  - every: 1s\ntimeout: 0s\njitter: 2d\naction: {command: [' ']}\n"
    with pytest.raises(DefinitionError) as caught:
        parse(NOWHERE, text, "F", "x", Settings(), NOW, past=True)

    assert schema_faults == [(1, "unknown"), (6, "timeout"), (7, "action.command")]
    assert [problem.line for problem in caught.value.problems] == [3, 4, 5, 6, 7]


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        pytest.param("a: 10:30", {"a": "10:30"}, id="a time of day is text"),
        pytest.param("a: on\nb: yes\nc: no\nd: off", {"a": "on", "b": "yes", "c": "no", "d": "off"}, id="on and yes are text"),
        pytest.param("a: true\nb: False\nc: null\nd: ~\ne:", {"a": True, "b": False, "c": None, "d": None, "e": None}, id="the core words"),
        pytest.param(
            "a: 0o17\nb: 0x1f\nc: 017\nd: 1e3\ne: -1", {"a": 15, "b": 31, "c": 17, "d": 1000.0, "e": -1}, id="numbers of YAML 1.2"
        ),
        pytest.param("a: 2026-01-01\nb: 1_000", {"a": "2026-01-01", "b": "1_000"}, id="dates and underscores are text"),
        pytest.param("a: '5'\nb: \"true\"", {"a": "5", "b": "true"}, id="quoted is text"),
        pytest.param('{"a": [1, {"b": null}]}', {"a": [1, {"b": None}]}, id="JSON is YAML"),
        pytest.param("on: 1\n1: 2", {"on": 1, "1": 2}, id="keys are text"),
        pytest.param("a: |\n  x\n  y\n", {"a": "x\ny\n"}, id="block text"),
    ],
)
def test_yaml_is_read_by_the_core_rules_of_1_2(text, meaning):
    assert read(text.encode()) == meaning


class TestWhatStandsInPlaceOfAFile:
    """Anything that is no small file of the workspace is a fault of that routine, and nothing is ever waited for."""

    def fault(self, workspace: Workspace, name: str = "odd") -> str:
        with pytest.raises(DefinitionError) as caught:
            load(Layout(workspace.root), name, Settings(), NOW)
        return f"{caught.value.problems[0].message} {caught.value.problems[0].where}"

    def folder(self, workspace: Workspace) -> Path:
        path = workspace.root / "routines/odd"
        path.mkdir()
        return path / "ROUTINE.yaml"

    def test_a_folder(self, workspace):
        self.folder(workspace).mkdir()
        assert "it is a folder, not a file routines/odd/ROUTINE.yaml" in self.fault(workspace)

    def test_a_fifo(self, workspace):
        os.mkfifo(self.folder(workspace))
        assert "it is a FIFO" in self.fault(workspace)

    def test_a_device(self, workspace):
        self.folder(workspace).symlink_to("/dev/zero")
        assert "it is a device or socket" in self.fault(workspace)

    def test_a_link_out_of_the_workspace(self, workspace, tmp_path):
        (tmp_path / "outside.yaml").write_text("action: {command: [id]}\n")
        self.folder(workspace).symlink_to(tmp_path / "outside.yaml")
        assert "a link that leads out of the workspace" in self.fault(workspace)

    def test_a_folder_that_is_a_link_out(self, workspace, tmp_path):
        (tmp_path / "outside").mkdir()
        (tmp_path / "outside/ROUTINE.yaml").write_text("action: {command: [id]}\n")
        (workspace.root / "routines/odd").symlink_to(tmp_path / "outside")
        assert "a link that leads out of the workspace" in self.fault(workspace)

    def test_a_link_inside_the_workspace_is_fine(self, workspace):
        (workspace.root / "shared.yaml").write_text("action: {command: [id]}\n")
        self.folder(workspace).symlink_to("../../shared.yaml")
        assert load(Layout(workspace.root), "odd", Settings(), NOW).id == "odd"

    def test_a_link_in_a_circle(self, workspace):
        self.folder(workspace).symlink_to("ROUTINE.yaml")
        assert "leads around in a circle" in self.fault(workspace)

    def test_a_link_to_nowhere(self, workspace):
        self.folder(workspace).symlink_to("gone.yaml")
        assert "leads nowhere" in self.fault(workspace)

    def test_ten_megabytes(self, workspace):
        self.folder(workspace).write_bytes(b"#" * 10_000_000)
        assert "at most 64 KiB" in self.fault(workspace)

    def test_not_utf_8(self, workspace):
        self.folder(workspace).write_bytes(b"name: caf\xe9\naction: {command: [id]}\n")
        assert "byte 0xe9 is not UTF-8 routines/odd/ROUTINE.yaml:1:10" in self.fault(workspace)

    def test_utf_16(self, workspace):
        self.folder(workspace).write_text("name: x\n", encoding="utf-16")
        assert "UTF-16" in self.fault(workspace)

    def test_a_byte_order_mark(self, workspace):
        self.folder(workspace).write_bytes(b"\xef\xbb\xbfaction: {command: [id]}\n")
        assert "byte order mark" in self.fault(workspace)

    def test_nested_a_thousand_deep(self, workspace):
        self.folder(workspace).write_text("a: " + "[" * 1000 + "]" * 1000)
        assert "nested more than 50 levels deep routines/odd/ROUTINE.yaml:1:53" in self.fault(workspace)

    @pytest.mark.skipif(os.getuid() == 0, reason="root reads everything")
    def test_unreadable(self, workspace):
        path = self.folder(workspace)
        path.write_text("action: {command: [id]}\n")
        path.chmod(0)
        assert "cannot be read" in self.fault(workspace)

    def test_a_folder_whose_name_is_no_id(self, workspace):
        workspace.define("Not An Id", "action: {command: [id]}\n")
        assert "is not an id" in self.fault(workspace, "Not An Id")

    def test_a_reserved_id(self, workspace):
        workspace.define("events", "action: {command: [id]}\n")
        assert "is reserved" in self.fault(workspace, "events")

    def test_none_of_them_stops_the_others(self, workspace):
        for number, make in enumerate((os.mkfifo, os.mkdir)):
            (workspace.root / f"routines/odd{number}").mkdir()
            make(workspace.root / f"routines/odd{number}/ROUTINE.yaml")
        workspace.define("good", "triggers: [{daily: '09:00'}]\ntimeout: 1m\naction: {command: [echo, hi]}\n")
        rows = {row["id"]: row["status"] for row in workspace.ok("list", "--json").data}

        assert rows == {"good": "active", "odd0": "invalid", "odd1": "invalid"}
        assert workspace.run("validate").code == 78


def test_a_file_that_could_not_be_read_once_is_read_again(workspace, monkeypatch):
    """A machine without a free descriptor for a moment makes no routine invalid for ever."""
    from routinectl.engine.engine import Engine
    from routinectl.files import definitions

    workspace.define("x", "triggers: [{daily: '09:00'}]\naction: {command: ['true']}\n")
    engine = Engine(Layout(workspace.root), Settings())
    engine.layout.make()
    engine.world.load()
    with monkeypatch.context() as patch:
        patch.setattr(
            definitions,
            "read_bytes",
            lambda layout, name: (_ for _ in ()).throw(definitions.unread(OSError(24, "Too many open files"), "F")),
        )
        engine.revise(engine.revisions.look(engine.world, NOW, patience=0.0), NOW)
    assert engine.world.standing("x").invalid is not None
    engine.revise(engine.revisions.look(engine.world, NOW, patience=0.0), NOW)

    assert engine.world.standing("x").invalid is None
    assert engine.world.standing("x").enabled
