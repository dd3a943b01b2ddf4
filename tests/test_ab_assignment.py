"""Who gets which variant: by a documented hash, uniform, independent, and nobody moves when a test grows."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2, chi2_contingency, chisquare

from routelab.abtest.assignment import ABTest
from routelab.abtest.layer import ABLayer
from routelab.errors import ExperimentError

UNITS = [f"user-{i}" for i in range(1_000_000)]
THREE = ("control", "forest", "bandit")
NAME = st.text(st.characters(exclude_characters="/", exclude_categories=["Cs"]), min_size=1).filter(str.strip)
UNIT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


def ab_test(**changes: object) -> ABTest:
    fields: dict[str, object] = {"name": "t", "variants": THREE, "allocation": (0.5, 0.3, 0.2), "salt": "s"}
    return ABTest(**(fields | changes))  # type: ignore[arg-type]


def codes(test: ABTest, units: list[str] = UNITS) -> np.ndarray:
    """Column of the variant of each unit, the number of variants where it has none."""
    names = test.assign_many(units)
    found = np.full(len(units), len(test.variants))
    for code, variant in enumerate(test.variants):
        found[names == variant] = code
    return found


# --- the hash ---


def by_the_book(test: ABTest, unit: str) -> str | None:
    """The rule of the docstring in the words of arithmetic, without the package's code."""
    digest = hashlib.sha256(f"{test.salt}/{test.name}/{unit}".encode()).hexdigest()
    h1, h2 = (int(digest[start : start + 16], 16) // 2**11 / 2**53 for start in (0, 16))
    shares = list(test.shares.values())
    total = sum(shares)
    if test.layer is not None:
        layer = test.layer
        key = hashlib.sha256(f"{layer.salt}/{layer.name}/{unit}".encode()).hexdigest()
        h3 = int(key[32:48], 16) // 2**11 / 2**53
        start, stop = layer.slices[test.name]
        if not start <= h3 < stop:
            return None
    if h2 >= round(total, 9):
        return None
    return next(v for i, v in enumerate(test.variants) if h1 < round(sum(shares[: i + 1]) / total, 9))


@given(NAME, NAME, st.lists(UNIT, min_size=1), st.lists(st.integers(1, 50), min_size=2, max_size=5), st.booleans())
def test_the_assignment_is_the_documented_rule_for_one_unit_and_for_many(
    name: str, salt: str, units: list[str], weights: list[int], layered: bool
) -> None:
    shares = [weight / 256 for weight in weights]
    test = ABTest(
        name,
        [f"v{i}" for i in range(len(shares))],
        shares,
        salt,
        ABLayer("layer", salt, {name: (0.25, 0.75)}) if layered else None,
        holdout=1.0 - sum(shares),
    )
    expected = [by_the_book(test, unit) for unit in units]
    assert test.assign_many(units).tolist() == expected
    assert [test.assign(unit) for unit in units] == expected


def test_another_process_with_another_hash_seed_assigns_alike() -> None:
    code = (
        "from routelab import ABTest; test = ABTest('t', ('a', 'b'), {'b': .4, 'a': .4}, 's', holdout=.2);"
        "print([test.assign(f'user-{i}') for i in range(50)])"
    )
    environment = os.environ | {"PYTHONHASHSEED": "7"}
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    test = ABTest("t", ("a", "b"), (0.4, 0.4), "s", holdout=0.2)
    assert answer.stdout.strip() == str([test.assign(f"user-{i}") for i in range(50)])


# --- uniform and independent, on a million units each ---

ENOUGH = 1e-4  # p-value: these tests are of fixed units, so that they fail for ever or never


@pytest.mark.parametrize("holdout", [0.0, 0.25])
def test_a_million_units_fall_into_the_variants_as_their_shares_say(holdout: float) -> None:
    shares = np.array([0.5, 0.3, 0.2]) * (1.0 - holdout)
    found = np.bincount(codes(ab_test(allocation=shares.tolist(), holdout=holdout)), minlength=4)
    kept = 4 if holdout else 3
    assert found[kept:].sum() == 0
    assert chisquare(found[:kept], np.append(shares, holdout)[:kept] * len(UNITS)).pvalue > ENOUGH


@pytest.mark.parametrize(
    "other",
    [{"name": "u"}, {"salt": "r"}, {"name": "s", "salt": "t"}, {"allocation": (0.2, 0.2, 0.4), "name": "u"}],
    ids=["another name", "another salt", "name and salt swapped", "other shares"],
)
def test_assignments_of_two_tests_are_independent(other: dict[str, object]) -> None:
    allocation = {"allocation": (0.4, 0.2, 0.2), "holdout": 0.2}
    both = codes(ab_test(**allocation)) * 4 + codes(ab_test(**(allocation | other)))
    table = np.bincount(both, minlength=16).reshape(4, 4)
    assert chi2_contingency(table).pvalue > ENOUGH
    table = np.bincount(codes(ab_test(**allocation)) * 4 + codes(ab_test(**allocation)), minlength=16).reshape(4, 4)
    assert chi2_contingency(table).pvalue < ENOUGH  # it would be seen


def test_the_four_hashes_of_a_unit_are_uniform_and_independent_of_each_other() -> None:
    h = (ab_test().hashes(UNITS) >> np.uint64(49)).astype(int)  # sixteenths
    for column in h.T:
        assert chisquare(np.bincount(column, minlength=16)).pvalue > ENOUGH
    for one, other in ((0, 1), (0, 2), (1, 2)):
        joint = np.bincount(h[:, one] * 16 + h[:, other], minlength=256)
        statistic = ((joint - len(UNITS) / 256) ** 2 / (len(UNITS) / 256)).sum()
        assert chi2.sf(statistic, 255) > ENOUGH


# --- ramp-up ---


@settings(max_examples=60, deadline=None)
@given(
    weights=st.lists(st.integers(1, 9), min_size=2, max_size=5),
    steps=st.lists(st.floats(0.001, 1.0), min_size=2, max_size=5).map(sorted),
    salt=NAME,
)
def test_a_ramp_up_moves_no_unit_that_has_a_variant(weights: list[int], steps: list[float], salt: str) -> None:
    units = UNITS[:3000]
    names = [f"v{i}" for i in range(len(weights))]
    shares = [[step * weight / sum(weights) for weight in weights] for step in steps]
    test = ABTest("t", names, shares[0], salt, holdout=1.0 - sum(shares[0]))
    before = test.assign_many(units)
    for raised in shares[1:]:
        test = test.ramp(raised)
        now = test.assign_many(units)
        treated = before != np.array(None)
        assert (now[treated] == before[treated]).all()
        before = now
    assert test == ABTest("t", names, shares[-1], salt, holdout=test.holdout)  # history leaves no trace


def test_a_ramp_to_everybody_treats_everybody_and_a_million_units_stay() -> None:
    small = ab_test(allocation=(0.005, 0.003, 0.002), holdout=0.99)
    large = small.ramp({"bandit": 0.2, "forest": 0.3, "control": 0.5})
    first, last = codes(small), codes(large)
    assert 9_000 < (first < 3).sum() < 11_000
    assert (last < 3).all()
    assert (first[first < 3] == last[first < 3]).all()


@pytest.mark.parametrize("shares", [(0.1, 0.1, 0.2), (0.2, 0.12, 0.09), (0.2, 0.1, 0.1)])
def test_a_ramp_that_would_move_units_is_refused(shares: tuple[float, ...]) -> None:
    test = ab_test(allocation=(0.2, 0.12, 0.08), holdout=0.6)
    with pytest.raises(ExperimentError, match=r"would move units of test 't' that have a variant; raise all shares"):
        test.ramp(shares)
    with pytest.raises(ExperimentError, match="would move units"):
        test.ramp((0.1, 0.06, 0.04))


# --- layers ---


def test_tests_of_a_layer_share_no_unit_and_each_has_its_slice_and_shares() -> None:
    slices = {"one": (0.0, 0.3), "two": (0.3, 0.8), "three": (0.9, 1.0)}
    layer = ABLayer("ranking", "s", slices)
    taken = np.zeros(len(UNITS), dtype=int)
    for name, (start, stop) in slices.items():
        found = codes(ab_test(name=name, layer=layer))
        taken += found < 3
        counts = np.bincount(found, minlength=4)
        expected = np.array([0.5, 0.3, 0.2]) * (stop - start)
        assert chisquare(counts, np.append(expected, 1.0 - expected.sum()) * len(UNITS)).pvalue > ENOUGH
    assert taken.max() == 1
    outside = codes(ab_test(name="elsewhere"))
    assert chi2_contingency(np.bincount(taken * 3 + outside, minlength=6).reshape(2, 3)).pvalue > ENOUGH


def test_within_a_layer_a_grown_slice_moves_nobody() -> None:
    units = UNITS[:20_000]
    tests = [ab_test(layer=ABLayer("l", "s", {"t": (0.2, stop)})) for stop in (0.4, 0.7)]
    small, large = (codes(test, units) for test in tests)
    assert (large[small < 3] == small[small < 3]).all()
    assert (large < 3).sum() > 2 * (small < 3).sum()


@pytest.mark.parametrize(
    ("slices", "message"),
    [
        ({"t": (0.0, 0.5), "u": (0.4, 1.0)}, r"slices of 't' and 'u' overlap in layer 'l'; part them"),
        ({"u": (0.5, 1.0), "t": (0.0, 1.0)}, "slices of 't' and 'u' overlap"),
        ({"t": (0.5, 0.5)}, r"slice of test 't' is \(0.5, 0.5\); give two numbers, 0 ≤ start < stop ≤ 1"),
        ({"t": (-0.1, 0.5)}, "slice of test 't'"),
        ({"t": (0.5, float("nan"))}, "slice of test 't'"),
        (None, "ABLayer.slices is None; give a dict: name of a test → "),
        (7, "ABLayer.slices is 7"),
        ([("t", (0.0, 1.0))], "ABLayer.slices is "),
        ({"t": 0.5}, "slice of test 't' is 0.5; give two numbers"),
        ({"t": None}, "slice of test 't' is None"),
        ({"t": (0.5,)}, r"slice of test 't' is \(0.5,\)"),
        ({"t": (0.0, 0.5, 1.0)}, "slice of test 't'"),
        ({"t": ("a", "b")}, "slice of test 't'"),
        ({"t": "01"}, "slice of test 't' is '01'"),
        ({"t": (None, 1.0)}, "slice of test 't'"),
        ({"t": (np.zeros(2), 1.0)}, "slice of test 't'"),
    ],
)
def test_slices_that_overlap_or_are_none_are_refused(slices: object, message: str) -> None:
    with pytest.raises(ExperimentError, match=message):
        ABLayer("l", "s", slices)  # type: ignore[arg-type]


def test_a_layer_asked_about_another_test_names_its_own() -> None:
    with pytest.raises(ExperimentError, match="layer 'l' has slices for t, none for 'u'"):
        ABLayer("l", "s", {"t": (0.0, 1.0)}).holds("u", ["user"])


# --- bad input ---


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": ""}, r"ABTest\.name is ''; give a text that is not empty and holds no '/'"),
        ({"name": "a/b"}, r"ABTest\.name is 'a/b'"),
        ({"salt": "a/b"}, r"ABTest\.salt is 'a/b'"),
        ({"salt": 7}, r"ABTest\.salt is 7"),
        ({"variants": ("a", "a", "b")}, r"variants of test 't' are \('a', 'a', 'b'\); give two or more, each once"),
        ({"variants": ("a",), "allocation": (1.0,)}, "give two or more"),
        ({"variants": (), "allocation": ()}, "give two or more"),
        ({"variants": ("a", "", "b")}, "a variant of test 't' is ''"),
        ({"allocation": (0.5, 0.5)}, r"allocation .* is \(0.5, 0.5\); give one share for each of control, forest"),
        ({"allocation": {"control": 0.5, "forest": 0.3, "other": 0.2}}, "give one share for each of control, forest"),
        ({"allocation": (0.5, 0.3, 0.3)}, r"shares of test 't' and its holdout sum to 1.1; have them sum to one"),
        ({"allocation": (0.3, 0.3, 0.3)}, "sum to 0.9; .* holdout= takes what no variant gets"),
        ({"holdout": 0.1}, "sum to 1.1"),
        ({"allocation": (1.0, 0.0, 0.0)}, r"share of variant 'forest' is 0.0; give a number in \[1e-6, 1\]"),
        ({"allocation": (0.7, 0.6, -0.3)}, "share of variant 'bandit' is -0.3"),
        ({"allocation": (float("nan"), 0.3, 0.2)}, "share of variant 'control' is nan"),
        ({"holdout": float("nan")}, "holdout of test 't' is nan"),
        ({"ends_at": float("inf")}, "ends_at of test 't' is inf; give a unix second"),
        ({"layer": ABLayer("l", "s", {"u": (0.0, 1.0)})}, "layer 'l' has slices for u, none for 't'; add one"),
    ],
)
def test_a_test_that_cannot_be_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ExperimentError, match=message):
        ab_test(**changes)


@pytest.mark.parametrize("unit", ["", None, 7, "half \ud800"])
def test_a_unit_without_a_name_is_refused(unit: object) -> None:
    with pytest.raises(ExperimentError, match=r"unit_id is .*; name a user, a conversation or a request by a text"):
        ab_test().assign(unit)  # type: ignore[arg-type]
    with pytest.raises(ExperimentError, match="unit_id is"):
        ab_test().assign_many(["fine", unit])  # type: ignore[list-item]


def test_no_units_have_no_variants_and_a_changed_salt_changes_them() -> None:
    assert ab_test().assign_many([]).shape == (0,)
    changed = codes(ab_test(), UNITS[:1000]) != codes(replace(ab_test(), salt="r"), UNITS[:1000])
    assert 0.5 < changed.mean() < 0.75
