"""Stage ``collect``: one source becomes one table in the interchange format."""

from __future__ import annotations

from routelab.params import Params
from routelab.stages.common import collected, stage
from routelab.tables.sources import load_source


def collect(source: str, params: Params) -> None:
    """Collect the performance table of a source."""
    options = {"n_requests": params.sized(params.synthetic_requests), "seed": params.seed}
    table = load_source(source, **(options if source == "synthetic" else {}))
    collected(source).parent.mkdir(parents=True, exist_ok=True)
    table.write(collected(source))
    print(f"{source}: {table.n} prompts × {table.k} providers ({', '.join(table.providers)})")


if __name__ == "__main__":
    stage(collect)
