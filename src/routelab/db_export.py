"""The performance log as a parquet file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import sqlalchemy as sa

from routelab.db_batches import LOG

if TYPE_CHECKING:
    import pyarrow as pa


def export_batches(batches: Iterable[pd.DataFrame], path: Path) -> None:
    """Write batches of ``LOG``, a row group each, whole or not at all; the same rows give the same bytes."""
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    schema = _schema()
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = path.with_name(f".{path.name}.part")
    try:
        with ParquetWriter(staging, schema, compression="zstd") as file:
            for frame in batches:
                frame["features"] = frame["features"].map(lambda blob: np.frombuffer(blob, "<f4")).astype(object)
                for name in ("providers", "probabilities"):
                    frame[name] = frame[name].map(json.loads).astype(object)
                table = pa.Table.from_pandas(frame, schema=schema, preserve_index=False)
                file.write_table(table.replace_schema_metadata())
        os.replace(staging, path)
    finally:
        staging.unlink(missing_ok=True)


def _schema() -> pa.Schema:
    """Columns as :meth:`PerformanceDB.log` has them, but ``objective`` is JSON, as its fields may differ by row."""
    import pyarrow as pa

    by_type = {sa.Text: pa.string(), sa.Double: pa.float64(), sa.BigInteger: pa.int64()}
    by_name = {
        "features": pa.list_(pa.float32()),
        "providers": pa.list_(pa.string()),
        "probabilities": pa.list_(pa.float64()),
    }
    return pa.schema([(c.name, by_name.get(c.name) or by_type[type(c.type)]) for c in LOG.selected_columns])
