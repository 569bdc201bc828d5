# SPDX-License-Identifier: MIT
"""Pages made from the declared keys: the commented config.toml and the tables of runbooks/settings.md."""

import json
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from .keys import KeySpec
from .model import KEYS, SECTIONS, SYMBOL_KEYS, ModelConfig
from .symbols import DEFAULT, SymbolOverride

HEAD = """\
# Model configuration: all that decides a prediction besides the input. Hashed; every prediction names the hash.
#
# Every key must be here; there are no hidden defaults. Each comment says what the key means, its unit, and what it may
# be. In a range, [ and ] include the end and ( and ) exclude it. Changes at run time go through `usp config propose`;
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
    defaults = mapping["symbols"][DEFAULT]
    parts += [commented(spec, defaults[spec.name]) for spec in SYMBOL_KEYS if not spec.key.inherits]
    parts += [inherited_comment(spec) for spec in SYMBOL_KEYS if spec.key.inherits]
    return "\n".join(parts) + "\n"


def commented(spec: KeySpec, value: object) -> str:
    return f"{comment(spec)}\n{spec.name} = {toml_value(value)}"


def comment(spec: KeySpec) -> str:
    doc, expected = (text[:1].upper() + text[1:] for text in (spec.key.doc, spec.expected))
    text = f"{doc}. Unit: {spec.key.unit or 'none'}. {expected}."
    return textwrap.fill(text, 118, initial_indent="# ", subsequent_indent="# ", break_long_words=False)


def inherited_comment(spec: KeySpec) -> str:
    return f"{comment(spec)}\n# Without {spec.name} here, {spec.key.inherits} holds."


def toml_value(value: object) -> str:
    """A value in TOML; large whole numbers grouped by thousands."""
    if isinstance(value, list):
        return "[" + ", ".join(toml_value(item) for item in cast("list[object]", value)) + "]"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:_}" if abs(value) >= 100_000 else str(value)
    return repr(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False)


def change_rule(spec: KeySpec, locked: Mapping[str, Sequence[str]], mutable: Mapping[str, Mapping[str, Any]]) -> str:
    """How a key may change at run time, for the reference page."""
    if spec.name in locked.get(spec.section, ()):
        return "locked"
    if spec.path in mutable:
        low, high = mutable[spec.path]["range"]
        return f"mutable {low:g} to {high:g}" + (", two-phase" if spec.key.structural else "")
    return "fixed"


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


def model_tables(
    defaults: ModelConfig, locked: Mapping[str, Sequence[str]], mutable: Mapping[str, Mapping[str, Any]]
) -> str:
    """One table per section of the model configuration. `locked` and `mutable` are the governor's lists."""
    mapping = defaults.to_mapping()
    headers = ("key", "meaning", "unit", "default", "may be", "at run time")
    text = ""
    for section, specs in (*by_section(), ("symbols", SYMBOL_KEYS)):
        values = mapping["symbols"][DEFAULT] if section == "symbols" else mapping[section]
        rows = [
            (
                f"`{s.name}`",
                s.key.doc,
                s.key.unit,
                f"`{toml_value(values[s.name])}`",
                s.expected,
                change_rule(s, locked, mutable),
            )
            for s in specs
        ]
        text += f"\n### [{section}]\n\n{table(headers, rows)}"
    return text


def by_section() -> list[tuple[str, list[KeySpec]]]:
    return [(name, [spec for spec in KEYS.values() if spec.section == name]) for name in SECTIONS]
