"""Stage ``collect``: one source becomes one table in the interchange format, and a card that says what it holds."""

from __future__ import annotations

from routelab.cards.data_card import data_card
from routelab.params import Params
from routelab.stages.common import collected, reports, stage, write_bytes
from routelab.tables.sources import SOURCES, load_source


def collect(source: str, params: Params) -> None:
    """Collect the performance table of a source, and write its data card."""
    options = {"n_requests": params.sized(params.synthetic_requests), "seed": params.seed}
    table = load_source(source, **(options if source == "synthetic" else {}))
    collected(source).parent.mkdir(parents=True, exist_ok=True)
    card = data_card(table, SOURCES[source])
    table.write(collected(source))
    write_bytes(reports(source) / "data_card.md", card.encode())
    print(f"{source}: {table.n} prompts × {table.k} providers ({', '.join(table.providers)})")


if __name__ == "__main__":
    stage(collect)
