"""An OpenAI-compatible proxy in front of routers (extra ``serve``)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from routelab.errors import RoutelabError

if TYPE_CHECKING:
    from routelab.proxy.app import create_app as create_app
    from routelab.proxy.guard import ProxyLimits as ProxyLimits
    from routelab.proxy.serving import serve as serve
    from routelab.proxy.serving import serve_in_thread as serve_in_thread

_HOMES = {
    "create_app": "app",
    "ProxyLimits": "guard",
    "serve": "serving",
    "serve_in_thread": "serving",
}

__all__ = ["ProxyLimits", "create_app", "serve", "serve_in_thread"]


def __getattr__(name: str) -> Any:
    """Import a name on first use: fastapi and uvicorn are not installed with the package."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    except ModuleNotFoundError as error:
        raise RoutelabError(f"the proxy needs {error.name}; pip install 'routelab[serve]'") from None
