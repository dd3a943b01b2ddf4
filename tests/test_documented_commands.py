"""What the pages tell a person to type exists: commands and their options, make's targets, stages and parameters.

Python blocks are run, page by page. Of the shell lines, ``routelab`` is parsed as it stands, ``make`` and ``pytest``
must know what is named, ``dvc exp run`` is checked for its parameter. ``curl`` is left to the proxy's tests, and
CONTRIBUTING's recipes to ``test_contributing``.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
import yaml

from recipes import ROOT, blocks
from routelab.benchmark.text import _HEADER
from routelab.cli import app

PAGES = [ROOT / "README.md", ROOT / "data" / "README.md"]
PAGES += [ROOT / "src" / "routelab" / room / "README.md" for room in ("policies", "abtest", "providers")]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def lines(page: Path) -> Iterator[str]:
    """Shell lines of a page: those of its blocks, continued lines joined, and code in the text."""
    text = page.read_text(encoding="utf-8")
    shell = [block.text.replace("\\\n", " ") for block in blocks(text) if block.language in ("", "bash")]
    yield from (line.split("  #")[0].strip() for block in shell for line in block.splitlines())
    yield from re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE))


COMMANDS = sorted({line for page in PAGES for line in lines(page)})


def starting(word: str) -> list[str]:
    return [line for line in COMMANDS if line.startswith(f"{word} ")]


@pytest.mark.parametrize("line", starting("routelab"))
def test_a_routelab_command_and_its_options_exist(line: str) -> None:
    command, words = typer.main.get_command(app), shlex.split(line)[1:]
    context = typer.Context(command)
    while words and getattr(command, "commands", None) and words[0] in command.commands:
        command = command.commands[words.pop(0)]
        context = typer.Context(command, parent=context)
    if words and words != ["--help"]:
        assert not hasattr(command, "commands"), f"there is no command {words[0]!r}"
        command.make_context(command.name or "", words, parent=context.parent)  # raises where an option is unknown


@pytest.mark.parametrize("line", starting("make"))
def test_a_target_of_make_exists(line: str) -> None:
    assert re.search(rf"^{line.split()[1]}:", MAKEFILE, re.MULTILINE)


@pytest.mark.parametrize("line", starting("dvc exp run"))
def test_an_experiment_changes_a_parameter_that_there_is(line: str) -> None:
    found = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    for name in shlex.split(line)[4].split("=")[0].split("."):
        found = found[name]


@pytest.mark.parametrize("line", [line for line in COMMANDS if re.match(r"pytest |test_\w+\.py", line)])
def test_a_benchmark_that_is_named_is_there(line: str) -> None:
    named = [Path(word).name for word in shlex.split(line) if word.endswith(".py")]
    assert named
    assert all((ROOT / "tests" / "benchmarks" / name).exists() for name in named)


_RUN = """
import ast, asyncio, sys
scope = {}
for path in sys.argv[1:]:
    code = open(path, encoding="utf-8").read()
    step = eval(compile(code, path, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), scope)
    if step is not None:
        runner = globals().setdefault("runner", asyncio.Runner())
        runner.run(step)
"""


def test_the_python_of_the_pages_runs_from_the_first_to_the_last(tmp_path: Path) -> None:
    found = [
        block.text
        for page in PAGES
        for block in blocks(page.read_text(encoding="utf-8"))
        if block.language == "python" and "my_table.csv" not in block.text
    ]
    assert len(found) >= 5
    for place, text in enumerate(found):
        (tmp_path / f"block_{place}.py").write_text(text)
    names = [f"block_{place}.py" for place in range(len(found))]
    ended = subprocess.run(
        [sys.executable, "-c", _RUN, *names], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert ended.returncode == 0, ended.stderr


def test_the_table_that_the_readme_shows_is_a_table(tmp_path: Path) -> None:
    from routelab import PerformanceTable

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (tmp_path / "mine.csv").write_text(next(block.text for block in blocks(text) if block.language == "csv"))
    assert (PerformanceTable.read(tmp_path / "mine.csv").n, PerformanceTable.read(tmp_path / "mine.csv").k) == (2, 2)


def test_the_readme_explains_the_columns_that_evaluate_prints() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8").split("| column | |")[1].split("\n\n")[0]
    told = {name.strip() for line in text.splitlines()[2:] for name in line.split("|")[1].split(",")}
    assert told == set(_HEADER) - {"policy", "AIQ"}
