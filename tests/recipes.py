"""Documentation that is followed: what the fenced blocks of a page say, done in a copy of the repository."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_NAMED = re.compile(r"`([\w./-]+\.\w+)`[^`]*(?:`[^`]*`[^`]*)*:\s*\Z")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and the file that the line before it names."""

    language: str
    text: str
    path: str | None


def blocks(text: str) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    for found in _BLOCK.finditer(text):
        before = text[: found.start()].rstrip().rsplit("\n\n", 1)[-1]
        named = _NAMED.search(before.rsplit("```", 1)[-1].rsplit(". ", 1)[-1])
        yield Block(found[1], found[2], None if named is None else named[1])


def section(text: str, title: str) -> str:
    """What stands under a heading of the second level."""
    return text.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def copy_repository(folder: Path) -> Path:
    """The files that git knows or would add, without history, data or environment."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, check=True
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    (folder / ".dvc" / "config.local").write_text("[core]\n    no_scm = true\n")
    return folder


def changed(content: str, diff: str) -> str:
    """``content`` after a diff without line numbers: the lines that it keeps and takes away must stand there once."""
    for hunk in diff.split("@@\n"):
        lines = hunk.splitlines()
        old, new = ("".join(f"{line[1:]}\n" for line in lines if line[:1] in kinds) for kinds in (" -", " +"))
        assert content.count(old) == 1, f"stands there {content.count(old)} times:\n{old}"
        content = content.replace(old, new)
    return content


def follow(page: str, folder: Path) -> str:
    """Write the files, make the changes and run the commands of ``page`` in ``folder``; returns what was printed."""
    printed = ""
    for block in blocks(page):
        if block.language == "bash":
            printed += run(block.text, folder)
        elif block.path is not None:
            path = folder / block.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(changed(path.read_text(), block.text) if block.language == "diff" else block.text)
        else:
            raise AssertionError(f"no file is named before:\n{block.text}")
    return printed


def run(commands: str, folder: Path) -> str:
    """What the shell prints of ``commands`` in ``folder``, whose package comes first."""
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(folder / "src"),
    }
    for name in ("ROUTELAB_DATA_MIRROR", "MLFLOW_TRACKING_URI"):
        environment.pop(name, None)
    ended = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert ended.returncode == 0, f"{commands}\n{ended.stdout}\n{ended.stderr}"
    return ended.stdout
