"""Writing routines for other schedulers: crontab lines and systemd units. What they cannot say is said in comments."""

from __future__ import annotations

import shlex

from routinectl.core.routine import Routine
from routinectl.core.schedule.cron import Cron, bits
from routinectl.core.schedule.interval import Interval
from routinectl.core.schedule.next_time import TimeTrigger
from routinectl.engine import launch
from routinectl.files.layout import Layout

_DAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")


def command_line(layout: Layout, routine: Routine) -> str:
    """Return the command of a routine as one line for a shell, in its folder and with its environment."""
    action = routine.action
    folder = layout.resolve(routine.id, action.workdir)
    env = " ".join(f"{key}={shlex.quote(value)}" for key, value in (action.env or {}).items())
    program = f"{action.shell} -c {shlex.quote(action.line)}" if action.line else shlex.join(launch.command_of(layout, routine, action))
    return f"cd {shlex.quote(folder)} && {env + ' ' if env else ''}{program}"


def crontab(layout: Layout, routine: Routine) -> str:
    """Return crontab lines for a routine."""
    lines = [f"# {routine.name}", f"CRON_TZ={routine.zone.name}"]
    command = command_line(layout, routine).replace("%", "\\%").replace("\n", " ")
    for trigger in routine.schedule.triggers:
        rule = trigger.rule
        if isinstance(rule, Cron):
            lines.append(f"{rule.text} {command}")
        elif isinstance(rule, Interval) and rule.step % 60 == 0 and 3600 % rule.step == 0 and rule.anchor % rule.step == 0:
            minutes = rule.step // 60
            lines.append(f"{'0' if minutes == 60 else f'*/{minutes}' if minutes > 1 else '*'} * * * * {command}")
        else:
            lines.append(f"# cron cannot say: {trigger.text}")
    lines += [f"# cron does not keep: {text}" for text in _lost(routine)]
    return "\n".join(lines) + "\n"


def _lost(routine: Routine) -> list[str]:
    lost = [f"timeout {routine.timeout}", f"misfire {routine.misfire.policy}"]
    if routine.concurrency == "forbid":
        lost.append("concurrency forbid (flock -n would)")
    if routine.offset:
        lost.append(f"jitter of {routine.offset}")
    if routine.action.secrets:
        lost.append(f"secrets {', '.join(routine.action.secrets)}")
    return lost


def systemd(layout: Layout, routine: Routine) -> dict[str, str]:
    """Return the units of a routine: `name.service` and `name.timer`."""
    name = f"routinectl-{routine.id}"
    calendars = [line for trigger in routine.schedule.triggers for line in _calendar(trigger)]
    service = [
        "[Unit]", f"Description={routine.name}", "", "[Service]", "Type=oneshot",
        f"WorkingDirectory={layout.resolve(routine.id, routine.action.workdir)}",
        *(f"Environment={shlex.quote(f'{key}={value}')}" for key, value in (routine.action.env or {}).items()),
        f"ExecStart=/bin/sh -c {_escaped(command_line(layout, routine))}",
        f"TimeoutStartSec={int(routine.timeout.total_seconds())}", f"TimeoutStopSec={int(routine.kill_grace.total_seconds())}",
    ]  # fmt: skip
    timer = ["[Unit]", f"Description={routine.name}", "", "[Timer]", *calendars, "AccuracySec=1s",
             f"Persistent={'false' if routine.misfire.policy == 'skip' else 'true'}", "", "[Install]", "WantedBy=timers.target"]  # fmt: skip
    return {f"{name}.service": "\n".join(service) + "\n", f"{name}.timer": "\n".join(timer) + "\n"}


def _escaped(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$").replace("\n", "\\n") + '"'


def _calendar(trigger: TimeTrigger) -> list[str]:
    rule, zone = trigger.rule, trigger.zone.name
    if isinstance(rule, Interval):
        return [f"# not a calendar time: {trigger.text}", f"OnUnitActiveSec={rule.step}", "OnActiveSec=1"]
    if not isinstance(rule, Cron):
        return [f"# once: {trigger.text}"]
    if rule.nths or rule.last_dows:
        return [f"# systemd cannot say: {rule.text}"]
    minute, hour, dom, month, dow = rule.text.split()
    times = f"{_list(rule.hours, hour)}:{_list(rule.minutes, minute)}:00"
    months = _list(rule.months, month)
    dates = f"*-{months}-{_list(rule.doms, dom)}" if not rule.last_dom else f"*-{months}~01"
    weekdays = "" if dow.startswith(("*", "?")) and "/" not in dow else ",".join(_DAYS[day] for day in bits(rule.dows)) + " "
    if rule.either_day:
        return [f"OnCalendar={weekdays}*-{months}-* {times} {zone}", f"OnCalendar={dates} {times} {zone}"]
    return [f"OnCalendar={weekdays}{dates} {times} {zone}"]


def _list(mask: int, text: str) -> str:
    return "*" if text in ("*", "?", "*/1") else ",".join(f"{value:02d}" for value in bits(mask))
