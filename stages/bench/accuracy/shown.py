# SPDX-License-Identifier: MIT
"""The rows on a terminal of eighty columns: a bank against the best peer, series by series, and the verdict on it."""

from collections.abc import Sequence

from rich import box
from rich.table import Table

from .table import Row
from .verdict import Line

MET = {True: "[green]yes[/]", False: "[red]no[/]", None: ""}


def figure(value: float | None, digits: int = 4) -> str:
    """A number for people; a dash for none."""
    return "-" if value is None else f"{value:.{digits}f}"


def narrow(title: str, columns: Sequence[str], left: Sequence[str]) -> Table:
    """An empty table without walls; the columns named in `left` hold text."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), header_style="bold")
    for name in columns:
        table.add_column(name, justify="left" if name in left else "right", overflow="fold")
    return table


def series_table(rows: Sequence[Row], model: str) -> Table:
    """One line for each series: error over that of the last value, the best peer and Bayes; interval; regret."""
    names = ("series", "/ last", "/ peer", "best peer", "/ Bayes", "cover", "score", "regret")
    table = narrow(f"{model}: error after the burn-in", names, ("series", "best peer"))
    for row in rows:
        if row.model == model:
            table.add_row(
                row.label,
                figure(row.to_last_value),
                figure(row.to_best_peer),
                row.best_peer,
                figure(row.to_bayes),
                figure(row.coverage, 3),
                figure(row.winkler_to_last_value, 3),
                figure(row.regret_expert),
            )
    return table


def verdict_table(lines: Sequence[Line], model: str) -> Table:
    """The verdict on one bank."""
    names = ("line", "found", "bar", "met", "where")
    table = narrow(f"{model}: verdict", names, ("line", "bar", "met", "where"))
    for line in lines:
        table.add_row(line.name, figure(line.found), line.bar, MET[line.met], line.where)
    return table
