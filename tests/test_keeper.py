"""The keeper: it spawns, minds, reaps and reports, whatever becomes of those who asked it."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import until
from filelock import FileLock, Timeout

from routinectl.engine.keeping import Keeping
from routinectl.files import lock
from routinectl.files.layout import Layout
from routinectl.process import keep, proc
from routinectl.process.mask import MASK, Masker, forms
from routinectl.process.message import encode
from routinectl.process.wire import PROTOCOL

MARK = f"test-{os.getpid()}"  # of runs that leave something behind


class Kept:
    """A keeper of a folder, and runs asked of it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("run", "runs/r", "locks"):
            (root / name).mkdir(parents=True)
        self.start()

    def start(self) -> None:
        root = self.root
        held = until(lambda: lock.try_lock(root / "locks/keeper.lock"))
        log = os.open(root / "run/keeper.jsonl", os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC)
        runs = os.open(root / "runs", os.O_RDONLY | os.O_CLOEXEC)
        keep.start(root / "run", log, runs, held.fd)
        held.close()
        os.close(log)
        os.close(runs)
        self.connect()

    def connect(self) -> None:
        self.heard = []
        self.wire, self.hello = keep.connect(self.root / "run")

    def spawn(self, run: str, *argv: str, **entry) -> None:
        (self.root / "runs/r" / run).mkdir(exist_ok=True)
        lease = lock.try_lock(self.root / f"locks/{run}.0.lock")
        env = {"ROUTINE_RUN_ID": run, **entry.pop("env", {})}
        whole = {"run": run, "id": "r", "argv0": argv[0], "argv": list(argv), "env": env, "cwd": "/", "umask": 0o022, "stdin": "/dev/null",
                 "deadline": 0, "timeout": 60, "grace": 1, "cap": 1 << 20, "keep": False, **entry}  # fmt: skip
        self.wire.send({"spawn": [whole], "fds": 1, "env": {"PATH": "/usr/bin:/bin"}}, [lease.fd])
        lease.close()

    def shell(self, run: str, line: str, **entry) -> None:
        self.spawn(run, "/bin/sh", "-c", line, **entry)

    def hear(self, kind: str) -> list[dict]:
        deadline = time.monotonic() + 20
        while True:
            for message in self.heard:
                if kind in message:
                    self.heard.remove(message)
                    return message[kind]
            ready, _, _ = select.select([self.wire.socket], [], [], max(deadline - time.monotonic(), 0))
            assert ready, f"nothing {kind}; heard {self.heard}"
            self.heard += self.wire.receive()

    def out(self, run: str) -> bytes:
        return (self.root / "runs/r" / run / "out").read_bytes()


@pytest.fixture
def kept(tmp_path):
    found = Kept(tmp_path)
    yield found
    with suppress(ProcessLookupError):
        os.kill(found.hello["pid"], signal.SIGKILL)
    for item in proc.everybody():
        if (proc.run_id_of(item.pid) or "").startswith(MARK):  # not those of the tests beside these
            os.kill(item.pid, signal.SIGKILL)


def code(record: dict) -> int:
    return os.waitstatus_to_exitcode(record["status"])


def test_a_run_has_its_output_exit_code_and_usage(kept):
    kept.shell("a", "echo out; echo err >&2; exit 3")
    (record,) = kept.hear("ended")

    assert (code(record), record["stopped"]) == (3, "")
    assert kept.out("a") == b"out\nerr\n"
    assert record["rss"] > 0


def test_a_run_gets_exactly_the_stated_environment(kept):
    kept.shell("a", "/usr/bin/env | sort", env={"X": "y"})
    kept.hear("ended")

    assert set(kept.out("a").decode().split()) - {"PWD=/"} == {"PATH=/usr/bin:/bin", "ROUTINE_RUN_ID=a", "X=y"}


def test_a_run_inherits_its_lease_and_nothing_else(kept):
    kept.shell("a", "ls /proc/self/fd; readlink /proc/self/fd/3")
    kept.hear("ended")
    *numbers, target = kept.out("a").decode().split()

    assert set(numbers) - {"4", "5"} == {"0", "1", "2", "3"}
    assert target == str(kept.root / "locks/a.0.lock")


def test_a_lease_is_held_while_the_run_goes_on_also_for_filelock(kept):
    kept.shell("a", "exec 3>&-; sleep 1")
    kept.hear("spawned")
    with pytest.raises(Timeout):
        FileLock(kept.root / "locks/a.0.lock", timeout=0).acquire()
    kept.hear("ended")

    FileLock(kept.root / "locks/a.0.lock", timeout=5).acquire()


def test_an_output_that_exists_is_never_overwritten(kept):
    (kept.root / "runs/r/a").mkdir()
    (kept.root / "runs/r/a/out").write_text("before")
    kept.shell("a", "echo after")

    assert kept.hear("spawned") == [{"run": "a", "error": "exists"}]
    assert kept.out("a") == b"before"


