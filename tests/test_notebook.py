"""Notebooks in a real kernel: what goes wrong is told in a few lines, and the cell fails all the same."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from pipeline import Pipeline
from routelab import RoutelabError
from routelab.notebook import outputs
from routelab.project import project_path, project_root

IMPORTS = """
import os, sys
import pandas as pd
from routelab import OpenAIProvider, PerformanceTable, RoutelabError, tracking
from routelab.notebook import outputs
from routelab.providers import Price
"""
MOST_LINES = 5


class Kernel:
    """A kernel that runs cells one by one."""

    def __init__(self, client: NotebookClient) -> None:
        self.client = client

    def run(self, source: str) -> str:
        """What a cell prints."""
        cell = nbformat.v4.new_code_cell(source)
        self.client.nb.cells.append(cell)
        self.client.execute_cell(cell, len(self.client.nb.cells) - 1)
        return "".join(output.get("text", "") + "\n".join(output.get("traceback", ())) for output in cell.outputs)

    def failure(self, source: str) -> str:
        """What a cell shows that fails."""
        with pytest.raises(CellExecutionError):
            self.run(source)
        (error,) = (one for one in self.client.nb.cells[-1].outputs if one.output_type == "error")
        return plain("\n".join(error.traceback))


def plain(shown: str) -> str:
    """Without colours."""
    return re.sub(r"\x1b\[[\d;]*m", "", shown)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project before `dvc repro`, with a folder for notebooks."""
    root = tmp_path_factory.mktemp("project")
    (root / "dvc.yaml").touch()
    for folder in ("notebooks/mine", "data"):
        (root / folder).mkdir(parents=True)
    return root


@pytest.fixture(scope="module")
def shared(project: Path) -> Iterator[Kernel]:
    """One kernel for all tests, started in the folder of the notebooks."""
    resources = {"metadata": {"path": str(project / "notebooks")}}
    client = NotebookClient(nbformat.v4.new_notebook(), timeout=60, resources=resources)
    with client.setup_kernel():
        kernel = Kernel(client)
        kernel.run(IMPORTS)
        yield kernel


@pytest.fixture
def kernel(shared: Kernel) -> Kernel:
    shared.run("%load_ext routelab.notebook")
    return shared


def is_short(message: str) -> bool:
    return len(message.splitlines()) <= MOST_LINES and "Traceback" not in message


@pytest.mark.parametrize("source", ["outputs('synthetic').report('evaluation')", "outputs('synthetic').splits()"])
def test_a_notebook_before_the_stages_ran_says_which_command_to_run(kernel: Kernel, project: Path, source: str) -> None:
    message = kernel.failure(source)
    assert is_short(message)
    assert re.search(rf"data/\S+ is missing: run `dvc repro` in a terminal at {project}$", message, re.MULTILINE)


def test_the_root_is_found_from_any_folder_of_the_project_and_missed_outside_in_short(
    kernel: Kernel, project: Path, tmp_path: Path
) -> None:
    for folder in (project, project / "notebooks" / "mine"):
        message = kernel.failure(f"os.chdir({str(folder)!r})\noutputs('synthetic').table()")
        assert f"data/collected/synthetic.parquet is missing: run `dvc repro` in a terminal at {project}" in message
    message = kernel.failure(f"os.chdir({str(tmp_path)!r})\noutputs('synthetic').table()")
    kernel.run(f"os.chdir({str(project / 'notebooks')!r})")
    assert is_short(message)
    assert f"{tmp_path} is in no routelab project" in message


def test_a_file_of_a_stage_that_another_library_misses_is_told_as_well(kernel: Kernel, project: Path) -> None:
    for name in ("data/reports/x.csv", "../data/reports/x.csv", str(project / "data" / "reports" / "x.csv")):
        message = kernel.failure(f"pd.read_csv({name!r})")
        assert is_short(message)
        assert f"data/reports/x.csv is missing: run `dvc repro` in a terminal at {project}" in message
    (project / "data" / "there.csv").write_text("a\n1\n")
    assert f"data/there.csv is in {project}, not in" in kernel.failure("pd.read_csv('data/there.csv')")
    assert "Traceback" in kernel.failure("pd.read_csv('mine.csv')")  # nothing of ours


