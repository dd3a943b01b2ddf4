"""Costs of answers whose log does not tell them: their tokens at the list price of their model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from routelab.errors import RoutelabError, TableError
from routelab.providers import Price
from routelab.providers.list_prices import list_price
from routelab.tables.answers import Answer


def priced(answers: Iterable[Answer], origin: str) -> Iterator[Answer]:
    """The same answers, each with a cost.

    Args:
        answers: may come from a stream.
        origin: what errors call it.

    Raises:
        TableError: an answer has neither a cost nor tokens, or there is no list price of the model it came from.

    >>> next(priced([Answer("Hi", "gpt-4o-mini", input_tokens=1000, output_tokens=100)], "log.jsonl")).cost_usd
    0.00021
    """
    prices = dict[str, Price]()
    for answer in answers:
        if answer.cost_usd is not None:
            yield answer
            continue
        model, given, answered = answer.provider, answer.input_tokens, answer.output_tokens
        if given is None or answered is None:
            raise TableError(f"{origin}: an answer of {model!r} has neither a cost nor tokens; say where they stand")
        try:
            price = prices.setdefault(model, prices.get(model) or list_price(model))
        except RoutelabError as error:
            raise TableError(
                f"{origin}: answers of {model!r} have no cost, and {error}, or log what they cost"
            ) from None
        yield replace(answer, cost_usd=price.cost_usd(given, answered))
