"""``routelab recommend``: which router for a table, and what it saves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def recommend(
    table: Annotated[str, typer.Argument(help="A .parquet, .csv or .jsonl file, or a source of `routelab sources`.")],
    tolerance: Annotated[float, typer.Option(help="Mean quality in [0, 1] that may be lost.")] = 0.01,
    baseline: Annotated[
        str | None, typer.Option(help="Provider to compare with; the best on the training prompts when left out.")
    ] = None,
    train_split: Annotated[
        str | None,
        typer.Option(help="Share of the prompts that train, in (0, 1), or the column that says train or eval."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=10**9, help="Of everything random.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Also save the policy and its featurizer in this folder.")] = None,
    json_out: Annotated[Path | None, typer.Option("--json", help="Also write it as JSON to this file.")] = None,
) -> None:
    """Recommend a router for a table, with its saving and quality on prompts that had no part in the choice."""
    from routelab.benchmark.harness import parse_split, read_table
    from routelab.benchmark.recommending import recommend
    from routelab.errors import RoutelabError
    from routelab.files import check_writable, write_json

    if json_out is not None:
        check_writable(json_out)
    if out is not None and out.exists() and not out.is_dir():
        raise RoutelabError(f"{out} is a file; give --out a folder")
    share, column = parse_split(train_split)
    advice = recommend(
        read_table(table, column),
        tolerance=tolerance,
        baseline=baseline,
        train_split="split" if column else share,
        seed=seed,
    )
    typer.echo(advice)
    if out is not None:
        advice.save(out)
        kept = "" if advice.proven or not advice.changes else f"{advice.policy}, not proven: "
        typer.echo(f"\n{kept}saved in {out}; in Python: routelab.load_router({str(out)!r}, providers), or")
        typer.echo(f"routelab proxy --policy {out}")
    if json_out is not None:
        write_json(json_out, advice.as_dict())
