# SPDX-License-Identifier: MIT
"""`usp`: the one command. Each subcommand is a thin door to a module of its own.

Exit codes: see `console.EXIT_CODES`, which `usp --help` and runbooks/commands.md show.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ..config.deployment import DeploymentSettings
from .commands.audit import app as audit_app
from .commands.bench import app as bench_app
from .commands.chaos import chaos
from .commands.config import app as config_app
from .commands.console import (
    CALLERS_FAULT,
    EXIT_CODES,
    INTERRUPTED,
    JSON,
    OUR_FAULT,
    WORLDS_FAULT,
    answer,
    console,
    environment,
    fail,
    faults_told,
    servers_of,
    settings,
    traceback_shown,
    wire_of,
)
from .commands.dashboard import dashboard
from .commands.diagnose import diagnose
from .commands.parity import app as parity_app
from .commands.replay import replay
from .commands.snapshot import app as snapshot_app
from .commands.tune import tune
from .commands.verify import verify

app = typer.Typer(
    help="Universal Stochastic Predictor: audited, exactly replayable predictions over Kafka.",
    epilog="Exit codes: " + "; ".join(f"{code} {meaning}" for code, meaning in EXIT_CODES.items()) + ".",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(audit_app, name="audit")
app.add_typer(bench_app, name="bench")
app.add_typer(config_app, name="config")
app.add_typer(parity_app, name="parity")
app.add_typer(snapshot_app, name="snapshot")
app.command()(dashboard)
app.command()(diagnose)
app.command()(replay)
app.command()(chaos)
app.command()(verify)
app.command()(tune)


def show_version(asked: bool) -> None:
    """The version, and nothing else."""
    if asked:
        typer.echo(f"usp {version('usp')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks; may stand anywhere on the line.")] = False,
) -> None:
    """What holds for every command; `main` takes --debug off the line before."""
    del version, debug


def beginning(names: Iterable[str]) -> Callable[[str], list[str]]:
    """For the shell's completion: the names that begin as what was typed."""

    def complete(incomplete: str) -> list[str]:
        return [name for name in names if name.startswith(incomplete)]

    return complete


def stage_names(incomplete: str) -> list[str]:
    """For the shell's completion: the stages."""
    from . import topology

    return beginning(topology.STAGES)(incomplete)


def topic_names(incomplete: str) -> list[str]:
    """For the shell's completion: short names of topics."""
    from .commands.tail import SHORT

    return beginning(SHORT)(incomplete)


def main() -> None:
    """Entry point: with --debug anywhere on the line, tracebacks are shown."""
    debug = "--debug" in sys.argv
    if debug:
        sys.argv.remove("--debug")
    try:
        app(standalone_mode=True)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as fault:
        if debug:
            traceback_shown()
        else:
            fail(OUR_FAULT, f"this is a bug of usp: {type(fault).__name__}: {fault}. Run again with --debug.")
        sys.exit(OUR_FAULT)


@app.command()
def demo(
    seconds: Annotated[float, typer.Option(min=15.0, help="How long ticks are published.")] = 40.0,
    seed: Annotated[int, typer.Option(help="Seed of the simulated market.")] = 7,
    as_json: JSON = False,
) -> None:
    """Run everything here: broker, Redis, five stages, real prices and a simulated market, live table, report.

    Example: usp demo --seconds 20
    """
    from .commands.demo import DemoPlan, run_demo

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a service manager's stop is as clean as Ctrl-C
    with faults_told():
        answer(run_demo(settings(), DemoPlan(seconds=seconds, seed=seed), Console(stderr=as_json)), as_json)


@app.command()
def up() -> None:
    """Run the pipeline on local services (or the configured broker) until Ctrl-C.

    Example: usp up
    """
    from .commands.up import run_up

    with faults_told():
        run_up(settings(), Console())


@app.command()
def run(
    stage: Annotated[
        str,
        typer.Argument(
            help="ingest, orchestrator, snapshotter, telemetry-sink or governor", autocompletion=stage_names
        ),
    ],
) -> None:
    """Run one stage against the configured broker; what compose and supervisors call.

    Example: USP_BUS__BOOTSTRAP_SERVERS=127.0.0.1:9092 usp run ingest
    """
    from . import topology
    from .process import Identity, run_stage

    if stage not in topology.STAGES:
        raise fail(CALLERS_FAULT, f"found stage {stage!r}; expected one of {', '.join(topology.STAGES)}")
    chosen = settings_or_exit()
    if not chosen.bus.bootstrap_servers:
        raise fail(CALLERS_FAULT, "found no broker; set USP_BUS__BOOTSTRAP_SERVERS, or start everything with: usp up")
    env = environment()
    who = Identity(stage, chosen.bus.instance, chosen.bus.log_id)
    try:
        with faults_told():
            run_stage(who, chosen, env)
    except typer.Exit as told:
        leave(told.exit_code)
    except Exception:
        traceback_shown()
        leave(OUR_FAULT)
    leave(0)


def leave(code: int) -> None:
    """End this process now: the Kafka client's destructor may wait for ever behind a pending rebalance."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def settings_or_exit() -> DeploymentSettings:
    """The settings, or a sentence and the exit code of a caller's fault."""
    with faults_told():
        return settings()


