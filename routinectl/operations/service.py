"""serve as a systemd service: hardened units for a user and for the system, and their installation."""

from __future__ import annotations

import getpass
import os
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

from routinectl.errors import RoutinectlError
from routinectl.files import atomic
from routinectl.files.layout import Layout
from routinectl.process import systemctl

_UNIT = """\
[Unit]
Description=routinectl: routines of {root}
Documentation=man:routinectl(1)
After=network-online.target time-sync.target
Wants=network-online.target
StartLimitIntervalSec=0

[Service]
Type=notify
{identity}ExecStart={command} -w {root} serve
ExecReload=/bin/kill -HUP $MAINPID
WorkingDirectory={root}
Restart=on-failure
RestartSec=5
RestartPreventExitStatus=75 78
# Runs outlive serve: they are the keeper's, and only serve itself is stopped or restarted.
KillMode=process
SendSIGKILL=no
WatchdogSec=120
NotifyAccess=main
LimitNOFILE=65536
UMask=0077
# Hardening that runs can live with: they are your programs, and inherit all of this.
NoNewPrivileges={no_new}
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
{more}
[Install]
WantedBy={target}
"""
_SYSTEM = """\
ProtectSystem=strict
ReadWritePaths={root}
PrivateTmp=yes
PrivateDevices=yes
ProtectProc=invisible
RestrictNamespaces=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
CapabilityBoundingSet=
MemoryDenyWriteExecute=yes
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
"""


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


def unit(layout: Layout, *, system: bool) -> str:
    """Return the unit's text."""
    root = _quoted(str(layout.root))
    identity = f"User={getpass.getuser()}\n" if system else ""
    more = _SYSTEM.format(root=root) if system else ""
    target = "multi-user.target" if system else "default.target"
    return _UNIT.format(root=root, command=command(), identity=identity, no_new="yes", more=more, target=target)


def cron_line(layout: Layout) -> str:
    """Return the crontab line for machines without systemd."""
    return f"* * * * * {command()} -w {_quoted(str(layout.root))} serve --once"


def folder(*, system: bool) -> Path:
    """Return where units lie."""
    if system:
        return Path("/etc/systemd/system")
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "systemd" / "user"


def install(layout: Layout, *, system: bool) -> Done:
    """Write the unit and start it. Raises RoutinectlError where systemd does not answer; the unit is printed then."""
    path = folder(system=system) / name_of(layout)
    if not systemctl.answers(system=system):
        kind = "system" if system else "user"
        raise RoutinectlError(
            f"systemd does not answer here ({kind} manager), so nothing was installed",
            f"routinectl service print, or this line in your crontab (crontab -e): {cron_line(layout)}",
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write(path, unit(layout, system=system).encode())
    done = Done(path, [f"wrote {path}"])
    for words in (["daemon-reload"], ["enable", "--now", path.name]):
        fault = systemctl.call(words, system=system)
        if fault:
            raise RoutinectlError(f"systemctl {' '.join(words)}: {fault}", f"systemctl {'' if system else '--user '}status {path.name}")
        done.did.append(f"systemctl {' '.join(words)}")
    if not system:
        done.hints.append(f"loginctl enable-linger {getpass.getuser()}    # so that it goes on when you log out")
    return done


def uninstall(layout: Layout, *, system: bool) -> Done:
    """Stop the service and remove its unit; runs go on."""
    path = folder(system=system) / name_of(layout)
    done = Done(path)
    if systemctl.answers(system=system):
        systemctl.call(["disable", "--now", path.name], system=system)
        done.did.append(f"systemctl disable --now {path.name}")
    if path.exists():
        path.unlink()
        done.did.append(f"removed {path}")
    if systemctl.answers(system=system):
        systemctl.call(["daemon-reload"], system=system)
    return done


def status(layout: Layout, *, system: bool) -> tuple[bool, str]:
    """Return whether the service is active, and what systemd says of it."""
    path = folder(system=system) / name_of(layout)
    if not path.exists():
        return False, f"not installed: {path} is not there"
    if not systemctl.answers(system=system):
        return False, f"installed as {path}, but systemd does not answer here"
    return systemctl.is_active(path.name, system=system)
