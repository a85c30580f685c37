"""Getting a run ready: program, environment, folder. Everything that can be done before the due instant is done here.

The environment of a run is stated, small and the same whoever started it: what `BASE` and the definition say, and
`ROUTINE_*`. Nothing of the shell that started serve reaches a run.
"""

from __future__ import annotations

import functools
import json
import math
import os
import pwd
import re
import shlex
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from routinectl.core import gates, permissions, prompt
from routinectl.core.agent import Job
from routinectl.core.routine import Action, Routine
from routinectl.core.settings import Settings
from routinectl.core.standing import Request, run_of
from routinectl.core.units import to_iso
from routinectl.core.wish import Start
from routinectl.engine import confinement, host
from routinectl.errors import in_words
from routinectl.files import regular, run_logs
from routinectl.files.layout import Layout
from routinectl.files.sealed import Sealed
from routinectl.process import leavings, view
from routinectl.process.confine import HOW

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SYSTEM = ("/usr/", "/bin/", "/sbin/", "/lib", "/proc/", "/dev/", "/sys/")
_ENTRY = Path(__file__).resolve().parents[1] / "process" / "python_entry.py"
_TOOLBOX = _ENTRY.with_name("toolbox.py")
_SECRET_BYTES = 128 * 1024 - 1  # an environment variable holds no more on Linux (execve(2), MAX_ARG_STRLEN)


class CannotStart(Exception):
    """What a run needs is not there; the text says what."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What every run of a routine has in common while its revision is in force."""

    revision: str
    argv0: str
    argv: list[str]
    env: dict[str, str]
    cwd: str
    umask: int
    facts: dict[str, Any]
    masks: list[str] = field(default_factory=list)
    fault: str = ""
    asks: dict[str, Any] | None = None  # the model that a prompt asks, and its key
    limits: dict[str, int] = field(default_factory=dict)
    confine: confinement.Spec | None = None
    judge: dict[str, Any] | None = None  # the command that judges the result
    ready: tuple[datetime, bytes] | None = None  # the entry of the next slot, made before its instant
    day: Mapping[str, float] = field(default_factory=dict)  # what is reserved for it of the day's budget (`budget.WORK`)
    sealed: Sealed | None = None  # the bytes it acts with, where only approved ones may be


@functools.cache
def base_environment() -> dict[str, str]:
    """Return the part of the environment that is the same for every routine of this user."""
    user = pwd.getpwuid(os.getuid())
    return {"PATH": PATH, "HOME": user.pw_dir, "USER": user.pw_name, "LOGNAME": user.pw_name, "SHELL": "/bin/sh",
            "LANG": "C.UTF-8"}  # fmt: skip


def prepare(layout: Layout, settings: Settings, routine: Routine, revision: str, facts: dict[str, Any]) -> Prepared:
    """Return what the next runs of a routine need; a fault is kept, and told when a run should have started."""
    action = routine.action
    env = dict(action.env or {})
    env |= {
        "ROUTINE_ID": routine.id,
        "ROUTINE_WORKSPACE": str(layout.root),
        "ROUTINE_MEMORY": f"{layout.folder(routine.id)}/memory",
        "ROUTINE_PAYLOAD": os.devnull,
    }
    confine = None
    umask = action.umask if action.umask is not None else 0o022
    try:
        model, cwd, argv, argv0, judge, secrets = _found(layout, settings, routine)
        if not os.path.isdir(env["ROUTINE_MEMORY"]):
            os.makedirs(env["ROUTINE_MEMORY"], exist_ok=True)
        if model is not None:
            spec = asking_spec(layout, routine)
            confinement.refuse_all(layout, routine.id, [*spec["context"], *filter(None, [spec["file"]])], "context")
        if action.job is not None:
            servers_of(layout, action.job)  # a server that is not there is said before anything starts
        if action.output:
            confinement.refuse_all(layout, routine.id, [layout.resolve(routine.id, action.output)], "action.output", writing=True)
        if routine.permissions.confined and action.prompt is None:  # a prompt starts nothing that could be confined
            confine = confinement.spec(layout, routine, named_files(layout, routine), cwd, argv0)
            facts = {**facts, "confinement": HOW}
            env.setdefault("HOME", confinement.HOME)
    except (CannotStart, confinement.CannotConfine, OSError) as error:
        fault = in_words(error) if isinstance(error, OSError) else str(error)
        return Prepared(revision, "", [], env, str(layout.root), umask, facts, fault=fault)
    masks = [text for text in (*secrets.values(), model["key"] if model else "") if text]
    limits = confinement.limits(routine)
    return Prepared(revision, argv0, argv, env | secrets, cwd, umask, facts, masks, limits=limits, confine=confine, judge=judge, asks=model)


