# SPDX-License-Identifier: MIT
"""How a configuration reaches the symbols: PREPARE and its answer, epochs, shadows, verdicts, migration of state."""

import time
from dataclasses import replace
from typing import Any

import pytest

from harness import MemoryBroker, assembled, drain, runner_on
from usp.config.model import load, packaged_text
from usp.io.audit_anchors import AUDIT_ANCHOR
from usp.io.avro import decode
from usp.io.bus import Partition
from usp.io.snapshots import decode_snapshot
from usp.predictor import program_for, structure_of
from usp.predictor.migration import resized
from usp.schemas.records import AuditHead, ConfigDecision, ConfigEpoch, EpochVerdict, Prediction, ValidatedTick
from usp.stages import orchestrator, topology
from usp.stages.poison import UnknownEpoch
from usp.stages.program_compiler import ProgramCompiler
from usp.stages.rollout import Compile

START_NS = 1_700_000_000_000_000_000
SYMBOLS = ("EURUSD", "BTC")
PARTITION = 3


def configured(**changes: str) -> Any:
    """The packaged configuration, learning soon, with `name=literal` replaced in its text."""
    text = packaged_text()
    for name, literal in {"scale_steps": "10", "aggregation_warmup_steps": "4", **changes}.items():
        (line,) = [line for line in text.splitlines() if line.startswith(f"{name} = ")]
        text = text.replace(line, f"{name} = {literal}")
    return load(text)


DEFAULTS = configured()
ALPHA = configured(volatility_alpha="0.3", volterra_ridge="10.0", signature_ridge="100.0", rkhs_bandwidth="9.0")
WIDER = configured(wtmm_buffer_size=str(2 * DEFAULTS.kernels.wtmm_buffer_size))
OTHER_DEPTH = configured(log_sig_depth="2")


def tick(number: int) -> ValidatedTick:
    """The n-th tick of the log, on an uneven path."""
    at_ns = START_NS + number * 1_000_000
    return ValidatedTick(
        symbol=SYMBOLS[number % 2], venue="t", kind="trade", price=100.0 + (number * 37 % 11) / 8 + number % 7 / 16,
        size=None, bid=None, ask=None, sequence=None, ts_event_ns=at_ns, ts_publish_ns=at_ns, producer_id="t",
        origin_partition=PARTITION, origin_offset=number, origin_row=0, accept=number % 23 != 22,
        suspend_jko_update=False, degraded_mode=False, freeze_kernel_d=False, staleness_ns=0, validated_ns=at_ns,
        events=[], ingest_config_hash="",
    )  # fmt: skip


def epoch(number: int, config: Any, proposal_id: str = "p", rollback: bool = False) -> ConfigEpoch:
    """An epoch as the governor publishes it."""
    return ConfigEpoch(
        epoch=number, config=config.canonical_bytes, config_hash=config.content_hash, previous_hash="",
        proposal_id=proposal_id, rollback=rollback, baseline_rmse=None, created_ns=0,
    )  # fmt: skip


def verdict(number: int, word: Any) -> EpochVerdict:
    """A verdict as the governor publishes it."""
    return EpochVerdict(epoch=number, verdict=word, relative_increase=None, predictions=100)


def prepared(config: Any, proposal_id: str = "p", content: bytes | None = None) -> ConfigDecision:
    """A PREPARE as the governor publishes it."""
    return ConfigDecision(
        proposal_id=proposal_id, outcome="prepared", reason="", epoch=2, config_hash=config.content_hash,
        config=config.canonical_bytes if content is None else content, decided_ns=0,
    )  # fmt: skip


def log(count: int, controls: dict[int, Any]) -> MemoryBroker:
    """A broker with ticks, and control records before the ticks of these numbers."""
    broker = MemoryBroker()
    records: list[tuple[str, Any]] = []
    for number in range(count):
        records += [("", control) for control in controls.get(number, [])]
        value = tick(number)
        records.append((value.symbol, value))
    broker.publish(topology.VALIDATED, records, PARTITION)
    return broker


