"""A table's rows as the requests that a router would have seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from routelab.request import LLMRequest
from routelab.tables.schema import LOAD, RESERVED

_FIELDS = [name.removeprefix("x_") for name in RESERVED]
_LOAD = LOAD.removeprefix("x_")


def to_request(prompt_id: str, prompt: str, features: dict[str, float]) -> LLMRequest:
    """One request; reserved features fill its fields, loads are left out, the rest are the user's own.

    >>> to_request("a", "Hi", {"user_tier": 1.0, "load_p": 0.3, "length": 7.0})
    LLMRequest(prompt='Hi', ..., user_tier='premium', unit_id=None, request_id='a', features={'length': 7.0})
    """
    fields: dict[str, Any] = {name: features[name] for name in _FIELDS if name in features}
    if "requires_reasoning" in fields:
        fields["requires_reasoning"] = bool(fields["requires_reasoning"])
    if "user_tier" in fields:
        fields["user_tier"] = "premium" if fields["user_tier"] else "free"
    own = {name: v for name, v in features.items() if name not in _FIELDS and not name.startswith(_LOAD)}
    return LLMRequest(prompt, request_id=prompt_id, features=own, **fields)


def load_columns(providers: Sequence[str], feature_names: Sequence[str]) -> list[int]:
    """For each provider the index of its load among the features, or -1.

    >>> load_columns(["p", "q"], ["length", "load_q"])
    [-1, 1]
    """
    place = {name: index for index, name in enumerate(feature_names)}
    return [place.get(f"{_LOAD}{provider}", -1) for provider in providers]
