"""The prices that providers publish."""

from __future__ import annotations

from typing import Any

from routelab.errors import RoutelabError
from routelab.providers.base import Price


def list_price(model: str, base_url: str | None = None) -> Price:
    """The published price of ``model`` (of genai-prices, as installed) at the provider behind ``base_url``.

    Where the price rises with the length of the request, it is that of a short one.

    Args:
        model: as the provider calls it, with or without a date.
        base_url: None looks for whoever makes the model.

    Raises:
        RoutelabError: no such price is known, or genai-prices is not installed.

    >>> list_price("gpt-4o-mini")
    Price(input=0.15, output=0.6, cached_input=0.075)
    """
    try:
        from genai_prices import Usage, calc_price
    except ImportError:
        raise RoutelabError("list prices need genai-prices; install routelab[live], or give a price") from None
    try:
        listed = calc_price(Usage(), model, provider_api_url=base_url).model_price
    except LookupError:
        where = f" at {base_url}" if base_url else ""
        raise RoutelabError(f"no list price of model {model!r}{where} is known; give its price") from None
    given, answered, cached = (
        _of_short(getattr(listed, kind)) for kind in ("input_mtok", "output_mtok", "cache_read_mtok")
    )
    if given is None or answered is None:
        raise RoutelabError(f"the list price of model {model!r} is not one of its tokens; give its price")
    return Price(given, answered, cached)


def _of_short(price: Any) -> float | None:
    """USD per million tokens; a tiered price has a base."""
    return None if price is None else float(getattr(price, "base", price))
