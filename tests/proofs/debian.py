"""A Debian that is booted: its systemd, a user manager and a user, in a container of systemd-nspawn, for proofs of the service.

What debootstrap makes is kept (`ROUTINECTL_DEBIAN`, else in the user's cache), so that only the first proof waits for it;
each machine is a copy, gone when it has been shut down. Debian's mirror is `ROUTINECTL_MIRROR`, else this machine's own,
and the wheels are what pip gets here: inside, there is no network. What confined runs do nests in nspawn as it is, so that
no option loosens it: its filter of system calls leaves them namespaces, mounts and Landlock.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from conftest import PATIENCE, ROOT, until
from needs import lack

from routinectl.files import lock

SUITE, PYTHON = "bookworm", "3.11"
PACKAGES = ("systemd", "systemd-sysv", "dbus", "dbus-user-session", "libpam-systemd", "python3", "python3-venv", "sudo")
NEWER = "99.0.0"  # the version of the same program that upgrades bring
_UNIFIED = next((path for path in (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup")) if (path / "cgroup.procs").exists()), None)
_BOOT_SECONDS = 90
_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"


def _cache() -> Path:
    named = os.environ.get("ROUTINECTL_DEBIAN")
    return Path(named) if named else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "routinectl-proofs"


def _mirror() -> list[str]:
    """Return what to tell debootstrap of where packages come from; nothing, and it uses Debian's own."""
    named = os.environ.get("ROUTINECTL_MIRROR")
    if named or lack("apt-get"):
        return [named] if named else []
    asked = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages"]
    said = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
    return [line.split()[0] for line in said.splitlines() if line.split()[1:] == [SUITE, "main"]][:1]


def base() -> Path:
    """Return a Debian that nobody changes, made where it is not there. Skips the test where that cannot be done."""
    cache = _cache()
    cache.mkdir(parents=True, exist_ok=True)
    made = cache / f"{SUITE}-{hashlib.sha256(' '.join(PACKAGES).encode()).hexdigest()[:8]}"
    held = until(lambda: lock.try_lock(cache / "lock"), 1800)  # another worker may be making it
    with held:
        if not made.exists():
            half = made.with_suffix(".half")
            shutil.rmtree(half, ignore_errors=True)
            done = subprocess.run(
                ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, str(half), *_mirror()],
                capture_output=True, text=True, check=False, env={**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"})  # fmt: skip
            if done.returncode:
                last = (done.stdout + done.stderr).strip().splitlines()[-1:]
                pytest.skip(f"need a mirror of Debian (ROUTINECTL_MIRROR): debootstrap {' '.join(last)}")
            half.rename(made)
    return made


def wheels(folder: Path) -> tuple[Path, Path]:
    """Fill a folder with what an installation without network needs; return the wheel of this program, and of a newer one."""
    pip = [sys.executable, "-m", "pip", "--quiet", "--quiet", "--disable-pip-version-check"]

    def build(source: Path) -> Path:
        before = set(folder.iterdir())
        subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", folder, source], check=True)
        (found,) = set(folder.iterdir()) - before
        return found

    source = folder.parent / "source"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".*", "__pycache__", "build", "dist"))
    folder.mkdir()
    wheel = build(source)
    version = source / "routinectl" / "version.py"
    version.write_text(version.read_text().replace("VERSION = ", f'VERSION = "{NEWER}"  # ', 1))
    newer = build(source)
    shutil.rmtree(source)
    subprocess.run(
        [*pip, "download", "--dest", folder, "--only-binary=:all:", "--python-version", PYTHON, "--implementation", "cp",
         "--constraint", ROOT / "constraints.txt", f"{wheel}[agents]"], check=True)  # fmt: skip
    return wheel, newer


