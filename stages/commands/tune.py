# SPDX-License-Identifier: MIT
"""`usp tune`: look for better parameters on recorded ticks, and propose them to the governor."""

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.console import Console

from ...config.deployment import DeploymentSettings
from ...config.model import ModelConfig, load, packaged_defaults
from .console import (
    CALLERS_FAULT,
    INTERRUPTED,
    JSON,
    WORLDS_FAULT,
    answer,
    console,
    environment,
    fail,
    faults_told,
    servers_of,
    settings,
    wire_of,
)

if TYPE_CHECKING:  # other commands start without JAX and Optuna
    from ...schemas.records import ValidatedTick
    from ..tuning.run import Found, Tuning
    from ..tuning.space import Tier

NEWEST_TICKS = 4000
DEEP_TRIALS = 500
ANSWER_S = 90.0
STOP_S = 2.0  # a search that is cut short loses nothing


def tune(
    file: Annotated[Path | None, typer.Argument(help="CSV: timestamp_ns,symbol,price[,bid,ask,size]")] = None,
    from_log: Annotated[bool, typer.Option("--from-log", help="Tune on the broker's newest validated ticks.")] = False,
    rows: Annotated[int, typer.Option(min=1, help="Newest ticks of each symbol that are looked at.")] = NEWEST_TICKS,
    tier: Annotated[str, typer.Option(help="fast or deep; default: as meta_optimization.enable_deep_tuning says")] = "",
    trials: Annotated[int, typer.Option(min=0, help="Trials; 0 is n_trials, or 500 for the deep tier.")] = 0,
    objective: Annotated[str, typer.Option(help="rmse (relative to the last value), mape or mase")] = "rmse",
    structural: Annotated[bool, typer.Option(help="Search keys that need another program, too.")] = True,
    workers: Annotated[int, typer.Option(min=1, max=4, help="Processes that measure.")] = 1,
    config: Annotated[Path | None, typer.Option(help="A config.toml; default: the one in force.")] = None,
    study: Annotated[
        Path | None, typer.Option(help="Where the trials are kept; default: under data_dir/tuning")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an earlier search.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Write the proposal here, for: usp config propose --from FILE")
    ] = None,
    propose: Annotated[bool, typer.Option("--propose", help="Send what was found to the governor.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Stay, and tune whenever a regime change costs.")] = False,
    as_json: JSON = False,
) -> None:
    """Search better parameters on recorded ticks by walk-forward; nothing changes without the governor.

    Example: usp tune ticks.csv --trials 26 --out proposal.json
    """
    if watch:
        return stay()
    if (file is None) == (not from_log):
        raise fail(CALLERS_FAULT, "expected either a FILE, --from-log or --watch")
    if tier not in ("", "fast", "deep") or objective not in ("rmse", "mape", "mase"):
        raise fail(CALLERS_FAULT, "expected --tier fast or deep, and --objective rmse, mape or mase")
    from ...io.file_lock import LockBusy

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a service manager's stop is as clean as Ctrl-C
    with faults_told():
        chosen = settings()
        model = present(chosen, config, from_log)
        tier = tier or ("deep" if model.meta_optimization.enable_deep_tuning else "fast")
        try:
            ticks = recorded(chosen, file, model, rows)
            tuning = planned(chosen, model, ticks, tier, trials, objective, structural, workers, study, resume)
            found = watched(tuning)
        except (ValueError, LockBusy) as fault:
            raise fail(CALLERS_FAULT, str(fault)) from fault
        except KeyboardInterrupt as stop:
            raise fail(INTERRUPTED, "interrupted; what was measured is kept: run the same with --resume") from stop
        report(found, as_json)
        if out is not None and found.is_better:
            from ..tuning.proposal import wish_of
            from .proposal_file import write_wish

            write_wish(out, wish_of(found), found.document())
        if propose:
            offer(found, chosen)


def stay() -> None:
    """Automatic tuning until SIGTERM or Ctrl-C, at the lowest priority: whoever computes forecasts goes first."""
    from ..process import StopSignal
    from ..tuning.watch import Place, watch
    from .config_client import KEY_VARIABLE, Broker

    stop = StopSignal(STOP_S)
    os.nice(19)
    with faults_told():
        chosen = settings()
        place = Place(
            Broker(servers_of(chosen), chosen.bus.security, wire_of(chosen)),
            chosen.paths.resolved("data_dir") / "tuning",
            chosen.paths.resolved("cache_dir"),
            environment().get(KEY_VARIABLE, "").encode() or None,
        )
        watch(place, lambda words: console.print(words, markup=False, highlight=False, soft_wrap=True), stop)