@app.command()
def topics(
    create: Annotated[bool, typer.Option("--create", help="Make what is missing on the configured broker.")] = False,
    as_json: JSON = False,
) -> None:
    """Show the pipeline's topics and who reads and writes them; make them with --create.

    Example: usp topics --create
    """
    from . import topology

    if create:
        from confluent_kafka.admin import AdminClient

        from ..io.topics import ensure_topics

        with faults_told():
            chosen = settings()
            servers = servers_of(chosen)
            made = ensure_topics(AdminClient({"bootstrap.servers": servers, **chosen.bus.security}), topology.specs())
        console.print(f"made: {', '.join(made) or 'nothing, all topics exist'}")
    if as_json:
        answer({t.name: {"partitions": t.partitions, "doc": t.doc} for t in topology.TOPICS}, True)
    elif not create:
        typer.echo(topology.draw())


@app.command()
def publish(
    file: Annotated[Path | None, typer.Argument(help="CSV: timestamp_ns,symbol,price[,bid,ask,size]")] = None,
    simulate: Annotated[int, typer.Option(help="Publish a simulated market of this many symbols instead.")] = 0,
    ticks: Annotated[int, typer.Option(help="Ticks to simulate.")] = 10_000,
    faults: Annotated[int, typer.Option(help="Planted faults of each kind.")] = 0,
    seed: Annotated[int, typer.Option(help="Seed of the simulation.")] = 7,
    rate: Annotated[float, typer.Option(help="Ticks per second.")] = 500.0,
    keep_time: Annotated[bool, typer.Option("--keep-time", help="Keep the file's event times instead of now.")] = False,
    as_json: JSON = False,
) -> None:
    """Publish ticks of a file or of the simulator to market.ticks.v1, restamped to now, at a chosen rate.

    Example: usp publish ticks.csv --rate 200
    """
    from .commands.publish import PublishPlan, run_publish

    if (file is None) == (simulate == 0):
        raise fail(CALLERS_FAULT, "expected either a FILE or --simulate N")
    plan = PublishPlan(file, simulate, ticks, faults, seed, rate, keep_time)
    with faults_told():
        chosen = settings()
        found = run_publish(plan, servers_of(chosen), chosen.bus.security, console, wire_of(chosen))
        answer(found, as_json)


@app.command()
def tail(
    topic: Annotated[
        str,
        typer.Argument(help="predictions, alerts, rejected, ... or a full topic name", autocompletion=topic_names),
    ],
    symbol: Annotated[str, typer.Option(help="Only this symbol.")] = "",
    from_start: Annotated[bool, typer.Option("--from-start", help="Begin with the oldest record.")] = False,
    limit: Annotated[int, typer.Option(help="Stop after so many records; 0 follows for ever.")] = 0,
) -> None:
    """Follow a topic as JSON lines; predictions with an id that was shown already are dropped.

    Example: usp tail predictions --symbol EURUSD
    """
    from .commands.tail import follow

    with faults_told():
        chosen = settings()
        wire = wire_of(chosen)
        follow(servers_of(chosen), chosen.bus.security, topic, symbol, from_start, limit, typer.echo, wire)


@app.command()
def backtest(
    file: Annotated[Path, typer.Argument(help="CSV: timestamp_ns,symbol,price[,bid,ask,size]")],
    out: Annotated[Path | None, typer.Option(help="Write the predictions here as CSV.")] = None,
    config: Annotated[Path | None, typer.Option(help="A config.toml; default: the packaged one.")] = None,
    burn_in: Annotated[int, typer.Option(help="Rows per symbol that the summary leaves out.")] = 500,
    summary: Annotated[bool, typer.Option("--summary", help="Print RMSE against the last value and coverage.")] = False,
    as_json: JSON = False,
) -> None:
    """Forecast a file of past ticks exactly as the pipeline would have.

    Example: usp backtest ticks.csv --out predictions.csv --summary
    """
    from .commands.backtest import run_backtest

    with faults_told():
        found = run_backtest(file, out, config, burn_in, settings().paths.resolved("cache_dir"), console)
        if summary and not as_json:
            from .dashboard.live_table import summary_table

            Console().print(summary_table(found))
        answer(found, as_json)


@app.command()
def doctor(as_json: JSON = False) -> None:
    """Check this machine and the configured services, and say what to do about each finding.

    Example: usp doctor
    """
    from .commands.doctor import examine, shown

    with faults_told():
        findings = examine(settings(), environment())
    if as_json:
        answer({f.name: {"ok": f.ok, "found": f.found, "advice": f.advice} for f in findings}, True)
    else:
        Console().print(shown(findings))
    if not all(f.ok for f in findings):
        raise typer.Exit(WORLDS_FAULT)


@app.command()
def dlq(
    action: Annotated[
        str, typer.Argument(help="list or replay", autocompletion=beginning(("list", "replay")))
    ] = "list",
    reason: Annotated[str, typer.Option(help="Only this reason code.")] = "",
    as_json: JSON = False,
) -> None:
    """Show refused records, or send them once more as new ticks, subject to all checks.

    Example: usp dlq list --reason duplicate
    """
    from .commands.dead_letters import list_letters, replay_letters

    if action not in ("list", "replay"):
        raise fail(CALLERS_FAULT, f"found {action!r}; expected list or replay")
    with faults_told():
        chosen = settings()
        servers = servers_of(chosen)
        if action == "list":
            list_letters(servers, chosen.bus.security, reason, as_json, typer.echo, wire_of(chosen))
        else:
            count = replay_letters(servers, chosen.bus.security, reason, wire_of(chosen))
            console.print(f"published {count} records again to market.ticks.v1; follow them with: usp tail rejected")


if __name__ == "__main__":
    main()
