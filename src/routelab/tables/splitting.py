"""Which prompts train, which evaluate: a table's own split, or a seeded one that keeps equal prompts together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from routelab.errors import TableError

Texts = NDArray[np.object_]


def same_texts(prompts: Texts) -> Texts:
    """Texts less what does not change a request: case, and how much white space there is.

    >>> same_texts(np.array(["Hi  there\\n", "hi there"], dtype=object))
    array(['hi there', 'hi there'], dtype=object)
    """
    return np.array([" ".join(text.split()).casefold() for text in prompts], dtype=object)


def own_split(splits: Texts, prompts: Texts | None, origin: str) -> NDArray[np.bool_]:
    """The table's own split as a mask (n,), True = train.

    Raises:
        TableError: the same prompt text, but for case and white space, lies on both sides (a leak).

    >>> own_split(np.array(["train", "eval"], dtype=object), None, "t.csv")
    array([ True, False])
    """
    train: NDArray[np.bool_] = splits == "train"
    if prompts is None:
        return train
    text_of = dict(zip(same_texts(prompts[train]), prompts[train], strict=True))
    leaks = sorted(text_of[text] for text in text_of.keys() & set(same_texts(prompts[~train])))
    if leaks:
        shown = ", ".join(repr(text[:60]) for text in leaks[:3])
        raise TableError(
            f"{origin}: column 'split' puts {len(leaks)} prompts into both 'train' and 'eval': {shown}. "
            "Move each text to one side, or split with column=None (on the command line: --train-split 0.7)."
        )
    return train


def random_split(
    groups: Texts, tasks: Texts | None, train_fraction: float, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """A random split as a mask (n,), True = train: equal ``groups`` stay together, tasks keep their shares.

    Groups are put in order of task, shuffled within it, and then drawn systematically (every
    ``1/train_fraction``-th from a random start), so that train takes its share of each task to within one group.

    >>> groups = np.array(["a", "a", "b", "c", "d"], dtype=object)
    >>> train = random_split(groups, None, 0.5, np.random.default_rng(0))
    >>> bool(train[0] == train[1]), int(train[1:].sum())
    (True, 2)
    """
    group_of, _ = pd.factorize(groups)
    first = np.unique(group_of, return_index=True)[1]
    task_of_group: NDArray[Any] = np.zeros(len(first), int) if tasks is None else pd.factorize(tasks[first])[0]
    order = rng.permutation(len(first))
    order = order[np.argsort(task_of_group[order], kind="stable")]
    drawn = np.diff(np.floor(np.arange(len(order) + 1) * train_fraction + rng.random())) > 0
    train = np.empty(len(order), bool)
    train[order] = drawn
    return train[group_of]