_Found = tuple[dict[str, Any] | None, str, list[str], str, dict[str, Any] | None, dict[str, str]]


def _found(layout: Layout, settings: Settings, routine: Routine) -> _Found:
    """Return the model, folder, command, program, judge and secrets of a run, all of which must be there. Raises CannotStart."""
    path = (routine.action.env or {}).get("PATH", PATH)
    model, cwd = _model(layout, settings, routine), _folder(layout, routine)
    argv = command_of(layout, routine, routine.action)
    return model, cwd, argv, _program(argv[0], cwd, path), _judge(routine, cwd, path), _secrets(layout, routine)


def fault_of(layout: Layout, settings: Settings, routine: Routine) -> str:
    """Say what a run would lack if it started now, from here: a program, a folder, a secret, the key of a model. Changes nothing."""
    try:
        _found(layout, settings, routine)
    except CannotStart as error:
        return str(error)
    except OSError as error:
        return in_words(error)
    return ""


def within(prepared: Prepared, day: Mapping[str, float]) -> Prepared:
    """Return what a run needs that may use no more of its day than this, of `budget.WORK`."""
    limits = {**prepared.limits, "cpu": max(math.ceil(day["cpu"]), 1)} if "cpu" in day else prepared.limits
    return replace(prepared, limits=limits, day=day, ready=None)


def with_sealed(layout: Layout, routine: Routine, prepared: Prepared, copy: Sealed) -> Prepared:
    """Return what a run needs to act with sealed bytes alone.

    A confined run finds them where the files themselves would be. Another is given the copies' paths: as its working
    folder where that is in the routine's own, and for every word that names such a file.
    """
    if prepared.confine is not None:
        return replace(prepared, confine=confinement.with_sealed(prepared.confine, copy), sealed=copy)
    if routine.hosted:
        return replace(prepared, sealed=copy)
    judge = prepared.judge
    if judge is not None:
        judge = {**judge, "argv0": copy.where(os.path.normpath(judge["argv0"])), "argv": _sealed_words(copy, prepared.cwd, judge["argv"])}
    argv = _sealed_words(copy, prepared.cwd, prepared.argv)
    if routine.action.kind == "python":
        argv = [*prepared.argv[:-2], copy.place, copy.modules, str(layout.root)]
    elif routine.action.line:
        words = dict.fromkeys(routine.action.line.split())
        argv = [
            *prepared.argv[:-1],
            _with_words(routine.action.line, dict(zip(words, _sealed_words(copy, prepared.cwd, words), strict=True))),
        ]
    argv0 = copy.where(os.path.normpath(prepared.argv0))
    return replace(prepared, argv0=argv0, argv=argv, cwd=copy.where(prepared.cwd), judge=judge, sealed=copy)


def _sealed_words(copy: Sealed, cwd: str, words: Iterable[str]) -> list[str]:
    """Return words of a command, those that name a sealed file as the path of its copy."""
    return [_sealed_word(copy, cwd, word) for word in words]


def _sealed_word(copy: Sealed, cwd: str, word: str) -> str:
    if "/" not in word:
        return word  # a program of PATH, or a file that is found in the working folder, which is the copy
    path = os.path.normpath(os.path.join(cwd, word))
    place = copy.where(path)
    return place if place != path and os.path.isfile(place) else word


