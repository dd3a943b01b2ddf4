"""routelab: learn which LLM provider should answer each request.

Public names are imported when they are first used (PEP 562), so that ``import routelab`` stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from routelab.abtest.assignment import ABTest as ABTest
    from routelab.abtest.layer import ABLayer as ABLayer
    from routelab.abtest.router import ABRouter as ABRouter
    from routelab.abtest.shadow import ShadowRouter as ShadowRouter
    from routelab.benchmark.recommendation import Recommendation as Recommendation
    from routelab.benchmark.recommendation import load_router as load_router
    from routelab.benchmark.recommending import recommend as recommend
    from routelab.drift import DriftMonitor as DriftMonitor
    from routelab.errors import RoutelabError as RoutelabError
    from routelab.evaluators import ChoiceEvaluator as ChoiceEvaluator
    from routelab.evaluators import ExactEvaluator as ExactEvaluator
    from routelab.evaluators import Grade as Grade
    from routelab.evaluators import JudgeCorrection as JudgeCorrection
    from routelab.evaluators import JudgeEvaluator as JudgeEvaluator
    from routelab.evaluators import NumericEvaluator as NumericEvaluator
    from routelab.evaluators import QualityEvaluator as QualityEvaluator
    from routelab.evaluators import RegexEvaluator as RegexEvaluator
    from routelab.features import RequestFeaturizer as RequestFeaturizer
    from routelab.pareto import find_pareto_optimal as find_pareto_optimal
    from routelab.pareto import pareto_mask as pareto_mask
    from routelab.performance_db import PerformanceDB as PerformanceDB
    from routelab.policies import BudgetPacer as BudgetPacer
    from routelab.policies import Choice as Choice
    from routelab.policies import ClusterPolicy as ClusterPolicy
    from routelab.policies import EpsilonGreedyPolicy as EpsilonGreedyPolicy
    from routelab.policies import Estimates as Estimates
    from routelab.policies import FixedPolicy as FixedPolicy
    from routelab.policies import ForestBanditPolicy as ForestBanditPolicy
    from routelab.policies import ForestClassifierPolicy as ForestClassifierPolicy
    from routelab.policies import ForestPolicy as ForestPolicy
    from routelab.policies import KNNPolicy as KNNPolicy
    from routelab.policies import LinTSPolicy as LinTSPolicy
    from routelab.policies import LinUCBPolicy as LinUCBPolicy
    from routelab.policies import MeansPolicy as MeansPolicy
    from routelab.policies import Objective as Objective
    from routelab.policies import OraclePolicy as OraclePolicy
    from routelab.policies import PairwiseForestPolicy as PairwiseForestPolicy
    from routelab.policies import PlugInPolicy as PlugInPolicy
    from routelab.policies import RandomPolicy as RandomPolicy
    from routelab.policies import RidgePolicy as RidgePolicy
    from routelab.policies import RulePolicy as RulePolicy
    from routelab.policies import ThompsonPolicy as ThompsonPolicy
    from routelab.policies import load_policy as load_policy
    from routelab.providers import Circuit as Circuit
    from routelab.providers import Completion as Completion
    from routelab.providers import Limits as Limits
    from routelab.providers import OpenAIProvider as OpenAIProvider
    from routelab.providers import Provider as Provider
    from routelab.providers import ProviderPool as ProviderPool
    from routelab.providers import SimulatedProvider as SimulatedProvider
    from routelab.providers import simulated_providers as simulated_providers
    from routelab.request import LLMRequest as LLMRequest
    from routelab.routers import BanditRouter as BanditRouter
    from routelab.routers import MLRouter as MLRouter
    from routelab.routers import OnlineMLRouter as OnlineMLRouter
    from routelab.routers import Stickiness as Stickiness
    from routelab.tables.sources import load_source as load_source
    from routelab.tables.table import PerformanceTable as PerformanceTable

_HOMES = {
    "abtest.assignment": ("ABTest",),
    "abtest.layer": ("ABLayer",),
    "abtest.router": ("ABRouter",),
    "abtest.shadow": ("ShadowRouter",),
    "benchmark.recommendation": ("Recommendation", "load_router"),
    "benchmark.recommending": ("recommend",),
    "drift": ("DriftMonitor",),
    "errors": ("RoutelabError",),
    "evaluators": (
        "ChoiceEvaluator",
        "ExactEvaluator",
        "Grade",
        "JudgeCorrection",
        "JudgeEvaluator",
        "NumericEvaluator",
        "QualityEvaluator",
        "RegexEvaluator",
    ),
    "features": ("RequestFeaturizer",),
    "pareto": ("find_pareto_optimal", "pareto_mask"),
    "performance_db": ("PerformanceDB",),
    "policies": (
        "BudgetPacer",
        "Choice",
        "ClusterPolicy",
        "EpsilonGreedyPolicy",
        "Estimates",
        "FixedPolicy",
        "ForestBanditPolicy",
        "ForestClassifierPolicy",
        "ForestPolicy",
        "KNNPolicy",
        "LinTSPolicy",
        "LinUCBPolicy",
        "MeansPolicy",
        "Objective",
        "OraclePolicy",
        "PairwiseForestPolicy",
        "PlugInPolicy",
        "RandomPolicy",
        "RidgePolicy",
        "RulePolicy",
        "ThompsonPolicy",
        "load_policy",
    ),
    "providers": (
        "Circuit",
        "Completion",
        "Limits",
        "OpenAIProvider",
        "Provider",
        "ProviderPool",
        "SimulatedProvider",
        "simulated_providers",
    ),
    "request": ("LLMRequest",),
    "routers": ("BanditRouter", "MLRouter", "OnlineMLRouter", "Stickiness"),
    "tables.sources": ("load_source",),
    "tables.table": ("PerformanceTable",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}
_MODULES = (
    "evaluation",
    "features",
    "metrics",
    "params",
    "pareto",
    "plots",
    "policies",
    "tables",
    "tracking",
    "widgets",
)

__all__ = ["__version__", *sorted(_HOME)]


def __getattr__(name: str) -> Any:
    """Import a public name, or a module of the package, on first use."""
    if name in _HOME:
        return getattr(import_module(f"routelab.{_HOME[name]}"), name)
    if name in _MODULES:
        return import_module(f"routelab.{name}")
    raise AttributeError(f"module 'routelab' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Public names and modules, for completion."""
    return sorted([*__all__, *_MODULES])
