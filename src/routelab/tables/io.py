"""Tidy frames on disk as parquet, CSV or JSONL, by ending: written whole, the same bytes every time."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from routelab.errors import TableError

ENDINGS = (".parquet", ".csv", ".jsonl")
_SHEET = "Save a spreadsheet as CSV UTF-8. "


def read_frame(path: str | Path) -> pd.DataFrame:
    """Read a tidy frame; its columns are not checked here.

    Raises:
        TableError: the file is missing or empty, has another ending, is not what its ending says, or is a ragged CSV.
    """
    path = Path(path)
    _check_ending(path)
    if not path.is_file():
        raise TableError(f"{path}: no such file. Check the path; relative ones start at {Path.cwd()}.")
    with path.open("rb") as file:
        head = file.read(4)
    _check_head(path, head)
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        if head == b"PAR1":
            raise ValueError("it is a parquet file")
        return _read_csv(path, head) if path.suffix == ".csv" else _read_jsonl(path)
    except TableError:
        raise
    except UnicodeDecodeError as error:
        place = f"byte {error.object[error.start]:#x} at {error.start}"
        raise TableError(f"{path}: its text is not UTF-8 ({place}). Save it as UTF-8.") from None
    except (ValueError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TableError(
            f"{path}: not a {path.suffix} file ({reason}). Give it its true ending, or write it anew."
        ) from error


def write_frame(frame: pd.DataFrame, path: str | Path) -> None:
    """Write a tidy frame, whole or not at all: floats with 9 significant digits, timestamps to the ms.

    Raises:
        TableError: the ending is unknown.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     write_frame(pd.DataFrame({"x": [1 / 3]}), f"{folder}/t.csv")
    ...     print(Path(folder, "t.csv").read_text())
    "x"
    0.333333333
    """
    path = Path(path)
    _check_ending(path)
    rounded = frame.assign(**{str(c): _rounded(frame[c], str(c)) for c in frame.select_dtypes(float)})
    with replacing(path) as temporary:
        if path.suffix == ".parquet":
            _write_parquet(rounded, temporary)
        elif path.suffix == ".csv":
            # Quoted text survives line breaks of every kind.
            rounded.to_csv(temporary, index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
        else:
            temporary.write_text("".join(_json_lines(rounded)), encoding="utf-8", newline="\n")


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSONL file; only a line feed ends a line (texts may hold other separators).

    Raises:
        ValueError: a line is no JSON object.
    """
    rows = []
    with path.open(encoding="utf-8", newline="\n") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"line {number} is not JSON: {error.msg}") from None
            except RecursionError:
                raise ValueError(f"line {number} is nested too deep") from None
            if not isinstance(row, dict):
                raise ValueError(f"line {number} is no JSON object")
            rows.append(row)
    return rows


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside ``path``: replaces it when the block ends well, vanishes when not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _check_ending(path: Path) -> None:
    if path.suffix not in ENDINGS:
        sheet = _SHEET if path.suffix.lower() in (".xlsx", ".xls", ".ods") else ""
        raise TableError(f"{path}: unknown ending {path.suffix!r}. {sheet}Use one of {', '.join(ENDINGS)}.")


def _check_head(path: Path, head: bytes) -> None:
    """Refuse by its first bytes what no reader could name."""
    if not head.strip():
        raise TableError(f"{path}: the file is empty, so it has no rows. Write the table anew.")
    if head == b"PK\x03\x04":
        raise TableError(f"{path}: not a {path.suffix} file, but xlsx or another zip. {_SHEET}".rstrip())
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise TableError(f"{path}: its text is UTF-16. Save it as UTF-8.")


def _read_csv(path: Path, head: bytes) -> pd.DataFrame:
    """Everything as text, so that the schema can name what is no number; an empty cell is missing."""
    if head[:1] == b"{":
        raise ValueError("it looks like JSONL")
    _check_ragged(path)
    frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    return frame.astype(object).where(frame != "", None)


def _check_ragged(path: Path) -> None:
    """Refuse a row whose fields are not as many as the header's: pandas would shift or pad it. Blank lines pass."""
    limit = csv.field_size_limit(2**31 - 1)  # of the whole process, 128 KiB by default: prompts may be longer
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file)
            width, start = 0, 1
            for row in rows:
                width = width or len(row)
                if width == 1 and (other := next((mark for mark in ";\t|" if mark in row[0]), None)):
                    raise TableError(f"{path}: columns are separated by {other!r}. Write it anew with commas.")
                if row and len(row) != width:
                    raise TableError(
                        f"{path}: line {start} has {len(row)} fields, but the header has {width}. Quote texts "
                        f"that hold commas, and give every row one field per column (an unknown one empty)."
                    )
                start = rows.line_num + 1
    finally:
        csv.field_size_limit(limit)


def _read_jsonl(path: Path) -> pd.DataFrame:
    rows = read_json_lines(path)
    try:
        return pd.DataFrame(rows)
    except UnicodeEncodeError:  # a lone surrogate: as objects it gets as far as the schema, which names its place
        return pd.DataFrame(rows, dtype=object)


def _rounded(values: pd.Series[float], column: str) -> pd.Series[float]:
    """9 significant digits; unix seconds need 13 to keep their milliseconds."""
    if column == "timestamp":
        return values.round(3)
    return pd.Series(np.char.mod("%.9g", values.to_numpy(float)).astype(float), index=values.index)


def _write_parquet(frame: pd.DataFrame, path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    # The metadata that pandas adds names its version: without it, equal tables are equal bytes.
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    pq.write_table(table, path, compression="zstd")


def _json_lines(frame: pd.DataFrame) -> Iterator[str]:
    names = [str(c) for c in frame.columns]
    for values in zip(*(frame[c].tolist() for c in frame.columns), strict=True):
        known = {name: value for name, value in zip(names, values, strict=True) if value == value}
        yield json.dumps(known, ensure_ascii=False) + "\n"
