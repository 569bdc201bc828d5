# SPDX-License-Identifier: MIT
"""`usp`: the one command. Each subcommand is a thin door to a module of its own.

Exit codes: 0 done; 1 our own fault (a bug: a traceback with --debug); 2 the caller's (arguments, configuration, a
file); 3 the world's (broker, Redis, port, disk); 4 a configuration epoch that this build cannot run; 130 interrupted.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from ..config.deployment import DeploymentSettings
from ..config.errors import ConfigError
from ..config.settings import load_settings

app = typer.Typer(
    help="Universal Stochastic Predictor: audited, exactly replayable predictions over Kafka.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
console = Console(stderr=True)
JSON = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]

OUR_FAULT, CALLERS_FAULT, WORLDS_FAULT, UNKNOWN_EPOCH, INTERRUPTED = 1, 2, 3, 4, 130


def settings() -> DeploymentSettings:
    """Deployment settings of this process; the one place where the environment is read."""
    return load_settings(environment(), file=Path("deployment.toml"), dotenv=Path(".env"))


def environment() -> dict[str, str]:
    """The environment of this process."""
    return dict(os.environ)


def answer(document: dict[str, Any], as_json: bool) -> None:
    """The result for machines, where it was asked for."""
    if as_json:
        typer.echo(json.dumps(document, default=str))


def fail(code: int, message: str) -> typer.Exit:
    """Say why, and end with this code."""
    console.print(f"usp: {message}", style="red", markup=False, highlight=False)
    return typer.Exit(code)


@contextmanager
def faults_told() -> Generator[None]:
    """Known faults end with a sentence and their exit code, not with a traceback."""
    from confluent_kafka import KafkaException

    from ..io.kafka import BusUnavailable
    from ..io.local_process import ServiceUnavailable
    from ..io.reader import UnknownTopic
    from .poison import UnknownEpoch

    try:
        yield
    except (ConfigError, UnknownTopic) as fault:
        raise fail(CALLERS_FAULT, str(fault)) from fault
    except UnknownEpoch as fault:
        raise fail(UNKNOWN_EPOCH, str(fault)) from fault
    except (ServiceUnavailable, BusUnavailable, TimeoutError, ConnectionError) as fault:
        raise fail(WORLDS_FAULT, str(fault)) from fault
    except KafkaException as fault:
        raise fail(WORLDS_FAULT, f"the broker failed: {fault.args[0].str()}") from fault
    except OSError as fault:
        raise fail(CALLERS_FAULT, f"{fault.strerror}: {fault.filename}") from fault


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
            raise
        console.print(
            f"usp: this is a bug of usp: {type(fault).__name__}: {fault}. Run again with --debug.",
            style="red",
            markup=False,
        )
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
    from .demo import DemoPlan, run_demo

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a service manager's stop is as clean as Ctrl-C
    with faults_told():
        answer(run_demo(settings(), DemoPlan(seconds=seconds, seed=seed), Console(stderr=as_json)), as_json)


@app.command()
def up() -> None:
    """Run the pipeline on local services (or the configured broker) until Ctrl-C.

    Example: usp up
    """
    from .up import run_up

    with faults_told():
        run_up(settings(), Console())


@app.command()
def run(
    stage: Annotated[str, typer.Argument(help="ingest, orchestrator, snapshotter, telemetry-sink or governor")],
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
        console.print_exception()
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


def servers_of(chosen: DeploymentSettings) -> str:
    """The configured broker; `usp up` writes where its own broker listens."""
    from .running import running_broker

    servers = chosen.bus.bootstrap_servers or running_broker(chosen)
    if not servers:
        raise fail(CALLERS_FAULT, "found no broker; set USP_BUS__BOOTSTRAP_SERVERS, or start one with: usp up")
    return servers


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
    from .publish_command import PublishPlan, run_publish

    if (file is None) == (simulate == 0):
        raise fail(CALLERS_FAULT, "expected either a FILE or --simulate N")
    plan = PublishPlan(file, simulate, ticks, faults, seed, rate, keep_time)
    with faults_told():
        chosen = settings()
        answer(run_publish(plan, servers_of(chosen), chosen.bus.security, console), as_json)


@app.command()
def tail(
    topic: Annotated[str, typer.Argument(help="predictions, alerts, rejected, ... or a full topic name")],
    symbol: Annotated[str, typer.Option(help="Only this symbol.")] = "",
    from_start: Annotated[bool, typer.Option("--from-start", help="Begin with the oldest record.")] = False,
    limit: Annotated[int, typer.Option(help="Stop after so many records; 0 follows for ever.")] = 0,
) -> None:
    """Follow a topic as JSON lines; predictions with an id that was shown already are dropped.

    Example: usp tail predictions --symbol EURUSD
    """
    from .tail import follow

    with faults_told():
        chosen = settings()
        follow(servers_of(chosen), chosen.bus.security, topic, symbol, from_start, limit, typer.echo)


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
    from .backtest_command import run_backtest

    with faults_told():
        found = run_backtest(file, out, config, burn_in, settings().paths.resolved("cache_dir"), console)
        if summary and not as_json:
            from .live_table import summary_table

            Console().print(summary_table(found))
        answer(found, as_json)


@app.command()
def doctor(as_json: JSON = False) -> None:
    """Check this machine and the configured services, and say what to do about each finding.

    Example: usp doctor
    """
    from .doctor import examine, shown

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
    action: Annotated[str, typer.Argument(help="list or replay")] = "list",
    reason: Annotated[str, typer.Option(help="Only this reason code.")] = "",
    as_json: JSON = False,
) -> None:
    """Show refused records, or send them once more as new ticks, subject to all checks.

    Example: usp dlq list --reason duplicate
    """
    from .dead_letters import list_letters, replay_letters

    if action not in ("list", "replay"):
        raise fail(CALLERS_FAULT, f"found {action!r}; expected list or replay")
    with faults_told():
        chosen = settings()
        servers = servers_of(chosen)
        if action == "list":
            list_letters(servers, chosen.bus.security, reason, as_json, typer.echo)
        else:
            count = replay_letters(servers, chosen.bus.security, reason)
            console.print(f"published {count} records again to market.ticks.v1; follow them with: usp tail rejected")


@app.command()
def bench(
    what: Annotated[str, typer.Argument(help="step, ingest or pipeline")] = "step",
    as_json: JSON = False,
) -> None:
    """Measure: the predictor's step, ingest's throughput, or the whole pipeline beside a copy-only chain.

    Example: usp bench pipeline
    """
    from .bench import BENCHES

    if what not in BENCHES:
        raise fail(CALLERS_FAULT, f"found {what!r}; expected one of {', '.join(BENCHES)}")
    with faults_told():
        started = time.perf_counter()
        found = BENCHES[what](settings(), console)
        answer(found | {"seconds": time.perf_counter() - started}, as_json)
        if not as_json:
            from .live_table import summary_table

            Console().print(summary_table(found))


if __name__ == "__main__":
    main()
