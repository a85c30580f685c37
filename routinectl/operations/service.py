"""serve as a systemd service: units for a user and for the system, and their installation."""

from __future__ import annotations

import getpass
import os
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

from routinectl.errors import RoutinectlError
from routinectl.files import atomic, config
from routinectl.files.layout import Layout
from routinectl.process import keep, systemctl

HARDENING = ("default", "strict")
_UNIT = """\
[Unit]
Description=routinectl: routines of {root}
Documentation=man:routinectl(1)
After=network-online.target time-sync.target
Wants=network-online.target
StartLimitIntervalSec=0

[Service]
{service}
[Install]
WantedBy={target}
"""
_DEFAULT_HEAD = """\
# Runs inherit all that stands here: so nothing takes from them what cron would give them. How far a run may go, its
# definition says (permissions); `routinectl doctor` says where a change here keeps runs from what a shell can do.
"""
_STRICT_HEAD = """\
# Runs inherit all that stands here. Beside each directive stands what they lose by it; a drop-in (systemctl edit) gives
# it back. Confined runs work below all of it.
"""
# Every directive of [Service] that both hardenings have, and why runs, which inherit it, can live with it.
_SERVICE = (
    ("Type", "notify", "of serve alone"),
    ("User", "{user}", "whose routines they are: the owner of the workspace"),
    ("ExecStart", "{command} -w {root} serve", "of serve alone"),
    ("ExecReload", "/bin/kill -HUP $MAINPID", "of serve alone"),
    ("WorkingDirectory", "{root}", "a run begins in its own folder"),
    ("Restart", "on-failure", "of serve alone"),
    ("RestartSec", "5", "of serve alone"),
    ("RestartPreventExitStatus", "75 78", "of serve alone"),
    ("KillMode", "process", "runs outlive serve: they are the keeper's, and only serve itself is stopped or restarted"),
    ("SendSIGKILL", "no", "as KillMode"),
    ("Delegate", "cpu memory pids", "the unit's group is the keeper's to divide; systemd leaves what is in it alone"),
    ("DelegateSubgroup", "serve", "a group that is divided takes no process itself: serve could not start again beside a keeper"),
    ("OOMPolicy", "continue", "a run that the kernel ends for its memory ends neither serve nor the runs beside it"),
    ("WatchdogSec", "120", "of serve alone; runs are not given NOTIFY_SOCKET"),
    ("NotifyAccess", "main", "of serve alone"),
    ("UMask", "0077", "a run has the umask of its definition, 022 if it says none"),
)
# What `strict` adds, and what runs lose by it. It is all that confined runs can live below. Left out, for they would be
# refused: RestrictNamespaces, ProtectHostname, CapabilityBoundingSet= (as root), SystemCallFilter=@system-service, and where
# /proc is not whole otherwise ProtectKernelTunables, ProtectKernelLogs, ProtectProc. ProtectControlGroups would take
# the groups from the keeper, and PrivateTmp the files of a run that goes on over a restart.
_STRICT = (
    ("PrivateUsers", "yes", "every capability; files of other users look like those of nobody"),  # else a user's manager ignores the next
    (
        "ProtectSystem",
        "strict",
        "writing anywhere but below ReadWritePaths: a backup elsewhere fails until a drop-in names its folder there",
    ),
    ("ProtectHome", "read-only", "writing to home folders, so caches and ~/.ssh/known_hosts"),
    ("ReadWritePaths", "{root} /tmp /var/tmp", ""),
    ("NoNewPrivileges", "yes", "sudo, su and every other set-user-id program"),
    ("PrivateDevices", "yes", "the machine's devices: disks, serial lines, USB, GPUs, /dev/kvm, FUSE"),
    ("ProtectClock", "yes", "setting the clock"),
    ("ProtectKernelModules", "yes", "loading kernel modules, and seeing /usr/lib/modules"),
    ("MemoryDenyWriteExecute", "yes", "node, java and whatever else compiles as it runs"),
    ("LockPersonality", "yes", "setarch and other personalities"),
    ("RestrictRealtime", "yes", "real-time scheduling (chrt)"),
    ("RestrictSUIDSGID", "yes", "making set-user-id and set-group-id files, so copying them with their mode (cp -a, tar, rsync -a)"),
    ("RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6 AF_NETLINK", "sockets of other kinds: tcpdump, Bluetooth, vsock"),
    ("SystemCallArchitectures", "native", "programs of another architecture, 32-bit ones too"),
    ("SystemCallFilter", "~@clock @cpu-emulation @debug @module @obsolete @raw-io @reboot @swap", "strace, gdb, perf, swapon, reboot"),
    ("SystemCallErrorNumber", "EPERM", ""),
)
_OF_THE_SYSTEM, _OF_A_USER = {"User"}, {"PrivateUsers"}
_SINCE = {"DelegateSubgroup": 254}  # versions of systemd; an older one says at each start that it does not know it


@dataclass(slots=True)
class Done:
    """What was done, in words, and what is left for a person to do."""

    path: Path
    did: list[str] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)


