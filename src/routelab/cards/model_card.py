"""The model card of a source's forest router: what it is for, what it was trained on, and what it was found to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from routelab.cards.markdown import interval, number, plain, share, table
from routelab.tables.registry import SOURCES

_POINTS = 6  # settings of the trade-off that are listed
_BELOW = ("best-single", "oracle")  # no routers: one is the base of comparison, one nobody can have


@dataclass(frozen=True)
class Found:
    """What the stages found of one source.

    Args:
        source: its name.
        evaluation: ``evaluation.json`` of stage ``evaluate``.
        forest: the part ``forest`` of ``forest.json`` of stage ``train_forest``.
        controls: ``controls.json`` of stage ``controls``.
        frontier: ``frontier.csv`` of stage ``pareto``.
        features: names of what the forest sees of a request.
        settings: of the forest, by name.
    """

    source: str
    evaluation: Mapping[str, Any]
    forest: Mapping[str, float]
    controls: Mapping[str, Any]
    frontier: pd.DataFrame
    features: Sequence[str]
    settings: Mapping[str, object]


def forest_card(found: Found) -> str:
    """The card as Markdown: the same results give the same bytes.

    Raises:
        KeyError: a result lacks a part.
    """
    parts = [
        f"# Model card: forest router of {plain(found.source)}",
        *_purpose(found),
        "## Trained on",
        _training(found),
        "## What it was found to do",
        *_results(found),
        "## What a setting costs and brings",
        *_settings(found),
        "## Do its estimates hold?",
        *_calibration(found),
        "## Where there is nothing to learn",
        _control(found),
        "## Limits",
        "\n".join(f"- {limit}" for limit in _limits(found)),
        "## Do it again",
        f"`dvc repro model_card@{found.source}` writes this page and all that it rests on; settings are in "
        f"`params.yaml`. The model is `data/models/{found.source}/forest` (ONNX and JSON, no pickle), and in MLflow "
        f"a version of `routelab-{found.source}`.",
    ]
    return "\n\n".join(parts) + "\n"


def _purpose(found: Found) -> Iterator[str]:
    providers = list(found.evaluation["policies"]["forest"]["ece"])
    yield (
        f"A random forest that estimates quality and cost of {len(providers)} providers "
        f"({', '.join(map(plain, providers))}) for each request, before it is sent, so that a router can ask the one "
        "whose quality is worth its cost."
    )
    yield (
        "**For** requests like those it was trained on, to those providers at those prices; as a start that online "
        "policies then correct. **Not for** other providers, other kinds of requests, or decisions about people: it "
        "knows a request only by its features."
    )


def _training(found: Found) -> str:
    report = found.evaluation
    source = SOURCES.get(found.source)
    words = [f"{name} {value}" for name, value in found.settings.items()]
    embedded = sum(name.startswith("embedding_") for name in found.features)
    rest = [name for name in found.features if not name.startswith("embedding_")]
    shown = ", ".join(f"`{plain(name)}`" for name in rest)
    rows = [
        ("data", found.source if source is None else source.title),
        ("licence of the data", "its owner's to say" if source is None else source.licence),
        ("prompts to train", f"{report['n_train']:,}"),
        ("prompts to evaluate, unseen", f"{report['n_eval']:,}"),
        ("left out, as some outcome is missing", f"{report['n_eval_incomplete']:,}"),
        ("settings", ", ".join(words)),
        ("licence of the model", "MIT"),
    ]
    told = f"It sees {len(found.features)} features: {embedded} of the prompt's embedding, and {shown}."
    return f"{table(('', found.source), rows)}\n\n{told} The data card beside this page says more of the data."


def _results(found: Found) -> Iterator[str]:
    policies: Mapping[str, Any] = found.evaluation["policies"]
    yield (
        "*Hull gap captured*: 0 is the best random mixture of fixed providers, 1 an oracle that knows every outcome; "
        "cross-fitted on the evaluation prompts, with a paired bootstrap 95 % interval. *Quality gained*: best "
        "relative gain over the best single provider (chosen on the training prompts). *Cost saved*: the greatest at "
        "no lower quality than its."
    )
    gaps = {name: scores["hull_gap_captured"]["estimate"] for name, scores in policies.items() if name not in _BELOW}
    order = sorted(gaps, key=lambda name: (-(gaps[name] or 0.0), name))
    rows = [
        (
            f"**{name}**" if name == "forest" else name,
            interval(policies[name]["hull_gap_captured"]),
            _share(policies[name]["perf_gain"]),
            _share(policies[name]["cost_save"]),
        )
        for name in order
    ]
    yield table(("policy", "hull gap captured", "quality gained", "cost saved"), rows)
    rival = policies["forest"]["difference_to_strongest_other"]
    clear = (
        "clearly different" if (rival["low"] or 0.0) > 0.0 or (rival["high"] or 0.0) < 0.0 else "not clearly different"
    )
    yield f"Forest less {rival['policy']}, the strongest other: {interval(rival)}, which is {clear} from 0."


def _share(value: float | None) -> str:
    return "–" if value is None else share(value)


def _settings(found: Found) -> Iterator[str]:
    own = found.frontier[found.frontier["policy"] == "forest"].sort_values("lambda", kind="stable")
    places = sorted({round(place * (len(own) - 1) / (_POINTS - 1)) for place in range(_POINTS)})
    rows = [
        (
            number(point["lambda"]),
            number(1000.0 * point["cost_usd"]),
            f"{number(1000.0 * point['cost_usd_low'])} to {number(1000.0 * point['cost_usd_high'])}",
            number(point["quality"]),
            f"{number(point['quality_low'])} to {number(point['quality_high'])}",
        )
        for _, point in own.iloc[places].iterrows()
    ]
    yield "λ is what quality one is ready to give up for a USD; with it, the router moves along its curve (figure)."
    yield table(("λ", "USD per 1,000", "95 %", "mean quality", "95 %"), rows)
    yield "![cost and quality](frontier.png)"


def _calibration(found: Found) -> Iterator[str]:
    scores = found.evaluation["policies"]["forest"]
    rows = [(name, number(error), number(scores["brier"][name])) for name, error in scores["ece"].items()]
    yield (
        f"On evaluation prompts its estimates of quality are off by {number(found.forest['quality_mae'])} on average, "
        f"those of cost by {number(1000.0 * found.forest['cost_mae_usd'])} USD per 1,000 requests. Averaged over "
        "prompts with like estimates they are right to within the calibration error:"
    )
    yield table(("provider", "calibration error", "mean squared error"), rows)


def _control(found: Found) -> str:
    """What is captured where outcomes or features are shuffled against the prompts."""
    controls, shuffles = found.controls, found.controls["shuffles"]
    rows = [
        (
            f"{what} of other prompts",
            number(controls[what]["mean"]),
            number(controls[what]["standard_error"]),
            f"{controls[what]['excluding_zero']} of {shuffles}",
            should,
        )
        for what, should in (("outcomes", "0: there is nothing to learn"), ("features", "0 or less: it is misled"))
    ]
    header = ("it is given", "mean gap captured", "standard error", "intervals without 0", "should be")
    told = f"{shuffles} shuffles, {controls['n_train']:,} training prompts; by chance, one interval in twenty lacks 0."
    return f"{told}\n\n{table(header, rows)}"


def _limits(found: Found) -> Iterator[str]:
    gap = found.evaluation["policies"]["forest"]["hull_gap_captured"]
    if not (gap["low"] or 0.0) > 0.0:
        yield "The interval of its gap includes 0: on this data a random mixture of fixed providers may do as well."
    yield "All figures are of one split of one table: they say nothing of other requests, prices or versions."
    yield "Rare kinds of requests are estimated towards the mean: they go to who is good on average."
    yield "It does not explore: its log cannot tell of other policies, unless in an `EpsilonGreedyPolicy`."
    yield "Quality is whatever graded the table: where that is wrong or biased, so is the router."
