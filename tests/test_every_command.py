"""Every command of the registry, asked in every wrong way: it answers with a sentence and an exit code, never with a traceback.

A new command is covered by being in the registry: its words are made here, from its own options and subcommands. The
net at the outermost place, which would turn a fault of ours into one line, must not have been needed.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
from conftest import PATIENCE, _forker

from routinectl.cli import main
from routinectl.cli.registry import COMMANDS

NAMES = [command.name for command in COMMANDS]
CODES = {0, 1, 2, 3, 75, 77, 78, 124, 130}
HELLO = "name: Übung ✓\ntriggers: [{daily: '09:00'}]\ntimeout: 1m\naction: {command: [echo, hi]}\n"
BROKEN = "triggers: [{daily: '25:00'}]\naction: {}\n"
NOT_UTF8 = os.fsdecode(b"\xff\xfe")
VALUES = ("nonsense", "", NOT_UTF8, "-1", "99999999999999999999")
WRONG = {
    "none": [], "an option that is none": ["--nonsense"], "an empty one": [""], "no UTF-8": [NOT_UTF8], "a routine that is not there": ["nobody"],
    "a broken routine": ["broken"], "too many": ["a"] * 9, "a global option without its value": ["-w"], "as JSON": ["hello", "--json"],
}  # fmt: skip
MORE = {"emit": ["alerts", "a message"], "preview": ["every day at 9"], "completion": ["bash"], "import": ["crontab", "nowhere"], "token": ["create"],
        "export": ["hello", "--format", "crontab"], "serve": ["--once"], "replay": ["20261121T020000Z-9c1b5f20d6aa"],
        "propose": ["run ./backup.sh every night"]}  # fmt: skip


def calls(name):
    """Return the ways in: the command, or each of its subcommands too. A serve that would stay is asked for one turn."""
    found = [[name], *([name, item.__name__.rstrip("_")] for item in getattr(main.module_of(name), "SUBCOMMANDS", ()))]
    return [["serve", "--once"]] if name == "serve" else found


def options(call):
    command = main.command_of(call[0])
    found = command.commands[call[1]].params if len(call) > 1 and hasattr(command, "commands") else command.params
    return [
        next(word for word in item.opts if word.startswith("--")) for item in found if item.opts[0].startswith("-") and not item.is_flag
    ]


def right_words(name):
    """Return a call that is good as far as words go."""
    routine = next(item for item in COMMANDS if item.name == name).takes_routine
    return [name, *MORE.get(name, ["hello"] if routine else [])]


@pytest.fixture
def place(workspace):
    workspace.define("hello", HELLO)
    workspace.define("broken", BROKEN)
    workspace.env |= {"ROUTINECTL_ENABLED": "false", "EDITOR": "false"}
    return workspace


def asked(place, words, env=None, cwd=None):
    """Call a command and return its exit code, output and errors, once it is seen that it ended as a command should."""
    code, out, err = _forker().run(words, cwd or place.root, {**place.env, **(env or {})}, "", PATIENCE)
    judge(words, code, err)
    return code, out, err


def judge(words, code, err):
    assert not any(word in err for word in ("Traceback", "Exception ignored", "a fault of routinectl")), f"{words}:\n{err}"
    assert code in CODES, f"{words}: {code}\n{err}"


# -- words


@pytest.mark.parametrize("name", NAMES)
def test_wrong_words_are_answered(place, name):
    for call in calls(name):
        for kind, rest in WRONG.items():
            code, _, err = asked(place, [*call, *rest])
            if kind in ("an option that is none", "a global option without its value"):
                assert (code, "Hint: " in err) == (2, True), f"{call} {kind}: {err}"
        for index, option in enumerate(options(call)):
            asked(place, [*call, "hello", option, VALUES[index % len(VALUES)]])


@pytest.mark.parametrize("name", NAMES)
def test_what_is_missing_is_named_with_an_example_to_paste(place, name):
    for call in calls(name):
        code, _, err = asked(place, call)
        if code == 2 and "missing" in err:
            assert err.splitlines()[-1] == f"Hint: {main.first_example(name)}"
        elif code == 2:
            assert "Hint: " in err, f"{call}: {err}"


def test_a_fault_of_ours_is_one_line_and_its_traceback_is_there_for_whoever_asks(place, monkeypatch, capsys):
    def fall(_):
        raise ZeroDivisionError("nobody foresaw this")

    monkeypatch.setattr(main, "_run", fall)
    monkeypatch.delenv("ROUTINECTL_DEBUG", raising=False)
    assert main.main(["show", "two words"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("Error: this is a fault of routinectl: ZeroDivisionError: nobody foresaw this")
    assert said.splitlines()[1].startswith("Hint: ROUTINECTL_DEBUG=1 routinectl show 'two words'")
    assert "Traceback" not in said

    monkeypatch.setenv("ROUTINECTL_DEBUG", "1")
    main.main(["show"])
    assert "Traceback" in capsys.readouterr().err


# -- the world around it


def nowhere(place):
    return place.root.parent / "home"


def config(make):
    def damage(place):
        file = place.root / "routinectl.yaml"
        file.unlink()
        make(file)
        return place.root

    return damage


def private(make):
    def damage(place):
        make(place.root / ".routinectl")
        return place.root

    return damage


def journal(make):
    def damage(place):
        (place.root / ".routinectl/journal").mkdir(parents=True)
        make(place.root / ".routinectl/journal/000001.jsonl")
        return place.root

    return damage


WORLDS = {
    "no workspace": nowhere,
    "a settings file that is a folder": config(lambda file: file.mkdir()),
    "settings that are no YAML": config(lambda file: file.write_text("schema: [1\n")),
    "settings that are no UTF-8": config(lambda file: file.write_bytes(b"timezone: \xff\n")),
    "a private folder that is a file": private(lambda folder: folder.write_text("")),
    "a private folder that leads nowhere": private(lambda folder: folder.symlink_to("/nowhere")),
    "a journal that is a folder": journal(lambda file: file.mkdir()),
    "a journal that is no journal": journal(lambda file: file.write_bytes(b"\x00\xff nonsense\n{}\n[]\n")),
}


@pytest.mark.parametrize("world", WORLDS)
def test_a_workspace_that_is_none_is_told(place, world):
    cwd = WORLDS[world](place)
    for name in NAMES:
        asked(place, right_words(name), cwd=cwd)


@pytest.mark.parametrize("where", ["nowhere", "routinectl.yaml", NOT_UTF8, ""], ids=["missing", "a file", "no UTF-8", "empty"])
def test_a_workspace_that_is_named_wrongly_is_told(place, where):
    for name in NAMES:
        asked(place, ["-w", where, *right_words(name)])


def unreadable(place):
    place.ok("run-now", "hello", "--wait")
    for name in ("routinectl.yaml", ".routinectl", "routines/hello", "routines/broken/ROUTINE.yaml"):
        (place.root / name).chmod(0)
        yield name
        (place.root / name).chmod(0o700)


def test_what_may_not_be_read_is_told(place):
    drop = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"] if os.geteuid() == 0 else []
    if drop and subprocess.run([*drop, "true"], capture_output=True, check=False).returncode:
        pytest.skip("root's rights cannot be given up here")
    program = (
        "import json, subprocess, sys\n"
        "for words in json.load(sys.stdin):\n"
        "    done = subprocess.run([sys.executable, '-m', 'routinectl', *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, errors='replace')\n"
        "    print(json.dumps([words, done.returncode, done.stderr]))\n"
    )
    for _ in unreadable(place):
        asking = json.dumps([right_words(name) for name in NAMES if name not in ("init", "serve")][::3])
        done = subprocess.run(
            [*drop, sys.executable, "-c", program], input=asking, cwd=place.root, env=place.env, capture_output=True, text=True, check=True
        )
        for line in done.stdout.splitlines():
            judge(*json.loads(line))


# -- the terminal around it

ENVIRONMENTS = {
    "60 columns": {"COLUMNS": "60"}, "one column, no home": {"COLUMNS": "1", "HOME": ""},
    "columns, a home and a zone that are none": {"COLUMNS": "many", "HOME": "/nowhere", "TZ": "Nowhere/Town"},
}  # fmt: skip


@pytest.mark.parametrize("kind", ENVIRONMENTS)
def test_the_environment_may_be_odd(place, kind):
    for name in NAMES:
        asked(place, right_words(name), env=ENVIRONMENTS[kind])


def gone():
    reading, writing = os.pipe()
    os.close(reading)
    return writing


STREAMS = {
    "nobody reads the output": (gone, None), "nobody reads the errors": (None, gone), "nobody reads anything": (gone, gone),
    "the disk is full": (lambda: os.open("/dev/full", os.O_WRONLY), None), "no errors can be written": (None, lambda: os.open("/dev/full", os.O_WRONLY)),
}  # fmt: skip


@pytest.mark.parametrize("kind", STREAMS)
def test_whoever_reads_may_go(place, kind):
    for name in NAMES:
        for words in (right_words(name), [name, "--help" if kind == "the disk is full" else "--nonsense"]):
            code, err = streamed(place, words, *STREAMS[kind])
            judge(words, code, err)
            if words[1:] == ["--nonsense"]:
                assert code == 2, f"{words}: {code}, though nobody reads why"
            if words[1:] == ["--help"]:
                assert (code, "No space left" in err) == (1, True), f"{words}: {code} {err}"


def streamed(place, words, out, err):
    kept = os.memfd_create("err")
    nothing = os.open(os.devnull, os.O_RDWR)
    given = [nothing, out() if out else nothing, err() if err else kept]
    process = _forker().start(words, place.root, place.env, given)
    try:
        code = process.wait(PATIENCE)
        return code, os.pread(kept, 1 << 20, 0).decode()
    finally:
        for fd in {*given, kept}:
            os.close(fd)


HARD = "import os, subprocess, sys\nfor fd in {closed}: os.close(fd)\n{more}os.execv(sys.executable, [sys.executable, '-m', 'routinectl', *sys.argv[1:]])\n"
STARTS = {
    "closed descriptors": ([0, 1, 2], "", {}),
    "letters that the locale has not": ([], "", {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),
    "neither home nor name nor terminal": ([0], "", {"HOME": None, "USER": None, "LOGNAME": None, "TERM": None, "COLUMNS": None, "LC_ALL": "C"}),
    "few descriptors": ([], "import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (16, 16))\n", {}),
}  # fmt: skip


@pytest.mark.parametrize("kind", STARTS)
def test_it_may_be_started_in_an_odd_way(place, kind):
    closed, more, changed = STARTS[kind]
    env = {key: value for key, value in {**place.env, **changed}.items() if value is not None}
    for name in NAMES:
        words = right_words(name)
        program = HARD.format(closed=closed, more=more)
        done = subprocess.run(
            [sys.executable, "-c", program, *words],
            cwd=place.root,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
        judge(words, done.returncode, done.stderr.decode(errors="replace"))


HELLO_MCP = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}},
}
WAITING = {
    "serve": (["serve"], b"", "stderr", 0),
    "events": (["events", "-f", "--since", "1h"], b"", "stdout", 130),
    "mcp": (["mcp"], json.dumps(HELLO_MCP).encode() + b"\n", "stdout", 130),
}


@pytest.mark.parametrize("kind", WAITING)
def test_ctrl_c_ends_what_waits(place, kind):
    words, given, stream, wanted = WAITING[kind]
    place.ok("list")
    process = subprocess.Popen(
        [sys.executable, "-m", "routinectl", *words],
        cwd=place.root,
        env=place.env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdin.write(given)
    process.stdin.flush()
    assert getattr(process, stream).readline(), "it has begun its work"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)

    judge(words, process.returncode, err.decode())
    assert process.returncode == wanted