def _with_words(line: str, words: Mapping[str, str]) -> str:
    """Return a shell's line with some of its words replaced."""
    return re.sub(r"\S+", lambda match: words[match[0]] if words[match[0]] == match[0] else shlex.quote(words[match[0]]), line)


def _model(layout: Layout, settings: Settings, routine: Routine) -> dict[str, Any] | None:
    """Return the model that a routine asks, with its key; None where it asks none. Raises CannotStart."""
    asking = routine.action.prompt or routine.action.job
    if asking is None:
        return None
    return model_of(layout, settings, asking.model)


def model_of(layout: Layout, settings: Settings, name: str) -> dict[str, Any]:
    """Return a model of the workspace with its key. Raises CannotStart."""
    from importlib.util import find_spec

    if find_spec("pydantic_ai") is None:
        raise CannotStart("asking a model needs the extra agents: pip install 'routinectl[agents]'")
    model = settings.models.get(name)
    if model is None:
        raise CannotStart(f"routinectl.yaml has no model '{name}'")
    key = _secret(layout, "", f"the key of the model {name}", model.key, "workspace:") if model.key else ""
    price = [model.price.input, model.price.output] if model.price else None
    shared = [[item.name, list(item.tags), [item.day.tokens, item.day.cost]] for item in settings.budgets.values()]
    return {"provider": model.provider, "model": model.model, "base_url": model.base_url, "price": price, "key": key, "shared": shared}


def _judge(routine: Routine, cwd: str, path: str) -> dict[str, Any] | None:
    wanted = routine.expect.judge
    if wanted is None:
        return None
    return {"argv0": _program(wanted.argv[0], cwd, path), "argv": list(wanted.argv), "timeout": wanted.timeout.total_seconds(),
            "after": sorted(routine.expect.exit_codes)}  # fmt: skip


def named_files(layout: Layout, routine: Routine) -> list[str]:
    """Return the files that a routine's action names outside its own folder, without the system's own programs.

    Words of the command (and of the command that judges it) that name a file, and the module of a Python entrypoint.
    """
    action = routine.action
    if action.prompt is not None:
        return [layout.resolve(routine.id, action.prompt.file)] if action.prompt.file else []
    if action.job is not None:
        skills = sorted(layout.agent(action.job.agent).parent.rglob("*")) if action.job.agent else ()
        return [str(path) for path in skills if path.is_file()][:_MOST_SKILLS]
    words = [*action.argv, *(routine.expect.judge.argv if routine.expect.judge else ()), *action.line.split(), action.interpreter]
    cwd = layout.resolve(routine.id, action.workdir)
    paths = [os.path.normpath(os.path.join(cwd, word)) for word in words if "/" in word]
    if action.entrypoint:
        module = action.entrypoint.partition(":")[0].replace(".", "/")
        paths += [f"{layout.root}/{module}.py", f"{layout.root}/{module}/__init__.py"]
    return sorted({path for path in paths if not path.startswith(_SYSTEM) and os.path.isfile(path)})


def _folder(layout: Layout, routine: Routine) -> str:
    path = layout.resolve(routine.id, routine.action.workdir)
    if not os.path.isdir(path):
        raise CannotStart(f"the workdir {path} is no folder")
    return path


def command_of(layout: Layout, routine: Routine, action: Action) -> list[str]:
    """Return the program and arguments of an action; of one that asks a model, the process of its tools."""
    if action.prompt is not None or action.job is not None:
        return [sys.executable, "-I", "-S", str(_TOOLBOX)]
    if action.kind == "python":
        interpreter = action.interpreter or sys.executable
        if "/" in interpreter and not interpreter.startswith("/"):
            interpreter = layout.resolve(routine.id, interpreter)
        args = json.dumps(dict(action.args or {}))
        return [interpreter, str(_ENTRY), action.entrypoint, args, str(layout.folder(routine.id)), str(layout.root)]
    if action.line:
        return [action.shell, "-c", action.line]
    return list(action.argv)


