from __future__ import annotations

import resource
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from routelab.errors import TableError
from routelab.tables import PerformanceTable
from routelab.tables.io import ENDINGS


def tidy(n: int, **columns: object) -> pd.DataFrame:
    frame = {"prompt_id": np.repeat([f"p{i}" for i in range(n)], 2), "provider": ["small", "large"] * n}
    return pd.DataFrame({**frame, "prompt": "Why?", "quality": 0.5, "cost_usd": 0.001}).assign(**columns)


def rich() -> pd.DataFrame:
    return tidy(
        4,
        prompt=np.repeat(["NA", 'a "quoted", text', "line\r\nbreak\rand\u2028more", "ünï\rcode 🦜"], 2),
        quality=[1 / 3, None, 0, 1, 0.25, 0.5, 0.75, 1],
        cost_usd=[1e-9, 2.86e-5, 1 / 7, 0, 1, 2, 3, 4],
        task=np.repeat(["null", "b", "b", "b"], 2),
        split=np.repeat(["train", "eval", "eval", "train"], 2),
        timestamp=1_688_000_123.456,
        latency_s=[None, *[0.5] * 7],
        x_length=np.repeat([1, 2, 3, 4], 2),
    ).drop(index=5)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_holds_the_same_table_and_the_same_bytes_each_time(ending: str, tmp_path: Path) -> None:
    table = PerformanceTable.from_frame(rich())
    table.write(tmp_path / f"a{ending}")
    again = PerformanceTable.read(tmp_path / f"a{ending}")
    pd.testing.assert_frame_equal(again.to_frame(), table.to_frame(), rtol=1e-8, atol=0)
    np.testing.assert_array_equal(again.timestamp[0], 1_688_000_123.456)
    again.write(tmp_path / f"b{ending}")
    assert (tmp_path / f"a{ending}").read_bytes() == (tmp_path / f"b{ending}").read_bytes()
    assert again.quality[0, 0] == 0.333333333


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_failing_write_leaves_the_old_file_whole(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"t{ending}"
    PerformanceTable.from_frame(rich()).write(path)
    before = path.read_bytes()

    large = PerformanceTable.from_frame(tidy(500, x_noise=np.repeat(np.random.default_rng(0).random(500), 2)))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2048, limits[1]))  # the disk is full after 2 kB
    try:
        with pytest.raises(OSError, match=r"(?i)too large"):
            large.write(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("said", ENDINGS)
@pytest.mark.parametrize("true", [*ENDINGS, "empty"])
def test_a_file_that_is_not_what_its_ending_says_is_refused(said: str, true: str, tmp_path: Path) -> None:
    if said == true:
        return
    if true == "empty":
        (tmp_path / "t").touch()
    else:
        PerformanceTable.from_frame(rich()).write(tmp_path / f"t{true}")
    (tmp_path / f"t{'' if true == 'empty' else true}").rename(tmp_path / f"lie{said}")
    with pytest.raises(TableError, match=rf"lie\{said}: .*(not a \{said} file|no rows)"):
        PerformanceTable.read(tmp_path / f"lie{said}")


def test_missing_files_and_unknown_endings_are_named(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"none\.csv: no such file"):
        PerformanceTable.read(tmp_path / "none.csv")
    with pytest.raises(TableError, match=r"unknown ending '\.xlsx'.*\.parquet"):
        PerformanceTable.read(tmp_path / "t.xlsx")
    with pytest.raises(TableError, match="unknown ending ''"):
        PerformanceTable.from_frame(tidy(2)).write(tmp_path / "t")
    (tmp_path / "t.jsonl").write_text('{"prompt_id": "a"}\n[1]\n')
    with pytest.raises(TableError, match="line 2 is no JSON object"):
        PerformanceTable.read(tmp_path / "t.jsonl")
    (tmp_path / "t.csv").write_text(tidy(2, cost_usd=[1, "cheap", 1, 1]).to_csv(index=False))
    with pytest.raises(TableError, match=r"t\.csv: column 'cost_usd' must hold numbers, but row 1 .*'cheap'"):
        PerformanceTable.read(tmp_path / "t.csv")
