"""``routelab db``: what a router's log holds, the log as a parquet file, and its retention."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from routelab.errors import DatabaseError

if TYPE_CHECKING:
    from routelab.performance_db import PerformanceDB

db_app = typer.Typer(no_args_is_help=True, help="Look at, export or shorten the log of a router.")
Log = Annotated[str, typer.Argument(help="A router's log: database URL or SQLite file.")]


def open_log(name: str) -> PerformanceDB:
    """The log at a URL or in a SQLite file, which must be there.

    Raises:
        DatabaseError: there is no such file, or it is no log.
    """
    from routelab.performance_db import PerformanceDB

    if "://" in name and not name.startswith("sqlite:///"):
        return PerformanceDB(name)
    path = Path(name.removeprefix("sqlite:///"))
    if not path.is_file():  # which opening would make
        raise DatabaseError(f"{path}: no such file; give the URL or the SQLite file of a log")
    return PerformanceDB(f"sqlite:///{path}")


@db_app.command()
def info(log: Log) -> None:
    """Say how many decisions, outcomes and drifts a log holds."""
    with open_log(log) as db:
        decisions, outcomes = db.count()
        typer.echo(f"{decisions} decisions, {outcomes} outcomes, {len(db.drifts())} drifts")


@db_app.command()
def export(log: Log, path: Annotated[Path, typer.Argument(help="The .parquet file to write.")]) -> None:
    """Write a log as parquet, in bounded memory, whole or not at all."""
    with open_log(log) as db:
        db.export(path)


@db_app.command()
def prune(
    log: Log,
    before: Annotated[datetime, typer.Option(help="Delete what was decided before this time, UTC.")],
) -> None:
    """Delete old decisions with their outcomes."""
    with open_log(log) as db:
        typer.echo(f"{db.prune(before.replace(tzinfo=UTC).timestamp())} decisions deleted")