def _program(name: str, cwd: str, path: str) -> str:
    """Return the file to execute, found as execvp would in the run's own folder and PATH."""
    if "/" in name:
        program = os.path.join(cwd, name)
        if os.path.isdir(program):
            raise CannotStart(f"{name}: it is a folder, not a program")
        if not os.path.exists(program):
            raise CannotStart(f"{name}: no such program in {cwd}")
        if not os.path.isfile(program):
            raise CannotStart(f"{name}: it is a FIFO, a device or a socket, not a program")
        if not os.access(program, os.X_OK):
            raise CannotStart(f"{name}: it may not be executed; chmod +x {program}")
        return program
    for folder in path.split(":"):
        program = os.path.join(cwd, folder, name)
        if os.path.isfile(program) and os.access(program, os.X_OK):
            return program
    raise CannotStart(f"{name}: command not found in PATH {path}")


def _secrets(layout: Layout, routine: Routine) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, reference in (routine.action.secrets or {}).items():
        found[name] = _secret(layout, routine.id, f"the secret {name}", reference)
    return found


def _secret(layout: Layout, routine_id: str, what: str, reference: tuple[str, ...], above: str = "") -> str:
    """Return what a reference names: an environment variable, or a file (`above` is put before its path). Raises CannotStart."""
    kind, where = reference
    if kind == "env":
        if where not in os.environ:
            raise CannotStart(f"{what} is not there: {where} is not set where routinectl runs")
        return os.environ[where]
    path = layout.resolve(routine_id, where if where.startswith("/") else above + where)
    try:
        return regular.read(path, _SECRET_BYTES).decode(errors="surrogateescape").rstrip("\n")
    except OSError as error:
        raise CannotStart(f"{what} is not there: {path}: {error.strerror}") from None


def entry_of(layout: Layout, routine: Routine, prepared: Prepared, start: Start, key: str, now: datetime) -> dict[str, Any]:
    """Return what the keeper is given for one attempt. Its folder is made here unless it was prepared."""
    folder = run_logs.make(layout, routine.id, key)
    payload = _payload(routine.action, start)
    env = environment(layout, routine, prepared, start, key, now)
    given = os.devnull if payload is None else str(run_logs.write_payload(folder, payload))
    if payload is not None:
        env["ROUTINE_PAYLOAD"] = given
    entry: dict[str, Any] = {
        "run": key, "id": routine.id, "argv0": prepared.argv0, "argv": prepared.argv, "env": env, "cwd": prepared.cwd,
        "umask": prepared.umask, "stdin": given if routine.action.stdin_payload else os.devnull,
        "deadline": 0, "timeout": _timeout(routine, prepared), "grace": routine.kill_grace.total_seconds(),
        "cap": int(prepared.day.get("output", routine.output_cap)), "keep": routine.keep_leftovers,
    }  # fmt: skip
    if prepared.masks:
        entry["mask"] = prepared.masks
    if prepared.judge is not None:
        entry["judge"] = prepared.judge
    if prepared.limits:
        entry["limits"] = prepared.limits
    if "cpu" in prepared.day and not routine.approximate:
        entry["exact"] = True
    if prepared.confine is not None:
        entry["confine"] = _with_its_own(layout, routine.id, prepared.confine, folder, given)
        entry["leaves"] = True
        env |= {"ROUTINE_RESULT": f"{confinement.INSIDE}/own/result"}
        env |= {"ROUTINE_PAYLOAD": f"{confinement.INSIDE}/payload.json"} if payload is not None else {}
    if not routine.hosted:
        return entry
    limits = entry.pop("limits", {})
    spec: dict[str, Any] = {"kind": "edits", "root": str(layout.root), "entry": {name: entry.pop(name, None) for name in _OF_THE_WORK}}
    spec["entry"]["limits"] = limits
    if prepared.sealed is not None:
        spec |= {"sealed": prepared.sealed.place, "id": routine.id}
    if prepared.asks is not None:
        spec |= _asking(layout, routine, prepared, entry, now)
        entry["env"][host.KEY] = prepared.asks["key"]
    return {**_hosted(layout, folder, entry, spec), "watch": limits}


