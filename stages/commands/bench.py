# SPDX-License-Identifier: MIT
"""`usp bench ...`: what is measured, one subcommand each; `bench.BENCHES` holds those without options."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from .console import CALLERS_FAULT, JSON, answer, console, fail, faults_told, settings

MEASURES = {
    "step": "The predictor's step: both banks as a whole and by parts, growth, plain models in the same run.",
    "hostile": "A million ticks that no market sends: nothing may break.",
    "ingest": "Ingest without a broker: decode, judge, encode.",
    "pipeline": "Tick to prediction over a local broker, beside a chain that only copies.",
    "control": "Change alarms: how often a false one, how late a true one.",
    "governor": "The judge of a configuration change: how often it is right.",
    "tuning": "Automatic tuning beside none, on markets that change their regime.",
    "telemetry": "What telemetry at every step costs the predicting thread: with and without it, by turns.",
    "snapshot": "10,000 symbols: a turn of the loop beside a snapshot of all of them, and the time of a restore.",
}

app = typer.Typer(no_args_is_help=False)


@app.callback(invoke_without_command=True)
def bench(context: typer.Context, as_json: JSON = False) -> None:
    """Measure what the project promises; without a subcommand, the predictor's step.

    Example: usp bench pipeline
    """
    if context.invoked_subcommand is None:
        measure("step", as_json)


def measure(name: str, as_json: bool) -> None:
    """Run one benchmark and show its figures."""
    from ..bench.figures import BENCHES

    if name not in BENCHES:
        raise fail(CALLERS_FAULT, f"found {name!r}; expected one of {', '.join([*BENCHES, 'accuracy'])}")
    with faults_told():
        started = time.perf_counter()
        found = BENCHES[name](settings(), console)
        answer(found | {"seconds": time.perf_counter() - started}, as_json)
        if not as_json:
            from ..dashboard.live_table import summary_table

            Console().print(summary_table(found))


def measured(name: str) -> Callable[[bool], None]:
    """The subcommand of a benchmark without options."""

    def command(as_json: JSON = False) -> None:
        measure(name, as_json)

    return command


for each, doc in MEASURES.items():
    app.command(each, help=f"{doc}\n\nExample: usp bench {each}")(measured(each))


@app.command()
def accuracy(
    files: Annotated[
        list[Path] | None, typer.Argument(help="CSV: timestamp_ns,symbol,price[,bid,ask,size]; none: all series")
    ] = None,
    series: Annotated[str, typer.Option(help="Only these families and bundled series, by commas.")] = "",
    seeds: Annotated[str, typer.Option(help="Seeds of the families, by commas.")] = "1",
    bank: Annotated[str, typer.Option(help="core, full or both.")] = "core",
    peers: Annotated[str, typer.Option(help="Only these single models, by commas.")] = "",
    rows: Annotated[int, typer.Option(min=600, help="Recorded prices per symbol.")] = 3000,
    newest: Annotated[bool, typer.Option("--newest", help="The last of them instead of the first.")] = False,
    out: Annotated[Path | None, typer.Option(help="Folder of page, tables and kept results.")] = None,
    as_json: JSON = False,
) -> None:
    """Every model beside us: sixteen families and recorded prices, one step ahead, with a page of plots.

    What was computed is kept; a run that was stopped goes on where it was.

    Example: usp bench accuracy --seeds 1,2 --bank both
    """
    from ..bench.accuracy_command import Wish, bench_accuracy

    wish = Wish(files or (), series, seeds, bank, peers, rows, newest, out)
    with faults_told():
        answer(bench_accuracy(wish, settings(), console, Console(stderr=as_json)), as_json)
