"""Figures as small pictures without letters and lists of what is written in them, and how far two pictures differ.

Letters are drawn differently by every version of freetype, and the layout follows them: words are compared as words,
and the picture is what is left of a figure without them, on Axes of fixed place. A dash of a thin line weighs no more
in it than other antialiasing does, so the looks of lines are compared as words too.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, NullFormatter
from PIL import Image

FOLDER = Path(__file__).parent / "figures"
SIZE = (440, 200)
BLOCK = 8  # pixels whose mean is compared: an edge may fall a part of a pixel aside
TOLERANCE = 0.1  # of the range from black to white; without antialiasing it is 0.09, without a band 0.15 or more


def figure_of(ax: Axes) -> Figure:
    figure = ax.get_figure(root=True)
    assert figure is not None
    return figure


def told(ax: Axes) -> list[str]:
    """All words but numbers at ticks, then the dashes, marker and colour of every line."""
    legend, names = ax.get_legend(), []
    for axis in (ax.xaxis, ax.yaxis):
        if isinstance(axis.get_major_formatter(), FixedFormatter):
            names += [one.get_text() for one in axis.get_ticklabels()]
    words = [ax.get_title(loc="left"), ax.get_xlabel(), ax.get_ylabel(), *names]
    words += [one.get_text() for one in legend.get_texts()] if legend else []
    words += [one.get_text() for one in ax.texts]
    return [one for one in words if one] + [_look(one) for one in ax.get_lines()]


def _look(line: Line2D) -> str:
    colours = f"{to_hex(line.get_color())} {to_hex(line.get_markerfacecolor())}"
    return f"line {line.get_linestyle()} {line.get_marker()} {colours}"


def picture(ax: Axes, *, scale: int = 4, antialiased: bool = True) -> np.ndarray:
    """What is drawn without letters, (200, 440, 3) in [0, 1]; ``scale`` renders finer and shrinks."""
    figure = figure_of(ax)
    figure.set_layout_engine("none")
    figure.set_size_inches(SIZE[0] / 40, SIZE[1] / 40)
    ax.set_position((0.02, 0.02, 0.96, 0.96))
    ax.set(xlabel="", ylabel="")
    ax.set_title("", loc="left")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(NullFormatter())
        axis.set_minor_formatter(NullFormatter())
    for written in [*ax.texts, *([ax.get_legend()] if ax.get_legend() else [])]:
        written.set_visible(False)
    for drawn in [*ax.lines, *ax.collections, *ax.patches]:
        drawn.set_antialiased(antialiased)
    held = io.BytesIO()
    figure.savefig(held, dpi=40 * scale)
    shrunk = Image.open(held).convert("RGB").resize(SIZE, Image.Resampling.BOX)
    return np.asarray(shrunk, dtype=float) / 255.0


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """The largest difference of the mean colours of two blocks, 0 to 1."""
    blocks = (one - other).reshape(SIZE[1] // BLOCK, BLOCK, SIZE[0] // BLOCK, BLOCK, 3)
    return float(np.abs(blocks.mean(axis=(1, 3))).max())


def write(name: str, shown: np.ndarray) -> Path:
    """Keep a picture as the reference of ``name``, in 128 colours."""
    path = FOLDER / f"{name}.png"
    whole = Image.fromarray((shown * 255.0).round().astype(np.uint8))
    whole.quantize(128, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(path, optimize=True)
    return path


def read(name: str) -> np.ndarray:
    return np.asarray(Image.open(FOLDER / f"{name}.png").convert("RGB"), dtype=float) / 255.0