@pytest.mark.parametrize(
    ("argv", "entry", "words"),
    [
        (["/no/such/program"], {}, "No such file"),
        (["/etc/passwd"], {}, "Permission denied"),
        (["/bin/true"], {"cwd": "/no/folder"}, "/no/folder"),
    ],
    ids=["no program", "not executable", "no folder"],
)
def test_what_cannot_start_is_told(kept, argv, entry, words):
    kept.spawn("a", *argv, **entry)
    (answer,) = kept.hear("spawned")

    assert words in answer["error"]


def test_a_deadline_stops_the_whole_tree_also_what_hides_and_ignores_term(kept):
    name = MARK
    kept.shell(name, "trap '' TERM; (setsid sleep 301 &); setsid sh -c \"trap '' TERM; sleep 302\" & sleep 303", timeout=0.5, grace=0.5)
    (record,) = kept.hear("ended")

    assert record["stopped"] == "timed_out"
    assert not any(proc.run_id_of(item.pid) == name for item in proc.everybody() if item.state != "Z")


def test_what_a_run_leaves_behind_is_ended(kept):
    kept.shell(MARK, "(setsid sleep 301 >/dev/null 2>&1 &); (sh -c 'sleep 302 &' ); exit 0")
    (record,) = kept.hear("ended")

    assert code(record) == 0
    assert not any(proc.run_id_of(item.pid) == MARK for item in proc.everybody() if item.state != "Z")


def test_an_orphan_without_a_sign_goes_with_the_last_run(kept):
    kept.shell(MARK, "env -i setsid sleep 304 & exit 0")
    kept.hear("ended")

    assert not any(b"sleep\x00304" in Path(f"/proc/{item.pid}/cmdline").read_bytes() for item in proc.everybody() if item.state not in "ZX")


def test_leftovers_may_be_kept(kept):
    kept.shell(MARK, "sleep 305 & exit 0", keep=True)
    kept.hear("ended")

    # A process in the middle of becoming `sleep` shows no environment for a moment.
    until(lambda: any(proc.run_id_of(item.pid) == MARK for item in proc.everybody()))


def test_what_is_kept_has_no_lease_and_is_charged_to_no_later_run(kept):
    kept.shell(MARK, "ls /proc/self/fd; (setsid sleep 306 &); (setsid sh -c 'sleep 307 & wait' &); sleep 308 & exit 0", keep=True)
    (record,) = kept.hear("ended")
    assert (code(record), kept.out(MARK).split()) == (0, [b"0", b"1", b"2", b"3"]), "the third is the folder that is listed"
    assert not lock.is_held(kept.root / f"locks/{MARK}.0.lock")
    alive = until(lambda: living("306", "307", "308"))
    # One that ends with things of its own to look for, one that is stopped, and a later attempt of the same run.
    kept.shell(f"{MARK}-b", "(env -i setsid sleep 309 &); exit 0")
    kept.hear("ended")
    kept.shell(f"{MARK}.2", "exec sleep 310", keep=True, env={"ROUTINE_RUN_ID": MARK})
    kept.hear("spawned")
    kept.wire.send({"cancel": [f"{MARK}.2"]})
    kept.hear("ended")

    assert living("306", "307", "308") == alive
    assert not living("309")


@pytest.mark.parametrize(
    "more", [{}, {"mask": ["s3cret"]}, {"limits": {"files": 64}}, {"mask": ["s3cret"], "limits": {"files": 64}}], ids=str
)
def test_however_it_is_started_what_is_kept_has_no_lease(kept, more):
    kept.shell(MARK, "setsid sleep 311 & exit 0", keep=True, **more)
    kept.hear("ended")

    assert until(lambda: living("311"))
    assert not lock.is_held(kept.root / f"locks/{MARK}.0.lock")


def test_whoever_masks_the_output_of_a_run_holds_no_lease_of_those_beside_it(kept):
    kept.shell("plain", "exec sleep 60")
    kept.hear("spawned")
    kept.shell("masked", "exec sleep 60", mask=["s3cret"])
    kept.hear("spawned")
    kept.wire.send({"cancel": ["plain"]})
    kept.hear("ended")

    assert not lock.is_held(kept.root / "locks/plain.0.lock")
    assert lock.is_held(kept.root / "locks/masked.0.lock")
    kept.wire.send({"cancel": ["masked"]})
    kept.hear("ended")


def living(*seconds: str) -> set[int]:
    """Return the processes that sleep for so many seconds, all of them or none."""
    words = {f"sleep\0{number}\0".encode() for number in seconds}
    found = {}
    for item in proc.everybody():
        with suppress(OSError):
            line = Path(f"/proc/{item.pid}/cmdline").read_bytes()
            if line in words and item.state not in "ZX":
                found[line] = item.pid
    return set(found.values()) if len(found) == len(words) else set()


