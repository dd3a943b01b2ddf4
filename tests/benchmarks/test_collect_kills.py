"""``routelab collect live`` killed at 50 random moments (2 minutes): ``pytest -s`` prints what that cost."""

from __future__ import annotations

from pathlib import Path

from collect_kills import killed_and_resumed


def test_fifty_kills(tmp_path: Path) -> None:
    told = killed_and_resumed(tmp_path, kills=50, prompts=500, seed=1)
    print(
        f"\n{told['kills']} kills: {told['repeated']} of {told['pairs']} requests repeated, all in flight at a kill; "
        f"charged {told['charged']:.4f} USD of a cap of {told['cap']:.4f}"
    )
