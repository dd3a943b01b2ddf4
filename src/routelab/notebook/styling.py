"""Tables in a notebook whose names and texts are anybody's."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from pandas.io.formats.style import Styler


def styled(frame: pd.DataFrame) -> Styler:
    """``frame.style``, with every text shown as it reads: pandas itself takes index, header and cells as HTML.

    Args:
        frame: with any names and texts; numbers are formatted by what is returned. It is not changed.

    >>> import pandas as pd
    >>> styled(pd.DataFrame({"<b>": ["<script>"]}, index=["<i>"])).to_html().count("<script>")
    0
    """
    safe = frame.map(_escaped).rename(index=_escaped, columns=_escaped)
    safe = safe.rename_axis(index=_escaped, columns=_escaped)
    return safe.style.set_table_attributes("class='tex2jax_ignore mathjax_ignore'")  # a dollar starts no formula


def _escaped(value: Any) -> Any:
    return escape(value) if isinstance(value, str) else value
