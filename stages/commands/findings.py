# SPDX-License-Identifier: MIT
"""What `usp doctor` finds: one value per check, and how people see them."""

from typing import NamedTuple

from rich.table import Table


class Finding(NamedTuple):
    """One check: what was found, and what to do if it is not as it should be."""

    name: str
    ok: bool
    found: str
    advice: str = ""


def shown(findings: list[Finding]) -> Table:
    """The findings for people; the words tell as much as the colours."""
    table = Table(border_style="dim")
    for name in ("", "check", "found", "what to do"):
        table.add_column(name, overflow="fold")
    for finding in findings:
        mark = "[green]ok[/]" if finding.ok else "[bold red]no[/]"
        table.add_row(mark, *(text.replace("[", "\\[") for text in (finding.name, finding.found, finding.advice)))
    return table
