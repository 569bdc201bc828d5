# SPDX-License-Identifier: MIT
"""Automatic tuning on a live pipeline: the market changes its regime, the error rises, the governor gets a proposal.

The market's season is another one every 400 ticks. The file begins with an alarm that is mis-set, so that there is
something to find, and asks for few trials.
"""

import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import pytest
from confluent_kafka import Producer
from rich.console import Console

from usp.config.model import from_canonical_bytes, packaged_text
from usp.config.settings import load_settings
from usp.io.audit_log import Entry, entries
from usp.io.avro import encode
from usp.io.local_broker import LocalBroker
from usp.io.reader import TopicReader
from usp.io.toml_edit import edited
from usp.predictor import Inputs
from usp.schemas.records import ConfigEpoch, Tick
from usp.stages import topology
from usp.stages.bench.tuning import seasonal
from usp.stages.commands.demo import local_pipeline
from usp.stages.publisher import tick_producer
from usp.stages.supervisor import Supervisor

pytestmark = [pytest.mark.kafka, pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(900)]

CACHE = Path(__file__).parents[2] / "var" / "cache" / "xla"
MIS_SET = {
    "orchestration.cusum_h": 4.0,
    "orchestration.cusum_k": 0.25,
    "orchestration.grace_period_steps": 100,
    "meta_optimization.n_trials": 10,
}
SYMBOL = "SEASON"
REFUSED = "nothing that promises"
MOST_TICKS = 8000
TICKS_AT_ONCE = 2000
PATIENCE_S = 300.0


@dataclass
class Pipeline:
    """A running pipeline with its tuner, and a market that publishes to it."""

    servers: str
    folder: Path
    supervisor: Supervisor
    sent: int = 0

    def __post_init__(self) -> None:
        self.producer: Producer = tick_producer(self.servers, {})
        self.prices: list[float] = seasonal(4, MOST_TICKS).inputs[:, Inputs.PRICE].tolist()

    def publish(self, count: int, rate_per_s: float) -> None:
        """The next ticks of the market."""
        for _ in range(count):
            now_ns = time.time_ns()
            tick = Tick(
                symbol=SYMBOL, venue="t", kind="trade", price=self.prices[self.sent], size=1.0, bid=None, ask=None,
                sequence=self.sent + 1, ts_event_ns=now_ns, ts_publish_ns=now_ns, producer_id="test",
            )  # fmt: skip
            self.producer.produce(topology.MARKET_TICKS.name, key=SYMBOL, value=encode(tick))
            self.producer.poll(0)
            self.sent += 1
            time.sleep(1.0 / rate_per_s)
        self.supervisor.watch()
        assert self.producer.flush(20) == 0

    @property
    def told(self) -> str:
        """What the tuner says."""
        log = self.folder / "logs" / "tuner.log"
        return log.read_text() if log.exists() else ""

    @property
    def changes(self) -> list[Entry]:
        """Results of the tuner's proposals in the audit log."""
        found = entries(self.folder / "io" / "mutations.log")
        return [e for e in found if e.get("trigger") == "AutoTuning" and e["event"] == "MUTATION_SUCCESS"]


@pytest.fixture(scope="module")
def pipeline(own_kafka_broker: LocalBroker, tmp_path_factory: pytest.TempPathFactory) -> Generator[Pipeline]:
    """The five stages and `usp tune --watch` beside them, as `usp up` starts it where `[tuning] auto` is true."""
    folder = tmp_path_factory.mktemp("pipeline")
    (folder / "config.toml").write_text(edited(packaged_text(), MIS_SET))
    settings = load_settings(
        {
            "USP_BUS__BOOTSTRAP_SERVERS": own_kafka_broker.bootstrap_servers,
            "USP_PATHS__DATA_DIR": str(folder),
            "USP_PATHS__CACHE_DIR": str(CACHE),
        }
    )
    with local_pipeline(settings, folder, Console(quiet=True)) as (supervisor, servers, _):
        supervisor.add_helper("tuner", "tune", "--watch")
        running = Pipeline(servers, folder, supervisor)
        end = time.monotonic() + PATIENCE_S
        while "watching" not in running.told:
            assert time.monotonic() < end, running.told
            time.sleep(0.2)
        yield running


def test_a_regime_change_that_costs_is_searched_and_what_is_found_is_audited(pipeline: Pipeline) -> None:
    """Trigger, search, answer: nobody did anything. What promises enough is proposed and comes into force, audited."""
    while not (pipeline.changes or REFUSED in pipeline.told) and pipeline.sent < MOST_TICKS:
        pipeline.publish(20, 100.0 if pipeline.sent < TICKS_AT_ONCE else 20.0)
    assert "regime change, error +" in pipeline.told
    assert pipeline.changes or REFUSED in pipeline.told
    for change in pipeline.changes:
        assert change["best_objective"] is not None
        assert f"as {change['proposal_id']}" in pipeline.told
        epoch = epoch_of(pipeline.servers, change["proposal_id"])
        sections = from_canonical_bytes(epoch.config).to_mapping()
        for key, (old, new) in change["delta"].items():
            section, _, name = key.partition(".")
            assert sections[section][name] == new != old
    assert sorted(pipeline.supervisor.ready().items()) == sorted((name, True) for name in topology.STAGES)


def epoch_of(servers: str, proposal_id: str) -> ConfigEpoch:
    """The epoch that a proposal led to."""
    reader = TopicReader(servers, [topology.EPOCHS.name], from_start=True)
    try:
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            for record in reader.read(timeout_s=0.5):
                if isinstance(record.value, ConfigEpoch) and record.value.proposal_id == proposal_id:
                    return record.value
    finally:
        reader.close()
    raise AssertionError(f"no epoch of {proposal_id}")
