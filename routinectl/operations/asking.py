"""What a prompt would send to its model, without sending it."""

from __future__ import annotations

from typing import Any

from routinectl.agents import prompt as asking
from routinectl.core import prompt
from routinectl.engine import launch
from routinectl.errors import NotFoundError
from routinectl.operations.session import Session


def would_send(session: Session, name: str) -> dict[str, Any] | None:
    """Return the model, the pieces in their order with their tokens (estimated), and the cost at most; None where no model is asked.

    Raises DefinitionError when the definition is broken, NotFoundError when a file that it names is not there.
    """
    routine = session.good(name)
    wanted = routine.action.prompt
    if wanted is None:
        return None
    spec = launch.asking_spec(session.layout, routine)
    try:
        asked, parts, remarks = asking.parts_of(spec)
    except OSError as error:
        raise NotFoundError(f"{name} cannot be asked: {error.filename}: {error.strerror}", f"routinectl edit {name}") from None
    message = prompt.compose(asked, parts, routine.action.payload, "0" * 16)
    model = session.settings.models[wanted.model]
    most = model.price.of(message.tokens, wanted.max_tokens) if model.price else None
    pieces = [
        {"name": "what is asked", "tokens": prompt.estimate(asked)},
        *({"name": part.name, "tokens": prompt.estimate(part.text)} for part in parts),
    ]
    return {"model": model.model, "provider": model.provider, "pieces": pieces, "remarks": remarks, "tokens": message.tokens,
            "max_tokens": wanted.max_tokens, "most_usd": most}  # fmt: skip
