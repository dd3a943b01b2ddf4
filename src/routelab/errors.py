"""The errors that routelab raises on bad input: one clear sentence naming the place, the value and the remedy."""


class RoutelabError(ValueError):
    """Base class of every error that routelab raises on purpose."""

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows (a hook of IPython): the sentence without the traceback, which ``%tb`` still has."""
        return [f"{type(self).__name__}: {self}"]


class TableError(RoutelabError):
    """A table breaks the interchange format: names the file, the column, the rule and the first offending rows."""


class SourceError(RoutelabError):
    """A source of data cannot be had: a missing mirror, no network, or a file whose sha256 does not match."""


class ParamsError(RoutelabError):
    """``params.yaml`` holds a value out of range: names the file, the field, the value and the remedy."""


class PolicyError(RoutelabError):
    """A policy got arrays of the wrong shape, is not fitted, or its saved model cannot be read."""


class DatabaseError(RoutelabError):
    """PerformanceDB was asked for something that it does not hold, or its store cannot be used."""


class ExperimentError(RoutelabError):
    """An experiment cannot be as it was described: a wrong allocation, a unit without a name, a test that ended."""


class OffPolicyError(RoutelabError):
    """A log cannot be read for off-policy evaluation, or does not support the question asked of it."""


class FigureError(RoutelabError):
    """A figure was asked for of a table that lacks a column or has no rows."""
