# SPDX-License-Identifier: MIT
"""`usp demo`: the whole pipeline on local services, fed with real prices and a simulated market.

Everything that is started here is stopped here, whatever happens: the services and the stages are children that die
with this process.
"""

import shutil
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event, Thread

from rich.console import Console
from rich.live import Live

from ...config.deployment import DeploymentSettings
from ...io.bundled_data import BUNDLED_SERIES, bundled_file
from ...io.embedded import Addresses, LocalServices
from ...io.local_broker import quiet_admin
from ...io.ports import free_port
from ...io.reader import TopicReader
from ...io.registry import open_wire
from ...io.simulation_spec import SimulationSpec, every_fault, market
from ...io.simulator import simulate
from ...io.tick_files import TickRow, read_ticks
from ...io.topics import ensure_topics
from ...io.wire import Wire
from ...schemas.records import Alert, DeadLetter, Prediction
from .. import topology
from ..dashboard.demo_report import write_report
from ..dashboard.live_table import live_table, summary_table
from ..dashboard.look import governed_look
from ..dashboard.scoreboard import Scoreboard
from ..publisher import Due, from_rows, from_simulation, publish, tick_producer
from ..supervisor import Supervisor

READY_S = 90.0
QUIET_S = 2.0
BURN_IN = 300
SILENCE_S = 6.0


@dataclass(frozen=True)
class DemoPlan:
    """What is published, how fast: seconds of ticks, symbols of the simulated market, faults of each kind."""

    seconds: float = 40.0
    simulated_symbols: int = 6
    simulated_rate_per_s: float = 240.0
    faults_of_each_kind: int = 2
    seed: int = 7

    def streams(self) -> list[Iterator[Due]]:
        """The bundled series and the simulated market, each squeezed into the same seconds."""
        return [*self.bundled(), from_simulation(simulate(self.simulation(), self.seed), "usp-demo")]

    def bundled(self) -> Iterator[Iterator[Due]]:
        """The real prices."""
        for symbol in BUNDLED_SERIES:
            rows = [row for row in read_ticks(bundled_file(symbol)) if isinstance(row, TickRow)]
            yield from_rows(rows, len(rows) / self.seconds, "usp-demo")

    def simulation(self) -> SimulationSpec:
        """The simulated market with its planted faults."""
        return SimulationSpec(
            symbols=market(self.simulated_symbols),
            ticks=int(self.simulated_rate_per_s * self.seconds),
            rate_per_s=self.simulated_rate_per_s,
            faults={**every_fault(self.faults_of_each_kind), "level_shift": 1},
            silence_s=SILENCE_S,
            warm_up_ticks=200,
        )


@contextmanager
def local_pipeline(
    settings: DeploymentSettings, data_dir: Path, console: Console, steady: bool = False
) -> Generator[tuple[Supervisor, str, str]]:
    """Local services and the five stages, ready; yields the supervisor, the broker's address and its guarantee.

    `steady`: for more than a minute or two. The stages load while the broker starts.
    """
    supervisor = Supervisor({}, data_dir / "logs", console.print)
    dashboard_port = settings.dashboard.port or free_port()

    def start(addresses: Addresses) -> None:
        supervisor.start(stage_environment(settings, addresses, data_dir, dashboard_port))

    services = LocalServices(settings, data_dir, say=console.print, steady=steady, meanwhile=start)
    try:
        with services:
            console.print(f"broker: {services.broker.sentence}")
            ensure_topics(quiet_admin(services.broker.bootstrap_servers, settings.bus.security), topology.specs())
            try:
                start(services.addresses)
                with console.status("starting the stages ...") as status:
                    supervisor.wait_until_ready(READY_S, lambda ready: status.update(readiness(ready)))
                yield supervisor, services.broker.bootstrap_servers, services.broker.delivery
            finally:
                supervisor.stop()
    finally:
        supervisor.stop()


def readiness(ready: Mapping[str, bool]) -> str:
    """Which stages are up."""
    return "starting the stages: " + "  ".join(f"{'●' if up else '○'} {name}" for name, up in ready.items())


def stage_environment(
    settings: DeploymentSettings, addresses: Addresses, data_dir: Path, dashboard_port: int = 0
) -> dict[str, str]:
    """What the stages must be told about the local services."""
    return {
        "USP_BUS__BOOTSTRAP_SERVERS": addresses.bootstrap_servers,
        "USP_BUS__BROKER": "auto",
        "USP_BUS__DELIVERY": addresses.delivery,
        "USP_REDIS__URL": addresses.redis_url,
        "USP_PATHS__DATA_DIR": str(data_dir),
        "USP_PATHS__CACHE_DIR": str(settings.paths.resolved("cache_dir").absolute()),
        "USP_BUS__LOG_ID": addresses.log_id,
        "USP_DASHBOARD__PORT": str(dashboard_port or settings.dashboard.port or free_port()),
        "OPENBLAS_NUM_THREADS": "1",
    }