def predictions(broker: MemoryBroker, crashes: Any = (), every: int = 1_000_000, most: int = 2000) -> list[Prediction]:
    """What comes out, in order of the ticks."""
    drain(lambda: runner_on(orchestrator.STAGE, broker, config=DEFAULTS, snapshot_every=every, most=most), crashes)
    return [decode(value) for value in broker.values(topology.PREDICTIONS)[PARTITION]]  # type: ignore[misc]


@pytest.fixture(scope="module")
def calm() -> list[Prediction]:
    """No change of configuration at all."""
    return predictions(log(120, {}))


def model(p: Prediction) -> tuple[Any, ...]:
    """What the configuration in force made of a tick."""
    return p.mean, p.median, p.lo, p.hi, p.error, p.kernel_means, p.weights, p.state_step


@pytest.mark.parametrize("config", [ALPHA, WIDER, OTHER_DEPTH], ids=["numbers", "window", "depth"])
def test_the_shadow_is_the_old_configuration_on_the_same_ticks(calm, config):
    """Bit for bit what would have been predicted without the change, whether program or numbers changed."""
    found = predictions(log(120, {60: [epoch(2, config)]}))
    assert all(p.shadow_mean is None and p.shadow_error is None for p in found[:60])
    assert [p.shadow_mean for p in found[60:]] == [p.mean for p in calm[60:]]
    assert [p.shadow_error for p in found[60:]] == [p.error for p in calm[60:]]
    assert {p.config_hash for p in found[60:]} == {config.content_hash}
    if config is not WIDER:  # its longer history changes the Hoelder exponent alone
        assert [p.mean for p in found[70:]] != [p.mean for p in calm[70:]]


@pytest.mark.parametrize("config", [ALPHA, WIDER, OTHER_DEPTH], ids=["numbers", "window", "depth"])
def test_a_rollback_undoes_the_damage(calm, config):
    """From the rollback on everything is as if the change had never been: state, forecast, interval, weights."""
    back = epoch(3, DEFAULTS, "rollback-2", rollback=True)
    controls = {60: [epoch(2, config)], 90: [back, verdict(2, "rolled_back")]}
    found = predictions(log(120, controls))
    assert [model(p) for p in found[90:]] == [model(p) for p in calm[90:]]
    assert {p.config_epoch for p in found[90:]} == {3}
    assert all(p.shadow_mean is None for p in found[90:])


@pytest.mark.parametrize("word", ["passed", "inconclusive"])
def test_a_verdict_ends_the_shadow(word):
    """The epoch stays, without its shadow; a verdict on another epoch ends nothing."""
    plain = predictions(log(120, {60: [epoch(2, ALPHA)]}))
    found = predictions(log(120, {60: [epoch(2, ALPHA)], 80: [verdict(1, word)], 90: [verdict(2, word)]}))
    assert all(p.shadow_mean is not None for p in found[60:90])
    assert all(p.shadow_mean is None for p in found[90:])
    assert [model(p) for p in found] == [model(p) for p in plain]


@pytest.mark.parametrize("every", [30, 1_000_000])
def test_a_snapshot_bears_witness_to_the_audit_log(every):
    """Its header names the newest line that the partition was told of, also after a restore."""
    heads = [AuditHead(sequence=number, head=f"{number:064x}", noted_ns=0) for number in (1, 2)]
    broker = log(120, {20: [heads[0]], 100: [heads[1], epoch(2, ALPHA)]})
    drain(lambda: runner_on(orchestrator.STAGE, broker, config=DEFAULTS, snapshot_every=every, most=25), {7, 9})
    runner = runner_on(orchestrator.STAGE, broker, config=DEFAULTS, snapshot_every=1)
    broker.publish(topology.VALIDATED, [(SYMBOLS[0], tick(120))], PARTITION)
    while runner.turn():
        pass
    headers = [decode_snapshot(body).header for body in assembled(broker.records(topology.SNAPSHOTS))]
    assert headers[-1].anchors == {AUDIT_ANCHOR: heads[1].head}
    assert [h.anchors for h in headers if h.next_offset <= 20] in ([], [{}])


