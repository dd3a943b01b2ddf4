"""What the field ``model`` of a request selects: a router, a trade-off, or a provider by its own name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from routelab.abtest.delegating import DelegatingRouter
from routelab.errors import RoutelabError
from routelab.policies.objective import Objective
from routelab.providers import ProviderPool
from routelab.proxy.errors import ApiError
from routelab.routers import Router

AnyRouter = Router | DelegatingRouter

DEFAULT = "routelab"
#: Trade-offs by name. Quality per USD of the cheap one: a thousandth of a cent outweighs all quality.
TRADE_OFFS = {"quality": Objective(), "cheap": Objective(cost_weight=1e9)}
_WEIGHTS = ("cost_weight", "latency_weight", "min_quality", "max_cost", "max_latency")


@dataclass(frozen=True, slots=True)
class Selection:
    """Who answers.

    Args:
        name: of the router; of the provider where one is asked for by name.
        router: that decides, or one that has the provider.
        objective: of this request; None is the router's own.
        pool: of the provider where one is asked for by name: nobody decides, nothing is logged or learned.
    """

    name: str
    router: AnyRouter
    objective: Objective | None = None
    pool: ProviderPool | None = None


class Models:
    """The models of a proxy: ``ROUTER``, ``ROUTER:TRADE-OFF`` or ``PROVIDER``.

    A trade-off is ``quality``, ``cheap``, or fields of ``Objective`` with commas between.

    Args:
        routers: by name.

    >>> from routelab import BanditRouter, simulated_providers
    >>> models = Models({"routelab": BanditRouter(simulated_providers())})
    >>> objective = models.select("routelab:cost_weight=20,min_quality=0.5").objective
    >>> objective.cost_weight, objective.min_quality
    (20.0, 0.5)
    >>> models.select("nano").name
    'nano'
    """

    def __init__(self, routers: Mapping[str, AnyRouter]) -> None:
        self.routers = dict(routers)

    def __iter__(self) -> Iterator[str]:
        """Names of all routers, with and without named trade-offs, then of the providers."""
        for name in self.routers:
            yield from (name, *(f"{name}:{trade_off}" for trade_off in TRADE_OFFS))
        yield from dict.fromkeys(name for router in members(self.routers.values()) for name in router.pool.names)

    def select(self, model: str) -> Selection:
        """Who answers a request for ``model``.

        Raises:
            ApiError: 404, there is no such model; 400, its trade-off means nothing.
        """
        name, colon, trade_off = model.partition(":")
        if name in self.routers:
            objective = _objective(model, trade_off) if colon else None
            return Selection(name, self.routers[name], objective)
        for router in members(self.routers.values()):
            if model in router.pool:
                return Selection(model, router, pool=router.pool)
        known = ", ".join(self)
        raise ApiError(404, f"there is no model {model!r}; there are {known}", "model_not_found")


def members(routers: Iterable[AnyRouter]) -> list[Router]:
    """The routers, each once, with those that have the work done by others resolved into these."""
    each = (router.members if isinstance(router, DelegatingRouter) else [router] for router in routers)
    return list(dict.fromkeys(chain.from_iterable(each)))


def _objective(model: str, trade_off: str) -> Objective:
    if trade_off in TRADE_OFFS:
        return TRADE_OFFS[trade_off]
    settings = dict[str, Any]()
    for part in trade_off.split(","):
        name, _, value = part.partition("=")
        try:
            if name not in _WEIGHTS or name in settings:
                raise RoutelabError(f"{name!r} is unknown or comes twice")
            settings[name] = float(value)
            objective = Objective(**settings)
        except ValueError as error:
            names = ", ".join((*TRADE_OFFS, *(f"{name}=…" for name in _WEIGHTS)))
            message = f"model {model!r}: {error}; after the colon give {names}, the last five with commas between"
            raise ApiError(400, message, "invalid_trade_off") from None
    return objective
