# SPDX-License-Identifier: MIT
"""The text of config.toml: every key with a comment, made from its declaration."""

import json
import textwrap
from collections.abc import Mapping
from typing import Any, cast

from .keys import KeySpec
from .model import KEYS, SECTIONS, SYMBOL_KEYS, ModelConfig
from .symbols import DEFAULT, SymbolOverride

HEAD = """\
# Model configuration: all that decides a prediction besides the input. Hashed; every prediction names the hash.
#
# Every key must be here; there are no hidden defaults. Each comment says what the key means, its unit, and what it may
# be. In a range, [ and ] include the end and ( and ) exclude it. Changes at run time are proposed to the governor;
# brokers, folders and ports stand elsewhere (runbooks/settings.md).
"""

SYMBOLS_HEAD = f"""\
# {SymbolOverride.__doc__}
# A symbol's table names only what differs:
#     [symbols."BRK.B"]
#     kind = "trade"
#     frozen_signal_min_steps = 50
"""


def config_file(config: ModelConfig) -> str:
    """The text of a config.toml with these values and a comment on every key."""
    mapping = config.to_mapping()
    parts = [HEAD]
    for section, cls in SECTIONS.items():
        lines = [f"\n# {cls.__doc__}\n[{section}]"]
        specs = [spec for spec in KEYS.values() if spec.section == section]
        parts += [*lines, *(commented(spec, mapping[section][spec.name]) for spec in specs)]
    parts += ["\n" + SYMBOLS_HEAD.rstrip() + f"\n[symbols.{DEFAULT}]"]
    entries = mapping["symbols"]
    parts += [symbol_default(spec, entries[DEFAULT][spec.name], mapping) for spec in SYMBOL_KEYS]
    parts += [symbol_table(name, entry) for name, entry in entries.items() if name != DEFAULT]
    return "\n".join(parts) + "\n"


def symbol_default(spec: KeySpec, value: object, mapping: Mapping[str, Any]) -> str:
    section, _, key = spec.key.inherits.partition(".")
    if key and value == mapping[section][key]:
        return f"{comment(spec)}\n# Without {spec.name} here, {spec.key.inherits} holds."
    return commented(spec, value)


def symbol_table(name: str, entry: Mapping[str, object]) -> str:
    lines = [f"{key} = {toml_value(value)}" for key, value in entry.items()]
    return "\n".join([f"\n[symbols.{toml_value(name)}]", *lines])


def commented(spec: KeySpec, value: object) -> str:
    return f"{comment(spec)}\n{spec.name} = {toml_value(value)}"


def comment(spec: KeySpec) -> str:
    doc, expected = (text[:1].upper() + text[1:] for text in (spec.key.doc, spec.expected))
    text = f"{doc}. Unit: {spec.key.unit or 'none'}. {expected}."
    return textwrap.fill(text, 118, initial_indent="# ", subsequent_indent="# ", break_long_words=False)


def toml_value(value: object) -> str:
    """A value in TOML; large whole numbers grouped by thousands."""
    if isinstance(value, list):
        return "[" + ", ".join(toml_value(item) for item in cast("list[object]", value)) + "]"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:_}" if abs(value) >= 100_000 else str(value)
    return repr(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False)
