"""Confined runs, as people meet them: what they see, how their end is told, what is refused. Escapes are in proofs/test_escapes.py."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time

import pytest
from conftest import until
from needs import needs

from routinectl.core import permissions
from routinectl.core.permissions import Permissions, refusal

confines = needs("confinement")

REFUSED = {
    # path, whether it is to be written: why not
    ("/w", True): "covers the workspace itself",
    ("/", True): "is too much",
    ("/tmp", False): "is too much",
    ("/proc/1", False): "is too much",
    ("/run", False): "is too much",
    ("/w/.routinectl", False): "is inside .routinectl/",
    ("/w/.routinectl/journal", False): "is inside .routinectl/",
    ("/w/secrets/token", False): "is inside secrets/",
    ("/w/routines/other/memory", False): "is the memory of another",
    ("/w/routines/other/memory/x", False): "is the memory of another",
    ("/w/routines", True): "covers a definition",
    ("/w/routines/other", True): "covers a definition",
    ("/w/agents/reviewer", True): "covers a definition",
    ("/w/routines/other/ROUTINE.yaml", True): "covers ROUTINE.yaml",
    ("/w/routines/id/state.json", True): "covers state.json",
    ("/w/src/.git", True): "is git's own",
    ("/w/routinectl.yaml", True): "is the workspace's settings",
}
GRANTED = [("/w", False), ("/w/daily", False), ("/w/routines/other", False), ("/w/routines/id/memory", False), ("/w/routines/id/out", True),
           ("/w/src", True), ("/srv/data", True), ("/etc/ssl", False), ("/wider", True)]  # fmt: skip


@pytest.mark.parametrize(("path", "writing"), REFUSED)
def test_a_path_that_nobody_may_be_granted(path, writing):
    assert refusal(path, "/w", "id", writing=writing).startswith(REFUSED[path, writing])


@pytest.mark.parametrize(("path", "writing"), GRANTED)
def test_a_path_that_may_be_granted(path, writing):
    assert refusal(path, "/w", "id", writing=writing) == ""


def test_what_a_model_does_is_read_only_unless_more_is_said():
    prompt = permissions.read({"action": {"prompt": {"text": "x"}}})
    command = permissions.read({"action": {"command": ["x"]}})
    assert (prompt.level, prompt.network, prompt.external) == ("read_only", False, "suggest")
    assert (command.level, command.network, command.external) == ("full", True, "none")


def confined(workspace, action, *, more="", grants="", wait=True):
    workspace.define("c", f"permissions: {{level: read_only{grants}}}\ntimeout: 1m\n{more}action: {action}\n")
    done = workspace.run("run-now", "c", *(["--wait"] if wait else []))
    return done, (workspace.events("run.ended", "c") or [None])[-1]


ENDS = {
    # what the run does: exit code of the command, and what is on record
    "well": ("exit 0", 0, {"outcome": "succeeded", "exit_code": 0}),
    "with a code": ("exit 3", 3, {"outcome": "failed", "exit_code": 3}),
    "with the code that means failed here": ("exit 125", 125, {"outcome": "failed", "exit_code": 125}),
    "with a result": ("echo done well > $ROUTINE_RESULT", 0, {"message": "done well"}),
    "quietly": ("echo noise; : > $ROUTINE_RESULT", 0, {"outcome": "quiet", "message": ""}),
    "with a last line": ("echo one; echo two", 0, {"message": "two"}),
    "with a link as its result": ("ln -s /etc/passwd $ROUTINE_RESULT; echo out", 0, {"message": "out"}),
    "with a pipe as its result": ("mkfifo $ROUTINE_RESULT; echo out", 0, {"message": "out"}),
    "with a process left behind": ("sleep 600 & echo gone", 0, {"message": "gone"}),
    "with a forged repository": ("mkdir -p out/.git && echo x > out/.git/config", 1,
                                 {"outcome": "denied", "detail": "forged_git"}),
}  # fmt: skip


@confines
@pytest.mark.parametrize("case", ENDS)
def test_a_confined_run_ends(workspace, case):
    script, code, wanted = ENDS[case]
    done, end = confined(workspace, json.dumps({"command": script}), grants=", write: [out/]")
    assert done.code == code, (done.out, done.err)
    assert {key: end["data"].get(key) for key in wanted} == wanted
    assert end["data"]["confinement"] == "namespaces"
    assert not list(workspace.root.glob("routines/c/out/.git"))


@confines
def test_a_signal_is_told_as_what_it_was(workspace):
    _, end = confined(workspace, "{command: 'kill -SEGV $$'}")
    assert (end["data"]["outcome"], end["data"]["exit_code"], end["data"]["signal"]) == ("failed", None, "SIGSEGV")


@confines
def test_it_is_given_its_input_and_its_secrets_and_keeps_them(workspace):
    (workspace.root / "secrets").mkdir(mode=0o700)
    (workspace.root / "secrets/t").write_text("hunter2-canary")
    action = ("{command: 'cat; cat $ROUTINE_PAYLOAD; echo $T; ls $HOME; cat ../../secrets/t', payload: {a: 1}, stdin: payload, "
              "secrets: {T: {file: 'workspace:secrets/t'}}}")  # fmt: skip
    confined(workspace, action)
    said = workspace.ok("logs", "c").out
    assert said.count('"a": 1') == 2
    assert "***" in said
    assert "hunter2" not in said


HELD = {
    # what a run shares with the machine, and does nothing to: what it tries; each sets what is there already, and harms nobody
    "what it reads as input": "os.fchmod(0, os.fstat(0).st_mode & 0o7777); os.utime(0); print('got' if os.fstat(0).st_nlink else '')",
    "what others open": "[fcntl.fcntl(os.open(path, os.O_RDONLY), fcntl.F_SETLEASE, fcntl.F_RDLCK) or print('got') "
                        "for path in ('ROUTINE.yaml', '/bin/sh')]",
    "hints to what others store": "fcntl.fcntl(os.open('ROUTINE.yaml', os.O_RDONLY), 1036, struct.pack('Q', 1)); print('got')",
    "what only root of the machine may read": "[print('got', name) for name in os.listdir('/proc') if not name.isdigit() and os.path.isfile(f'/proc/{name}') "
                                              "and (name == 'keys' or not os.stat(f'/proc/{name}').st_mode & 4) and os.access(f'/proc/{name}', os.R_OK)]",
    "what is left of a crash": "resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2); "
                              "pid = os.fork() or (os.chdir('out'), os.abort()); os.WCOREDUMP(os.waitpid(pid, 0)[1]) and print('got')",
    "descriptors that the user may send": """
