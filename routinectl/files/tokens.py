"""Tokens of the HTTP face: stored as hashes, in a file that only the workspace's owner may read."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from routinectl.errors import DefinitionError
from routinectl.files import secrets
from routinectl.files.layout import Layout

ROLES = ("viewer", "user", "agent", "admin")


@dataclass(frozen=True, slots=True)
class Token:
    """What a token may do, for whom, and until when (ISO 8601, UTC; empty: for ever). `id` names it; the secret is not kept."""

    id: str
    role: str
    owner: str
    hash: str
    created_at: str
    expires: str = ""


def path(layout: Layout) -> str:
    """Return the file of the tokens."""
    return f"{layout.private}/tokens.json"


def read(layout: Layout) -> list[Token]:
    """Return all tokens. Raises DefinitionError when the file is damaged: nobody is let in then."""
    try:
        with open(path(layout), "rb") as file:
            plain: list[dict[str, Any]] = json.loads(file.read())
        return [Token(**item) for item in plain]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError) as error:
        raise DefinitionError(f"{path(layout)} is damaged: {error}", f"mv {path(layout)} tokens.damaged, and make new tokens") from None


def write(layout: Layout, tokens: list[Token]) -> None:
    """Replace all tokens, durably."""
    secrets.write(path(layout), json.dumps([asdict(token) for token in tokens], indent=1).encode())


def hash_of(secret: str) -> str:
    """Return what is stored of a token's secret. It is random and long, so a plain hash is enough."""
    return hashlib.sha256(secret.encode()).hexdigest()
