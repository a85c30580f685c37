"""Budgets of tokens and money: what may still be spent, reserved before each call of a model and settled after it.

Several runs may race for the last unit: each reserves what its call can cost at most, in the journal's critical section,
so that together they are never over by more than the answer that a provider makes longer than it was allowed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from routinectl.core.units import format_duration, parse_duration, parse_size

WORK = ("cpu", "wall", "output")  # what any run uses of a day: seconds of CPU time, seconds, bytes kept of its output
LEAST_ANSWER = 16  # tokens: with less than this left nothing is asked any more


@dataclass(frozen=True, slots=True)
class Amount:
    """Tokens, and what they cost in US dollars; a cost of None is not known."""

    tokens: int = 0
    cost: float | None = 0.0

    def plus(self, other: Amount) -> Amount:
        """Return both together; what is not known stays so."""
        cost = None if self.cost is None or other.cost is None else self.cost + other.cost
        return Amount(self.tokens + other.tokens, cost)


@dataclass(frozen=True, slots=True)
class Caps:
    """The most that may be spent: tokens, and US dollars. None: any."""

    tokens: int | None = None
    cost: float | None = None

    @property
    def any(self) -> bool:
        """Whether there is a cap at all."""
        return self.tokens is not None or self.cost is not None

    def left(self, spent: Amount) -> Caps:
        """Return what is left of them."""
        tokens = None if self.tokens is None else max(self.tokens - spent.tokens, 0)
        return Caps(tokens, None if self.cost is None else max(self.cost - (spent.cost or 0.0), 0.0))

    def is_over(self, spent: Amount) -> str:
        """Say which cap leaves nothing more: `tokens`, `cost_usd`, or none."""
        if self.tokens is not None and spent.tokens >= self.tokens:
            return "tokens"
        return "cost_usd" if self.cost is not None and (spent.cost or 0.0) >= self.cost else ""


@dataclass(frozen=True, slots=True)
class Budget:
    """The budgets of a routine: of a run, and of a day of its zone."""

    run: Caps = Caps()
    day: Caps = Caps()


NONE = Budget()


@dataclass(frozen=True, slots=True)
class Shared:
    """A budget of a day that all routines with one of its tags share."""

    name: str
    tags: tuple[str, ...]
    day: Caps

    def covers(self, tags: Sequence[str]) -> bool:
        """Say whether a routine with these tags shares it."""
        return not set(self.tags).isdisjoint(tags)


def read(doc: Mapping[str, Any]) -> Budget:
    """Return the budgets of tokens and money of a valid `budget`."""
    day = doc.get("per_day", {})
    return Budget(Caps(doc.get("tokens"), doc.get("cost_usd")), Caps(day.get("tokens"), day.get("cost_usd")))


def read_work(doc: Mapping[str, Any]) -> dict[str, float]:
    """Return what the runs of a day may use together by a valid `budget`, of `WORK`; what is not capped is not there."""
    day = doc.get("per_day", {})
    readers: dict[str, Any] = {"cpu": lambda text: parse_duration(text).total_seconds(), "wall": lambda text: parse_duration(text).total_seconds(),
                               "output": parse_size}  # fmt: skip
    return {kind: float(readers[kind](day[kind])) for kind in WORK if kind in day}


def reservation(caps: Mapping[str, float], own: Mapping[str, float], used: Mapping[str, float]) -> dict[str, float]:
    """Return what one more run may use of each capped kind: its own cap where it has one, and no more than is left of the day.

    It is reserved until the run has ended, so that runs that race for the last of it are together never over it.
    """
    return {kind: max(min(own.get(kind, cap), cap - used.get(kind, 0.0)), 0.0) for kind, cap in caps.items()}


def words(what: str, amount: float) -> str:
    """Return an amount of what is budgeted as people read it: `runs`, `tokens`, `cost_usd` and so on, or one of `WORK`."""
    if what in ("cpu", "wall"):
        return format_duration(amount) if amount >= _SHORT or not amount else f"{amount:.1f}s"
    if what == "output":
        size, unit = next(
            ((size, unit) for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)) if amount >= size), (1, "B")
        )
        return f"{amount / size:.3g} {unit}"
    if what == "cost_usd" and not float(amount).is_integer():
        return f"{amount:,.4f}".rstrip("0").rstrip(".")
    return f"{round(amount):,}"


_SHORT = 10.0  # seconds, below which tenths are told


def answer_allowed(left: Caps, sent: int, wanted: int, price: tuple[float, float] | None) -> int:
    """Return how many tokens an answer may have where `sent` tokens are asked with; 0 when nothing may be asked any more.

    `price` is in dollars for a million tokens, sent and answered.
    """
    most = wanted
    if left.tokens is not None:
        most = min(most, left.tokens - sent)
    if left.cost is not None and price is not None:
        rest = left.cost * 1_000_000 - sent * price[0]
        most = min(most, int(rest / price[1]) if price[1] else (wanted if rest >= 0 else 0))
    return most if most >= min(LEAST_ANSWER, wanted) else 0