def test_a_missing_extra_says_what_to_install(kernel: Kernel) -> None:
    block = "hidden = {n: sys.modules.pop(n) for n in list(sys.modules) if n.split('.')[0] in ('aiohttp', 'openai')}\n"
    block += "sys.modules.pop('routelab.providers.openai_client', None)\n"
    block += "sys.modules['aiohttp'] = sys.modules['openai'] = None\n"
    try:
        message = kernel.failure(block + "OpenAIProvider('gpt', model='gpt', key_env=None, price=Price(1, 2))")
        directly = kernel.failure("import openai.types")
    finally:
        kernel.run("del sys.modules['aiohttp'], sys.modules['openai']; sys.modules.update(hidden)")
    assert is_short(message)
    assert "OpenAIProvider needs aiohttp; install routelab[live]" in message
    assert is_short(directly)
    assert "openai is not installed: run `pip install 'routelab[live]'` in a terminal" in directly
    assert "Traceback" in kernel.failure("import nothing_of_ours")


def test_a_table_that_fails_its_schema_is_told_by_file_column_value_and_remedy(kernel: Kernel, tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("prompt_id,provider,quality,cost_usd\na,small,7.5,0.1\na,large,0.5,0.2\n")
    message = kernel.failure(f"PerformanceTable.read({str(path)!r})")
    assert is_short(message)
    for part in (str(path), "'quality'", "7.5", "[0, 1]"):
        assert part in message


def test_an_mlflow_store_that_does_not_answer_is_told_at_once_without_its_password(kernel: Kernel) -> None:
    address = "os.environ['MLFLOW_TRACKING_URI'] = 'http://me:secret@127.0.0.1:9'\n"
    try:
        message = kernel.failure(address + "tracking.runs()")  # which retried for minutes
        assert is_short(message)
        assert "127.0.0.1:9" in message
        assert "Connection refused" in message
        assert "HTTPConnection" not in message  # the chain of urllib3
        assert "MLFLOW_TRACKING_URI" in message
        assert "secret" not in message
    finally:
        kernel.run("del os.environ['MLFLOW_TRACKING_URI']")


@pytest.mark.parametrize("first", ["", "import asyncio; await asyncio.sleep(0)\n", "%%time\n"])
def test_the_cell_fails_in_short_and_the_whole_traceback_is_one_command_away(kernel: Kernel, first: str) -> None:
    message = kernel.failure(f"{first}def blame():\n    raise RoutelabError('no such thing; do this')\nblame()")
    assert message == "RoutelabError: no such thing; do this\n(%tb shows where)"
    with_frames = plain(kernel.run("%tb"))
    assert "blame()" in with_frames
    assert "no such thing" in with_frames


def test_other_errors_keep_their_traceback(kernel: Kernel) -> None:
    assert "----> 1" in kernel.failure("1/0")
    assert "SyntaxError" in kernel.failure("1 +")


def test_a_long_message_is_cut(kernel: Kernel) -> None:
    message = kernel.failure("raise RoutelabError('\\n'.join(['x' * 10_000] * 50))")
    assert is_short(message)
    assert len(message) < 3_000


def test_figures_are_sharp_and_closed_until_it_is_unloaded(kernel: Kernel) -> None:
    state = "from matplotlib_inline.config import InlineBackend\n"
    state += "print(sorted(InlineBackend.instance().figure_formats), get_ipython().custom_exceptions)"
    assert "retina" in kernel.run(state)
    kernel.run("import matplotlib.pyplot as plt\nfigure = plt.figure()")
    assert kernel.run("print(plt.get_fignums())").strip() == "[]"
    kernel.run("%unload_ext routelab.notebook")
    assert kernel.run(state).strip() == "['png'] ()"
    assert "Traceback" in kernel.failure("open('data/reports/x.csv')")


def test_an_edited_module_is_reloaded_until_it_is_unloaded(kernel: Kernel, project: Path) -> None:
    module = project / "notebooks" / "edited.py"
    seen = []
    for number, command in enumerate(("import edited", "", "")):
        module.write_text(f"def answer():\n    return {number}\n")
        os.utime(module, (2e9 + number, 2e9 + number))
        kernel.run(command)
        seen.append(kernel.run("print(edited.answer())").strip())
        if number == 1:
            kernel.run("%unload_ext routelab.notebook")
    assert seen == ["0", "1", "1"]


def test_loading_twice_changes_nothing(kernel: Kernel) -> None:
    kernel.run("%reload_ext routelab.notebook")
    assert is_short(kernel.failure("raise RoutelabError('x; y')"))
    kernel.run("%unload_ext routelab.notebook")
    assert kernel.run("print(get_ipython().custom_exceptions)").strip() == "()"


def test_outputs_are_read_from_any_folder(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    below = pipeline.root / "data" / "reports"
    monkeypatch.chdir(below)
    assert project_root() == pipeline.root.resolve()
    out = outputs("synthetic")
    train, held = out.splits()
    assert train.providers == held.providers == out.table().providers == out.policy("forest").providers_
    assert out.featurizer().feature_names_
    assert out.curve("forest", held).name == "forest"
    assert out.report("evaluation") == json.loads((below / "synthetic" / "evaluation.json").read_text())
    assert set(out.frame("curves")["policy"]) >= {"forest", "oracle"}
    assert out.figure("frontier").read_bytes().startswith(b"\x89PNG")
    assert out.params().sources == ["synthetic"]
    with pytest.raises(RoutelabError, match=r"data/reports/nobody/curves.csv is missing: run `dvc repro`"):
        outputs("nobody").frame("curves")
    assert project_path("params.yaml") == pipeline.root.resolve() / "params.yaml"


def test_a_hard_package_that_is_missing_is_told_even_by_the_cell_that_loads_the_extension(kernel: Kernel) -> None:
    kernel.run("%unload_ext routelab.notebook")
    kernel.run("hidden = {n: sys.modules.pop(n) for n in list(sys.modules) if n.split('.')[0] == 'matplotlib'}")
    kernel.run("sys.modules['matplotlib'] = None")
    try:
        message = kernel.failure("%load_ext routelab.notebook\nfrom routelab import plots\nplots.plot_tasks")
        sklearn = kernel.failure("raise ModuleNotFoundError('no', name='sklearn.base')")
    finally:
        kernel.run("del sys.modules['matplotlib']; sys.modules.update(hidden)")
        kernel.run("%unload_ext routelab.notebook")
    assert is_short(message)
    assert "matplotlib is not installed: run `pip install routelab` in a terminal" in message
    assert "sklearn is not installed: run `pip install routelab` in a terminal" in sklearn


@pytest.mark.parametrize("waits", ["import time; time.sleep(30)", "import asyncio\nawait asyncio.sleep(30)"])
def test_the_stop_button_is_told_in_a_line_and_the_cell_fails(kernel: Kernel, waits: str) -> None:
    stop = f"import signal, threading\nthreading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()\n{waits}"
    message = kernel.failure(stop)
    assert is_short(message)
    assert "the cell was interrupted" in message


def test_names_in_a_styled_table_are_text(kernel: Kernel) -> None:
    kernel.run("from routelab.notebook import styled")
    kernel.run("name = '<script>a</script> $x_1$'")
    kernel.run("frame = pd.DataFrame({name: [name], 'n': [0.5]}, index=pd.Index([name], name=name))")
    shown = kernel.run("print(styled(frame).format(precision=2).to_html())")
    assert "<script>" not in shown
    assert shown.count("&lt;script&gt;") == 4
    assert "tex2jax_ignore" in shown
    assert "0.50" in shown
