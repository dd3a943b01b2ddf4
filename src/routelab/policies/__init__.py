"""Policies by name: for the command line, for stages, and for saved models."""

from __future__ import annotations

from pathlib import Path

from routelab.bundle import Bundle, read_bundle
from routelab.errors import PolicyError
from routelab.policies.base import Choice, Estimates, Policy
from routelab.policies.baselines.cluster import ClusterPolicy
from routelab.policies.baselines.fixed import FixedPolicy
from routelab.policies.baselines.knn import KNNPolicy
from routelab.policies.baselines.oracle import OraclePolicy
from routelab.policies.baselines.pairwise_forest import PairwiseForestPolicy
from routelab.policies.baselines.plug_in import PlugInPolicy
from routelab.policies.baselines.random import RandomPolicy
from routelab.policies.baselines.ridge import RidgePolicy
from routelab.policies.baselines.rule import RulePolicy
from routelab.policies.budget import BudgetPacer
from routelab.policies.epsilon_greedy import EpsilonGreedyPolicy
from routelab.policies.forest import ForestPolicy
from routelab.policies.forest_bandit import ForestBanditPolicy
from routelab.policies.forest_classifier import ForestClassifierPolicy
from routelab.policies.linear import LinTSPolicy, LinUCBPolicy
from routelab.policies.means import MeansPolicy
from routelab.policies.objective import Objective
from routelab.policies.thompson import ThompsonPolicy

POLICIES: dict[str, type[Policy]] = {
    "best-single": FixedPolicy,
    "train-means": MeansPolicy,
    "random-mix": RandomPolicy,
    "rule": RulePolicy,
    "knn": KNNPolicy,
    "ridge": RidgePolicy,
    "pairwise-forest": PairwiseForestPolicy,
    "cluster": ClusterPolicy,
    "plug-in": PlugInPolicy,
    "forest": ForestPolicy,
    "forest-classifier": ForestClassifierPolicy,
    "epsilon-greedy": EpsilonGreedyPolicy,
    "thompson": ThompsonPolicy,
    "linucb": LinUCBPolicy,
    "lints": LinTSPolicy,
    "forest-bandit": ForestBanditPolicy,
    "oracle": OraclePolicy,
}
#: Names of those that learn from single outcomes.
ONLINE = tuple(name for name, kind in POLICIES.items() if kind().online)


def policy_class(kind: str) -> type[Policy]:
    """The class called ``kind``; PolicyError where none of the policies is."""
    classes = {cls.__name__: cls for cls in POLICIES.values()}
    if kind not in classes:
        raise PolicyError(f"{kind!r} is no policy; known are {', '.join(sorted(classes))}")
    return classes[kind]


def policy_from_bundle(bundle: Bundle) -> Policy:
    """The policy stored in ``bundle``, whatever its class.

    Raises:
        PolicyError: the bundle holds no policy of this version.
    """
    return policy_class(bundle.kind).from_bundle(bundle)


def load_policy(path: str | Path) -> Policy:
    """Read any policy that ``save`` wrote.

    Raises:
        PolicyError: the folder is missing, damaged, or holds no policy.
    """
    return policy_from_bundle(read_bundle(path))


__all__ = [
    "ONLINE",
    "POLICIES",
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
    "Policy",
    "RandomPolicy",
    "RidgePolicy",
    "RulePolicy",
    "ThompsonPolicy",
    "load_policy",
    "policy_class",
    "policy_from_bundle",
]