class Machine:
    """A Debian that runs, with the user `alice`, whose manager lingers, and the program in `/opt/routinectl`."""

    def __init__(self) -> None:
        asked = ["unshare", "--mount", "--pid", "--net", "--ipc", "--uts", "--cgroup", "--fork", "true"]
        if subprocess.run(asked, capture_output=True, check=False).returncode:
            pytest.skip("need a machine where root may make namespaces (unshare --mount --pid --net true)")
        made = base()
        self.name = f"routinectl-{os.getpid()}"
        self.folder = Path(tempfile.mkdtemp(prefix="machine-", dir=_cache()))
        self.root = self.folder / "root"
        self.console = self.folder / "console"
        self.group: list[Path] = []
        self.nspawn: subprocess.Popen[bytes] | None = None
        try:
            subprocess.run(["cp", "-a", "--reflink=auto", made, self.root], check=True)
            self.wheel, self.newer = (Path("/wheels") / path.name for path in wheels(self.root / "wheels"))
            self._boot()
            self.root_does("useradd --create-home --shell /bin/sh alice && loginctl enable-linger alice")
            self.root_does("echo 'alice ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/alice")
            self.root_does("python3 -m venv /opt/routinectl && ln -s /opt/routinectl/bin/routinectl /usr/local/bin/")
            self.install(self.wheel, "--find-links /wheels", extras="[agents]")
            self.uid = int(self.root_does("id -u alice"))
            until(lambda: self.alice_does("systemctl --user is-system-running || true") in ("running", "degraded"), _BOOT_SECONDS)
        except BaseException:
            self.end()
            raise

    def _boot(self) -> None:
        words = ["systemd-nspawn", "--quiet", "--boot", f"--directory={self.root}", "--register=no", "--console=pipe",
                 "--private-network", f"--machine={self.name}"]  # fmt: skip
        enter = ""
        if not Path("/run/systemd/system").is_dir():  # nobody makes a group for it: it needs one that no other container has
            words.append("--keep-unit")
            self.group = [top / self.name for top in (_UNIFIED, Path("/sys/fs/cgroup/systemd")) if top and top.is_dir()]
            for group in self.group:
                group.mkdir()
            enter = "".join(f"echo $$ > {shlex.quote(str(group))}/cgroup.procs; " for group in self.group)
        with open(self.console, "wb") as console:
            self.nspawn = subprocess.Popen(
                ["sh", "-c", f"{enter}exec {shlex.join(words)}"], stdin=subprocess.DEVNULL, stdout=console, stderr=console,
                env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"})  # fmt: skip
        until(self._is_up, _BOOT_SECONDS)

    def _is_up(self) -> bool:
        assert self.nspawn is not None
        assert self.nspawn.poll() is None, self.console.read_text(errors="replace")
        return self._state() in ("running", "degraded")

    def _state(self) -> str:
        """Return what the system's manager says of itself; empty while there is none."""
        assert self.nspawn is not None
        try:
            pids = Path(f"/proc/{self.nspawn.pid}/task/{self.nspawn.pid}/children").read_text().split()
            if not pids or Path(f"/proc/{pids[0]}/comm").read_text().strip() != "systemd":
                return ""
        except OSError:
            return ""
        self.leader = pids[0]
        return self._run(["systemctl", "is-system-running"]).stdout.strip()

    def _run(self, words: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": _PATH, "HOME": "/root", "LC_ALL": "C.UTF-8", **environment}
        inside = ["nsenter", "-t", self.leader, "-a", "env", "-i", *(f"{name}={value}" for name, value in environment.items())]
        return subprocess.run([*inside, *words], capture_output=True, text=True, check=False, timeout=180, stdin=subprocess.DEVNULL)

    def try_as(self, who: str, command: str) -> subprocess.CompletedProcess[str]:
        """Run a shell command in there, as `root` or `alice`."""
        if who == "root":
            return self._run(["sh", "-c", command])
        uid = str(self.uid) if hasattr(self, "uid") else "1000"
        words = ["setpriv", "--reuid", "alice", "--regid", "alice", "--init-groups", "sh", "-c", f"cd && {command}"]
        return self._run(words, HOME="/home/alice", USER="alice", LOGNAME="alice", XDG_RUNTIME_DIR=f"/run/user/{uid}")

    def root_does(self, command: str) -> str:
        return self._said("root", command)

    def alice_does(self, command: str) -> str:
        return self._said("alice", command)

    def _said(self, who: str, command: str) -> str:
        done = self.try_as(who, command)
        assert done.returncode == 0, f"{who}: {command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr, done.stderr
        return done.stdout.strip()

    def install(self, wheel: Path, options: str = "--no-deps --force-reinstall", extras: str = "") -> None:
        """Install the program over what is there."""
        self.root_does(f"/opt/routinectl/bin/pip install --quiet --no-index {options} '{wheel}{extras}'")

    def end(self) -> None:
        """Shut it down, and leave nothing of it."""
        if self.nspawn is not None and self.nspawn.poll() is None:
            self.nspawn.send_signal(signal.SIGTERM)  # an orderly shutdown; a second one is not
            try:
                self.nspawn.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.nspawn.kill()
                self.nspawn.wait()
        for group in self.group:
            for folder in [*sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True), group]:
                until(lambda folder=folder: _gone(folder))
        shutil.rmtree(self.folder)


def _gone(group: Path) -> bool:
    """Remove a group of processes; its last one may still be on its way out."""
    try:
        group.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
