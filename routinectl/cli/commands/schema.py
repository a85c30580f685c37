"""routinectl schema"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

from routinectl.cli import output
from routinectl.core.problem import did_you_mean
from routinectl.errors import NotFoundError, UsageError
from routinectl.files import schemas

if TYPE_CHECKING:
    import typer

EXAMPLES = """
routinectl schema
routinectl schema misfire.policy
routinectl schema --of workspace limits
"""


def command(
    key: Annotated[str | None, typer.Argument(metavar="[KEY.PATH]", help="A key, as in misfire.policy; else the whole schema.")] = None,
    of: Annotated[str, typer.Option(help="routine, workspace, event, state or history.")] = "routine",
) -> None:
    """Print the JSON Schema of definitions (or of another file), or what it says of one key."""
    if of not in schemas.NAMES:
        raise UsageError(f"there is no schema '{of}'", f"--of {did_you_mean(of, schemas.NAMES) or 'routine'}")
    found: Any = schemas.load(of)
    for part in key.split(".") if key else ():
        found = _below(found, part.partition("[")[0], key or "")
    output.write(json.dumps(found, indent=2, ensure_ascii=False))


def _below(schema: Any, name: str, key: str) -> Any:
    for candidate in (schema, schema.get("items", {}), *schema.get("anyOf", ())):
        known = candidate.get("properties", {}) or candidate.get("items", {}).get("properties", {})
        if name in known:
            return known[name]
    allowed = [*schema.get("properties", {}), *schema.get("items", {}).get("properties", {})]
    raise NotFoundError(f"there is no key '{key}'", did_you_mean(name, allowed) or f"the keys here are {', '.join(allowed)}")
