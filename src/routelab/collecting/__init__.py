"""Collecting performance data: asking live providers, and reading what gateways and tracers wrote down."""

from routelab.collecting.asking import Patience
from routelab.collecting.live import Collected, collect
from routelab.collecting.prompts import Prompts, read_prompts

__all__ = ["Collected", "Patience", "Prompts", "collect", "read_prompts"]
