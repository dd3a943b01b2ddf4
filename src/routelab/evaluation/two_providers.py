"""RouteLLM's figures for the choice between a weak and a strong provider (Ong et al. 2024, arXiv 2406.18665).

PGR(α) = (r(α) − r_weak) / (r_strong − r_weak), where α is the share of prompts sent to the strong provider.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from routelab.arrays import Floats, float_array
from routelab.errors import RoutelabError


def strong_share_curve(score: ArrayLike, weak: ArrayLike, strong: ArrayLike) -> tuple[Floats, Floats]:
    """Quality as more and more prompts go to the strong provider, those with the highest score first.

    Prompts of equal score go together: between two points of the curve they are mixed at random.

    Args:
        score: (n,) how much the router would have each prompt answered by the strong provider.
        weak: (n,) quality of the weak provider.
        strong: (n,) quality of the strong one.

    Returns:
        (share, quality), each (g + 1,) for g distinct scores; the share rises from 0 to 1.

    >>> strong_share_curve(score=[0.9, 0.1], weak=[0.0, 1.0], strong=[1.0, 1.0])
    (array([0. , 0.5, 1. ]), array([0.5, 1. , 1. ]))
    """
    s, w, t = (
        float_array(name, values, ndim=1) for name, values in (("score", score), ("weak", weak), ("strong", strong))
    )
    if not s.size == w.size == t.size or not s.size:
        raise RoutelabError(f"score, weak, strong have {s.size}, {w.size}, {t.size} entries; give one per prompt")
    order = np.argsort(-s, kind="stable")
    last_of_score = np.append(np.diff(s[order]) != 0.0, True)
    sent = np.append(0, 1 + np.flatnonzero(last_of_score))
    gained = np.append(0.0, np.cumsum((t - w)[order]))
    return sent / s.size, w.mean() + gained[sent] / s.size


def _recovered(share: ArrayLike, quality: ArrayLike, weak: float, strong: float) -> tuple[Floats, Floats]:
    """(α, PGR) in order of α, from all-weak (0, 0) to all-strong (1, 1)."""
    alpha, reached = float_array("share", share, ndim=1), float_array("quality", quality, ndim=1)
    if alpha.size != reached.size or ((alpha < 0.0) | (alpha > 1.0)).any():
        raise RoutelabError(f"{alpha.size} shares, {reached.size} qualities; give as many of both, shares in [0, 1]")
    if not strong > weak:
        raise RoutelabError(f"strong quality {strong:.6g} is not above weak {weak:.6g}; PGR is undefined")
    order = np.argsort(alpha, kind="stable")
    pgr = (reached[order] - weak) / (strong - weak)
    return np.concatenate([[0.0], alpha[order], [1.0]]), np.concatenate([[0.0], pgr, [1.0]])


def apgr(share: ArrayLike, quality: ArrayLike, weak: float, strong: float) -> float:
    """Average performance gap recovered: ∫ PGR dα over all of [0, 1], by trapezoids; a random router has 0.5.

    Args:
        share: (s,) share α of strong calls of each setting; all-weak and all-strong are added.
        quality: (s,) mean quality of each setting.
        weak: mean quality of the weak provider alone.
        strong: mean quality of the strong one alone.

    Raises:
        RoutelabError: a share outside [0, 1], or a strong provider no better than the weak.

    >>> apgr(share=[0.5], quality=[0.9], weak=0.5, strong=1.0)
    0.65
    """
    alpha, pgr = _recovered(share, quality, weak, strong)
    return float(np.trapezoid(pgr, alpha))


def cpt(share: ArrayLike, quality: ArrayLike, weak: float, strong: float, level: float) -> float:
    """Call-performance threshold: the smallest share α of strong calls with PGR ≥ ``level``, at the first crossing.

    Arguments and errors as ``apgr``; ``level`` in (0, 1], 0.5 for CPT(50 %).

    >>> cpt(share=[0.5], quality=[0.75], weak=0.5, strong=1.0, level=0.25)
    0.25
    """
    if not 0.0 < level <= 1.0:
        raise RoutelabError(f"level is {level!r}; give a PGR in (0, 1], such as 0.5 for CPT(50 %)")
    alpha, pgr = _recovered(share, quality, weak, strong)
    after = int(np.argmax(pgr >= level))
    rise = (level - pgr[after - 1]) / (pgr[after] - pgr[after - 1])
    return float(alpha[after - 1] + rise * (alpha[after] - alpha[after - 1]))
