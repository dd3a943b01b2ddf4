"""``routelab collect live`` killed at 50 random moments (2 minutes): ``pytest -s`` prints what that cost.

``ROUTELAB_KILLS=5`` makes fewer, with ten prompts for each.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from time import perf_counter

from collect_kills import killed_and_resumed

KILLS = int(os.environ.get("ROUTELAB_KILLS", "50"))


def test_fifty_kills(tmp_path: Path) -> None:
    start = perf_counter()
    told = killed_and_resumed(tmp_path, kills=KILLS, prompts=10 * KILLS, seed=1)
    print("\n" + json.dumps(told | {"seconds": round(perf_counter() - start, 1)}))
