# SPDX-License-Identifier: MIT
"""`usp parity`: are two runs the same numbers, and is a parity log as it was written?"""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ...io.line_chain import ChainReport, check_chain
from ...io.line_log import files_of, read_lines
from ...io.parity_compare import TOLERANCE, Comparison, Difference, compare, log_of
from .console import CALLERS_FAULT, JSON, STATE_IN_DOUBT, answer, fail, settings

PARITY_LOG = "parity.jsonl"

app = typer.Typer(help="Parity logs: compare two runs, verify a log.", no_args_is_help=True)


@app.command("compare")
def compare_logs(
    a: Annotated[Path, typer.Argument(help="A parity log, or a folder with io/parity.jsonl or parity.jsonl in it.")],
    b: Annotated[Path, typer.Argument(help="The other one.")],
    tolerance: Annotated[float, typer.Option(min=0.0, help="Relative L2 distance allowed between builds.")] = TOLERANCE,
    as_json: JSON = False,
) -> None:
    """Compare two runs step by step: bit for bit within a build, within a tolerance between builds.

    Ends with 0 if they agree and with 5 if they do not.

    Example: usp parity compare var/io/parity.jsonl other/io/parity.jsonl
    """
    paths = [log_file(each) for each in (a, b)]
    broken = [f"{path}: {problem}" for path in paths for problem in check_chain(files_of(path)).problems]
    left, right = (log_of(read_lines(path)) for path in paths)
    found = compare(left, right, tolerance)
    answer(document(found, broken), as_json)
    if not as_json:
        Console().print(shown(found, broken))
    if broken or not found.equal():
        raise typer.Exit(STATE_IN_DOUBT)


@app.command()
def verify(
    log: Annotated[Path | None, typer.Argument(help="A parity log or its folder; default: this pipeline's.")] = None,
    as_json: JSON = False,
) -> None:
    """Check the hash chain of a log: no line was changed, removed, added or moved. Ends with 5 if one was.

    Example: usp parity verify
    """
    path = log_file(log or settings().paths.resolved("parity_log"))
    report = check_chain(files_of(path))
    answer(report._asdict(), as_json)
    if not as_json:
        Console().print(verdict(path, report), soft_wrap=True, highlight=False, markup=False)
    if report.problems:
        raise typer.Exit(STATE_IN_DOUBT)


def log_file(given: Path) -> Path:
    """The log that is meant; a friendly end if there is none."""
    candidates = [given / "io" / PARITY_LOG, given / PARITY_LOG] if given.is_dir() else [given]
    for path in candidates:
        if files_of(path):
            return path
    raise fail(CALLERS_FAULT, f"found no log at {given}; expected a parity log, as the telemetry sink writes it")


def verdict(path: Path, report: ChainReport) -> str:
    """The report in words."""
    torn = f"; {report.torn_bytes} bytes of a torn line behind them" if report.torn_bytes else ""
    if not report.problems:
        return f"{path}: {report.lines:,} lines in one chain{torn}\nlast hash {report.head}"
    return "\n".join([f"{path}: the chain is broken", *report.problems])


def document(found: Comparison, broken: list[str]) -> dict[str, Any]:
    """The comparison for machines."""
    return {
        "equal": found.equal() and not broken,
        "compared_bit_for_bit": found.exact,
        "compared_within_tolerance": found.within,
        "different": found.different,
        "tolerance": found.tolerance,
        "distances": {name: each.relative() for name, each in found.distances.items()} if found.within else {},
        "first_difference": found.first._asdict() if found.first else None,
        "only_in_a": found.only_a,
        "only_in_b": found.only_b,
        "first_unpaired": found.first_only._asdict() if found.first_only else None,
        "missing_in_a": found.missing_a,
        "missing_in_b": found.missing_b,
        "builds_a": sorted(found.builds_a),
        "builds_b": sorted(found.builds_b),
        "broken_chain": broken,
    }


def shown(found: Comparison, broken: list[str]) -> Table:
    """The comparison for people."""
    table = Table(
        show_header=False, title="equal" if found.equal() and not broken else "NOT EQUAL", title_justify="left"
    )
    table.add_row("steps compared bit for bit", f"{found.exact:,}")
    table.add_row("steps compared within a tolerance", f"{found.within:,}")
    table.add_row("steps that differ", f"{found.different:,}")
    if found.first is not None:
        table.add_row("first difference", told(found.first))
    for name, distance in found.distances.items() if found.within else ():
        bound = f"{'<=' if name not in found.beyond() else '>'} {found.tolerance:g}"
        worst = f"; worst at {told(distance.at)}" if distance.at else ""
        table.add_row(f"relative L2 of {name}", f"{distance.relative():.3g} {bound}{worst}")
    table.add_row("only in A, only in B", f"{found.only_a:,}, {found.only_b:,}")
    if found.first_only is not None:
        table.add_row("first of these", told(found.first_only))
    table.add_row("missing by their own gap lines", f"{found.missing_a:,}, {found.missing_b:,}")
    table.add_row("builds of A, of B", f"{', '.join(sorted(found.builds_a))} / {', '.join(sorted(found.builds_b))}")
    for problem in broken:
        table.add_row("broken chain", problem)
    return table


def told(each: Difference) -> str:
    """One difference in words."""
    return f"{each.symbol} step {each.step}: {each.what} {each.a} / {each.b}"
