"""What the log keeps of an error's text: neither the prompt nor a key."""

from __future__ import annotations

import re

from routelab.providers.keys import without_keys

_LENGTH = 200
_READ = 10 * _LENGTH  # a page of HTML is not searched to its end
_QUOTED = 12  # characters of the prompt in a row that count as a quotation
_KEY = re.compile(
    r"\b(?:(?:sk|pk|rk|xox\w|gh\w)[-_]|AIza|AKIA)[-\w]{8,}"  # of well-known providers
    r"|\b(?:bearer|basic)\s+[^\s\"',;]+"
    r"|(?<=://)[^\s/@]+(?=@)"  # user:password of an address
    r"|\b(?=[-\w]*\d)(?=[-\w]*[a-z])[-\w]{32,}",  # letters and digits without a space
    re.IGNORECASE,
)
_NAMED = re.compile(
    r"((?:key|token|secret|password|authorization)(?:\s+(?:provided|given|was|is))?[\"']?\s*[:=]\s*)"
    r"[\"']?(?!\[key\])[^\s\"',;&]+",
    re.IGNORECASE,
)


def redacted(text: str, *asked: str) -> str:
    """At most 200 characters of ``text``, without what it quotes of what was ``asked`` and what looks like a key.

    Whatever repeats 12 characters in a row of a prompt is cut, or all of a shorter one where it stands as words of
    its own. The keys of live providers are cut whatever they look like. A paraphrase, a prompt quoted in another
    encoding, or another's key of an unusual form passes.

    >>> redacted("no answer to 'Who was Ada Lovelace?' for Bearer abc123", "Who was Ada Lovelace?")
    "no answer to '[prompt]' for [key]"
    """
    text = without_keys(text)[:_READ]
    for prompt in dict.fromkeys(asked):
        text = _without(text, prompt.strip())
    return _NAMED.sub(r"\1[key]", _KEY.sub("[key]", text))[:_LENGTH]


def _without(text: str, prompt: str) -> str:
    """``text`` with each of its longest quotations of ``prompt`` cut."""
    if len(prompt) < _QUOTED:
        return re.sub(rf"(?<!\w){re.escape(prompt)}(?!\w)", "[prompt]", text) if prompt else text
    starts = range(len(text) - _QUOTED + 1)
    pieces = {text[at : at + _QUOTED] for at in starts}
    pieces.intersection_update(prompt[at : at + _QUOTED] for at in range(len(prompt) - _QUOTED + 1))
    quoted = set[int]()
    for at in starts:
        if text[at : at + _QUOTED] in pieces:
            quoted.update(range(at, at + _QUOTED))
    cut = ("" if at - 1 in quoted else "[prompt]" for at in range(len(text)))
    return "".join(mark if at in quoted else text[at] for at, mark in enumerate(cut))
