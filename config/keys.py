# SPDX-License-Identifier: MIT
"""What a configuration key is: its type, unit, range and meaning, declared once beside its dataclass field.

A section is a frozen dataclass whose fields read `name: Annotated[type, Key(meaning, unit, range)]`. Everything else
(loading, error messages, overrides, the commented file, the reference page) is derived from these declarations.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal, cast, get_args, get_origin, get_type_hints

INT64 = 2**63
ANY = "(-inf, inf)"


@dataclass(frozen=True)
class Interval:
    """A range in the notation of mathematics: `[0, 1)` includes 0 and excludes 1; `inf` is allowed on both sides."""

    text: str

    @property
    def bounds(self) -> tuple[float, float]:
        low, high = self.text[1:-1].split(",")
        return float(low), float(high)

    def __contains__(self, value: float) -> bool:
        low, high = self.bounds
        above = value > low or (self.text[0] == "[" and value == low)
        return above and (value < high or (self.text[-1] == "]" and value == high))

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Key:
    """Meaning of one key. `range` holds for each number of a list, `length` for the list itself or for a text.

    A structural key selects a compiled executable (widths, depths, buffer sizes, counts); changing it needs the
    two-phase epoch. All other keys are numbers that a running executable can be given. `inherits` names the key
    whose value an absent per-symbol entry takes. `secret` values come from the environment alone and are never shown.
    """

    doc: str
    unit: str = ""
    range: str = ANY
    length: str = "[1, 64]"
    power_of_two: bool = False
    multiple_of: int = 1
    ascending: bool = False
    structural: bool = False
    inherits: str = ""
    secret: bool = False


@dataclass(frozen=True)
class KeySpec:
    """A key with its place and type; `path` is `section.name`."""

    section: str
    name: str
    kind: Any
    key: Key

    @property
    def path(self) -> str:
        return f"{self.section}.{self.name}"

    @property
    def expected(self) -> str:
        """The type and range in words, for error messages and the reference page."""
        return describe(self.kind, self.key)


class BadValueError(ValueError):
    """A value does not have its key's type or range; the caller knows where and says so."""


def key_specs(section: str, cls: type) -> Iterator[KeySpec]:
    """The declared keys of a section's dataclass, in file order."""
    hints = get_type_hints(cls, include_extras=True)
    for field in fields(cls):
        if get_origin(hints[field.name]) is Annotated:
            kind, key = get_args(hints[field.name])[:2]
            yield KeySpec(section, field.name, kind, key)


def describe(kind: Any, key: Key) -> str:
    """Type and range in words: `a whole number in [1, inf)`."""
    args = get_args(kind)
    if get_origin(kind) is Literal:
        return ("one of " if len(args) > 1 else "") + ", ".join(repr(choice) for choice in args)
    if get_origin(kind) is tuple:
        size = f"{len(args)}" if args[-1] is not Ellipsis else f"{key.length}"
        order = " ascending" if key.ascending else ""
        return f"a list of {size}{order} entries, each {describe(args[0], key)}"
    if kind in (str, bool):
        return {str: f"printable text of {key.length} characters", bool: "true or false"}[kind]
    bounds = f" in {key.range}" if key.range != ANY else ""
    extra = ", a power of two" if key.power_of_two else f", a multiple of {key.multiple_of}" * (key.multiple_of > 1)
    return f"a {'whole ' if kind is int else ''}number{bounds}{extra}"


def checked(spec: KeySpec, value: object) -> Any:
    """The value as the type that the key declares; raises BadValueError if type or range do not fit.

    A whole number is taken where a number is expected; true and false are never numbers; NaN and infinity never fit.
    """
    result = convert(spec.kind, value, spec.key)
    if spec.key.ascending and list(result) != sorted(set(result)):
        raise BadValueError
    return result


def convert(kind: Any, value: object, key: Key) -> Any:
    args = get_args(kind)
    if get_origin(kind) is Literal:
        return convert_choice(args, value)
    if get_origin(kind) is tuple:
        return convert_list(args, value, key)
    if kind is bool and isinstance(value, bool):
        return value
    if kind is str and isinstance(value, str) and value.isprintable() and len(value) in Interval(key.length):
        return str(value)
    if kind in (int, float) and isinstance(value, (int, float)) and not isinstance(value, bool):
        return convert_number(kind, value, key)
    raise BadValueError


def convert_choice(choices: tuple[object, ...], value: object) -> object:
    for choice in choices:
        same_kind = isinstance(value, type(choice)) and isinstance(value, bool) == isinstance(choice, bool)
        if same_kind and value == choice:
            return choice
    raise BadValueError


def convert_list(kinds: tuple[Any, ...], value: object, key: Key) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise BadValueError
    items = cast("list[object]", value)
    fits = len(items) in Interval(key.length) if kinds[-1] is Ellipsis else len(items) == len(kinds)
    if not fits:
        raise BadValueError
    return tuple(convert(kinds[0], item, key) for item in items)


def convert_number(kind: Any, value: int | float, key: Key) -> int | float:
    if kind is int and not isinstance(value, int):
        raise BadValueError
    if isinstance(value, int) and not -INT64 <= value < INT64:
        raise BadValueError
    if not math.isfinite(value) or value not in Interval(key.range):
        raise BadValueError
    if (key.power_of_two and int(value).bit_count() != 1) or (kind is int and value % key.multiple_of):
        raise BadValueError
    # Adding 0.0 makes -0.0 into 0.0: equal values must have equal bytes, hence equal hashes.
    return float(value) + 0.0 if kind is float else int(value)


def plain(value: object) -> Any:
    """A value as TOML and JSON know it: tuples become lists, mappings become dictionaries."""
    if isinstance(value, tuple):
        return [plain(item) for item in cast("tuple[object, ...]", value)]
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in cast("Mapping[object, object]", value).items()}
    return value
