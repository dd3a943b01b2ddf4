"""The API reference as web pages, rendered from docstrings by pdoc: ``make docs``.

pdoc shows what stands in a module. Names that a package imports on first use do not stand in it yet, and where there is
an ``__all__``, modules it leaves out have no page: both are put there before pdoc looks.
"""

from __future__ import annotations

import pkgutil
import sys
import warnings
from importlib import import_module
from pathlib import Path
from types import ModuleType

from routelab.errors import RoutelabError

# What nobody imports: the command line, stages and readers are called by name.
_LEFT_OUT = ("!routelab.stages", "!routelab.tables.readers", "!routelab.*_cli", "!routelab.cli")
_FOOTER = "routelab, from the docstrings of its code"


def modules() -> list[ModuleType]:
    """Every public module of the package, imported: the packages first."""
    package = import_module("routelab")
    found = pkgutil.walk_packages(package.__path__, "routelab.")
    return [package, *(import_module(each.name) for each in found if "._" not in each.name)]


def _settle(module: ModuleType) -> None:
    """Let the module hold all names of its ``__all__``, and list the modules under it."""
    names: list[str] = getattr(module, "__all__", [])
    for name in names:
        setattr(module, name, getattr(module, name))
    under = [each.name for each in pkgutil.iter_modules(getattr(module, "__path__", [])) if each.name[0] != "_"]
    if names and under:
        module.__dict__["__all__"] = [*names, *(name for name in under if name not in names)]


def render(folder: Path) -> None:
    """Write the pages into ``folder``; they need no network.

    Raises:
        RoutelabError: pdoc is not installed.
    """
    try:
        import pdoc
    except ImportError:
        raise RoutelabError("the API reference needs pdoc; run `pip install pdoc`, or `make docs`") from None
    for module in modules():
        _settle(module)
    pdoc.render.configure(docformat="google", include_undocumented=False, show_source=False, footer_text=_FOOTER)
    with warnings.catch_warnings():
        # types that only type checkers import are shown as they are written
        warnings.filterwarnings("ignore", "Error parsing type annotation", UserWarning)
        pdoc.pdoc("routelab", *_LEFT_OUT, output_directory=folder)


if __name__ == "__main__":
    render(Path(sys.argv[1]))
    print(f"open {Path(sys.argv[1]) / 'index.html'}")
