"""What the stages wrote about one source, read from whatever folder of the project the notebook runs in."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from routelab.project import project_path, working_copy

if TYPE_CHECKING:
    import pandas as pd

    from routelab.evaluation.curves import PolicyCurve
    from routelab.evaluation.split import Split
    from routelab.features import RequestFeaturizer
    from routelab.params import Params
    from routelab.policies import Policy
    from routelab.tables.table import PerformanceTable


def outputs(source: str) -> Outputs:
    """What the stages wrote about ``source``.

    >>> out = outputs("paretobandit")
    >>> train, held = out.splits()  # doctest: +SKIP
    >>> out.report("evaluation")["policies"]["forest"]["hull_gap_captured"]  # doctest: +SKIP
    {'estimate': 0.51, 'low': 0.47, 'high': 0.55}
    """
    return Outputs(source)


@dataclass(frozen=True, slots=True)
class Outputs:
    """The outputs of the stages for one source.

    Every method raises a RoutelabError where the file is missing, which names it and the command that writes it.

    Args:
        source: its name.
    """

    source: str

    def path(self, kind: str, name: str) -> Path:
        """A file or folder ``name`` of a kind: "features", "models" or "reports"."""
        return project_path("data", kind, self.source, name)

    def params(self) -> Params:
        """The settings of the project (``params.yaml``)."""
        from routelab.params import load_params

        return load_params(working_copy() / "params.yaml")

    def table(self) -> PerformanceTable:
        """The collected table."""
        from routelab.tables.table import PerformanceTable

        return PerformanceTable.read(project_path("data", "collected", f"{self.source}.parquet"))

    def splits(self) -> tuple[Split, Split]:
        """Training and evaluation split, with features."""
        from routelab.evaluation.split import Split

        return Split.read(self.path("features", "train.npz")), Split.read(self.path("features", "eval.npz"))

    def featurizer(self) -> RequestFeaturizer:
        """The featurizer that was fitted on the training split."""
        from routelab.features import RequestFeaturizer

        return RequestFeaturizer.load(self.path("features", "featurizer"))

    def policy(self, name: str) -> Policy:
        """A policy that was fitted on the training split, such as "forest"."""
        from routelab.policies import load_policy

        return load_policy(self.path("models", name))

    def curve(self, name: str, split: Split) -> PolicyCurve:
        """The curve of a policy on the complete rows of the evaluation split."""
        return split.read_curve(self.path("models", f"{name}.npz"))

    def report(self, name: str) -> Any:
        """A report, such as "evaluation"."""
        return json.loads(self.path("reports", f"{name}.json").read_text(encoding="utf-8"))

    def frame(self, name: str) -> pd.DataFrame:
        """A table of results, such as "curves"."""
        import pandas as pd

        return pd.read_csv(self.path("reports", f"{name}.csv"))

    def figure(self, name: str) -> Path:
        """The PNG of a figure, such as "frontier", for ``IPython.display.Image``."""
        return self.path("reports", f"{name}.png")
