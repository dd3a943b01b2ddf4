from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from routelab.errors import TableError
from routelab.tables import PerformanceTable


def tidy(n: int = 4, providers: tuple[str, ...] = ("small", "large"), **columns: object) -> pd.DataFrame:
    frame = pd.DataFrame(
        {
            "prompt_id": [f"p{i}" for i in range(n) for _ in providers],
            "provider": list(providers) * n,
            "prompt": [f"Question {i}?" for i in range(n) for _ in providers],
            "quality": [0.5, 1.0] * n if len(providers) == 2 else 0.5,
            "cost_usd": [0.001, 0.02] * n if len(providers) == 2 else 0.001,
        }
    )
    return frame.assign(**columns)


def cell(column: str, value: object) -> pd.DataFrame:
    """A good frame with one bad cell, in row 3 (prompt p1, provider large)."""
    frame = tidy().astype({column: object}) if column in tidy() else tidy(**{column: 0.0}).astype({column: object})
    frame.loc[3, column] = value
    return frame


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (tidy(tsk="a"), ["'tsk'", "unknown", "Did you mean", "{'tsk': 'task'}"]),
        (tidy(colour="red"), ["'colour'", "unknown", "x_"]),
        (tidy().drop(columns="quality"), ["'quality'", "missing"]),
        (tidy().drop(columns="provider"), ["'provider'", "missing"]),
        (tidy().drop(columns="cost_usd"), ["'cost_usd'", "missing", "input_price_per_mtok"]),
        (
            tidy(input_tokens=1, output_tokens=1).drop(columns="cost_usd"),
            ["'cost_usd'", "output_price_per_mtok"],
        ),
        (cell("quality", 1.2), ["'quality'", "[0, 1]", "row 3", "'p1'", "'large'", "1.2"]),
        (cell("quality", -0.1), ["'quality'", "[0, 1]", "-0.1"]),
        (cell("quality", "good"), ["'quality'", "numbers", "'good'", "row 3"]),
        (cell("cost_usd", -1e-9), ["'cost_usd'", "≥ 0", "-1e-09"]),
        (cell("cost_usd", None), ["'cost_usd'", "empty", "row 3"]),
        (cell("cost_usd", math.inf), ["'cost_usd'", "finite", "inf"]),
        (cell("latency_s", -math.inf), ["'latency_s'", "-inf"]),
        (cell("latency_s", -2.0), ["'latency_s'", "≥ 0"]),
        (cell("output_tokens", -2), ["'output_tokens'", "≥ 0"]),
        (cell("timestamp", "last Tuesday"), ["'timestamp'", "numbers", "last Tuesday"]),
        (cell("prompt_id", None), ["'prompt_id'", "empty"]),
        (cell("prompt_id", "p0"), ["unique together", "'p0'", "row 1", "row 3"]),
        (cell("provider", ""), ["'provider'", "text"]),
        (cell("provider", 0.5), ["'provider'", "text", "0.5"]),
        (cell("prompt", " \n"), ["'prompt'", "text", "row 3"]),
        (cell("prompt", None), ["'prompt'", "empty", "row 3"]),
        (cell("prompt", "Another?"), ["'prompt'", "same for all providers", "Another?"]),
        (tidy(task="a").assign(task=list("abbbbbbb")), ["'task'", "same for all providers", "row 1"]),
        (tidy(x_length=np.arange(8.0)), ["'x_length'", "same for all providers"]),
        (cell("x_length", None), ["'x_length'", "empty"]),
        (tidy(split="test"), ["'split'", "'train' or 'eval'", "'test'", "5 more rows"]),
        (tidy(x_time_of_day=24.0), ["'x_time_of_day'", "[0, 24)", "24.0"]),
        (tidy(x_user_tier=2), ["'x_user_tier'", "premium"]),
        (tidy(x_load_small=-1.0), ["'x_load_small'", "≥ 0"]),
        (tidy(x_user_tier=1).drop(columns="prompt"), ["no features", "'prompt'"]),
        (tidy().drop(columns="prompt"), ["no features", "'prompt'"]),
        (tidy(providers=("only",)), ["'provider'", "'only'", "two or more"]),
        (tidy().head(0), ["no rows"]),
        (pd.concat([tidy(), tidy()["quality"]], axis=1), ["'quality'", "more than once"]),
        (tidy(quality=[[0.5]] * 8), ["'quality'", "single values", "row 0", "'p0'", "a list", "5 more rows"]),
        (tidy(prompt_id=[{"id": i // 2} for i in range(8)]), ["'prompt_id'", "single values", "row 0", "a dict"]),
        (tidy(timestamp=[np.zeros(2)] * 8), ["'timestamp'", "single values", "row 0", "a ndarray"]),
        (tidy(x_length=[(1, 2)] * 8), ["'x_length'", "single values", "a tuple"]),
        (tidy(timestamp=pd.Timedelta(1, "s")), ["'timestamp'", "numbers", "row 0"]),
        (cell("timestamp", 1j), ["'timestamp'", "numbers", "row 3"]),
        (cell("timestamp", 10**400), ["'timestamp'", "numbers", "row 3"]),
        (tidy(timestamp=pd.Period("2020")), ["'timestamp'", "numbers", "row 0"]),
        (tidy(timestamp=1j), ["'timestamp'", "numbers", "row 0"]),
        (tidy(quality=1j), ["'quality'", "numbers", "row 0"]),
        (cell("quality", b"\xff"), ["'quality'", "numbers", "row 3"]),
        (cell("quality", pd.Timestamp(0)), ["'quality'", "numbers", "row 3"]),
        (cell("provider", pd.NA), ["'provider'", "empty", "row 3"]),
        (
            tidy(prompt=pd.Series(["half \ud83e"] * 8, dtype=object)),
            ["'prompt'", "UTF-8", "row 0", r"'half \ud83e'", "surrogate"],
        ),
        (tidy(task=pd.Series(["\ud83e"] * 8, dtype=object)), ["'task'", "UTF-8", "row 0"]),
        (
            tidy(x_a=1.0).set_axis(pd.Index([*tidy().columns, "x_\ud83e"], dtype=object), axis=1),
            [r"'x_\ud83e'", "UTF-8", "surrogate"],
        ),
        (pd.concat({"a": tidy()}, axis=1), ["2 levels", "one name"]),
    ],
)
def test_a_bad_table_is_named_with_column_rule_rows_and_remedy(frame: pd.DataFrame, words: list[str]) -> None:
    with pytest.raises(TableError) as caught:
        PerformanceTable.from_frame(frame, origin="mine.csv")
    message = str(caught.value)
    assert message.startswith("mine.csv: ")
    assert [word for word in words if word not in message] == []
    assert "\n" not in message


def test_cost_is_tokens_times_price_where_it_is_not_given() -> None:
    prices = {"input_price_per_mtok": 10.0, "output_price_per_mtok": 30.0}
    frame = tidy(input_tokens=1000, output_tokens=100, **prices)
    table = PerformanceTable.from_frame(frame.drop(columns="cost_usd"))
    np.testing.assert_allclose(table.cost, 0.013)
    partly = PerformanceTable.from_frame(frame.assign(cost_usd=[0.5, *[None] * 7]))
    np.testing.assert_allclose(partly.cost.ravel()[:2], [0.5, 0.013])
    assert not any("price" in column for column in table.to_frame())


def test_unobserved_cells_are_nan_and_order_is_that_of_first_appearance() -> None:
    frame = tidy(3, quality=[0.1, 0.2, 0.3, None, 0.5, 0.6], latency_s=[1, None, None, 1, 1, 1]).drop(index=4)
    table = PerformanceTable.from_frame(frame.iloc[::-1])
    assert table.providers == ("large", "small")
    assert table.prompt_ids.tolist() == ["p2", "p1", "p0"]
    np.testing.assert_array_equal(table.quality, [[0.6, np.nan], [np.nan, 0.3], [0.2, 0.1]])
    np.testing.assert_array_equal(np.isnan(table.cost), [[False, True], [False, False], [False, False]])
    assert table.has_latency
    assert len(table.to_frame()) == 5
    assert table.prompts is not None
    assert table.tasks is None


def test_timestamps_are_utc_seconds_from_numbers_text_and_dates() -> None:
    for stamp in (
        1_688_000_000,
        "2023-06-29T00:53:20Z",
        "2023-06-29 02:53:20+02:00",
        pd.Timestamp("2023-06-29 00:53:20"),
    ):
        assert PerformanceTable.from_frame(tidy(timestamp=stamp)).timestamp[0, 0] == 1_688_000_000.0


def test_whole_numbers_serve_as_names() -> None:
    table = PerformanceTable.from_frame(tidy(prompt_id=[1, 1, 2, 2, 3, 3, 4, 4]))
    assert table.prompt_ids.tolist() == ["1", "2", "3", "4"]


@given(
    texts=st.lists(st.integers(0, 15), min_size=4, max_size=40),
    tasks=st.integers(1, 4),
    fraction=st.floats(0.2, 0.8),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=60, deadline=None)
def test_a_random_split_parts_all_prompts_but_never_equal_ones(
    texts: list[int], tasks: int, fraction: float, seed: int
) -> None:
    frame = tidy(len(texts)).assign(
        prompt=np.repeat([f"text {t}" for t in texts], 2),
        task=np.repeat([f"task {t % tasks}" for t in texts], 2),
    )
    table = PerformanceTable.from_frame(frame)
    groups = len(set(texts))
    assume(groups * min(fraction, 1 - fraction) >= 1)  # else a side may be empty
    train, rest = table.split(fraction, seed=seed)
    assert sorted([*train.prompt_ids, *rest.prompt_ids]) == sorted(table.prompt_ids)
    assert not set(train.prompts) & set(rest.prompts)
    assert abs(len(set(train.prompts)) - fraction * groups) < 1
    for task in set(table.tasks):
        of_task = len({p for p, t in zip(table.prompts, table.tasks, strict=True) if t == task})
        in_train = len({p for p, t in zip(train.prompts, train.tasks, strict=True) if t == task})
        assert abs(in_train - fraction * of_task) < 1
    again, _ = table.split(fraction, seed=seed)
    assert again.prompt_ids.tolist() == train.prompt_ids.tolist()


def test_a_table_keeps_its_own_split_unless_told_otherwise() -> None:
    splits = np.repeat(["train", "eval", "eval", "train"], 2)
    table = PerformanceTable.from_frame(tidy(split=splits))
    train, rest = table.split(0.1, seed=5)
    assert train.prompt_ids.tolist() == ["p0", "p3"]
    assert rest.prompt_ids.tolist() == ["p1", "p2"]
    other, _ = table.split(0.75, column=None)
    assert other.n == 3


def test_a_split_that_leaks_or_leaves_a_side_empty_is_refused() -> None:
    leaky = tidy(prompt=["Same?"] * 4 + ["same? \n"] * 4, split=["train"] * 4 + ["eval"] * 4)
    with pytest.raises(TableError, match=r"'split'.*both 'train' and 'eval'.*Same\?"):
        PerformanceTable.from_frame(leaky).split()
    with pytest.raises(TableError, match="empty"):
        PerformanceTable.from_frame(tidy(split="train")).split()
    with pytest.raises(TableError, match="empty"):
        PerformanceTable.from_frame(tidy(prompt="Same?")).split()
    for fraction in (0.0, 1.0, math.nan):
        with pytest.raises(TableError, match="train_fraction"):
            PerformanceTable.from_frame(tidy()).split(fraction)


def test_requests_carry_reserved_columns_as_fields_and_the_rest_as_features() -> None:
    reserved = {
        "x_estimated_complexity": 0.25,
        "x_requires_reasoning": 1,
        "x_time_of_day": 13.5,
        "x_user_tier": 1,
    }
    table = PerformanceTable.from_frame(tidy(**reserved, x_length=7, x_load_large=0.5))
    request = table.requests()[2]
    assert (request.prompt, request.request_id) == ("Question 2?", "p2")
    assert (request.estimated_complexity, request.requires_reasoning) == (0.25, True)
    assert (request.time_of_day, request.user_tier) == (13.5, "premium")
    assert request.features == {"length": 7.0}
    np.testing.assert_array_equal(table.load()[2], [0.0, 0.5])
    without_text = PerformanceTable.from_frame(tidy(x_length=7).drop(columns="prompt"))
    assert without_text.requests()[0].features == {"length": 7.0}
    np.testing.assert_array_equal(without_text.load(), np.zeros((4, 2)))


def test_prompts_and_providers_are_selected_with_everything_aligned() -> None:
    names = ("a", "b", "c")
    frame = tidy(3, names, quality=np.arange(9) / 10, x_load_a=1.0, x_load_c=3.0)
    table = PerformanceTable.from_frame(frame).select_providers(["c", "a"]).take([2, 0])
    np.testing.assert_array_equal(table.quality, [[0.8, 0.6], [0.2, 0.0]])
    np.testing.assert_array_equal(table.load(), [[3.0, 1.0]] * 2)
    assert table.select_providers(["a", "c"]).feature_names == ("load_a", "load_c")
    assert PerformanceTable.from_frame(frame).select_providers(["a", "b"]).feature_names == ("load_a",)
    assert table.take(np.array([False, True])).prompt_ids.tolist() == ["p0"]
    with pytest.raises(TableError, match="no provider 'ab'"):
        table.select_providers(["a", "ab"])
    with pytest.raises(TableError, match="two or more"):
        table.select_providers(["a"])
    with pytest.raises(TableError, match="no prompt"):
        table.take(np.zeros(2, bool))


def test_a_table_cut_to_fewer_providers_drops_the_loads_of_the_others() -> None:
    frame = tidy(3, ("a", "b", "c"), x_load_a=1.0, x_load_b=2.0)
    table = PerformanceTable.from_frame(frame[frame["provider"] != "b"])
    assert table.feature_names == ("load_a",)
    np.testing.assert_array_equal(table.load(), [[1.0, 0.0]] * 3)


def test_the_notebook_view_escapes_what_the_table_holds() -> None:
    table = PerformanceTable.from_frame(tidy(providers=("<b>", "large")), origin="<i>")
    assert "<b>" not in table._repr_html_()
    assert "<i>" not in table._repr_html_()
