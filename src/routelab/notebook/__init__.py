"""For notebooks: an IPython extension, and what the stages wrote.

``%load_ext routelab.notebook`` in the first cell

- reloads modules that were edited (``%autoreload 2``),
- draws figures in the notebook, sharp on high-resolution screens, and closes each at the end of its cell,
- shows in a line or two what to do, instead of a traceback, where routelab refused something, a stage has not run, a
  package is not installed, MLflow cannot be reached, or the cell was interrupted. The cell still fails, and ``%tb``
  shows the whole traceback.

``%unload_ext routelab.notebook`` takes it back; figures stay in the notebook. ``outputs(source)`` reads what the stages
wrote about a source, from whatever folder of the project the notebook runs in. ``styled(frame)`` shows a table whose
names are anybody's, ``routelab.html.plain`` such a name in Markdown.
"""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from routelab.notebook.failures import show_failure

if TYPE_CHECKING:
    from routelab.notebook.stage_outputs import Outputs as Outputs
    from routelab.notebook.stage_outputs import outputs as outputs
    from routelab.notebook.styling import styled as styled

__all__ = ["Outputs", "load_ipython_extension", "outputs", "styled", "unload_ipython_extension"]

_HOMES = {"Outputs": "stage_outputs", "outputs": "stage_outputs", "styled": "styling"}


class Shell(Protocol):
    """What this needs of IPython's ``InteractiveShell``."""

    extension_manager: Any
    custom_exceptions: tuple[type[BaseException], ...]
    CustomTB: Callable[..., Any]

    def run_line_magic(self, magic_name: str, line: str) -> Any:
        """Run ``%magic_name line``."""

    def set_custom_exc(self, exc_tuple: tuple[type[BaseException], ...], handler: Callable[..., Any] | None) -> None:
        """Let ``handler`` show exceptions."""


_undo: list[Callable[[], object]] = []


def load_ipython_extension(ip: Shell) -> None:
    """What ``%load_ext routelab.notebook`` does."""
    had, handler = ip.custom_exceptions, ip.CustomTB
    ip.set_custom_exc((Exception, KeyboardInterrupt, CancelledError), show_failure)  # first: what follows may fail
    from matplotlib_inline.config import InlineBackend

    ip.extension_manager.load_extension("autoreload")
    ip.run_line_magic("autoreload", "2")
    ip.run_line_magic("matplotlib", "inline")
    inline = InlineBackend.instance()
    formats, closed = inline.figure_formats, inline.close_figures
    inline.figure_formats, inline.close_figures = {"retina"}, True

    def undo() -> None:
        ip.custom_exceptions, ip.CustomTB = had, handler
        inline.figure_formats, inline.close_figures = formats, closed
        ip.run_line_magic("autoreload", "0")

    _undo.append(undo)


def unload_ipython_extension(ip: Shell) -> None:
    """What ``%unload_ext routelab.notebook`` does."""
    while _undo:
        _undo.pop()()


def __getattr__(name: str) -> Any:
    """Import what needs more than the standard library on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
