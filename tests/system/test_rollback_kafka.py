# SPDX-License-Identifier: MIT
"""A harmful change on a live pipeline: the judge takes it back, and how long that takes.

The market has a season of 24 values, which the kernels forecast almost without error. The change makes the alarm so
nervous that it goes off without a cause, and each alarm forgets which kernel to trust.
"""

import json
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from confluent_kafka import Producer
from rich.console import Console

from usp.config.model import load, packaged_text
from usp.config.settings import load_settings
from usp.io.audit_log import entries, verify
from usp.io.avro import encode
from usp.io.local_broker import LocalBroker
from usp.io.reader import ReadRecord, TopicReader
from usp.io.toml_edit import edited
from usp.schemas.records import ConfigDecision, ConfigEpoch, EpochVerdict, Prediction, Tick
from usp.stages import topology
from usp.stages.commands.config_client import Broker, proposal_of, submit
from usp.stages.commands.demo import local_pipeline
from usp.stages.publisher import tick_producer

pytestmark = [pytest.mark.kafka, pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(400)]

CACHE = Path(__file__).parents[2] / "var" / "cache" / "xla"
NERVOUS = {"orchestration.cusum_h": "4.4", "orchestration.cusum_k": "0.25"}
SYMBOL = "SEASON"
TAUGHT = 1300
MOST_PREDICTIONS = 150
MOST_SECONDS = 2.0
PATIENCE_S = 120.0


@dataclass
class Pipeline:
    """A running pipeline with one symbol, and what a reader of its topics has seen."""

    servers: str
    folder: Path
    seen: list[ReadRecord] = field(default_factory=list[ReadRecord])
    sent: int = 0

    def __post_init__(self) -> None:
        self.producer: Producer = tick_producer(self.servers, {})
        self.reader = TopicReader(self.servers, [topology.PREDICTIONS.name, topology.EPOCHS.name], from_start=True)
        generator = np.random.default_rng(3)
        season = np.tile(generator.normal(0.0, 1.0, 24), 100)
        self.prices = 100.0 + season + generator.normal(0.0, 0.02, len(season))

    def publish(self, count: int, rate_per_s: float) -> None:
        """The next ticks of the market, read along."""
        for _ in range(count):
            now_ns = time.time_ns()
            tick = Tick(
                symbol=SYMBOL, venue="t", kind="trade", price=float(self.prices[self.sent]), size=1.0, bid=None,
                ask=None, sequence=self.sent + 1, ts_event_ns=now_ns, ts_publish_ns=now_ns, producer_id="test",
            )  # fmt: skip
            self.producer.produce(topology.MARKET_TICKS.name, key=SYMBOL, value=encode(tick))
            self.producer.poll(0)
            self.sent += 1
            self.read(1.0 / rate_per_s)
        assert self.producer.flush(20) == 0

    def read(self, seconds: float) -> None:
        """What has come, for so long."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.seen += self.reader.read(timeout_s=left)

    def of(self, kind: type[Any]) -> list[ReadRecord]:
        """The records of a type, in the order of their topic."""
        return [record for record in self.seen if isinstance(record.value, kind)]

    def predictions(self, epoch: int) -> list[ReadRecord]:
        """Those that were made under an epoch."""
        return [record for record in self.of(Prediction) if record.value.config_epoch == epoch]

    def wait_for_predictions(self) -> None:
        """Until every tick has its prediction."""
        end = time.monotonic() + PATIENCE_S
        while len(self.of(Prediction)) < self.sent:
            assert time.monotonic() < end, f"{len(self.of(Prediction))} of {self.sent} predictions"
            self.read(0.1)

    def propose(self, changes: dict[str, str]) -> ConfigDecision | None:
        """As `usp config propose` does."""
        proposal = proposal_of("change", changes, "test", "harm", time.time_ns(), None)
        return submit(Broker(self.servers, {}), proposal, PATIENCE_S)


@pytest.fixture(scope="module")
def pipeline(own_kafka_broker: LocalBroker, tmp_path_factory: pytest.TempPathFactory) -> Generator[Pipeline]:
    """The five stages; an alarm holds equal weights for 100 steps, as the file says that the governor finds."""
    folder = tmp_path_factory.mktemp("pipeline")
    (folder / "config.toml").write_text(edited(packaged_text(), {"orchestration.grace_period_steps": 100}))
    settings = load_settings(
        {
            "USP_BUS__BOOTSTRAP_SERVERS": own_kafka_broker.bootstrap_servers,
            "USP_PATHS__DATA_DIR": str(folder),
            "USP_PATHS__CACHE_DIR": str(CACHE),
        }
    )
    with local_pipeline(settings, folder, Console(quiet=True)) as (_, servers, _):
        running = Pipeline(servers, folder)
        yield running
        running.reader.close()


def test_a_harmful_change_is_taken_back_in_time(pipeline: Pipeline, capsys: pytest.CaptureFixture[str]) -> None:
    """At most 150 predictions under it until the verdict, and 2 s from there until the old configuration is active."""
    before = load(pipeline.folder / "config.toml").content_hash
    pipeline.publish(TAUGHT, 200.0)
    pipeline.wait_for_predictions()
    decision = pipeline.propose(NERVOUS)
    assert decision is not None
    assert (decision.outcome, decision.epoch) == ("accepted", 2), decision.reason
    while not pipeline.predictions(3) and pipeline.sent < TAUGHT + 300:
        pipeline.publish(1, 50.0)
    (verdict,) = pipeline.of(EpochVerdict)
    assert (verdict.value.epoch, verdict.value.verdict) == (2, "rolled_back")
    (back,) = [record for record in pipeline.of(ConfigEpoch) if record.value.rollback]
    assert back.value.config_hash == before == pipeline.predictions(3)[0].value.config_hash
    told_ns = back.raw.timestamp_ns
    until = sum(record.raw.timestamp_ns <= told_ns for record in pipeline.predictions(2))
    seconds = (pipeline.predictions(3)[0].raw.timestamp_ns - told_ns) / 1e9
    found = {
        "judged_on": verdict.value.predictions,
        "predictions_until_the_verdict": until,
        "predictions_under_it": len(pipeline.predictions(2)),
        "seconds_from_verdict_to_active": seconds,
    }
    with capsys.disabled():
        print(json.dumps(found))
    assert until <= MOST_PREDICTIONS
    assert 0.0 <= seconds <= MOST_SECONDS
    the_trail_says_so(pipeline.folder, before)


def the_trail_says_so(folder: Path, before: str) -> None:
    """File and audit log follow."""
    log = folder / "io" / "mutations.log"
    end = time.monotonic() + PATIENCE_S
    while entries(log)[-1]["event"] != "AUTO_ROLLBACK":
        assert time.monotonic() < end, entries(log)[-1]
        time.sleep(0.1)
    assert load(folder / "config.toml").content_hash == before
    assert verify(log) == []


def test_the_way_back_leaves_forecasts_as_if_nothing_had_been(pipeline: Pipeline) -> None:
    """The shadow never saw the change: what it had forecast under the old configuration goes on."""
    bad = [record.value for record in pipeline.predictions(2)]
    pipeline.publish(20, 50.0)
    pipeline.wait_for_predictions()
    good = [record.value for record in pipeline.predictions(3)]
    assert good[0].error == pytest.approx(pipeline.prices[good[0].state_step - 1] - bad[-1].shadow_mean)
    shadow = np.mean([abs(p.shadow_error) for p in bad if p.shadow_error is not None])
    assert np.mean([abs(p.error) for p in good]) < 3.0 * shadow < np.mean([abs(p.error) for p in bad[1:]]) * 3.0