def live_address(settings: DeploymentSettings, environ: Mapping[str, str]) -> str:
    """Where the telemetry sink serves the live page."""
    return f"http://{settings.dashboard.host}:{environ['USP_DASHBOARD__PORT']}/"


def run_demo(settings: DeploymentSettings, plan: DemoPlan, console: Console) -> dict[str, object]:
    """The demo from start to clean end; returns the summary, with the path of the report."""
    run_dir = settings.paths.resolved("data_dir") / "demo"
    shutil.rmtree(run_dir, ignore_errors=True)
    board = Scoreboard(BURN_IN)
    with local_pipeline(settings, run_dir.absolute(), console) as (supervisor, servers, delivery):
        console.print(f"all stages are ready; delivery is {delivery}")
        console.print(f"live page: {live_address(settings, supervisor.environ)}")
        ticks_in = watch(servers, settings, plan, board, supervisor, console)
    summary = board.summary(ticks_in) | {"delivery": delivery}
    look = governed_look(replace(settings.paths, data_dir=str(run_dir)))
    report = write_report(settings.paths.resolved("reports") / "demo.html", board, summary, look)
    console.print(summary_table(summary))
    console.print(f"report: {report}")
    return summary | {"report": str(report)}


def watch(
    servers: str,
    settings: DeploymentSettings,
    plan: DemoPlan,
    board: Scoreboard,
    supervisor: Supervisor,
    console: Console,
) -> int:
    """Publish in one thread, read and show in this one, until all that was published has come out."""
    topics = [t.name for t in (topology.PREDICTIONS, topology.REJECTED, topology.ALERTS)]
    wire = open_wire(settings.bus.schema_registry_url)
    reader = TopicReader(servers, topics, from_start=True, security=settings.bus.security, wire=wire)
    feeder = Feeder(plan, servers, settings.bus.security, wire)
    feeder.thread.start()
    quiet_since = time.monotonic()
    try:
        with Live(console=console, refresh_per_second=4, transient=not console.is_terminal) as live:
            while feeder.thread.is_alive() or time.monotonic() - quiet_since < QUIET_S:
                if read_into(board, reader):
                    quiet_since = time.monotonic()
                supervisor.watch()
                live.update(live_table(board, time.time_ns(), footer(board, feeder)))
    finally:
        feeder.stop.set()
        feeder.thread.join(5.0)
        reader.close()
    if feeder.fault is not None:
        raise feeder.fault
    return feeder.published


class Feeder:
    """The publishing thread and how far it is."""

    def __init__(self, plan: DemoPlan, servers: str, security: Mapping[str, str], wire: Wire) -> None:
        self.published = 0
        self.fault: Exception | None = None
        self.stop = Event()
        self.plan = plan
        self.started_s = time.monotonic()
        producer = tick_producer(servers, security, wire)
        sleep: Callable[[float], object] = self.stop.wait

        streams = plan.streams()  # here, so that a plan that cannot be is told before anything runs

        def run() -> None:
            try:
                publish(streams, producer, time.time_ns, sleep, self.stop.is_set, self.count)
            except Exception as fault:
                self.fault = fault

        self.thread = Thread(target=run, name="publisher", daemon=True)

    def count(self, published: int) -> None:
        """Called by the publisher now and then."""
        self.published = published

    def share(self) -> float:
        """How much of the plan's time has passed, 0 to 1."""
        return min(1.0, (time.monotonic() - self.started_s) / self.plan.seconds)


def footer(board: Scoreboard, feeder: Feeder) -> str:
    """The progress line under the table."""
    bar = ("█" * int(feeder.share() * 30)).ljust(30, "░")
    rejected = sum(board.rejected.values())
    return f"{bar} {feeder.published} ticks in, {board.predictions} predictions out, {rejected} rejected"


def read_into(board: Scoreboard, reader: TopicReader) -> int:
    """Take what has come; how many records it was."""
    records = reader.read()
    now_ns = time.time_ns()
    for record in records:
        match record.value:
            case Prediction() as prediction:
                board.add_prediction(prediction, now_ns)
            case DeadLetter() as letter:
                board.add_letter(letter)
            case Alert() as alert:
                board.alerts[alert.event] += 1
            case _:
                pass
    return len(records)