def present(chosen: DeploymentSettings, named: Path | None, from_log: bool) -> ModelConfig:
    """The configuration that is tuned: the one named, or in force on the broker, or the governor's file."""
    from .config_client import Broker, versions

    if named is not None:
        return load(named)
    if from_log:
        epochs = versions(Broker(servers_of(chosen), chosen.bus.security, wire_of(chosen)))
        return epochs[-1].config if epochs else packaged_defaults()
    governed = chosen.paths.resolved("config_file")
    return load(governed) if governed.exists() else packaged_defaults()


def recorded(chosen: DeploymentSettings, file: Path | None, model: ModelConfig, rows: int) -> "list[ValidatedTick]":
    """The ticks to tune on."""
    from ..tuning.ticks import newest, ticks_of_file, ticks_of_log

    if file is None:
        return ticks_of_log(servers_of(chosen), chosen.bus.security, wire_of(chosen), rows)
    ticks, refused = ticks_of_file(file, model)
    if refused:
        console.print(f"{file}: {refused} rows were malformed or refused by ingest; they are left out", style="yellow")
    return newest(ticks, rows)


def planned(
    chosen: DeploymentSettings,
    model: ModelConfig,
    ticks: "list[ValidatedTick]",
    tier: str,
    trials: int,
    objective: str,
    structural: bool,
    workers: int,
    study: Path | None,
    resume: bool,
) -> "Tuning":
    """All that a tuning needs."""
    from ..tuning.run import Tuning, header_of, study_name
    from ..tuning.space import space_of
    from ..tuning.study import Plan
    from ..tuning.ticks import series_of, walks_of

    chosen_tier = cast("Tier", tier)
    series = series_of(ticks)
    walk = walks_of(series, model)
    count = trials or (model.meta_optimization.n_trials if tier == "fast" else DEEP_TRIALS)
    plan = Plan(model, space_of(model, chosen_tier, structural), objective, count)
    folder = chosen.paths.resolved("data_dir") / "tuning"
    path = study or folder / study_name(header_of(plan, chosen_tier, walk, series))
    return Tuning(plan, chosen_tier, walk, series, workers, path, chosen.paths.resolved("cache_dir"), resume)


def watched(tuning: "Tuning") -> "Found":
    """Run it behind a progress bar."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from ..tuning.run import Found, run

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("the present configuration", total=tuning.plan.trials)
        for item in run(tuning):
            if isinstance(item, Found):
                return item
            best = item.current if item.best is None else min(item.best.value, item.current)
            words = f"{tuning.plan.objective} {best:.5f} (present {item.current:.5f})"
            progress.update(bar, completed=min(len(item.trials), tuning.plan.trials), description=words)
    raise AssertionError("a tuning ends with its answer")


def report(found: "Found", as_json: bool) -> None:
    """What was found."""
    document: dict[str, Any] = found.document()
    answer(document, as_json)
    if not as_json:
        from ..dashboard.live_table import summary_table

        shown = {name: f"{value:.6f}" if isinstance(value, float) else value for name, value in document.items()}
        Console().print(summary_table(shown))
    if not found.is_better:
        console.print("nothing better was found that also holds on the newest ticks; nothing to propose")


def offer(found: "Found", chosen: DeploymentSettings) -> None:
    """Send the proposal, if there is one, and tell the governor's answer."""
    from ..tuning.proposal import tuned_proposal
    from .config_client import KEY_VARIABLE, Broker, submit

    if not found.is_better:
        return
    key = environment().get(KEY_VARIABLE, "").encode() or None
    proposal = tuned_proposal(found, time.time_ns(), key)
    broker = Broker(servers_of(chosen), chosen.bus.security, wire_of(chosen))
    decision = submit(broker, proposal, ANSWER_S)
    if decision is None:
        raise fail(
            WORLDS_FAULT, f"no answer to {proposal.proposal_id} within {ANSWER_S:.0f} s; is the governor running?"
        )
    console.print(f"{decision.outcome}: {decision.reason}", markup=False)
