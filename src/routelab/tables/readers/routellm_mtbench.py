"""RouteLLM's MT-Bench: 80 questions × 2 turns, GPT-4-1106 against Mixtral-8x7B, judged 1 to 10 by GPT-4.

Each turn is a prompt of its own: the user's turns so far. The grade is (score − 1)/9. Questions of which a turn was
found in the authors' training data are dropped whole, as in their ``evals/benchmarks.py``; 72 remain. Tokens are
estimated from the conversation that the judge was shown, at four characters each (see ``routellm`` for the prices).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from routelab.tables.io import read_json_lines
from routelab.tables.readers.routellm import contaminated, estimated_tokens, priced

_FIRST_ANSWER = re.compile(r"\[The Start of Assistant's Answer\]\n(.*)\n\[The End of Assistant's Answer\]", re.DOTALL)
_CONVERSATION = re.compile(
    r"<\|The Start of Assistant A's Conversation with User\|>(.*)\n### Assistant A:\n(.*)"
    r"<\|The End of Assistant A's Conversation with User\|>",
    re.DOTALL,
)


def read(files: Sequence[Path]) -> pd.DataFrame:
    """Tidy rows of 72 × 2 prompts; ``task`` is the question's category."""
    named = {file.name: file for file in files}
    questions = pd.DataFrame(read_json_lines(named["question.jsonl"])).set_index("question_id")
    dropped = set(contaminated(files))
    questions = questions[[not dropped & set(turns) for turns in questions["turns"]]]
    judged = pd.DataFrame(read_json_lines(named["judgements.jsonl"]))
    judged = judged[judged["question_id"].isin(questions.index)].sort_values(["question_id", "turn"], kind="stable")
    turns = [questions["turns"][q][:turn] for q, turn in zip(judged["question_id"], judged["turn"], strict=True)]
    judged["prompt"] = ["\n\n".join(texts) for texts in turns]
    seen = [_conversation(*row) for row in judged[["prompt", "user_prompt"]].itertuples(index=False)]
    tidy = pd.DataFrame(
        {
            "prompt_id": "q" + judged["question_id"].astype(str) + "-turn" + judged["turn"].astype(str),
            "provider": judged["model"],
            "quality": (judged["score"] - 1.0) / 9.0,
            "prompt": judged["prompt"],
            "task": questions["category"].reindex(judged["question_id"]).to_numpy(),
            "input_tokens": estimated_tokens(pd.Series([text for text, _ in seen], index=judged.index)),
            "output_tokens": estimated_tokens(pd.Series([text for _, text in seen], index=judged.index)),
        }
    )
    return priced(tidy)


def _conversation(prompt: str, shown: str) -> tuple[str, str]:
    """(what went into the provider, what it answered last), from the text that the judge was shown.

    >>> _conversation("Why?", "[The Start of Assistant's Answer]\\nBecause.\\n[The End of Assistant's Answer]")
    ('Why?', 'Because.')
    """
    first = _FIRST_ANSWER.search(shown)
    if first:
        return prompt, first[1]
    both = _CONVERSATION.search(shown)
    if both is None:
        raise ValueError(f"no conversation in the text shown to the judge: {shown[:60]!r}")
    return both[1], both[2]