def name_of(layout: Layout) -> str:
    """Return the unit's name: one for each workspace, escaped as systemd does with paths."""
    text = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in layout.root.name) or "workspace"
    return f"routinectl-{text}.service"


def command() -> str:
    """Return the absolute path of this command, because a service has no PATH of yours."""
    found = shutil.which("routinectl")
    own = Path(sys.argv[0]).resolve()
    if own.name == "routinectl" and own.exists():
        return _quoted(str(own))
    return _quoted(found) if found else f"{_quoted(sys.executable)} -m routinectl"


def _quoted(path: str) -> str:
    text = path.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{text}"' if any(letter in text for letter in " '\"") else text


def unit(layout: Layout, *, system: bool, hardening: str) -> str:
    """Return the unit's text. Raises DefinitionError where the settings of the workspace cannot be read."""
    root = _quoted(str(layout.root))
    values = {"root": root, "command": command(), "user": config.load(layout).user}
    lines = [_STRICT_HEAD if hardening == "strict" else _DEFAULT_HEAD]
    for name, value, _ in _of(_SERVICE, system=system):
        lines.append(f"{name}={value.format_map(values)}\n")
    for name, value, loss in _of(_STRICT, system=system) if hardening == "strict" else ():
        lines.append(f"{f'# lost: {loss}{chr(10)}' if loss else ''}{name}={value.format_map(values)}\n")
    return _UNIT.format(root=root, service="".join(lines), target="multi-user.target" if system else "default.target")


def losses(*, system: bool, hardening: str) -> list[str]:
    """Return what runs lose by a hardening, a line for each directive."""
    return [f"{name}={value}: {loss}" for name, value, loss in _of(_STRICT, system=system) if loss and hardening == "strict"]


def _of(table: tuple[tuple[str, str, str], ...], *, system: bool) -> list[tuple[str, str, str]]:
    there, not_here = systemctl.version(), _OF_A_USER if system else _OF_THE_SYSTEM
    return [row for row in table if row[0] not in not_here and _SINCE.get(row[0], 0) <= there]


def cron_line(layout: Layout) -> str:
    """Return the crontab line for machines without systemd."""
    return f"* * * * * {command()} -w {_quoted(str(layout.root))} serve --once"


def folder(*, system: bool) -> Path:
    """Return where units lie."""
    if system:
        return Path("/etc/systemd/system")
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "systemd" / "user"


def install(layout: Layout, *, system: bool, hardening: str) -> Done:
    """Write the unit and start serve below it, anew where it ran: runs go on.

    Raises RoutinectlError where systemd does not answer, or does not do it.
    """
    path = folder(system=system) / name_of(layout)
    if not systemctl.answers(system=system):
        kind = "system" if system else "user"
        raise RoutinectlError(
            f"systemd does not answer here ({kind} manager), so nothing was installed",
            f"routinectl service print, or this line in your crontab (crontab -e): {cron_line(layout)}",
        )
    text = unit(layout, system=system, hardening=hardening)
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write(path, text.encode())
    done = Done(path, [f"wrote {path}"])
    for words in (["daemon-reload"], ["enable", path.name], ["restart", path.name]):
        fault = systemctl.call(words, system=system)
        if fault:
            raise RoutinectlError(f"systemctl {' '.join(words)}: {fault}", f"systemctl {'' if system else '--user '}status {path.name}")
        done.did.append(f"systemctl {' '.join(words)}")
    if not system:
        done.hints.append(f"loginctl enable-linger {getpass.getuser()}    # so that it goes on when you log out")
    return done


def uninstall(layout: Layout, *, system: bool) -> Done:
    """Stop the service and remove its unit; runs go on."""
    path, other = (folder(system=which) / name_of(layout) for which in (system, not system))
    done = Done(path)
    if other.exists() and not path.exists():
        done.hints.append(f"routinectl service uninstall{'' if system else ' --system'}    # it is installed as {other}")
        return done
    if systemctl.answers(system=system):
        systemctl.call(["disable", "--now", path.name], system=system)
        done.did.append(f"systemctl disable --now {path.name}")
    if path.exists():
        path.unlink()
        done.did.append(f"removed {path}")
    if systemctl.answers(system=system):
        systemctl.call(["daemon-reload"], system=system)
    if Path(f"{path}.d").exists():
        done.hints.append(f"rm -r {path}.d    # what you added to the unit")
    keeper = keep.connect(layout.live)
    if keeper is not None and keeper[1]["alive"]:
        names = ", ".join(sorted({run["id"] for run in keeper[1]["alive"]}))
        done.did.append(f"{names} goes on; its end is recorded by the next command that looks")
    return done


def status(layout: Layout, *, system: bool) -> tuple[bool, str]:
    """Return whether the service is active, and what systemd says of it."""
    path, other = (folder(system=which) / name_of(layout) for which in (system, not system))
    if not path.exists():
        if not other.exists():
            return False, f"not installed: {path} is not there, nor is {other}"
        active, text = status(layout, system=not system)
        return active, f"{'yours' if system else 'of the system (--system)'}, {other}: {text}"
    if not systemctl.answers(system=system):
        return False, f"installed as {path}, but systemd does not answer here"
    return systemctl.is_active(path.name, system=system)
