"""What a run may still spend: its own caps counted here, those of a day reserved in the journal, against all runs at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from routinectl import clock
from routinectl.agents.prompt import OverBudgetError
from routinectl.core.budget import Amount, Budget, Caps, Shared, answer_allowed
from routinectl.core.event import Event
from routinectl.core.gates import local_day
from routinectl.core.settings import Price
from routinectl.core.units import to_iso
from routinectl.engine.world import World
from routinectl.files.layout import Layout


class Purse:
    """The purse of one run. `day` is the day (of the routine's zone) on which it began: all it spends counts for that."""

    def __init__(
        self, layout: Layout, routine_id: str, run: str, day: str, budget: Budget, price: Price | None, shared: Sequence[Shared] = ()
    ) -> None:
        self.layout, self.id, self.run, self.day, self.budget, self.price = layout, routine_id, run, day, budget, price
        self.shared = shared
        self.spent = Amount()
        self.calls = 0
        self._world: World | None = None

    def reserve(self, sent: int, wanted: int) -> int:
        """Reserve a call of `sent` tokens; return how many its answer may have. Raises OverBudgetError."""
        self.calls += 1
        allowed = self._allowed(self.budget.run.left(self.spent), sent, wanted, "budget")
        if self.budget.day.any or self.shared:
            allowed = self._reserve_of_day(sent, allowed)
        return allowed

    def settle(self, sent: int, answered: int) -> None:
        """Say what the last call came to."""
        amount = self._amount(sent, answered)
        self.spent = self.spent.plus(amount)
        if self.budget.day.any or self.shared:
            self._record("budget.settled", lambda world: amount, clock.now())

    def _amount(self, sent: int, answered: int) -> Amount:
        return Amount(sent + answered, None if self.price is None else self.price.of(sent, answered))

    def _allowed(self, left: Caps, sent: int, wanted: int, name: str) -> int:
        price = None if self.price is None else (self.price.input, self.price.output)
        allowed = answer_allowed(left, sent, wanted, price)
        if allowed <= 0:
            which = "tokens" if left.tokens is not None and left.tokens <= sent + wanted else "cost_usd"
            rest = left.tokens if which == "tokens" else left.cost
            raise OverBudgetError(f"{name}.{which}", f"{rest} left, and the question alone takes {sent} tokens")
        return allowed

    def _reserve_of_day(self, sent: int, wanted: int) -> int:
        now = clock.now()
        allowed = wanted

        def reserved(world: World) -> Amount:
            nonlocal allowed
            left = self.budget.day.left(world.standing(self.id).spent_on(self.day))
            allowed = self._allowed(left, sent, wanted, "budget.per_day")
            for item in self.shared:
                allowed = self._allowed(item.day.left(spent_by_all(world, item, now)), sent, allowed, f"budgets.{item.name}")
            return self._amount(sent, allowed)

        self._record("budget.reserved", reserved, now)
        return allowed

    def _record(self, kind: str, amount: Callable[[World], Amount], now: datetime) -> None:
        """Append what `amount` says with everything folded that all others have appended, and make it durable."""
        world = self._load()
        with world.journal.transaction() as others:
            world.fold(others)
            events = [self._event(kind, amount(world), now)]
            world.journal.append(events, now)
            world.fold(events)
        world.journal.sync()

    def _event(self, kind: str, amount: Amount, now: datetime) -> Event:
        return Event(kind, self.id, {"at": to_iso(now), "run": self.run, "call": f"{self.run}/{self.calls}", "day": self.day,
                                     "tokens": amount.tokens, "cost": amount.cost})  # fmt: skip

    def _load(self) -> World:
        if self._world is None:
            self._world = World(self.layout)
            self._world.load()
        return self._world


def spent_by_all(world: World, shared: Shared, now: datetime) -> Amount:
    """Return what the routines of a shared budget have spent and reserved today, each on the day of its own zone."""
    total = Amount(0, 0.0)
    for name in world.spenders():
        routine = world.routine(name)
        if routine is not None and shared.covers(routine.tags):
            total = total.plus(world.standing(name).spent_on(local_day(routine, now)))
    return total
