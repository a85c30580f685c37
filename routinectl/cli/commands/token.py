"""routinectl token"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from routinectl import clock
from routinectl.cli import context, output
from routinectl.core.units import parse_duration
from routinectl.errors import UsageError
from routinectl.files import config
from routinectl.operations import access, tokens
from routinectl.operations.session import Session

if TYPE_CHECKING:
    import typer

    from routinectl.files.layout import Layout
    from routinectl.files.tokens import Token

EXAMPLES = """
routinectl token create --role viewer --owner alice --expires 90d
routinectl token create --role agent --owner nightly-bot
routinectl token list
routinectl token revoke 1a2b3c4d
"""


def command(
    what: Annotated[str, typer.Argument(metavar="create|list|revoke", help="What to do.")] = "list",
    token: Annotated[str | None, typer.Argument(metavar="TOKEN", help="With revoke: its id.")] = None,
    role: Annotated[str, typer.Option(help="viewer, user, agent or admin.")] = "user",
    owner: Annotated[
        str | None, typer.Option(help="Whose routines it is for; '*' with viewer for all. Else who owns those that name nobody.")
    ] = None,
    expires: Annotated[str | None, typer.Option(help="It ends after this, such as 90d.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Make, list and revoke tokens of the HTTP face. A secret is shown once, and stored as its hash.

    viewer reads; agent makes drafts, which a person must approve; user changes and runs the routines of its owner; admin
    does everything. Another owner's routine is not there for a token.
    """
    layout = context.layout()
    if what == "create":
        try:
            lasting = parse_duration(expires) if expires else None
        except ValueError as error:
            raise UsageError(str(error), "--expires 90d") from None
        made, secret = tokens.create(layout, role, owner or config.load(layout).default_owner, clock.now(), lasting)
        if as_json:
            output.data("token", {"id": made.id, "role": made.role, "owner": made.owner, "expires": made.expires or None, "secret": secret})
            return
        output.write(secret)
        output.say(f"  {made.id}: {made.role} for {made.owner}{f', until {made.expires}' if made.expires else ''}; it is not shown again")
        _tell_what_it_sees(layout, made)
    elif what == "list":
        rows = [{"id": item.id, "role": item.role, "owner": item.owner, "created_at": item.created_at, "expires": item.expires or None}
                for item in tokens.every(layout)]  # fmt: skip
        if as_json:
            output.data("tokens", rows)
        elif rows:
            output.table([[row["id"], row["role"], row["owner"], row["created_at"], row["expires"] or "-"] for row in rows],
                         ["ID", "ROLE", "OWNER", "MADE", "UNTIL"])  # fmt: skip
        else:
            output.say("There are no tokens: routinectl token create --role viewer")
    elif what == "revoke":
        if token is None:
            raise UsageError("which one?", "routinectl token list")
        gone = tokens.revoke(layout, token)
        output.say(f"Revoked {gone.id} ({gone.role} for {gone.owner})")
    else:
        raise UsageError(f"'{what}' is none of create, list, revoke", "routinectl token list")


def _tell_what_it_sees(layout: Layout, token: Token) -> None:
    """Say so where none of the routines here is there for a new token: whoever uses it would see an empty list."""
    with Session(layout) as session:
        owners = sorted({access.owner_of(session, session.standing(name)) for name in session.alive()})
        if owners and not access.Caller(token.role, token.owner).seen(session):
            output.say(f"  {token.owner} has no routines here: they are {', '.join(owners)}'s")
            output.say(f"Hint: routinectl token create --role {token.role} --owner {owners[0]}")
