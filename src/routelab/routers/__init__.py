"""Routers: featurizer + policy + provider pool + log."""

from routelab.routers.bandit import BanditRouter
from routelab.routers.base import Router
from routelab.routers.decision import RoutingDecision
from routelab.routers.ml import MLRouter, TrainingReport

__all__ = ["BanditRouter", "MLRouter", "Router", "RoutingDecision", "TrainingReport"]
