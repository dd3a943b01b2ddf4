"""What ``routelab proxy`` does: a router in front of the providers of params.yaml, served until it is stopped."""

from __future__ import annotations

import asyncio
import os
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from routelab.errors import ParamsError, RoutelabError

if TYPE_CHECKING:
    from routelab.policies import Policy
    from routelab.providers import ProviderPool
    from routelab.routers import OnlineMLRouter
    from routelab.routers.settings import Settings

TOKEN = "ROUTELAB_PROXY_TOKEN"


def proxy(
    params: Annotated[Path, typer.Option(help="Its section live names the providers.")] = Path("params.yaml"),
    db: Annotated[str, typer.Option(help="URL of the log.")] = "sqlite:///routelab.db",
    policy: Annotated[Path | None, typer.Option(help="Folder of a saved policy, or of `recommend --out`.")] = None,
    featurizer: Annotated[Path | None, typer.Option(help="Folder of the featurizer that a saved policy needs.")] = None,
    router: Annotated[str, typer.Option(help="Policy to learn from nothing: forest, linucb, thompson, …")] = "forest",
    host: Annotated[str, typer.Option(help=f"Address to listen on; other machines need {TOKEN} set.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8080,
    cost_weight: Annotated[
        float | None, typer.Option(min=0.0, help="Quality per USD, where a request does not say: as recommended, or 0.")
    ] = None,
    budget: Annotated[float | None, typer.Option(min=0.0, help="USD per request, on average.")] = None,
    deadline: Annotated[float, typer.Option(help="Seconds for a request, over all providers asked.")] = 120.0,
    simulated: Annotated[
        bool, typer.Option("--simulated", help="Simulated providers, to try it; they wait for your grades.")
    ] = False,
) -> None:
    """Serve OpenAI's chat completions; a router decides who answers, and learns from the grades it is told."""
    from routelab.performance_db import PerformanceDB
    from routelab.policies import BudgetPacer, Objective
    from routelab.proxy import create_app, serve
    from routelab.proxy.app import LOOPBACK

    token = os.environ.get(TOKEN) or None
    local = is_loopback(host)
    if token is None and not local:
        raise RoutelabError(f"{host} can be reached from other machines; set {TOKEN}, which clients must then bear")
    settings: Settings = {"deadline_s": deadline}
    begun = saved_policy(policy, featurizer, settings)
    pool = provider_pool(params, simulated, begun)
    with PerformanceDB(db) as log:
        settings["db"] = log
        if cost_weight is not None:
            settings["objective"] = Objective(cost_weight=cost_weight)
        if budget is not None:
            settings["pacer"] = BudgetPacer(budget, settings.get("objective", Objective()))
        learner = online_router(pool, router, begun, settings)
        learn_from_log(learner)
        typer.echo(f"routelab asks {', '.join(pool.names)}; logs to {log!r}")
        serve(create_app(learner, token=token, hosts={*LOOPBACK, named(host)} if local else None), host, port)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches ``host``.

    >>> is_loopback("127.0.0.1"), is_loopback("Localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def named(host: str) -> str:
    """``host`` as the header Host names it.

    >>> named("127.0.0.2"), named("Localhost"), named("::1")
    ('127.0.0.2', 'localhost', '[::1]')
    """
    return f"[{host.lower()}]" if ":" in host else host.lower()


def provider_pool(params: Path, simulated: bool, policy: Policy | None) -> ProviderPool:
    """The providers of params.yaml, or simulated ones, which stand in for those that ``policy`` knows.

    Raises:
        ParamsError: the file is wrong, or names no provider.
        RoutelabError: the key of a provider is not in the environment.
    """
    from routelab.params import load_live
    from routelab.providers import ProviderPool, simulated_providers

    if simulated:
        return ProviderPool(simulated_providers(graded=False, names=() if policy is None else policy.providers_))
    providers = load_live(params).providers
    if not providers:
        raise ParamsError(f"{params}: live.providers is empty; name your providers there, or try --simulated")
    return ProviderPool(provider.provider() for provider in providers)


def saved_policy(folder: Path | None, featurizer: Path | None, settings: Settings) -> Policy | None:
    """The policy in ``folder``, if any is named; its featurizer and its trade-off join ``settings``.

    Raises:
        RoutelabError: its featurizer is not named, or one of them cannot be read.
    """
    from routelab.benchmark.recommendation import is_recommended, read_recommended
    from routelab.features import RequestFeaturizer
    from routelab.policies import load_policy

    if folder is not None and featurizer is None and is_recommended(folder):
        policy, settings["featurizer"], settings["objective"] = read_recommended(folder)
        return policy
    if folder is None and featurizer is None:
        return None
    if folder is None or featurizer is None:
        raise RoutelabError("--policy and --featurizer belong together; give both, or --router alone")
    policy, settings["featurizer"] = load_policy(folder), RequestFeaturizer.load(featurizer)
    return policy


def online_router(pool: ProviderPool, name: str, policy: Policy | None, settings: Settings) -> OnlineMLRouter:
    """A router that learns while it serves, from ``policy`` on, or from nothing.

    Raises:
        RoutelabError: no policy of that name learns online, or the policy was fitted for other providers.
    """
    from routelab.policies import ONLINE, POLICIES
    from routelab.routers import OnlineMLRouter

    if name != "forest" and name not in ONLINE:
        raise RoutelabError(f"--router {name!r} does not learn online; give forest, {', '.join(ONLINE)}")
    if policy is None and name != "forest":
        policy = POLICIES[name]()
    retrain = 200 if policy is None or not policy.online else None  # a bandit has learned every outcome already
    return OnlineMLRouter(pool, policy, retrain_after=retrain, **settings)


def learn_from_log(router: OnlineMLRouter) -> None:
    """Let a router that knows nothing begin with what its log tells from before."""
    assert router.db is not None
    if router.db.count()[1] and not router.policy.providers_:
        try:
            asyncio.run(router.train())
        except RoutelabError as error:
            typer.echo(f"routelab: begins untrained: {error}", err=True)
