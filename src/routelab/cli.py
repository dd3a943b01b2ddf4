"""The ``routelab`` command."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from routelab.collect_cli import collect_app
from routelab.db_cli import db_app
from routelab.errors import RoutelabError, SourceError
from routelab.proxy_cli import proxy
from routelab.recommend_cli import recommend

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Learn which LLM provider should answer each request."
)
Json = Annotated[Path | None, typer.Option("--json", help="Also write the table as JSON to this file.")]


@app.callback()
def main() -> None:
    """Learn which LLM provider should answer each request."""


@app.command()
def sources(json_out: Json = None) -> None:
    """List the sources of data: licence, size, and whether they are here."""
    from routelab.files import check_writable, write_bytes
    from routelab.tables.sources import mirror_folder, sources_frame

    if json_out is not None:
        check_writable(json_out)
    frame = sources_frame()
    if json_out is not None:
        write_bytes(json_out, (frame.to_json(orient="records", indent=1) + "\n").encode())
    frame["size"] = [f"{size / 1e6:.1f} MB" if size else "-" for size in frame["bytes"]]
    columns = [frame[name] for name in ("name", "kind", "size", "where", "licence", "title")]
    for row in zip(*(column.str.ljust(column.str.len().max()) for column in columns), strict=True):
        typer.echo("  ".join(row).rstrip())
    try:
        mirror_folder()
    except SourceError as error:  # no reason to withhold the list, but the reason why so little is here
        typer.echo(f"routelab: {error}", err=True)


@app.command()
def evaluate(
    table: Annotated[str, typer.Argument(help="A source of `routelab sources`, or a .parquet, .csv or .jsonl file.")],
    train_split: Annotated[
        str | None,
        typer.Option(help="Share of the prompts that train, in (0, 1), or the column that says train or eval."),
    ] = None,
    policies: Annotated[str | None, typer.Option(help="Names with commas between; all when left out.")] = None,
    seed: Annotated[int, typer.Option(min=0, max=10**9, help="Of everything random.")] = 0,
    repeats: Annotated[int, typer.Option(min=1, help="Random splits to average, with seeds N, N+1, …")] = 1,
    budgets: Annotated[
        str | None, typer.Option(help="USD per request, with commas between: the reward within each of them.")
    ] = None,
    json_out: Json = None,
) -> None:
    """Fit every policy on the training prompts of a table, score all of them on the rest.

    Without --train-split a table's own split is used, if it has one and there is one repeat, else 0.7.
    """
    from routelab.benchmark.harness import evaluate_table, parse_budgets, parse_split, read_table
    from routelab.benchmark.text import report_lines
    from routelab.files import check_writable, write_json

    if json_out is not None:  # better now than after minutes
        check_writable(json_out)
    share, column = parse_split(train_split)
    data = read_table(table, column)
    names = [name.strip() for name in (policies or "").split(",") if name.strip()]
    report = evaluate_table(
        data,
        table,
        policies=names,
        train_split="split" if column else share,
        seed=seed,
        repeats=repeats,
        budgets=parse_budgets(budgets),
    )
    for line in report_lines(report):
        typer.echo(line)
    if json_out is not None:
        write_json(json_out, report)


@app.command()
def replay(
    table: Annotated[str, typer.Argument(help="A source of `routelab sources`, or a .parquet, .csv or .jsonl file.")],
    policy: Annotated[str, typer.Option(help="Name of a policy that learns online, or of any with --warm-start.")],
    scenario: Annotated[
        str,
        typer.Option(help="budget, price-cut, regression, new-provider, outage, delay, judge-noise, poison or drift."),
    ] = "budget",
    budget: Annotated[str | None, typer.Option(help="USD per request; several with commas between.")] = None,
    cost_weight: Annotated[
        float | None, typer.Option(min=0.0, help="Quality per USD, instead of a budget; 0 = quality only.")
    ] = None,
    seeds: Annotated[int, typer.Option(help="Passes, with seeds N, N+1, …")] = 20,
    seed: Annotated[int, typer.Option(min=0, max=10**9, help="The first of them.")] = 0,
    train_split: Annotated[
        str | None,
        typer.Option(help="Share of the prompts to learn on first, in (0, 1), or the column that says train or eval."),
    ] = None,
    warm_start: Annotated[
        str,
        typer.Option(help="Table with all outcomes to fit on beforehand; TABLE itself: its learning part."),
    ] = "none",
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Setting of the scenario, as in factor=0.5; may be repeated.")
    ] = None,
    drift: Annotated[
        bool, typer.Option("--drift/--no-drift", help="Notice drifts of a provider, and forget what is known of it.")
    ] = True,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes; one per core when left out.")] = None,
    json_out: Json = None,
) -> None:
    """Let a policy meet the prompts of a table one by one, seeing only the outcomes of what it chooses.

    It learns through both sides of the split; the second is scored. With several budgets, the JSON is a list.
    """
    from routelab.benchmark.harness import parse_budgets, parse_split, read_table
    from routelab.benchmark.replay_report import parse_settings, replay_table
    from routelab.benchmark.replay_text import replay_lines
    from routelab.files import check_writable, write_json

    if json_out is not None:
        check_writable(json_out)
    share, column = parse_split(train_split)
    reports = replay_table(
        read_table(table, column),
        table,
        scenario=scenario,
        policy=policy,
        budgets=parse_budgets(budget, "--budget"),
        cost_weight=cost_weight,
        settings=parse_settings(settings or []),
        seeds=seeds,
        seed=seed,
        train_split="split" if column else share,
        warm_start=None if warm_start == "none" else warm_start,
        drift=drift,
        n_jobs=jobs,
    )
    for report in reports:
        for line in replay_lines(report):
            typer.echo(line)
    if json_out is not None:
        write_json(json_out, reports if len(reports) > 1 else reports[0])


@app.command()
def ope(
    log: Annotated[str, typer.Argument(help="A router's log: database URL, .db, or a .parquet, .csv or .jsonl file.")],
    policies: Annotated[
        list[str],
        typer.Option("--policy", help="Folder of a saved policy, fixed:PROVIDER, uniform or logged; may be repeated."),
    ],
    cost_weight: Annotated[float, typer.Option(min=0.0, help="Quality per USD that policies serve.")] = 0.0,
    estimators: Annotated[str, typer.Option(help="Names with commas between; all when left out.")] = "",
    feature_set: Annotated[str | None, typer.Option(help="Only decisions on these features.")] = None,
    policy_version: Annotated[str | None, typer.Option(help="Only decisions of this version of the policy.")] = None,
    seed: Annotated[int, typer.Option(min=0, max=10**9, help="Of everything random.")] = 0,
    json_out: Json = None,
) -> None:
    """Say from a log what other policies would have brought, how surely, and which is best."""
    from routelab.files import check_writable, write_json
    from routelab.ope_cli import ope_lines, ope_report, read_log
    from routelab.policies.objective import Objective

    if json_out is not None:
        check_writable(json_out)
    names = [name.strip() for name in estimators.split(",") if name.strip()]
    report = ope_report(
        read_log(log, feature_set=feature_set, policy_version=policy_version),
        policies,
        objective=Objective(cost_weight=cost_weight),
        estimators=names,
        seed=seed,
    )
    for line in ope_lines(report):
        typer.echo(line)
    if json_out is not None:
        write_json(json_out, report)


@app.command()
def ui(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on this machine; 0 takes a free one.")] = 5000,
    host: Annotated[str, typer.Option(help="Address to listen on; the default is this machine only.")] = "127.0.0.1",
) -> None:
    """Open the MLflow UI on the project's runs."""
    from routelab.tracking.ui import serve_ui

    serve_ui(host, port)


app.command()(recommend)
app.add_typer(collect_app, name="collect")
app.command()(proxy)
app.add_typer(db_app, name="db")


def run() -> None:
    """Entry point: bad input ends with one line and exit code 1."""
    try:
        app()
    except (RoutelabError, OSError) as error:
        sys.exit(f"routelab: {error}")
