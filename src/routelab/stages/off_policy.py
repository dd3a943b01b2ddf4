"""Stage ``off_policy``: what the log of an exploring forest tells of other policies, beside the truth of the table."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from routelab import plots, tracking
from routelab.arrays import Floats
from routelab.evaluation.ope import LoggedData, LowSampleWarning, evaluate, overlap, predicted_rewards, rank
from routelab.evaluation.split import Split
from routelab.params import Params
from routelab.policies import FixedPolicy, RulePolicy, load_policy
from routelab.policies.objective import Objective
from routelab.stages.common import drawn, models, progress, read_splits, reports, stage, write_bytes, write_json

_COMPONENTS = 16  # of the features of the reward models: many logs are small
_CHECKED = ("snips", "dr")  # estimators whose intervals are counted
_RANKED_BY = "dr"


def off_policy(source: str, params: Params) -> None:
    """Evaluate and rank policies from one log, count how often intervals hold the truth over many; log to MLflow."""
    settings, seed = params.off_policy, params.seed
    objective = Objective(cost_weight=settings.cost_weight)
    train, everything = read_splits(source)
    held = everything.complete(f"{source}, evaluation split")
    policies, logging = candidates(source, train, held, objective, settings.exploration)
    contexts = _contexts(train, held)
    tracking.check_store()

    n, resamples = params.sized(settings.decisions), params.sized(settings.resamples)
    log, prompt = draw(held, contexts, logging, n, np.random.default_rng(seed))
    targets = {name: probabilities[prompt] for name, probabilities in policies.items()}
    asked: dict[str, Any] = {"objective": objective, "n_resamples": resamples, "seed": seed}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LowSampleWarning)  # it is a column, too
        predictions = predicted_rewards(log, log.metrics, seed=seed)
        frame = evaluate(log, targets, predictions=predictions, **asked)
        ranked = rank(log, targets, estimator=_RANKED_BY, predictions=predictions, **asked)
    truth = {metric: truths(policies, held, metric, objective) for metric in ("quality", "cost", "utility")}
    figure = drawn(plots.plot_estimators(frame, metric="utility", truth=truth["utility"]))
    told: dict[str, Any] = {
        "cost_weight": settings.cost_weight,
        "exploration": settings.exploration,
        "decisions": n,
        "truth": truth,
        "effective_sample_sizes": {name: overlap(log, probabilities).ess for name, probabilities in targets.items()},
        "ranking": ranked.to_dict("records"),
        "coverage": coverage(policies, held, contexts, logging, n, params),
    }
    write_json(reports(source) / "off_policy.json", told)
    write_bytes(reports(source) / "off_policy.csv", frame.to_csv(index=False, float_format="%.9g").encode())
    write_bytes(reports(source) / "off_policy.png", figure)
    with tracking.run("off-policy", source, "all", seed, settings.model_dump()):
        mine = frame[(frame["estimator"] == _RANKED_BY) & (frame["metric"] == "utility")]
        for name in ("value", "low", "high"):
            values = zip(mine["policy"], mine[name], strict=True)
            tracking.log_metrics({f"{policy}/{name}": value for policy, value in values})
        tracking.log_files(reports(source) / "off_policy.json", reports(source) / "off_policy.png")
    covered = told["coverage"]["covered"]
    held_truth = ", ".join(f"{share:.0%} ({name})" for name, share in covered.items())
    print(
        f"{source}: from {n} decisions {ranked['policy'].iloc[0]} ranks first; intervals held the truth in {held_truth}"
    )


def candidates(
    source: str, train: Split, held: Split, objective: Objective, exploration: float
) -> tuple[dict[str, Floats], Floats]:
    """Action probabilities (n, k) on the evaluation prompts of the policies asked about, and of the one that logs: a
    forest that looks at quality alone, and explores.
    """
    outcomes = train.X, train.quality, train.cost
    forest = load_policy(models(source) / "forest")
    policies = {name: load_policy(models(source) / name) for name in ("thompson", "epsilon-greedy")}
    policies |= {"forest": forest, "rule": RulePolicy().fit(*outcomes, providers=train.providers)}
    for provider in train.providers:
        policies[f"fixed:{provider}"] = FixedPolicy(provider).fit(*outcomes, providers=train.providers)
    greedy = forest.action_probabilities(held.X, Objective())
    logging = (1.0 - exploration) * greedy + exploration / greedy.shape[1]
    return {name: policy.action_probabilities(held.X, objective) for name, policy in policies.items()}, logging


def _contexts(train: Split, held: Split) -> Floats:
    """Principal components of the standardised features, learned on the training prompts."""
    few = min(_COMPONENTS, *train.X.shape)
    reduce = make_pipeline(StandardScaler(), PCA(few, svd_solver="full")).fit(train.X.astype(np.float64))
    contexts: Floats = reduce.transform(held.X.astype(np.float64))
    return contexts


def draw(
    held: Split, contexts: Floats, logging: Floats, n: int, rng: np.random.Generator
) -> tuple[LoggedData, NDArray[np.intp]]:
    """A log of n decisions on prompts drawn with replacement, and the prompt of each."""
    prompt = rng.integers(len(held.X), size=n)
    probabilities = logging[prompt]
    action = (rng.random((n, 1)) > probabilities.cumsum(axis=1)[:, :-1]).sum(axis=1)
    log = LoggedData(
        action,
        held.quality[prompt, action],
        probabilities[np.arange(n), action],
        held.providers,
        cost=held.cost[prompt, action],
        X=contexts[prompt],
        probabilities=probabilities,
    )
    return log, prompt


def truths(policies: dict[str, Floats], held: Split, metric: str, objective: Objective) -> dict[str, float]:
    """The mean that each policy has over all prompts of the table."""
    outcome = {"quality": held.quality, "cost": held.cost, "utility": objective.utility(held.quality, held.cost)}
    return {name: float((p * outcome[metric]).sum(axis=1).mean()) for name, p in policies.items()}


def coverage(
    policies: dict[str, Floats], held: Split, contexts: Floats, logging: Floats, n: int, params: Params
) -> dict[str, Any]:
    """How often the 95 % bootstrap interval of the forest's quality holds the truth, over many logs of n decisions."""
    logs, forest = params.sized(params.off_policy.logs), policies["forest"]
    truth = truths({"forest": forest}, held, "quality", Objective())["forest"]
    held_truth = np.zeros((logs, len(_CHECKED)))
    widths = np.zeros_like(held_truth)
    for number, child in enumerate(progress(np.random.SeedSequence(params.seed).spawn(logs), "logs")):
        log, prompt = draw(held, contexts, logging, n, np.random.default_rng(child))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LowSampleWarning)
            found = evaluate(
                log,
                {"forest": forest[prompt]},
                estimators=_CHECKED,
                metrics=["quality"],
                n_resamples=params.sized(params.off_policy.resamples),
                seed=params.seed + number,
            )
        held_truth[number] = (found["low"] <= truth) & (truth <= found["high"])
        widths[number] = found["high"] - found["low"]
    means = {"covered": held_truth.mean(axis=0), "mean_width": widths.mean(axis=0)}
    told = {name: dict(zip(_CHECKED, values.tolist(), strict=True)) for name, values in means.items()}
    return {"logs": logs, "truth": truth} | told


if __name__ == "__main__":
    stage(off_policy)
