"""Keys of providers: read from the environment alone, and cut from every text that is shown or kept."""

from __future__ import annotations

import os

from routelab.errors import RoutelabError

_NO_KEY = "none"  # what a server that needs no key is sent
_QUOTED, _READ = 200, 100_000  # characters
_VARIABLES: set[str] = set()  # names, never values


def read_key(variable: str | None) -> str:
    """The key in the environment variable ``variable``, which ``without_keys`` cuts from now on.

    Args:
        variable: None where the server needs no key.

    Raises:
        RoutelabError: the variable is not set, or holds what cannot be sent; names the variable, not its value.

    >>> read_key(None)
    'none'
    """
    if variable is None:
        return _NO_KEY
    _VARIABLES.add(variable)
    key = os.environ.get(variable, "").strip()
    if not key:
        raise RoutelabError(f"the environment variable {variable} holds no key; set it, or give key_env=None")
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise RoutelabError(f"the environment variable {variable} holds more than a key; set it to the key alone")
    return key


def without_keys(text: str) -> str:
    """``text`` without the keys that the variables given to ``read_key`` hold as of now."""
    for variable in _VARIABLES:
        if key := os.environ.get(variable, "").strip():
            text = text.replace(key, "[key]")
    return text


def quoted(text: str) -> str:
    """What a provider said, without keys, on one line of at most 200 characters."""
    return " ".join(without_keys(text[:_READ]).split())[:_QUOTED]
