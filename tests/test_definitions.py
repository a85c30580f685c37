"""Definitions: every fault has its own sample, named after it, and is told with its place; good ones are read as meant."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, Workspace

from routinectl.core import composer
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


NOT_YAML = {  # a text that no reader takes: the place and the words for it, and the line of it that the hint has mended
    "a tab": ("action:\n\tcommand: [a]\n", "2:1 a tab where YAML wants spaces", ""),
    "a tab below spaces": ("action:\n  command: [a]\n\tx: b\n", "3:1 a tab where YAML wants spaces", ""),
    "a tab after a text": ("a: b\n\tc: d\n", "2:1 a tab where YAML wants spaces", ""),
    "a tab after other line ends": ("a:\r\n\tb: c\r\n", "2:1 a tab where YAML wants spaces", ""),
    "a list without its end": ("a: {b: [c\n", "2:1 not YAML: the [ of 1:8 has no ]", ""),
    "a list that a key follows": ("a: [b, c\nd: e\n", "2:2 not YAML: the [ of 1:4 wants a comma or its ] here", ""),
    "a mapping without a comma": ("a: {b: c d: e}\n", "1:11 not YAML: the { of 1:4 wants a comma or its } here", ""),
    "items without a comma": ("a: ['b' 'c']\n", "1:9 not YAML: the [ of 1:4 wants a comma or its ] here", ""),
    "one ] too many": ("a: b\nc: [d]]\n", "2:7 not YAML: this ] belongs to nothing", ""),
    "a text that is ]": ("a: ]\n", "1:4 not YAML: no text begins with ] unless it is quoted", 'a: "]"'),
    "a double quote": ('a: "bc\nd: e\n', '3:1 not YAML: the " of 1:4 has no second one', ""),
    "a single quote": ("a: 'bc\nd: e\n", "3:1 not YAML: the ' of 1:4 has no second one", ""),
    "an escape": ('a: "\\d"\n', "1:5 not YAML: \\d means nothing here", ""),
    "half an escape": ('a: "\\xzz"\n', "1:5 not YAML: \\x means nothing here", ""),
    "an apostrophe": ("a: 'it's'\n", "1:8 not YAML: the text ends with ', and goes on", 'a: "it\'s"'),
    "a word after a quote": ('a: "b" c  # d\n', '1:8 not YAML: the text ends with ", and goes on', "a: '\"b\" c'  # d"),
    "a word after a bracket": ("- x: {b} c\n", "1:10 not YAML: the text ends with }, and goes on", '- x: "{b} c"'),
    "two colons": ("- name: a: b\n", "1:10 not YAML: a second ': ' in one line", '- name: "a: b"'),
    "a deeper key": ("name: foo\n  bar: baz\n", "2:6 not YAML: 'bar:' goes on with the text above it, 'name: foo'", ""),
    "a line without a colon": ("name: x\naction\nb: c\n", "2:1 not YAML: 'action' is no `key: value`", ""),
    "the last line without a colon": ("name: x\naction\n", "2:1 not YAML: 'action' is no `key: value`", ""),
    "a colon without a blank": ("a: b\nc:d\ne: f\n", "2:1 not YAML: 'c:d' is no `key: value`", ""),
    "an item among keys": ("a: 1\n- b\n", "2:1 not YAML: a list item stands among keys", ""),
    "a key among items": ("- a\nb: c\n", "2:1 not YAML: a key stands among list items", ""),
    "a column of its own": ("a:\n  b: c\n d: e\n", "3:2 not YAML: nothing above this line begins in column 2", ""),
    "a dash": ("a: - b\n", "1:4 not YAML: a list begins on a line of its own", 'a: "- b"'),
    "an @": ("- cron: @daily\n", "1:9 not YAML: no text begins with @ unless it is quoted", '- cron: "@daily"'),
    "an @ in a list": ("a: [b, @c, d]\n", "1:8 not YAML: no text begins with @ unless it is quoted", 'a: [b, "@c", d]'),
    "a %": ("a: %x\n", "1:4 not YAML: no text begins with % unless it is quoted", 'a: "%x"'),
    "a star": ("- cron: */5 * * * *\n", "1:10 not YAML: an unquoted * begins an alias", '- cron: "*/5 * * * *"'),
    "a star in a mapping": ("a: {b: */5 * * * *, c: d}\n", "1:9 not YAML: an unquoted * begins an alias", 'a: {b: "*/5 * * * *", c: d}'),
    "an ampersand": ("a: & b\n", "1:5 not YAML: an unquoted & begins an anchor", 'a: "& b"'),
    "a bang": ("a: !{x} c\n", "1:5 not YAML: an unquoted ! begins a tag", 'a: "!{x} c"'),
    "a pipe": ("a: | echo hi\n", "1:6 not YAML: after | a text begins on the next line", 'a: "| echo hi"'),
    "a control character": ("a: b\nc: d\x0c\n", "2:5 not YAML: the control character U+000C", ""),
    "lists in lists": ("a: " + "[" * 1000 + "]" * 1000, "1:53 nested more than 50 levels deep", ""),
    "lists in lists that never end": ("a: " + "[" * 9000, "1:53 nested more than 50 levels deep", ""),
    "mappings in mappings": ("a: " + "{b: " * 1000, "1:200 nested more than 50 levels deep", ""),
    "items in items": ("- " * 2000 + "a", "1:101 nested more than 50 levels deep", ""),
    "keys below keys": ("\n".join(" " * level + "a:" for level in range(99)), "51:51 nested more than 50 levels deep", ""),
}  # fmt: skip


@pytest.fixture(params=["libyaml", "PyYAML's own reader", "a reader of other words", "a reader of fewer levels"])
def any_reader(request, monkeypatch):
    """Readers whose faults have other words, and of which one refuses what is nested deeper than 60."""

    class OtherWords(composer._LOADER):
        deep = 0

        def get_event(self):
            try:
                event = super().get_event()
            except yaml.MarkedYAMLError as error:
                raise type(error)("xyzzy", error.context_mark, "plugh", error.problem_mark) from None
            self.deep += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if "fewer" in request.param and self.deep > 60:
                raise yaml.scanner.ScannerError("xyzzy", event.start_mark, "plugh", event.start_mark)
            return event

    loaders = {"libyaml": composer._LOADER, "PyYAML's own reader": yaml.SafeLoader}
    monkeypatch.setattr(composer, "_LOADER", loaders.get(request.param, OtherWords))


@pytest.mark.parametrize("name", NOT_YAML)
def test_a_text_that_is_not_yaml_is_told_in_words_of_ours_whatever_its_reader_says(name: str, any_reader):
    text, expected, mended = NOT_YAML[name]
    with pytest.raises(DefinitionError) as caught:
        read(text.encode(), "F")
    (fault,) = caught.value.problems

    assert f"{fault.where} {fault.message}" == f"F:{expected}"
    assert fault.hint
    if mended:
        assert fault.hint.endswith(f": {mended}")
        read("\n".join([*text.splitlines()[: fault.line - 1], mended, *text.splitlines()[fault.line :]]).encode())


def test_what_nobody_recognises_is_told_in_the_words_of_the_reader_with_a_hint_that_is_always_true():
    with pytest.raises(DefinitionError, match=r"^not YAML: .+") as caught:
        read(b"a: b\n...\nc\n", "F")

    assert (caught.value.problems[0].line, "keys of one block stand in one column" in caught.value.hint) == (3, True)


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