def test_files_found_at_start_and_repeated_epochs_have_no_shadow():
    """Only an epoch of a proposal is judged; the same epoch again starts nothing."""
    found = predictions(log(90, {60: [epoch(2, ALPHA, "start")], 70: [epoch(2, WIDER)], 75: [epoch(1, WIDER)]}))
    assert all(p.shadow_mean is None for p in found)
    assert {p.config_hash for p in found[60:]} == {ALPHA.content_hash}


def test_a_symbol_that_comes_during_the_watch_has_no_shadow(calm):
    """There is nothing to compare it with; a rollback leaves it its state."""
    late = replace(tick(70), symbol="LATE")
    broker = log(70, {60: [epoch(2, ALPHA)]})
    back = epoch(3, DEFAULTS, "rollback-2", rollback=True)
    records = [late, tick(71), back, replace(late, origin_offset=72), tick(73)]
    broker.publish(topology.VALIDATED, [("", record) for record in records], PARTITION)
    first, known, second, after = predictions(broker)[70:]
    assert (first.symbol, first.shadow_mean, first.state_step) == ("LATE", None, 1)
    assert known.shadow_mean is not None
    assert (second.symbol, second.state_step, second.config_epoch) == ("LATE", 2, 3)
    assert model(after) == model(calm[73])


@pytest.mark.parametrize("config", [ALPHA, WIDER], ids=["numbers", "window"])
@pytest.mark.parametrize("crashes", [{3}, {5, 9, 14}, {2, 4, 6, 8, 10, 12}])
@pytest.mark.parametrize("most", [7, 40])
def test_crashes_and_batches_change_no_bit_of_a_rollout(config, crashes, most):
    """PREPARE, epoch, shadow, rollback: killed anywhere and restored from snapshots, a reader sees the same bits."""
    controls = {
        30: [prepared(config)],
        50: [epoch(2, config)],
        70: [epoch(3, DEFAULTS, "rollback-2", rollback=True), verdict(2, "rolled_back")],
        80: [epoch(4, config, "q")],
        90: [verdict(4, "passed")],
    }
    expected = predictions(log(100, controls))
    assert expected == predictions(log(100, controls), frozenset(crashes), every=15, most=most)


def test_a_wider_window_keeps_what_was_learned(calm):
    """Scale, weights, step count and kernels are carried; the history grows at its old end."""
    found = predictions(log(62, {60: [epoch(2, WIDER)]}))
    assert [p.state_step for p in found] == [p.state_step for p in calm[:62]]
    assert found[60].kernel_means == calm[60].kernel_means
    assert found[60].error == calm[60].error
    assert resized_tail([1.0, 2.0, 3.0], 5) == [1.0, 1.0, 1.0, 2.0, 3.0]
    assert resized_tail([1.0, 2.0, 3.0], 2) == [2.0, 3.0]


def resized_tail(values: list[float], length: int) -> list[float]:
    """`resized` on a list."""
    import numpy as np

    return resized(np.array(values), length).tolist()


def test_a_kernel_of_another_shape_starts_afresh_and_the_others_go_on(calm):
    """Half of a regression is worse than none: kernel D begins again, A to C forecast as before."""
    found = predictions(log(62, {60: [epoch(2, OTHER_DEPTH)]}))
    assert found[60].kernel_means[:3] == calm[60].kernel_means[:3]
    assert found[60].kernel_means[3] != calm[60].kernel_means[3]


def test_an_epoch_that_cannot_be_run_stops_the_process():
    """It is never skipped: every later bit would be wrong."""
    unreadable = replace(epoch(2, ALPHA), config=b"{}")
    mislabelled = replace(epoch(2, ALPHA), config_hash="0" * 64)
    for record in (unreadable, mislabelled):
        with pytest.raises(UnknownEpoch, match="epoch 2"):
            predictions(log(10, {5: [record]}))


