"""What others published on the same data, to stand beside our figures."""

from __future__ import annotations

_ROUTELLM = "Ong et al. 2024, RouteLLM, arXiv 2406.18665"
_PARETOBANDIT = "Taberner-Miller 2026, ParetoBandit: Budget-Paced Adaptive Routing for Non-Stationary LLM Serving"
_REWARDS = {  # by budget in USD per request, on the table's own split; mean of 20 seeds, learning online
    2.93e-5: 0.7932,
    8.29e-5: 0.8128,
    2.345e-4: 0.8588,
    6.64e-4: 0.8978,
    1.878e-3: 0.9172,
    5.31e-3: 0.9244,
    1.504e-2: 0.9290,
}

#: Table → figures with their source. APGR and CPT as ``evaluation.two_providers`` defines them.
PUBLISHED: dict[str, list[dict[str, float | str]]] = {
    "paretobandit": [
        {"router": "ParetoBandit", "budget": budget, "reward": reward, "source": _PARETOBANDIT}
        for budget, reward in _REWARDS.items()
    ],
    "routellm-mtbench": [
        {
            "router": "RouteLLM (matrix factorisation)",
            "apgr": 0.802,
            "cpt50": 0.134,
            "cpt80": 0.3131,
            "source": _ROUTELLM,
        },
        {"router": "random", "apgr": 0.5, "source": _ROUTELLM},
    ],
    "routellm-mmlu": [{"router": "RouteLLM (its best, out of domain)", "apgr": 0.603, "source": _ROUTELLM}],
    "routellm-gsm8k": [{"router": "RouteLLM (its best, out of domain)", "apgr": 0.622, "source": _ROUTELLM}],
}


def budget_rewards(table: str) -> dict[float, float]:
    """Budget in USD per request → published mean reward on the own split of ``table``.

    >>> budget_rewards("paretobandit")[6.64e-4], budget_rewards("routerbench")
    (0.8978, {})
    """
    figures = PUBLISHED.get(table, [])
    return {float(each["budget"]): float(each["reward"]) for each in figures if "budget" in each}
