# SPDX-License-Identifier: MIT
"""The rows on a terminal: our banks against the best peer, series by series, and the verdict."""

from collections.abc import Mapping, Sequence

from rich.table import Table

from .table import Row, by_series
from .verdict import Line

MET = {True: "[green]yes[/]", False: "[red]no[/]", None: ""}


def figure(value: float | None, digits: int = 4) -> str:
    """A number for people; a dash for none."""
    return "-" if value is None else f"{value:.{digits}f}"


def series_table(rows: Sequence[Row], models: Sequence[str]) -> Table:
    """One line for each series and bank."""
    table = Table(header_style="bold", border_style="dim", title="error after the burn-in", title_justify="left")
    names = ("series", "bank", "/ last value", "/ best peer", "best peer", "/ Bayes", "coverage", "interval score")
    for name in (*names, "regret kernel", "regret expert"):
        table.add_column(name, justify="left" if name in ("series", "bank", "best peer") else "right", no_wrap=True)
    for label, group in by_series(rows).items():
        for row in group:
            if row.model in models:
                table.add_row(*series_cells(label, row))
    return table


def series_cells(label: str, row: Row) -> tuple[str, ...]:
    """The cells of one line."""
    return (
        label,
        row.model,
        figure(row.to_last_value),
        figure(row.to_best_peer),
        row.best_peer,
        figure(row.to_bayes),
        figure(row.coverage, 3),
        figure(row.winkler_to_last_value, 3),
        figure(row.regret_kernel),
        figure(row.regret_expert),
    )


def verdict_table(lines: Mapping[str, Sequence[Line]]) -> Table:
    """The verdict on each bank."""
    table = Table(header_style="bold", border_style="dim", title="verdict", title_justify="left")
    for name in ("bank", "line", "found", "bar", "met", "where"):
        table.add_column(name, justify="right" if name == "found" else "left", no_wrap=True)
    for model, group in lines.items():
        for line in group:
            table.add_row(model, line.name, figure(line.found), line.bar, MET[line.met], line.where)
    return table
