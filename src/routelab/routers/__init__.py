"""Routers: featurizer + policy + provider pool + log."""

from routelab.routers.bandit import BanditRouter
from routelab.routers.base import Router
from routelab.routers.decision import RoutingDecision
from routelab.routers.explanation import Explanation
from routelab.routers.ml import MLRouter
from routelab.routers.training import TrainingReport

__all__ = ["BanditRouter", "Explanation", "MLRouter", "Router", "RoutingDecision", "TrainingReport"]