pairs, sent = [], 0
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
try:
    while sent <= {descriptors} * 3 // 4:
        pairs.append(socket.socketpair())
        pairs[-1][0].setblocking(False)
        try:
            while True:
                socket.send_fds(pairs[-1][0], [b"x"], [0] * 250)
                sent += 250
        except BlockingIOError:
            continue
except OSError as error:
    assert error.errno == 109, error
print("got" if sent > {descriptors} * 3 // 4 else "held")""",
    "watches that the user has": "all(libc.inotify_init1(0) >= 0 for _ in range(64)) and print('got')",
    "modules of its kernel": "(libc.socketpair(17, 1, 0, bytes(8)), ctypes.get_errno() == 97) == (-1, True) or print('got')",
}  # fmt: skip


@confines
@pytest.mark.parametrize("level", ["read_only", "propose_edits"])
@pytest.mark.parametrize("case", HELD)
def test_what_a_run_shares_with_the_machine_stays_as_it_is(workspace, case, level):
    before = os.stat("/dev/null").st_ctime_ns
    script = f"import ctypes, fcntl, os, resource, socket, stat, struct, sys\nlibc = ctypes.CDLL(None, use_errno=True)\n{HELD[case].replace('{descriptors}', str(resource.getrlimit(resource.RLIMIT_NOFILE)[1]))}\n"
    workspace.define(
        "c", f"permissions: {{level: {level}, write: [out/]}}\ntimeout: 1m\naction: {json.dumps({'command': ['python3', '-c', script]})}\n"
    )
    workspace.run("run-now", "c", "--wait")
    said = workspace.ok("logs", "c").out
    assert "got" not in said
    assert "Error" not in said or "Error: [Errno 1]" in said, said
    assert os.stat("/dev/null").st_ctime_ns == before


@confines
def test_a_python_function_runs_confined(workspace):
    (workspace.root / "missions").mkdir()
    (workspace.root / "missions/__init__.py").write_text("")
    (workspace.root / "missions/helper.py").write_text("WORD = 'helped'\n")
    (workspace.root / "missions/review.py").write_text("from missions.helper import WORD\ndef main(n): return f'{WORD} {n}'\n")
    done, end = confined(workspace, "{python: {entrypoint: 'missions.review:main', args: {n: 3}}}")
    assert done.code == 0, done.err
    assert end["data"]["message"] == "helped 3"


