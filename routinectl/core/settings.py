"""What routinectl.yaml says, after validation: the settings of a workspace as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from routinectl.core import address
from routinectl.core.budget import Caps, Shared
from routinectl.core.problem import Problem
from routinectl.core.schedule import zone
from routinectl.core.units import parse_duration, parse_size
from routinectl.errors import ScheduleError

SENDERS = ("apprise", "command", "desktop")


@dataclass(frozen=True, slots=True)
class Retention:
    """How much of past runs is kept: at most so many per routine, so old, and so large together."""

    runs: int = 100
    age: timedelta = timedelta(days=90)
    size: int = 1024**3


@dataclass(frozen=True, slots=True)
class Maintenance:
    """How often upkeep is done (hourly, daily, weekly, off), and how many bytes a routine's memory may have (0: any)."""

    retention: str = "daily"
    audit: str = "daily"
    memory: int = 0


@dataclass(frozen=True, slots=True)
class Target:
    """Where notices go: by which sender, and a reference (("env" or "file", name)), a command's words, or nothing (desktop).

    `timeout` are the seconds after which a delivery is given up.
    """

    sender: str
    value: tuple[str, ...] = ()
    timeout: float = 30.0


@dataclass(frozen=True, slots=True)
class Remind:
    """How often an incident that goes on is told again: after so many more, or so long."""

    failures: int = 10
    after: timedelta = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Notify:
    """Where notices go, how often an open incident is told again, and the reference of the URL that a heartbeat pings."""

    targets: Mapping[str, Target] = field(default_factory=dict)
    remind: Remind = Remind()
    heartbeat: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Price:
    """What a model costs: US dollars for a million tokens sent, and answered."""

    input: float
    output: float

    def of(self, sent: int, answered: int) -> float:
        """Return what so many tokens cost."""
        return (sent * self.input + answered * self.output) / 1_000_000


@dataclass(frozen=True, slots=True)
class Model:
    """A language model: whose, which, where, and a reference (("env" or "file", name)) to its key, or nothing."""

    provider: str
    model: str
    base_url: str = ""
    key: tuple[str, ...] = ()
    price: Price | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings in force. `defaults` are raw, and merged into each definition before it is read."""

    timezone: str = "UTC"
    owner: str = ""
    serve_on: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    max_concurrent_runs: int = 10
    min_interval: int = 30
    retention: Retention = Retention()
    git_commit: bool = False
    max_fires_per_hour: int | None = None
    pools: Mapping[str, int] = field(default_factory=dict)
    trust: str = "local"
    maintenance: Maintenance = Maintenance()
    http_listen: str = ""
    http_hosts: tuple[str, ...] = ()
    notify: Notify = Notify()
    models: Mapping[str, Model] = field(default_factory=dict)
    budgets: Mapping[str, Shared] = field(default_factory=dict)
    user: str = ""  # to whom routinectl.yaml belongs on this machine

    @property
    def default_owner(self) -> str:
        """Whose the routines and tokens are that name nobody: the same for everyone who asks, whoever runs the command."""
        return self.owner or self.user


def read_settings(doc: Mapping[str, Any]) -> tuple[Settings, list[Problem]]:
    """Return the settings of a document that the schema accepts, and the faults that a schema cannot see."""
    problems: list[Problem] = []
    limits, retention = doc.get("limits", {}), doc.get("retention", {})
    timezone = doc.get("timezone", "UTC")
    try:
        zone.load(timezone)
    except ScheduleError as error:
        problems.append(Problem(error.message, ("timezone",), error.hint))
    min_interval = _seconds(limits, "min_interval", 30, ("limits",), problems)
    if min_interval < 1:
        problems.append(Problem("limits.min_interval is below 1s", ("limits", "min_interval"), "min_interval: 1s"))
    size = 1024**3
    try:
        size = parse_size(retention.get("size", size))
    except ValueError as error:
        problems.append(Problem(str(error), ("retention", "size"), "size: 1GiB"))
    age = timedelta(seconds=_seconds(retention, "age", 90 * 86400, ("retention",), problems))
    settings = Settings(
        timezone, doc.get("owner", ""), tuple(doc.get("serve_on", ())), doc.get("defaults", {}),
        int(limits.get("max_concurrent_runs", 10)), min_interval, Retention(int(retention.get("runs", 100)), age, size),
        bool(doc.get("git", {}).get("commit", False)), limits.get("max_fires_per_hour"), limits.get("pools", {}),
        doc.get("trust", "local"), _maintenance(doc.get("maintenance", {}), problems),
        _listen(doc.get("http", {}), problems), tuple(doc.get("http", {}).get("hosts", ())),
        _notify(doc.get("notify", {}), problems),
        {name: _model(item) for name, item in doc.get("models", {}).items()},
        {name: Shared(name, tuple(item["tags"]), Caps(item["per_day"].get("tokens"), item["per_day"].get("cost_usd")))
         for name, item in doc.get("budgets", {}).items()},
    )  # fmt: skip
    return settings, problems


def _listen(doc: Mapping[str, Any], problems: list[Problem]) -> str:
    text: str = doc.get("listen", "")
    try:
        address.read(text or address.DEFAULT)
    except ValueError as error:
        problems.append(Problem(str(error), ("http", "listen"), f"listen: {address.meant(text)}"))
    return text


def _maintenance(doc: Mapping[str, Any], problems: list[Problem]) -> Maintenance:
    memory = 0
    try:
        memory = parse_size(doc.get("memory", 0))
    except ValueError as error:
        problems.append(Problem(str(error), ("maintenance", "memory"), "memory: 10MiB"))
    return Maintenance(doc.get("retention", "daily"), doc.get("audit", "daily"), memory)


def _notify(doc: Mapping[str, Any], problems: list[Problem]) -> Notify:
    written = doc.get("remind", {})
    targets = {name: _target(name, item, problems) for name, item in doc.get("targets", {}).items()}
    after = timedelta(seconds=_seconds(written, "after", 86400, ("notify", "remind"), problems))
    return Notify(targets, Remind(int(written.get("failures", 10)), after), _reference(doc.get("heartbeat", {})))


def _target(name: str, item: Mapping[str, Any], problems: list[Problem]) -> Target:
    path = ("notify", "targets", name)
    senders = [sender for sender in SENDERS if sender in item]
    timeout = _seconds(item, "timeout", 30, path, problems)
    if len(senders) != 1:
        what = " and ".join(senders) or "nothing"
        problems.append(Problem(f"a target is one of {', '.join(SENDERS)}; {name} is {what}", path, f"{name}: {{command: [./tell.sh]}}"))
        return Target("")
    value = item[senders[0]]
    if senders[0] == "apprise":
        return Target("apprise", _reference(value), timeout)
    return Target(senders[0], tuple(value) if isinstance(value, list) else (), timeout)


def _model(item: Mapping[str, Any]) -> Model:
    price = Price(float(item["price"]["input"]), float(item["price"]["output"])) if "price" in item else None
    return Model(item["provider"], item["model"], item.get("base_url", ""), _reference(item.get("api_key", {})), price)


def _reference(item: Mapping[str, str]) -> tuple[str, ...]:
    return next(iter(item.items()), ())


def _seconds(doc: Mapping[str, Any], key: str, default: int, above: tuple[str, ...], problems: list[Problem]) -> int:
    if key not in doc:
        return default
    try:
        return int(parse_duration(doc[key]).total_seconds())
    except ValueError as error:
        problems.append(Problem(f"{'.'.join((*above, key))}: {error}", (*above, key), f"{key}: 30s"))
        return default
