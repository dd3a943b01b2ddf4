"""Routers: featurizer + policy + provider pool + log."""

from routelab.routers.bandit import BanditRouter
from routelab.routers.base import Router
from routelab.routers.course import Streamed
from routelab.routers.decision import RoutingDecision
from routelab.routers.explanation import Explanation
from routelab.routers.ml import MLRouter
from routelab.routers.online import OnlineMLRouter, RoutingResult
from routelab.routers.stickiness import Stickiness
from routelab.routers.training import TrainingReport
from routelab.routers.versions import Version

__all__ = [
    "BanditRouter",
    "Explanation",
    "MLRouter",
    "OnlineMLRouter",
    "Router",
    "RoutingDecision",
    "RoutingResult",
    "Stickiness",
    "Streamed",
    "TrainingReport",
    "Version",
]