@confines
def test_reading_the_whole_workspace_leaves_out_what_is_private(workspace):
    for path in ("secrets/t", "routines/other/memory/m", "notes/n"):
        (workspace.root / path).parent.mkdir(parents=True, exist_ok=True)
        (workspace.root / path).write_text("x")
    (workspace.root / "routines/c/memory").mkdir(parents=True)
    (workspace.root / "routines/c/memory/mine").write_text("x")
    confined(workspace, "{command: 'cd ../..; find . -type f | sort'}", grants=', read: ["workspace:."]')
    seen = workspace.ok("logs", "c").out
    assert "./notes/n" in seen
    assert "./routines/c/memory/mine" in seen
    assert "./routinectl.yaml" in seen
    for hidden in ("secrets/t", "other/memory/m", ".routinectl/"):
        assert hidden not in seen


@confines
def test_a_writable_folder_that_leads_elsewhere_is_refused(workspace, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (workspace.root / "routines/c").mkdir(parents=True)
    (workspace.root / "routines/c/out").symlink_to(tmp_path / "elsewhere")
    _, end = confined(workspace, "{command: [touch, out/x]}", grants=", write: [out/]")
    assert end["data"]["outcome"] == "not_started"
    assert "a link is on the way" in end["data"]["message"]
    assert not list((tmp_path / "elsewhere").iterdir())


@confines
def test_a_path_that_is_not_there_is_said(workspace):
    _, end = confined(workspace, "{command: ['true']}", grants=', read: ["workspace:nowhere"]')
    assert end["data"]["outcome"] == "not_started"
    assert "permissions.read 'workspace:nowhere': there is no" in end["data"]["message"]


BUDGETS = {
    "cpu of one process": ("budget: {cpu: 1s}\n", "while :; do :; done", "budget.cpu"),
    "cpu of many": ("budget: {cpu: 2s}\n", "for i in 1 2 3 4; do (while :; do :; done) & done; wait", "budget.cpu"),
    "memory of many": ("budget: {memory: 96MiB}\n",
                       "for i in 1 2 3; do python3 -c 'x = bytearray(50 << 20); import time; time.sleep(30)' & done; wait", "budget.memory"),
}  # fmt: skip


@pytest.mark.parametrize("level", [pytest.param("read_only", marks=confines), "full"])
@pytest.mark.parametrize("case", BUDGETS)
def test_a_run_over_its_budget_is_stopped(workspace, case, level):
    budget, script, detail = BUDGETS[case]
    workspace.define(
        "c", f"permissions: {{level: {level}}}\ntimeout: 1m\nkill_grace: 1s\n{budget}action: {json.dumps({'command': script})}\n"
    )
    workspace.run("run-now", "c", "--wait")
    (end,) = workspace.events("run.ended", "c")
    assert (end["data"]["outcome"], end["data"]["detail"]) == ("over_budget", detail)


@confines
def test_a_run_past_its_time_leaves_nothing(workspace):
    script = "trap '' TERM; (trap '' TERM; setsid sleep 599) & sleep 599; sleep 599"
    workspace.define("c", f"permissions: {{level: read_only}}\ntimeout: 1s\nkill_grace: 1s\naction: {json.dumps({'command': script})}\n")
    workspace.run("run-now", "c", "--wait")
    (end,) = workspace.events("run.ended", "c")
    assert end["data"]["outcome"] == "timed_out"
    mark = f"ROUTINE_RUN_ID={end['data']['run']}".encode()
    until(lambda: not [pid for pid in os.listdir("/proc") if pid.isdigit() and mark in environment_of(pid)])


def environment_of(pid):
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return file.read()
    except OSError:
        return b""


@confines
def test_a_confined_run_outlives_serve_and_its_end_is_told(workspace):
    workspace.define(
        "c", "triggers: [{every: 1s}]\nmax_runs: 1\npermissions: {level: read_only}\ntimeout: 1m\naction: {command: 'sleep 2; exit 7'}\n"
    )
    workspace.configure("limits: {max_concurrent_runs: 4}")
    with workspace.serving() as serving:
        until(lambda: workspace.events("run.started", "c"))
        serving.process.send_signal(signal.SIGKILL)
        serving.process.wait()
    time.sleep(0.1)
    with workspace.serving():
        until(lambda: workspace.events("run.ended", "c"))
    (end,) = workspace.events("run.ended", "c")
    assert (end["data"]["outcome"], end["data"]["exit_code"]) == ("failed", 7)


@confines
def test_the_command_that_judges_is_confined_too(workspace):
    more = "expect: {command: [sh, -c, 'cat ../../secrets/t || cat out/made']}\n"
    (workspace.root / "secrets").mkdir()
    (workspace.root / "secrets/t").write_text("secret\n")
    done, end = confined(workspace, "{command: 'echo made > out/made'}", grants=", write: [out/]", more=more)
    assert (done.code, end["data"]["outcome"]) == (0, "succeeded"), end
    (said,) = workspace.root.glob(".routinectl/runs/c/*/judge")
    assert "secret\n" not in said.read_text()
    assert "made" in said.read_text()


@confines
def test_people_see_how_far_it_may_go(workspace):
    confined(workspace, "{command: [echo, hi]}", grants=", network: true, write: [out/]")
    shown = workspace.ok("show", "c")
    assert "read_only: reads its own folder; writes its memory, out/; network" in shown.out
    assert "external" in shown.out
    found = {item["name"]: item for item in workspace.ok("doctor", "--json").data}
    assert "keeps a program in" in found["confinement"]["found"]
    assert workspace.run("doctor", env={"ROUTINECTL_CONFINEMENT": "none"}).code == 1


@confines
def test_naming_a_secret_does_not_show_it(workspace):
    (workspace.root / "secrets").mkdir()
    (workspace.root / "secrets/t").write_text("hunter2-canary")
    confined(workspace, "{command: [cat, ../../secrets/t]}")
    assert "hunter2" not in workspace.ok("logs", "c").out
    _, end = confined(workspace, "{command: [cat, t], workdir: 'workspace:secrets'}")
    assert end["data"]["outcome"] == "not_started"
    _, end = confined(workspace, f"{{command: ['true'], output: {workspace.root}/.git/hooks/pre-commit}}")
    assert "is git's own" in end["data"]["message"]


@confines
@needs("unshare")
def test_where_nobody_may_make_user_namespaces_a_read_only_run_is_refused_and_the_others_run(workspace):
    workspace.define("c", "permissions: {level: read_only}\ntimeout: 1m\naction: {command: [touch, /tmp/never-routinectl]}\n")
    workspace.define("free", "timeout: 1m\naction: {command: ['true']}\n")
    for name, code in (("c", 1), ("free", 0)):
        words = [sys.executable, "-m", "routinectl", "run-now", name, "--wait"]
        script = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
        done = subprocess.run(["unshare", "--user", "--map-root-user", "sh", "-c", script, "sh", *words], cwd=workspace.root, env=workspace.env,
                              capture_output=True, text=True, timeout=60, check=False)  # fmt: skip
        assert done.returncode == code, done.stderr
    (end,) = workspace.events("run.ended", "c")
    assert end["data"]["outcome"] == "not_started"
    assert "the kernel lets nobody here make user namespaces" in end["data"]["message"]
    assert not os.path.exists("/tmp/never-routinectl")


@confines
def test_who_asks_for_a_trial_may_end_in_the_middle_of_it(tmp_path):
    """A `serve` that is stopped at once: no traceback, and no folder stays behind."""
    program = ("import sys, threading, time; from routinectl.process import trial; "
               "threading.Thread(target=trial.best, daemon=True).start(); time.sleep(float(sys.argv[1]))")  # fmt: skip
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    for seconds in ("0.03", "0.05", "0.08"):
        done = subprocess.run([sys.executable, "-c", program, seconds], env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
    until(lambda: not list(tmp_path.iterdir()))


@pytest.mark.parametrize(("asked", "granted", "said"), [
    (Permissions("full"), Permissions("full"), ""),
    (Permissions("full"), Permissions("read_only", network=False), "permissions.level: read_only"),
    (Permissions("read_only", network=True), Permissions("read_only", network=False), "permissions.network: false"),
    (Permissions("read_only", network=False, external="allow"), Permissions("read_only", network=False, external="suggest"), "permissions.external: suggest"),
    (Permissions("read_only", ("a/", "b/"), network=False), Permissions("read_only", ("a/",), network=False), "permissions.read: [a/]"),
    (Permissions("read_only", ("a/",), ("out/",), network=False), Permissions("full"), ""),
    (Permissions("propose_edits", (), ("out/",), network=False), Permissions("propose_edits", (), (), network=False), "permissions.write: []"),
    (Permissions("read_only", (), (), ("web.get",), network=False), Permissions("read_only", (), (), ("files.read",), network=False), "permissions.tools: [files.read]"),
])  # fmt: skip
def test_what_is_wider_is_named_as_it_would_have_to_be(asked, granted, said):
    assert permissions.wider(asked, granted) == said