class Process:
    """An orchestrator with its compiler; `start` is a fresh process on the same log."""

    def __init__(self, broker: MemoryBroker) -> None:
        self.broker = broker
        self.start()

    def start(self) -> None:
        self.compiler = ProgramCompiler()
        self.runner = runner_on(
            orchestrator.STAGE, self.broker, config=DEFAULTS, snapshot_every=1, execute=self.execute
        )

    def execute(self, effect: Any) -> Any:
        """Compile for real; nobody reads telemetry here."""
        return self.compiler.compile(effect) if isinstance(effect, Compile) else ()

    def run(self) -> list[Any]:
        """Until all jobs are done and answered."""
        for turn in range(600):
            self.broker.now_ns += 10**9
            while self.runner.turn():
                pass
            jobs = list(self.compiler.jobs.values())
            if turn > 1 and all(job.done() for job in jobs):
                break
            time.sleep(0.05)
        self.broker.now_ns += 10**9
        self.runner.turn()
        return self.acks

    @property
    def acks(self) -> list[Any]:
        return self.broker.records(topology.ACKS)


def test_prepare_is_compiled_and_acknowledged_by_the_owner():
    """One ACK for each partition that was asked, once; the program is there before the epoch comes."""
    broker = log(10, {})
    for number in (0, 5):
        broker.publish(topology.VALIDATED, [("p", prepared(OTHER_DEPTH))], number)
    process = Process(broker)
    process.run()
    assert [(a.proposal_id, a.partition, a.able) for a in process.run()] == [("p", 0, True), ("p", 5, True)]
    assert program_for(structure_of(OTHER_DEPTH, "")).compilations() > 0
    assert predictions(broker)[-1].config_epoch == 0


@pytest.mark.parametrize("content", [b"{}", DEFAULTS.canonical_bytes], ids=["unreadable", "mislabelled"])
def test_what_cannot_be_run_is_refused_and_the_loop_goes_on(content):
    """A NACK with its reason; predictions under the configuration in force are as before."""
    broker = log(10, {5: [prepared(ALPHA, content=content)]})
    (nack,) = Process(broker).run()
    assert (nack.partition, nack.able) == (PARTITION, False)
    assert "Error" in nack.detail
    assert len(broker.values(topology.PREDICTIONS)[PARTITION]) == 10


def test_a_new_owner_answers_an_open_prepare_again():
    """Whoever takes the partition over finds the PREPARE in its state, wherever its snapshot stands."""
    process = Process(log(10, {5: [prepared(ALPHA)]}))
    assert len(process.run()) == 1
    process.start()
    assert [a.partition for a in process.run()] == [PARTITION, PARTITION]


@pytest.mark.parametrize(
    "end",
    [replace(prepared(ALPHA), outcome="refused", config=None), epoch(2, ALPHA)],
    ids=["refused", "in force"],
)
def test_a_closed_prepare_is_not_compiled(end):
    """After the answer to its proposal, or its epoch, nobody is asked any more."""
    assert Process(log(10, {5: [prepared(ALPHA)], 7: [end]})).run() == []


def test_releasing_a_partition_frees_its_shadows():
    """Lanes of live and shadow states are free again."""
    broker = log(70, {60: [epoch(2, ALPHA)]})
    runner = runner_on(orchestrator.STAGE, broker, config=DEFAULTS)
    while runner.turn():
        pass
    assert {len(pool.places) for pool in runner.state.pools.values()} == {4}
    orchestrator.STAGE.release(runner.state, PARTITION)  # type: ignore[misc]
    assert {len(pool.places) for pool in runner.state.pools.values()} == {0}
    assert runner.state.watches == {}
    assert Partition(topology.VALIDATED.name, PARTITION) in runner.positions
