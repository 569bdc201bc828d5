# SPDX-License-Identifier: MIT
"""The one error of a refused configuration, and the help that goes into it."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

HIDDEN = "(set, hidden)"
KIND_NAMES = {
    "bool": "boolean",
    "str": "text",
    "int": "whole number",
    "float": "number",
    "tuple": "list",
    "dict": "table",
    "NoneType": "nothing",
}


@dataclass(frozen=True)
class Problem:
    """One thing wrong in a configuration: where, what was found, what was expected and what to do."""

    where: str
    found: str
    expected: str
    advice: str

    def __str__(self) -> str:
        return f"{self.where}: was {self.found}, expected {self.expected}. {self.advice}"


class ConfigError(ValueError):
    """A configuration or a setting was refused; `problems` holds all that is wrong, not only the first."""

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        self.source = source
        self.problems = tuple(problems)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        super().__init__("\n".join([f"{source}: {count}", *(f"  {problem}" for problem in self.problems)]))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Advice that names the nearest known name, if one is near."""
    near = difflib.get_close_matches(name.casefold(), sorted(known), n=1, cutoff=0.5)
    return f"Did you mean {near[0]!r}?" if near else "Remove it."


def shown(value: object) -> str:
    """A value as an error message prints it: short, and with its type where the type may be the fault."""
    text = repr(value)
    text = text if len(text) <= 60 else text[:57] + "..."
    return f"{text} ({KIND_NAMES.get(type(value).__name__, type(value).__name__)})"
