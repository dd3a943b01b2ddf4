"""create_app: routers behind OpenAI's interface."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import APIRouter, FastAPI, Response

from routelab.errors import RoutelabError
from routelab.proxy import errors
from routelab.proxy.chat import Chat
from routelab.proxy.feedback import Grades
from routelab.proxy.guard import Guard, ProxyLimits
from routelab.proxy.metrics import Metrics
from routelab.proxy.models import DEFAULT, AnyRouter, Models, members
from routelab.proxy.schema import JsonRoute

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


def create_app(
    router: AnyRouter,
    *,
    routers: Mapping[str, AnyRouter] | None = None,
    token: str | None = None,
    limits: ProxyLimits = ProxyLimits(),
    hosts: Collection[str] | None = LOOPBACK,
) -> FastAPI:
    """A proxy that speaks OpenAI's chat completions and lets routers decide who answers.

    ``model`` says who decides (see ``Models``). Headers of an answer tell the decision: ``x-routelab-decision-id``,
    ``-provider``, ``-propensity``, ``-policy``, ``-router`` and, where it is not streamed, ``-cost-usd``. A decision is
    on disk before its id leaves the process; an answer whose decision the log does not take within a second has none
    of these but the router and the provider. A router that has a grader asks it when the answer is whole; nobody waits
    for that. What is asked of a provider by its own name is no decision: it is neither logged nor learned.

    Args:
        router: answers to the model ``routelab``; an ``ABRouter`` takes the field ``user`` (or the header
            ``x-routelab-unit``) as the unit.
        routers: more of them, by the names of their models.
        token: that clients must bear, ``/health`` excepted; None lets everybody ask who can reach the port.
        limits: of the requests.
        hosts: that clients may call the proxy by, which keeps web pages off a loopback port; None: any.

    Raises:
        RoutelabError: a router's name is taken, is a provider's, or holds a colon.

    >>> from routelab import BanditRouter, simulated_providers
    >>> create_app(BanditRouter(simulated_providers())).title
    'routelab'
    """
    named = {DEFAULT: router} | dict(routers or {})
    _check_names(named, routers or {})
    deciding = members(named.values())
    metrics = Metrics(dict.fromkeys(each.pool for each in deciding))
    chat = Chat(Models(named), metrics)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        yield
        for _ in range(200):  # what was cancelled for the end is recorded before it
            if metrics.in_flight:
                await asyncio.sleep(0.01)
        await chat.grading.finish()
        for db in {each.db for each in named.values() if each.db is not None}:
            await db.saved()

    app = FastAPI(title="routelab", version=version("routelab"), lifespan=lifespan, docs_url=None, redoc_url=None)
    app.add_middleware(Guard, metrics=metrics, limits=limits, token=token, hosts=hosts)
    errors.install(app)
    app.include_router(_routes(chat, Grades(deciding, metrics), metrics))
    return app


def _routes(chat: Chat, grades: Grades, metrics: Metrics) -> APIRouter:
    routes = APIRouter(route_class=JsonRoute, responses={"4XX": {"description": "What is wrong, in OpenAI's format"}})
    routes.post("/v1/chat/completions", name="chat")(chat.answer)
    routes.post("/v1/feedback", name="feedback")(grades.grade)

    @routes.get("/v1/models")
    async def list_models() -> dict[str, object]:
        listed = [{"id": name, "object": "model", "created": 0, "owned_by": "routelab"} for name in chat.models]
        return {"object": "list", "data": listed}

    @routes.get("/metrics")
    async def tell_metrics() -> Response:
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @routes.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    return routes


def _check_names(named: Mapping[str, AnyRouter], more: Mapping[str, AnyRouter]) -> None:
    providers = {name for router in members(named.values()) for name in router.pool.names}
    for name in named:
        if not name or ":" in name or name in providers or (name == DEFAULT and DEFAULT in more):
            raise RoutelabError(f"no router can be called {name!r}: a provider or router is, or it holds a colon")
