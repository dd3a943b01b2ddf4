"""Which prompts and providers a recommendation uses, and that none that is scored has taught."""

from __future__ import annotations

import numpy as np
import pandas as pd

from routelab import PerformanceTable, recommend


def coins(n: int, seed: int) -> pd.DataFrame:
    """Two providers of about the same cost, each right on half of the prompts at random: nothing can be learned."""
    rng = np.random.default_rng(seed)
    rows = pd.DataFrame({"prompt_id": np.repeat(np.arange(n).astype(str), 2), "provider": ["a", "b"] * n})
    rows["prompt"] = "Question " + rows["prompt_id"]
    return rows.assign(quality=rng.integers(2, size=2 * n).astype(float), cost_usd=[0.001, 0.0011] * n)


def gained(frame: pd.DataFrame) -> float:
    """The most that cross-validation says a forest gains over the better provider."""
    compared = recommend(PerformanceTable.from_frame(frame), policies=["forest"]).compared
    return float(compared.loc[compared["policy"] == "forest", "difference"].max())


def test_prompts_that_lack_an_outcome_do_not_teach_of_their_twins() -> None:
    whole = coins(300, 1)
    copies = [whole.assign(prompt_id=whole["prompt_id"] + f" {copy}") for copy in range(8)]
    for copy, rows in enumerate(copies):
        rows.loc[rows["provider"] == "ab"[copy % 2], "quality"] = np.nan
    frame = pd.concat([whole, *copies])
    assert gained(frame) < 0.05


def test_a_provider_with_a_third_of_the_outcomes_is_left_out_unless_it_is_the_baseline() -> None:
    frame = pd.concat([coins(300, 0), coins(300, 1).query("provider == 'a'").assign(provider="rare")])
    frame = frame[(frame["provider"] != "rare") | (frame["prompt_id"].astype(int) % 3 == 0)]
    table = PerformanceTable.from_frame(frame)
    advice = recommend(table, policies=["ridge"])
    assert set(advice.shares) == {"a", "b"}
    assert advice.caveats == ("rare was left out: it has 100 outcomes, others up to 300",)
    kept = recommend(table, policies=["ridge"], baseline="rare")
    assert set(kept.shares) == {"a", "b", "rare"}
    assert kept.caveats == ("200 of 300 prompts lack an outcome of some provider and were not compared",)
