# SPDX-License-Identifier: MIT
"""Passwords and keys taken out of text, wherever it goes: logs, error messages, tracebacks."""

import json
from collections.abc import Callable, Iterable, Mapping
from urllib.parse import quote, unquote, urlsplit

HIDDEN = "***"
SECRET_WORDS = ("password", "secret", "token", "key", "pem", "credential")
OURS = "usp_"
SHORTEST = 4
ESCAPES: tuple[Callable[[str], str], ...] = (
    str,
    quote,
    unquote,
    lambda text: repr(text)[1:-1],
    lambda text: json.dumps(text)[1:-1],
)


def secrets_in(variables: Mapping[str, str]) -> list[str]:
    """The values of our variables that are credentials, and the passwords inside of addresses, longest first.

    Values shorter than four characters are left out: hiding each "abc" in a log would hide the log.
    """
    found: set[str] = set()
    for name, value in variables.items():
        if name.lower().startswith(OURS):
            if any(word in name.lower() for word in SECRET_WORDS):
                found.add(value)
            found.update(passwords_in(value))
    written = {form for secret in found for form in (escape(secret) for escape in ESCAPES)}
    return sorted((text for text in written if len(text) >= SHORTEST), key=lambda text: (-len(text), text))


def passwords_in(value: str) -> Iterable[str]:
    """The password of an address like redis://user:password@host."""
    if "://" not in value or "@" not in value:
        return ()
    try:
        password = urlsplit(value).password
    except ValueError:
        return ()
    return (password,) if password else ()


def hidden(text: str, secrets: Iterable[str]) -> str:
    """The text without them."""
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    return text