_MOST_SKILLS = 200  # files of an agent that are part of what is approved
_OF_THE_WORK = ("argv0", "argv", "cwd", "stdin", "confine")


def _hosted(layout: Layout, folder: Path, entry: dict[str, Any], spec: dict[str, Any]) -> dict[str, Any]:
    """Return an entry whose first process is a host of ours that does what `spec` says."""
    (folder / host.SPEC).write_text(json.dumps(spec))
    program = host.program(folder)
    return {**entry, "argv0": program[0], "argv": program, "cwd": str(layout.root), "stdin": os.devnull, "mask": entry.get("mask", [])}


def servers_of(layout: Layout, job: Job) -> dict[str, Any]:
    """Return the MCP servers of a job as a head has them; words that begin with `./` are files of the agent's folder. Raises CannotStart."""
    if not job.agent:
        return {}  # only a saved agent has any
    folder = str(layout.agent(job.agent).parent)
    found: dict[str, Any] = {}
    for name, server in job.servers.items():
        words = [f"{folder}/{word[2:]}" if word.startswith("./") else word for word in server.command]
        if words:
            words[0] = _program(words[0], folder, PATH)
        found[name] = {"command": words, "url": server.url, "read": list(server.read), "effect": list(server.effect)}
    return found


def _sealed_servers(servers: dict[str, Any], prepared: Prepared) -> dict[str, Any]:
    """Return MCP servers that are started from sealed bytes; a confined run finds these under the files' own names."""
    copy = prepared.sealed
    if copy is None or prepared.confine is not None:
        return servers
    return {name: {**server, "command": [copy.where(word) for word in server["command"]]} for name, server in servers.items()}


def tools_entry(layout: Layout, routine_id: str, prepared: Prepared, folder: Path) -> dict[str, Any]:
    """Return the entry of a process of tools by itself, for one call; `folder` is what a run's would be."""
    spec = _with_its_own(layout, routine_id, prepared.confine, folder, os.devnull) if prepared.confine is not None else None
    confined = {"confine": spec} if spec is not None else {}
    return {"argv0": prepared.argv0, "argv": prepared.argv, "cwd": prepared.cwd, "limits": prepared.limits, **confined}


def asking_spec(layout: Layout, routine: Routine) -> dict[str, Any]:
    """Return what a prompt, or the first message to an agent, is made of, with absolute paths."""
    action = routine.action
    asking = action.prompt or action.job
    assert asking is not None
    file = layout.resolve(routine.id, action.prompt.file) if action.prompt is not None and action.prompt.file else ""
    return {
        "root": str(layout.root), "text": action.prompt.text if action.prompt is not None else action.job.task if action.job else "", "file": file,
        "context": [layout.resolve(routine.id, path) for path in asking.context], "max_tokens": asking.max_tokens,
        "memory": f"{layout.folder(routine.id)}/memory/{prompt.MEMORY_FILE}", "quiet_reply": asking.quiet_reply,
    }  # fmt: skip


def _asking(layout: Layout, routine: Routine, prepared: Prepared, entry: dict[str, Any], now: datetime) -> dict[str, Any]:
    """Return what the host of a routine that asks a model is told; the key goes by the environment, for a file would keep it."""
    spending, granted, job, asks = routine.spending, routine.permissions, routine.action.job, prepared.asks
    assert asks is not None
    payload = f"{layout.run(routine.id, entry['run'])}/payload.json"
    spec = {
        "kind": "prompt", "id": routine.id, "run": entry["run"], "workspace": str(layout.root), **asking_spec(layout, routine),
        "payload": payload if entry["env"]["ROUTINE_PAYLOAD"] != os.devnull else None, "secrets": sorted(routine.action.secrets or {}),
        "model": {key: value for key, value in asks.items() if key not in ("key", "shared")},
        "shared": [item for item in asks["shared"] if not set(item[1]).isdisjoint(routine.tags)], "day": gates.local_day(routine, now),
        "budget": {"tokens": spending.run.tokens, "cost_usd": spending.run.cost,
                   "per_day": {"tokens": spending.day.tokens, "cost_usd": spending.day.cost}},
        "seconds": _timeout(routine, prepared),
    }  # fmt: skip
    if prepared.sealed is not None:
        spec["file"] = prepared.sealed.where(spec["file"])
    if job is not None:
        spec |= {"kind": "agent", "instructions": job.instructions, "tools": list(job.tools), "max_iterations": job.max_iterations,
                 "mcp": _sealed_servers(servers_of(layout, job), prepared),
                 "level": granted.level, "read": list(granted.read), "write": list(granted.write), "network": granted.network, "external": granted.external,
                 "words": f"You may act so: {permissions.words(granted)}"}  # fmt: skip
    return spec


