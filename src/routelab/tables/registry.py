"""The registry of data sources (``sources.json``): origin, pinned files, licence, citation of each."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class SourceFile:
    """One file of a source: ``path`` inside its origin, ``sha256`` (hex) and size in ``bytes``."""

    path: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class Source:
    """A registered source.

    Args:
        name: what ``load_source`` and ``params.yaml`` call it.
        title: one line about it.
        origin: ``<owner>/<repo>`` on GitHub, ``pypi:<package>``, or ``routelab`` for what is generated.
        version: the pinned commit or package version.
        licence: as the origin states it.
        citation: whom to cite.
        kind: "table" (prompts × providers) or "trace" (arrivals or latencies, without quality).
        default: whether a plain ``dvc repro`` uses it; those need no network.
        reader: ``<module>:<function>`` inside ``routelab.tables.readers``.
        files: what the reader needs, in the order in which it gets them.
    """

    name: str
    title: str
    origin: str
    version: str
    licence: str
    citation: str
    kind: str
    default: bool
    reader: str
    files: tuple[SourceFile, ...]

    @property
    def bytes(self) -> int:
        """Size of all its files."""
        return sum(file.bytes for file in self.files)


def _registry() -> dict[str, Source]:
    entries = json.loads(Path(__file__).with_name("sources.json").read_text(encoding="utf-8"))
    return {e["name"]: Source(**{**e, "files": tuple(SourceFile(**f) for f in e["files"])}) for e in entries}


#: Every registered source by name.
SOURCES: dict[str, Source] = _registry()
