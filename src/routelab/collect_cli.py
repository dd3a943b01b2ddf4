"""``routelab collect``: performance data from live providers, MLflow traces and the logs of gateways."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from routelab.errors import RoutelabError, TableError

if TYPE_CHECKING:
    import pandas as pd

    from routelab.collecting import Collected

INCOMPLETE = 3  # exit code: a second run would ask what is missing
CAP_HELP = "Spend no more, all runs together, as far as the servers keep to max_tokens."
_SHOWN = 5  # failures

collect_app = typer.Typer(no_args_is_help=True, help="Collect performance data: a table for every other command.")
Out = Annotated[Path, typer.Option("--out", help="The table: a .parquet, .csv or .jsonl file.")]
ParamsFile = Annotated[Path, typer.Option("--params", help="Settings; those of the section `live` count.")]


@collect_app.command()
def live(
    prompts: Annotated[
        Path,
        typer.Argument(
            help="Prompts: .jsonl, .csv or .parquet with prompt or messages; prompt_id, task, reference where known."
        ),
    ],
    out: Out,
    providers: Annotated[
        str | None, typer.Option(help="Names out of live.providers, with commas between; all when left out.")
    ] = None,
    params: ParamsFile = Path("params.yaml"),
    cap_usd: Annotated[float | None, typer.Option(min=0.0, help=CAP_HELP)] = None,
    evaluator: Annotated[
        str, typer.Option(help="exact, choice, numeric, regex:PATTERN, judge:PROVIDER or none.")
    ] = "none",
    concurrency: Annotated[int, typer.Option(min=1, help="Requests in flight to each provider at most.")] = 8,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Of an answer, instead of the provider's own.")] = None,
    keep_answers: Annotated[bool, typer.Option(help="Keep the texts of all answers in the journal.")] = False,
) -> None:
    """Ask live providers the prompts of a file. Stopped or killed, the same command goes on where it was.

    Beside the table lies its journal, which holds what was asked and answered. Exit code 3: some pairs have no answer.
    """
    from routelab.collecting import Patience, collect, read_prompts
    from routelab.collecting.grading import evaluator_named, needs_references
    from routelab.params import load_live

    _check_ending(out)
    asked = read_prompts(prompts)
    if needs_references(evaluator) and not any(request.reference for request in asked.requests):
        raise TableError(f"{prompts}: no prompt has a reference, which {evaluator!r} compares with; add the column")
    known = {section.name: section for section in load_live(params).providers}
    names = list(known) if providers is None else [name.strip() for name in providers.split(",")]
    judged_by = evaluator.removeprefix("judge:") if evaluator.startswith("judge:") else None
    used = dict.fromkeys([*names, *([judged_by] if judged_by else [])])
    unknown = [name for name in used if name not in known]
    if unknown:
        raise RoutelabError(f"{params}: live.providers has no {unknown[0]!r}; it has {', '.join(known) or 'none'}")
    changed = {} if max_tokens is None else {"max_tokens": max_tokens}
    sections = {name: known[name].model_copy(update=changed if name in names else {}) for name in used}
    made = {name: section.provider() for name, section in sections.items()}
    journal = Path(f"{out}.journal.jsonl")
    answers = {"name", "model", "base_url", "max_tokens"}
    hold = {name: section.model_dump(include=answers) for name, section in sections.items()}
    try:
        collected = asyncio.run(
            collect(
                asked,
                [made[name] for name in names],
                evaluator_named(evaluator, made.__getitem__),
                journal=journal,
                settings={"evaluator": evaluator, "judge": hold.get(judged_by or "")},
                provider_settings=hold,
                cap_usd=cap_usd,
                patience=Patience(concurrency=concurrency),
                keep_answers=keep_answers,
            )
        )
    except KeyboardInterrupt:
        typer.echo(f"stopped; the same command goes on from {journal}", err=True)
        raise typer.Exit(130) from None
    _tell(collected)
    if evaluator != "none" and collected.ungraded:
        again = "; run again to have the judge look at them once more" if judged_by else ""
        typer.echo(f"{collected.ungraded} of {len(collected.frame)} answers have no grade{again}", err=True)
    if collected.frame.empty or collected.frame["provider"].nunique() < 2:
        typer.echo("no table yet: two providers must have answered", err=True)
    else:
        _write(collected.frame, out, str(prompts))
    if collected.missing:
        raise typer.Exit(INCOMPLETE)


@collect_app.command()
def traces(
    out: Out,
    assessment: Annotated[str, typer.Option(help="Name of the feedback that is the grade.")],
    experiment: Annotated[str, typer.Option(help="Of MLflow.")] = "Default",
    scale: Annotated[float, typer.Option(help="Best value of the assessment, where that is a number.")] = 1.0,
) -> None:
    """Read the answers in MLflow traces: the store is MLFLOW_TRACKING_URI, or the project's own."""
    from routelab.collecting.pricing import priced
    from routelab.tables.answers import frame_of
    from routelab.tracking.traces import Assessment, read_traces

    _check_ending(out)
    origin = f"MLflow experiment {experiment!r}"
    answers = read_traces(experiment, Assessment(assessment, scale))
    _write(frame_of(priced(answers, origin), origin), out, origin)


@collect_app.command()
def log(
    file: Annotated[Path, typer.Argument(help="The log of a gateway: JSON lines.")],
    out: Out,
    params: ParamsFile = Path("params.yaml"),
) -> None:
    """Read the answers in a gateway's log; live.gateway_columns of params.yaml says what its fields mean."""
    from routelab.collecting.gateway import read_gateway_log
    from routelab.collecting.pricing import priced
    from routelab.params import load_live
    from routelab.tables.answers import frame_of

    _check_ending(out)
    answers = read_gateway_log(file, load_live(params).gateway_columns)
    _write(frame_of(priced(answers, str(file)), str(file)), out, str(file))


def _check_ending(out: Path) -> None:
    from routelab.tables.io import ENDINGS

    if out.suffix not in ENDINGS:
        raise TableError(f"{out}: unknown ending {out.suffix!r}. Use one of {', '.join(ENDINGS)}.")


def _write(frame: pd.DataFrame, out: Path, origin: str) -> None:
    """Write the table, once it is one."""
    from routelab.tables.io import write_frame
    from routelab.tables.table import PerformanceTable

    table = PerformanceTable.from_frame(frame, origin=origin)
    write_frame(frame, out)
    typer.echo(f"{out}: {table!r}; {frame['quality'].notna().sum()} graded")


def _tell(collected: Collected) -> None:
    """What was spent, what failed, and what to do about it."""
    pairs, answered = collected.pairs, len(collected.frame)
    typer.echo(f"{answered} of {pairs} answers, {collected.spent_usd:.6g} USD spent at most")
    for (prompt_id, provider), error in list(collected.failed.items())[:_SHOWN]:
        typer.echo(f"failed: {prompt_id} at {provider}: {error}", err=True)
    if len(collected.failed) > _SHOWN:
        typer.echo(f"… and {len(collected.failed) - _SHOWN} more", err=True)
    for provider, error in collected.given_up.items():
        typer.echo(f"{provider} was given up and not asked the rest: {error}", err=True)
    if collected.capped:
        typer.echo(f"cap reached: {pairs - answered} of {pairs} pairs left; raise --cap-usd and run again", err=True)
    elif collected.missing:
        typer.echo("run again to ask what is missing", err=True)
