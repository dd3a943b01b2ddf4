"""The journal of a collection: what was asked is on disk before it is sent, what came of it as soon as it is known."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn, Self

from routelab.errors import RoutelabError

Pair = tuple[str, str]
_NAME, _VERSION = "routelab_journal", 2


class Journal:
    """An append-only JSONL file, opened by one process at a time.

    Its first line says of what it is the journal, and further ones of that kind what has joined since. Then come lines
    ``{"asked": [prompt_id, provider], "worst_usd": …}``
    and, closing each, ``{"answered": …}`` or ``{"failed": …}`` with what it cost (``{"voted": …}`` for a question to a
    judge). ``{"graded": …}`` adds to an answer the grade that a later run brought. It holds no prompt.

    Args:
        path: made where it is missing; a last line that was torn off is dropped.
        header: what is collected, as kind → name → hash. What the file has under the same name must be the same.

    Attributes:
        answered: (prompt_id, provider) → the values of its answer.
        spent_usd: what had been charged when it was opened. What was asked and not closed may have been, too: it counts
            with its worst case.

    Raises:
        RoutelabError: another process has it open, it is of another collection, or damaged; later: no room to write.
    """

    def __init__(self, path: str | Path, header: Mapping[str, Mapping[str, str]]) -> None:
        self.path = Path(path)
        self.answered = dict[Pair, dict[str, Any]]()
        self.spent_usd = 0.0
        self._syncing = asyncio.Lock()
        self._written = self._synced = 0
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            self._lock()
            self._read(header)
        except BaseException:
            os.close(self._file)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        """Put all of it on disk and let other processes open it."""
        try:
            self._sync()
        finally:
            os.close(self._file)

    async def asked(self, pair: Pair, worst_usd: float) -> None:
        """Note that ``pair`` is about to be asked; returns when that is on disk. Concurrent callers share a sync."""
        self._write({"asked": pair, "worst_usd": worst_usd})
        mine = self._written
        async with self._syncing:
            if self._synced < mine:
                last = self._written
                await asyncio.to_thread(self._sync)
                self._synced = last

    def has_answered(self, pair: Pair, values: Mapping[str, Any]) -> None:
        """Note its answer. A line that a crash of the machine takes costs its worst case, and a repeat."""
        self._write({"answered": pair, **values})
        self.answered[pair] = dict(values)

    def has_graded(self, pair: Pair, quality: float, se: float) -> None:
        """Note the grade of an answer that was noted without one."""
        grade = {"quality": quality, "quality_se": se}
        self._write({"graded": pair, **grade})
        self.answered[pair].update(grade)

    def has_voted(self, pair: Pair, cost_usd: float) -> None:
        """Note what a judge's answer cost."""
        self._write({"voted": pair, "cost_usd": cost_usd})

    def has_failed(self, pair: Pair, cost_usd: float, error: str) -> None:
        """Note that no answer came, and what that may have cost."""
        self._write({"failed": pair, "cost_usd": cost_usd, "error": error})

    def _write(self, line: Mapping[str, Any]) -> None:
        """One call of the system: a kill leaves the line whole, absent, or torn off at the end of the file."""
        content = (json.dumps(line) + "\n").encode()
        whole = os.fstat(self._file).st_size
        try:
            while content:
                content = content[os.write(self._file, content) :]
        except OSError as error:
            os.ftruncate(self._file, whole)  # else the next line would go on where this one was torn off
            raise self._unwritable(error) from error
        self._written += 1

    def _sync(self) -> None:
        try:
            os.fsync(self._file)
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> RoutelabError:
        return RoutelabError(
            f"{self.path} cannot be written: {error.strerror}; make room there, then run the same again: it goes on "
            "from what that file holds"
        )

    def _lock(self) -> None:
        import fcntl

        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # a kill ends it, too
        except BlockingIOError:
            raise RoutelabError(f"{self.path} is in use by another process; wait for its end, or stop it") from None

    def _read(self, header: Mapping[str, Mapping[str, str]]) -> None:
        """Go through the file from its start, and note what it does not know yet."""
        whole, known = 0, {kind: dict[str, str]() for kind in header}
        asked = dict[Pair, float]()
        with open(self._file, "rb", closefd=False) as lines:
            for number, content in enumerate(lines, start=1):
                if not content.endswith(b"\n"):
                    break
                try:
                    line = json.loads(content)
                    if number == 1 and not (isinstance(line, dict) and line.get(_NAME) == _VERSION):
                        self._refuse("a journal of another kind")
                    if _NAME in line:
                        for kind, names in known.items():
                            names.update(line.get(kind, {}))
                    else:
                        self._take(line, asked)
                except (ValueError, KeyError, TypeError, StopIteration) as error:
                    if isinstance(error, RoutelabError):
                        raise
                    raise RoutelabError(
                        f"{self.path}: line {number} is damaged; remove the file to ask everything anew"
                    ) from None
                whole += len(content)
        self._check(header, known)
        os.ftruncate(self._file, whole)
        self.spent_usd += sum(asked.values())
        new = {kind: dict(names.items() - known[kind].items()) for kind, names in header.items()}
        if not whole or any(new.values()):
            self._write({_NAME: _VERSION, **{kind: dict(sorted(names.items())) for kind, names in new.items()}})

    def _check(self, header: Mapping[str, Mapping[str, str]], known: Mapping[str, Mapping[str, str]]) -> None:
        """Refuse what contradicts the file; it tells the first name of each kind."""
        other = list[str]()
        for kind, names in header.items():
            changed = [name for name, value in names.items() if known[kind].get(name, value) != value]
            other += [f"{kind} {changed[0]}".strip()] if changed else []
        if other:
            self._refuse(f"of a collection with other {' and '.join(other)}")

    def _refuse(self, what: str) -> NoReturn:
        raise RoutelabError(
            f"{self.path} is {what}: its answers would not fit; give back what was changed, write the table "
            "elsewhere (--out), or remove that file to ask everything anew"
        )

    def _take(self, line: dict[str, Any], asked: dict[Pair, float]) -> None:
        """Keep account of a line; ``asked`` holds the worst case of what is not closed yet."""
        kind = next(name for name in ("asked", "answered", "graded", "failed", "voted") if name in line)
        prompt_id, provider = line.pop(kind)
        pair = (str(prompt_id), str(provider))
        if kind == "asked":
            # an earlier one that a kill left open may have been charged
            self.spent_usd += asked.pop(pair, 0.0)
            asked[pair] = float(line["worst_usd"])
            return
        if kind == "graded":
            self.answered[pair].update(line)
            return
        asked.pop(pair, None)  # what an evaluator spent by itself was not asked
        self.spent_usd += float(line["cost_usd"])
        if kind == "answered":
            self.answered[pair] = line
