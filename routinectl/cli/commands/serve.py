"""routinectl serve"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from routinectl.cli import context
from routinectl.core import address
from routinectl.errors import UsageError

if TYPE_CHECKING:
    import typer

EXAMPLES = """
routinectl serve
routinectl serve --standby
routinectl serve --http
routinectl serve --http unix:.routinectl/run/http
OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 routinectl serve --traces
* * * * * cd /srv/work && routinectl serve --once     # in a crontab, without a daemon
ROUTINECTL_LOG_FORMAT=json routinectl serve
"""
OPTIONAL = {"--http": ""}  # options that may stand without their value


def command(
    once: Annotated[bool, typer.Option("--once", help="One tick: fire what is due, and leave.")] = False,
    until_idle: Annotated[bool, typer.Option("--until-idle", help="Leave when nothing runs and nothing will fire.")] = False,
    standby: Annotated[bool, typer.Option("--standby", help="Wait for the place of another serve.")] = False,
    http: Annotated[
        str | None,
        typer.Option(metavar="[HOST:PORT|unix:PATH]", help=f"Listen for HTTP; else where http.listen says, else {address.DEFAULT}."),
    ] = None,
    metrics_file: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write metrics there, for node_exporter's textfile collector.")
    ] = None,
    traces: Annotated[
        bool, typer.Option("--traces", help="Hand each run to an OpenTelemetry collector (OTEL_EXPORTER_OTLP_ENDPOINT; extra otel).")
    ] = False,
    log_format: Annotated[str | None, typer.Option(help="text or json; else ROUTINECTL_LOG_FORMAT.")] = None,
    log_level: Annotated[str | None, typer.Option(help="error, info or debug; else ROUTINECTL_LOG_LEVEL.")] = None,
) -> None:
    """Fire routines, in the foreground, with a line for every verdict.

    SIGTERM and Ctrl-C stop firing and leave runs going: they are minded by their keeper, and the next serve records
    their true end. SIGHUP reads everything again. A second serve in the same workspace exits with 75.
    """
    from routinectl.cli import serving

    if once and until_idle:
        raise UsageError("--once and --until-idle exclude each other", "routinectl serve --once")
    try:
        address.read(http or address.DEFAULT)
    except ValueError as error:
        raise UsageError(str(error), f"routinectl serve --http {address.meant(str(http))}") from None
    serving.serve(
        context.layout(),
        once=once,
        until_idle=until_idle,
        standby=standby,
        log_format=log_format,
        log_level=log_level,
        http=http,
        metrics_file=metrics_file,
        traces=traces,
    )
