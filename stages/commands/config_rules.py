# SPDX-License-Identifier: MIT
"""`usp config lock-list | explain`: what a key means, and who may change it how far."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from .config_versions import file_text
from .console import JSON, answer, faults_told, settings


def lock_list(as_json: JSON = False) -> None:
    """Show which keys can never change at run time, and which can, within what.

    Example: usp config lock-list
    """
    from ...io.mutation_rules import LOCKED_SUBSECTIONS, VALIDATION_SCHEMA

    locked = [f"{section}.{name}" for section, names in LOCKED_SUBSECTIONS.items() for name in names]
    if as_json:
        mutable = {key: {**rule, "type": rule["type"].__name__} for key, rule in VALIDATION_SCHEMA.items()}
        answer({"locked": locked, "mutable": mutable}, True)
        return
    table = Table("key", "at run time")
    for key in locked:
        table.add_row(key, "locked")
    for key, rule in VALIDATION_SCHEMA.items():
        low, high = rule["range"]
        table.add_row(key, f"mutable, {low} to {high}{constraint_of(rule.get('constraint', ''))}")
    Console().print(table, "Every other key changes with the file: edit it, then usp config adopt.")


def constraint_of(name: str) -> str:
    """The size of a step in words."""
    steps = {"power_of_2": ", doubled or halved", "level": ", one level at a time", "": ", by at most 50 %"}
    return steps[name]


def explain(
    key: Annotated[str, typer.Argument(help="SECTION.KEY, such as orchestration.cusum_k")], as_json: JSON = False
) -> None:
    """Say what a key means, its unit and range, its value, whether it may change, and who changed it last.

    Example: usp config explain orchestration.cusum_k
    """
    from ...config.model import load, spec_of
    from ...config.reference import change_rule
    from ...io.audit_log import entries
    from ...io.mutation_rules import LOCKED_SUBSECTIONS, VALIDATION_SCHEMA

    with faults_told():
        spec = spec_of(key)
        chosen = settings()
        path, text = file_text(chosen)
        section, _, name = key.partition(".")
        changes = [
            e
            for e in entries(chosen.paths.resolved("mutations_log"))
            if key in (e.get("delta") or {}) and str(e.get("status", "")).endswith("SUCCESS")
        ]
        facts = {
            "key": key,
            "meaning": spec.key.doc,
            "unit": spec.key.unit or "none",
            "may be": spec.expected,
            "at run time": change_rule(spec, LOCKED_SUBSECTIONS, dict(VALIDATION_SCHEMA)),
            "in the file": value_in(load(text).to_mapping(), section, name),
            "file": str(path or "packaged defaults"),
            "last changed": told(changes[-1], key) if changes else "never, as far as the audit log knows",
        }
    if as_json:
        answer(facts, True)
        return
    table = Table(show_header=False)
    for name, value in facts.items():
        table.add_row(name, str(value))
    Console().print(table)


def value_in(mapping: Mapping[str, Any], section: str, name: str) -> Any:
    """The value of a key; that of a symbol by its own name."""
    table: Mapping[str, Any] = mapping[section]
    *path, last = name.rsplit(".", 1) if section == "symbols" else [name]
    for part in path:
        table = table.get(part, {})
    return table.get(last)


def told(entry: Mapping[str, Any], key: str) -> str:
    """Who, when, from what to what."""
    old, new = entry["delta"][key]
    who = entry.get("proposer") or entry.get("trigger")
    return f"{entry['timestamp']} by {who}: {old} -> {new} ({entry['event']}, proposal {entry['proposal_id']})"
