"""ABLayer: tests that exclude each other; and the hash that layers and tests place a unit by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise
from numbers import Real

import numpy as np
from numpy.typing import NDArray

from routelab.errors import ExperimentError

BITS = 53  # what a float64 holds exactly
_DECIMALS = 9  # so that .1/.3 and .2/.6 are one boundary, to the last bit


def check_name(what: str, name: object) -> None:
    """Refuse what could not be told apart in ``salt/name/unit``."""
    if not isinstance(name, str) or not name.strip() or "/" in name:
        raise ExperimentError(f"{what} is {name!r}; give a text that is not empty and holds no '/'")


def unit_bytes(unit_id: object) -> bytes:
    """The UTF-8 of a unit's name; ExperimentError where it has none."""
    try:
        if unit_id and isinstance(unit_id, str):
            return unit_id.encode()
    except UnicodeEncodeError:
        pass
    raise ExperimentError(f"unit_id is {unit_id!r}; name a user, a conversation or a request by a text")


def _is_slice(edges: object) -> bool:
    if not (isinstance(edges, Sequence) and len(edges) == 2 and all(isinstance(edge, Real) for edge in edges)):
        return False
    return bool(0.0 <= edges[0] < edges[1] <= 1.0)


def position(share: float) -> int:
    """Where a share in [0, 1] ends among 2⁵³ places."""
    return int(round(share, _DECIMALS) * 2.0**BITS)


def hashes(prefix: bytes, units: Sequence[str]) -> NDArray[np.uint64]:
    """Four independent hashes (n, 4) of n units, uniform on 0 … 2⁵³ − 1: the leading bits of SHA-256's four words."""
    try:
        named = [unit.encode() for unit in units]
    except (AttributeError, UnicodeEncodeError):
        named = [b""]
    if b"" in named:
        named = [unit_bytes(unit) for unit in units]  # which says what is wrong with which
    digests = b"".join([sha256(prefix + unit).digest() for unit in named])
    return np.frombuffer(digests, ">u8").reshape(-1, 4).astype(np.uint64) >> np.uint64(64 - BITS)


@dataclass(frozen=True)
class ABLayer:
    """Tests that exclude each other: every unit is in at most one test of a layer.

    The SHA-256 digest of the UTF-8 text ``salt/name/unit`` gives h₃, the first 53 bits of its bytes 16–23 (big-endian)
    divided by 2⁵³; a unit belongs to the test in whose slice h₃ lies (Tang et al., *Overlapping Experiment
    Infrastructure*, 2010). A slice may grow later; one that shrinks or moves takes units out of its test.

    Args:
        name: of the layer, without "/".
        salt: text without "/".
        slices: by name of the test, its [start, stop) within [0, 1].

    Raises:
        ExperimentError: slices overlap, are empty or no pairs of numbers, or a name is empty or no text.

    >>> layer = ABLayer("ranking", "2026", {"forest": (0.0, 0.5), "bandit": (0.5, 0.9)})
    >>> layer.holds("forest", ["user-1", "user-2"])
    array([False,  True])
    """

    name: str
    salt: str
    slices: Mapping[str, tuple[float, float]]

    def __post_init__(self) -> None:
        """Check that no unit can belong to two tests."""
        check_name("ABLayer.name", self.name)
        check_name("ABLayer.salt", self.salt)
        if not isinstance(self.slices, Mapping):
            raise ExperimentError(f"ABLayer.slices is {self.slices!r}; give a dict: name of a test → (start, stop)")
        for test, edges in self.slices.items():
            if not _is_slice(edges):
                raise ExperimentError(f"slice of test {test!r} is {edges!r}; give two numbers, 0 ≤ start < stop ≤ 1")
        ordered = sorted(self.slices.items(), key=lambda item: item[1])
        for (one, (_, stop)), (other, (start, _)) in pairwise(ordered):
            if start < stop:
                raise ExperimentError(f"slices of {one!r} and {other!r} overlap in layer {self.name!r}; part them")

    def holds(self, test: str, units: Sequence[str]) -> NDArray[np.bool_]:
        """Which of n units belong to ``test``, (n,); ExperimentError where the layer has no such test."""
        if test not in self.slices:
            raise ExperimentError(f"layer {self.name!r} has slices for {', '.join(self.slices)}, none for {test!r}")
        start, stop = self.slices[test]
        place = hashes(f"{self.salt}/{self.name}/".encode(), units)[:, 2]
        inside: NDArray[np.bool_] = (place >= position(start)) & (place < position(stop))
        return inside