def test_cancel_stops_a_run(kept):
    kept.shell("a", "exec sleep 60")  # a shell between might see its child die before its own signal comes, and end with 143
    kept.hear("spawned")
    kept.wire.send({"cancel": ["a"]})
    (record,) = kept.hear("ended")

    assert (record["stopped"], code(record)) == ("cancelled", -signal.SIGTERM)


def test_it_goes_on_when_whoever_asked_dies_and_tells_the_next_one(kept):
    kept.shell("a", "sleep 0.4; exit 5")
    kept.hear("spawned")
    kept.wire.close()
    until(lambda: "ended" in (kept.root / "run/keeper.jsonl").read_text())
    kept.connect()

    assert [code(record) for record in kept.hello["ended"]] == [5]


def test_the_log_is_the_exit_record_until_it_is_acknowledged(kept):
    kept.shell("a", "exit 5")
    kept.hear("ended")
    log = kept.root / "run/keeper.jsonl"
    assert [key for line in log.read_text().splitlines() for key in json.loads(line)] == ["started", "ended"]

    kept.wire.send({"ack": ["a"]})
    until(lambda: log.read_text() == "")


def test_it_ends_when_it_has_no_runs_and_nobody_is_connected(kept):
    kept.wire.close()
    until(lambda: proc.stat(kept.hello["pid"]) is None or proc.stat(kept.hello["pid"]).state == "Z")

    assert not lock.is_held(kept.root / "locks/keeper.lock")


def test_signals_of_a_terminal_do_not_end_it(kept):
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(kept.hello["pid"], number)
    kept.shell("a", "echo alive")
    kept.hear("ended")

    assert kept.out("a") == b"alive\n"


def test_output_is_capped_and_keeps_its_head_and_tail(kept):
    kept.shell("a", "echo begin; head -c 3000000 /dev/zero | tr '\\0' x; echo; echo end", cap=100_000)
    kept.hear("ended")
    data = kept.out("a")

    assert len(data) < 101_000
    assert data.startswith(b"begin\nxxx")
    assert data.endswith(b"xxx\nend\n")
    assert b"bytes cut here" in data


def test_secrets_are_masked_on_the_way_to_the_file(kept):
    line = 'printf "a $S b "; printf "%s" "${S%??????}"; sleep 0.5; printf "%s\\n" "${S#????????}"; printf "%s" "$S" | base64'
    kept.shell("a", line, env={"S": "s3cret-t0ken!!"}, mask=["s3cret-t0ken!!"])
    kept.hear("ended")

    assert kept.out("a") == b"a *** b ***\n***\n"


def test_many_runs_in_one_batch(kept):
    for number in range(200):
        kept.shell(f"n{number}", "exit 0")
    seen = 0
    while seen < 200:
        seen += len(kept.hear("ended"))

    assert seen == 200


def test_a_slow_reader_does_not_stop_it(kept):
    for number in range(120):
        kept.shell(f"n{number}", "exit 0", env={"PAD": "x" * 2000})
    until((kept.root / "runs/r/n119/out").exists)
    ready, _, _ = select.select([kept.wire.socket], [], [], 5)

    assert ready


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_a_secret_is_found_however_the_stream_is_cut(size):
    secret = "pa ss/wörd+1"
    text = b" - ".join([b"x", *sorted(forms(secret)), b"y"])
    masker = Masker([secret])
    found = b"".join(masker.feed(text[start : start + size]) for start in range(0, len(text), size)) + masker.finish()

    assert not any(form in found for form in forms(secret) if len(form) > 5)
    assert found.count(MASK) >= len(forms(secret))
    assert found.startswith(b"x - ***")


def test_the_longer_of_two_secrets_wins():
    masker = Masker(["abc", "abcdef"])
    assert masker.feed(b"--abc") + masker.feed(b"def--") + masker.finish() == b"--***--"


def test_what_comes_with_the_greeting_is_heard(tmp_path):
    """A run may end in the moment in which somebody connects; its end is told once."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(tmp_path / keep.SOCKET))
        listener.listen()

        def greet():
            connection, _ = listener.accept()
            hello = {"hello": PROTOCOL, "pid": 1, "alive": [{"run": "a"}], "ending": [], "ended": [{"run": "b"}]}
            both = [encode(hello), encode({"ended": [{"run": "a"}]})]
            connection.sendall(b"".join(struct.pack(">I", len(body)) + body for body in both))

        with ThreadPoolExecutor() as other:
            other.submit(greet)
            wire, hello = keep.connect(tmp_path)
    wire.close()
    assert [item["run"] for item in hello["ended"]] == ["b", "a"]


def test_what_was_put_back_is_heard_again_though_nobody_speaks(tmp_path):
    keeping = Keeping(Layout(tmp_path))
    assert not keeping.has_something()
    keeping.put_back([{"ended": [{"run": "a"}]}])

    assert keeping.has_something()
    assert keeping.receive() == [{"ended": [{"run": "a"}]}]
    assert not keeping.has_something()
