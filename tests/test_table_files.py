from __future__ import annotations

import ast
import csv
import re
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
    with pytest.raises(TableError, match=r"unknown ending '\.xlsx'\. Save a spreadsheet as CSV UTF-8.*\.parquet"):
        PerformanceTable.read(tmp_path / "t.xlsx")
    with pytest.raises(TableError, match="unknown ending ''"):
        PerformanceTable.from_frame(tidy(2)).write(tmp_path / "t")
    (tmp_path / "t.jsonl").write_text('{"prompt_id": "a"}\n[1]\n')
    with pytest.raises(TableError, match="line 2 is no JSON object"):
        PerformanceTable.read(tmp_path / "t.jsonl")
    (tmp_path / "t.csv").write_text(tidy(2, cost_usd=[1, "cheap", 1, 1]).to_csv(index=False))
    with pytest.raises(TableError, match=r"t\.csv: column 'cost_usd' must hold numbers, but row 1 .*'cheap'"):
        PerformanceTable.read(tmp_path / "t.csv")


HEADER = "prompt_id,provider,prompt,quality,cost_usd\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (HEADER + "a,p,Hi,0.5,0.1,7\na,q,Hi,0.5,0.1,7\n", "line 2 has 6 fields, but the header has 5"),
        (HEADER + "a,p,Hi,0.5,0.1\na,q,Hi,0.5\n", "line 3 has 4 fields, but the header has 5"),
        (HEADER + 'a,p,"1\n2",0.5,0.1\n\na,q,"1\n2",0.5,0.1,\n', "line 5 has 6 fields, but the header has 5"),
        ("\ufeff\n" + HEADER + "a,p,Hi, how,0.5,0.1\n", "line 3 has 6 fields, but the header has 5"),
    ],
)
def test_a_csv_row_with_more_or_fewer_fields_than_the_header_is_refused(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    with pytest.raises(TableError, match=rf"t\.csv: {words}\. .*[Qq]uote") as caught:
        PerformanceTable.read(tmp_path / "t.csv")
    assert str(caught.value).count("t.csv") == 1


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (
            HEADER.replace("quality", "score") + "a,p,Hi,0.5,0.1\n",
            "column 'quality' is missing, and 'score' is unknown",
        ),
        (
            HEADER.replace("quality", "qualty") + "a,p,Hi,0.5,0.1\n",
            "Did you mean df.rename.columns={'qualty': 'quality'}",
        ),
        ("," + HEADER + "0,a,p,Hi,0.5,0.1\n", "'Unnamed: 0' is the index of a frame. .*index=False"),
        (HEADER.replace(",", ";"), "columns are separated by ';'. Write it anew with commas"),
        (HEADER + "a,p,Caf\xe9,0.5,0.1\n", "its text is not UTF-8 .*0xe9"),
        (HEADER + 'a,p,Hi,"0,75",0.1\n', "'0,75'. Write a decimal point instead of the comma"),
        (HEADER + "a,p,Hi,N/A,0.1\n", "'N/A'. Write numbers in .0, 1., such as 0.75; leave ungraded cells empty"),
        ("PK\x03\x04\x14", "not a .csv file, but xlsx or another zip. Save a spreadsheet as CSV UTF-8"),
        ("\xff\xfep\x00", "its text is UTF-16. Save it as UTF-8"),
        ("\r\n", "the file is empty"),
    ],
)
def test_what_a_spreadsheet_or_a_frame_left_behind_is_named(content: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(content.encode("latin-1"))
    with pytest.raises(TableError, match=rf"^\S+t\.csv: .*{told}"):
        PerformanceTable.read(tmp_path / "t.csv")


def renamed(columns: str) -> tuple[str, dict[str, str]]:
    """The message about a table with these columns, and what it proposes to rename."""
    with pytest.raises(TableError) as caught:
        PerformanceTable.from_frame(pd.DataFrame([["a"] * len(columns.split(","))], columns=columns.split(",")))
    found = re.search(r"df\.rename\(columns=(\{.*?\})\)", str(caught.value))
    return str(caught.value), ast.literal_eval(found[1]) if found else {}


def test_a_companys_own_header_is_answered_with_all_its_columns_and_one_line_of_pandas() -> None:
    message, names = renamed("ticket,question,llm,usd,score")
    assert names == {
        "ticket": "prompt_id",
        "question": "prompt",
        "llm": "provider",
        "usd": "cost_usd",
        "score": "quality",
    }
    assert "columns 'prompt_id', 'provider', 'quality' and 'cost_usd' are missing, and 'ticket', " in message
    assert "'score' are unknown." in message
    assert "drop" not in message
    assert renamed("id,Input,Model,Grade,price")[1] == {
        "id": "prompt_id",
        "Input": "prompt",
        "Model": "provider",
        "Grade": "quality",
        "price": "cost_usd",
    }
    assert renamed("Prompt ID,text,model,rating,cost")[1] == {
        "Prompt ID": "prompt_id",
        "text": "prompt",
        "model": "provider",
        "rating": "quality",
        "cost": "cost_usd",
    }


def test_of_an_unknown_header_only_what_looks_like_no_column_is_to_be_dropped() -> None:
    message, names = renamed("prompt_id,provider,question,text,quality,cost_usd,comment,model_version")
    assert names == {"question": "prompt"}
    assert "'text' may be 'prompt' too: keep one." in message
    assert message.endswith(
        "As to 'comment' and 'model_version': a feature of your own starts with x_; drop what is none."
    )
    message, names = renamed("prompt_id,provider,frage,score")
    assert names == {"score": "quality"}
    assert "Give the cost of every row" in message
    assert "The text of each request is called 'prompt'." in message


def test_blank_lines_commas_in_quotes_and_long_prompts_do_not_make_a_csv_ragged(tmp_path: Path) -> None:
    long = "x, " * 100_000
    row = f'0.5,0.1\n\na,q,"{long}",0.5,0.1\n'
    (tmp_path / "t.csv").write_text(f'\ufeff{HEADER}a,p,"{long}",{row}\n', encoding="utf-8")
    limit = csv.field_size_limit()
    table = PerformanceTable.read(tmp_path / "t.csv")
    assert table.prompts is not None
    assert (table.providers, table.prompts.tolist()) == (("p", "q"), [long])
    assert csv.field_size_limit() == limit


@pytest.mark.parametrize(("start", "end"), [("[", "]"), ('{"a":', "}")])
def test_jsonl_nested_without_end_is_refused(start: str, end: str, tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"quality": 1}\n{"quality": ' + start * 100_000 + "1" + end * 100_000 + "}\n")
    with pytest.raises(TableError, match=r"t\.jsonl: .*line 2 is nested too deep"):
        PerformanceTable.read(tmp_path / "t.jsonl")


def test_a_lone_surrogate_in_a_jsonl_file_is_named_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text(
        "".join(
            f'{{"prompt_id": "a", "provider": "{p}", "prompt": "\\ud83e", "quality": 1, "cost_usd": 1}}\n' for p in "pq"
        )
    )
    with pytest.raises(TableError, match=r"t\.jsonl: column 'prompt' .*UTF-8.*row 0"):
        PerformanceTable.read(tmp_path / "t.jsonl")