def _with_its_own(layout: Layout, routine_id: str, spec: confinement.Spec, folder: Path, payload: str) -> confinement.Spec:
    """Return a confinement with what belongs to one attempt: its input, a folder for its result, and one for what it writes.

    What is to be looked at when it has ended is written down in the run's folder.
    """
    own = os.path.realpath(run_logs.make_own(folder))
    real = os.path.dirname(own)
    binds = [*spec["binds"], [own, f"{confinement.INSIDE}/own", view.OWN, ""]]
    if payload != os.devnull:
        binds.append([os.path.realpath(payload), f"{confinement.INSIDE}/payload.json", view.PLAIN, ""])
    written = [[source, layer] for source, _, _, layer in spec["binds"] if layer]
    asked = {"folder": real, "root": spec["makes"], "aside": f"{spec['makes']}/{layout.set_aside(routine_id, folder.name).relative_to(layout.root)}",
             "writes": written, "sees": [bind[:2] for bind in spec["binds"]], "hidden": spec["hidden"]}  # fmt: skip
    (folder / leavings.ASKED).write_text(json.dumps(asked))
    return {key: value for key, value in spec.items() if key != "hosted"} | {
        "binds": binds, "with_parent": spec["hosted"], "written": f"{real}/{leavings.WRITTEN}/run",
    }  # fmt: skip


def environment(layout: Layout, routine: Routine, prepared: Prepared, start: Start, key: str, now: datetime) -> dict[str, str]:
    """Return the whole environment of one attempt."""
    deadline = (now + timedelta(seconds=_timeout(routine, prepared))).replace(microsecond=0) + timedelta(seconds=1)
    asked = start.request or (start.retry and start.retry.request)
    return {
        **prepared.env,
        "ROUTINE_RUN_ID": run_of(key),
        "ROUTINE_ATTEMPT": str(start.retry.attempt if start.retry else 1),
        "ROUTINE_SLOT": to_iso((asked.slot if isinstance(asked, Request) else None) or start.slot or start.due),
        "ROUTINE_TRIGGER": _kind(start),
        "ROUTINE_RESULT": f"{layout.run(routine.id, key)}/result",
        "ROUTINE_DEADLINE": to_iso(deadline),
    }


def _timeout(routine: Routine, prepared: Prepared) -> float:
    """Return how long a run may take, in seconds: its timeout, or what is left of the day."""
    return prepared.day.get("wall", routine.timeout.total_seconds())


def _kind(start: Start) -> str:
    """Return what kind of trigger began a run: schedule, manual, or the kind of one that is no time."""
    if start.retry is not None:
        return start.retry.trigger.partition(" ")[0] if start.retry.request else "schedule"
    if start.request is not None:
        return start.request.trigger.partition(" ")[0] or "manual"
    return "schedule"


def given(start: Start) -> Mapping[str, Any] | None:
    """Return the payload that came with a start: of its request, of the attempt before, or of several requests as a list."""
    if start.payloads:
        return {"payloads": list(start.payloads)}
    if start.retry is not None:
        return start.retry.payload
    return start.request.payload if start.request else None


def _payload(action: Action, start: Start) -> Mapping[str, Any] | None:
    came = given(start)
    if action.payload is None:
        return came
    return {**action.payload, **came} if came else action.payload
