"""JupyterLab in a browser: a server over a folder, a page that notes what it asks for, and Run All.

with lab(folder) as url, browser() as browsed:
    open_notebook(browsed.page, url, "notebooks/00_quickstart.ipynb")
    notebook = run_all(browsed.page, timeout_s=120)
    assert errors(notebook) == [] and browsed.foreign == []
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

CHROMIUM = Path("/usr/bin/chromium")
NO_BROWSER = (
    None
    if CHROMIUM.exists() and find_spec("playwright")
    else f"no browser: install {CHROMIUM} (Debian's chromium) and the Python package playwright"
)
_QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_SETTINGS = {
    "@jupyterlab/apputils-extension/notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": True,
    },
    # every cell is in the page, seen or not; nobody is asked which kernel
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none", "autoStartDefaultKernel": True},
}
_SOURCES = Path(__file__).resolve().parents[1] / "src"


@contextmanager
def lab(folder: Path, *, dark: bool = False) -> Iterator[str]:
    """Serve ``folder`` by a JupyterLab that leaves the user's own settings alone; yields its address."""
    with TemporaryDirectory(prefix="lab") as home:
        places = {name: f"{home}/{name.lower()}" for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR")}
        places |= {"JUPYTER_RUNTIME_DIR": f"{home}/runtime", "JUPYTERLAB_SETTINGS_DIR": f"{home}/settings"}
        places |= {"JUPYTERLAB_WORKSPACES_DIR": f"{home}/workspaces"}
        looks = {"@jupyterlab/apputils-extension/themes": {"theme": f"JupyterLab {'Dark' if dark else 'Light'}"}}
        for name, setting in (_SETTINGS | looks).items():
            path = Path(home, "settings", f"{name}.jupyterlab-settings")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(setting), encoding="utf-8")
        options = ["--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1", "--ServerApp.port=0"]
        options += [
            "--IdentityProvider.token=",
            "--LabApp.expose_app_in_browser=True",
            f"--ServerApp.root_dir={folder}",
        ]
        environment = os.environ | places | {"PYTHONPATH": str(_SOURCES), "NO_PROXY": "127.0.0.1"}
        log = Path(home, "log")
        with log.open("w") as told:
            command = [sys.executable, "-m", "jupyterlab", *options]
            server = subprocess.Popen(command, env=environment, cwd=folder, stdout=told, stderr=told)
        try:
            yield _address(server, Path(home, "runtime"), log)
        finally:
            server.terminate()
            server.wait(timeout=30)


def _address(server: subprocess.Popen[bytes], runtime: Path, log: Path, timeout_s: float = 90.0) -> str:
    """The address that the server wrote into its runtime folder, once it listens."""
    path = runtime / f"jpserver-{server.pid}.json"
    deadline = time.monotonic() + timeout_s
    while server.poll() is None and time.monotonic() < deadline:
        try:
            return f"http://127.0.0.1:{json.loads(path.read_text())['port']}"
        except (FileNotFoundError, json.JSONDecodeError):
            time.sleep(0.1)
    raise AssertionError(f"JupyterLab did not start:\n{log.read_text()[-3000:]}")


@dataclass
class Browsed:
    """A page, and whatever it asked of another host than this machine."""

    page: Any
    foreign: list[str] = field(default_factory=list)

    def note(self, url: str) -> None:
        place = urlsplit(url)
        if place.scheme not in ("data", "blob", "about") and place.hostname != "127.0.0.1":
            self.foreign.append(url)


@contextmanager
def browser(width: int = 1400, height: int = 1000, **context: Any) -> Iterator[Browsed]:
    """A page of a headless Chromium with a profile of its own; ``context`` goes to playwright's ``new_context``.

    One at a time: playwright's plain interface bears no second one; ``page.context.browser`` gives further contexts.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), args=_QUIET)
        try:
            page = chromium.new_context(viewport={"width": width, "height": height}, **context).new_page()
            browsed = Browsed(page)
            page.context.on("request", lambda request: browsed.note(request.url))
            page.on("websocket", lambda socket: browsed.note(socket.url))
            yield browsed
        finally:
            chromium.close()


def open_notebook(page: Any, url: str, path: str, timeout_s: float = 60.0) -> None:
    """Open the notebook ``path`` (relative to the served folder) and wait for its kernel."""
    page.goto(f"{url}/lab/tree/{path}?reset")
    page.wait_for_function(
        "path => window.jupyterapp?.shell.currentWidget?.context?.path === path", arg=path, timeout=1e3 * timeout_s
    )
    page.wait_for_function(
        "window.jupyterapp.shell.currentWidget.sessionContext.session?.kernel?.status === 'idle'",
        timeout=1e3 * timeout_s,
    )


def run_all(page: Any, timeout_s: float = 120.0) -> dict[str, Any]:
    """Run All Cells; the notebook with its outputs, once the last cell is done."""
    page.evaluate(
        """async seconds => {
            const tooLate = Error(`no end in ${seconds} s`);
            const late = new Promise((_, fail) => setTimeout(() => fail(tooLate), 1e3 * seconds));
            await Promise.race([window.jupyterapp.commands.execute('notebook:run-all-cells'), late]);
        }""",
        timeout_s,
    )
    return notebook_of(page)


def notebook_of(page: Any) -> dict[str, Any]:
    """The notebook as it stands in the page, outputs included."""
    notebook: dict[str, Any] = page.evaluate("window.jupyterapp.shell.currentWidget.content.model.toJSON()")
    return notebook


def errors(notebook: dict[str, Any]) -> list[str]:
    """Errors that the cells ended with."""
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", ())]
    return [f"{one['ename']}: {one['evalue']}" for one in outputs if one["output_type"] == "error"]
