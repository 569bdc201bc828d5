# SPDX-License-Identifier: MIT
"""Promises of the governor, on the in-memory broker with a real folder and a real Redis."""

import math
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from harness import MemoryBroker, MemoryBus, runner_on
from prediction_examples import prediction
from usp.config.model import from_canonical_bytes, load, packaged_defaults, packaged_text
from usp.io import failpoints
from usp.io.audit_log import entries, head_path, verify
from usp.io.avro import decode
from usp.io.bus import Delivery, Partition
from usp.io.cache import open_redis
from usp.io.config_backups import create_config_backup, freeze_path, new_backup_path
from usp.io.embedded import start_redis
from usp.io.mutation_protocol import ConfigPaths, open_intent
from usp.io.proposal_signature import sign
from usp.io.rate_limits import RedisRateLimiter
from usp.io.toml_edit import edited
from usp.schemas.records import ConfigAck, ConfigEpoch, ConfigProposal, EpochVerdict
from usp.stages import topology
from usp.stages.contract import Batch, Record
from usp.stages.governor import STAGE
from usp.stages.governor_effects import executors
from usp.stages.governor_recovery import GovernorWorld, epochs_in, head_in
from usp.stages.judge import JUDGES
from usp.stages.topology import ACKS, ALERTS, AUDIT, DECISIONS, EPOCHS, PREDICTIONS, PROPOSALS, VALIDATED

SECOND_NS = 10**9
HOUR_NS = 3600 * SECOND_NS
DEFAULTS_HASH = packaged_defaults().content_hash
CUSUM = {"orchestration.cusum_k": "0.6"}
WIDTH = {"kernels.dgm_width_size": "128"}


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory):
    """A Redis of our own."""
    server = start_redis(tmp_path_factory.mktemp("redis"))
    yield server.url
    server.stop()


@pytest.fixture
def pipeline(tmp_path, redis_url):
    """A governor on an empty broker, with an empty folder and an empty Redis."""
    client = open_redis(redis_url, timeout_s=2.0)
    client.flushall()
    yield Pipeline(tmp_path, RedisRateLimiter(client))
    client.close()


class Pipeline:
    """One governor with all that it acts on; `start` is a fresh process."""

    def __init__(self, folder, limiter: RedisRateLimiter | None) -> None:
        self.broker = MemoryBroker()
        self.paths = ConfigPaths(folder / "config.toml", folder / "io" / "mutations.log")
        self.limiter = limiter
        self.delivery: Delivery = "exactly_once"
        self.environ: dict[str, str] = {}
        self.key: bytes | None = None
        self.steps: dict[str, int] = {}
        self.moved = 0.0
        self.judge = "rmse"

    def start(self):
        """A fresh process; it runs until it is idle."""
        bus = MemoryBus(self.broker, "reader", ())
        world = GovernorWorld(
            self.paths, self.environ, lambda: epochs_in(bus), self.limiter, self.key,
            lambda: head_in(bus), JUDGES[self.judge],
        )  # fmt: skip
        table = executors(world)
        self.runner = runner_on(
            STAGE, self.broker, delivery=self.delivery, execute=lambda effect: table[type(effect)](effect)
        )
        self.run()
        return self

    def run(self, seconds=0.3):
        """Until nothing happens, letting time pass."""
        for _ in range(3):
            self.broker.now_ns += int(seconds * SECOND_NS / 3) + SECOND_NS // 4
            while self.runner.turn():
                pass

    def send(self, proposal_id="p-1", changes=CUSUM, **other):
        """A proposal onto the topic."""
        plain = {"proposer": "test", "trigger": "Test", "best_objective": None, "proposed_ns": 1}
        unsigned: dict[str, Any] = {"expires_ns": None, "nonce": None, "signature": None}
        proposal = ConfigProposal(proposal_id=proposal_id, changes=changes, **plain | unsigned | other)
        self.broker.publish(PROPOSALS, [(proposal_id[:50], proposal)])
        return proposal

    def propose(self, *args, **other):
        """Send a proposal and return the last answer."""
        self.send(*args, **other)
        self.run()
        return self.decisions[-1]

    def predict(self, count, error=1.0, symbol="X", partition=0, epoch=None, step=None, shadow=None):
        """Predictions of one symbol under the newest epoch."""
        newest = epoch if epoch is not None else (self.epochs[-1].epoch if self.epochs else 0)
        for _ in range(count):
            self.steps[symbol] = step or self.steps.get(symbol, 0) + 1
            number = self.steps[symbol]
            self.moved += 1.0
            value = prediction(
                symbol=symbol, state_step=number, value=self.moved, error=error, config_epoch=newest,
                shadow_error=shadow,
            )  # fmt: skip
            self.broker.publish(PREDICTIONS, [(symbol, value)], partition)
        if hasattr(self, "runner"):
            self.run()

    def ready(self):
        """Started, with enough stable steps for a change."""
        self.start()
        self.predict(30)
        self.predict(1, step=2000)
        return self

    def acknowledge(self, partitions, able=True, proposal_id="p-1"):
        """What orchestrators answer to PREPARE."""
        for number in partitions:
            ack = ConfigAck(proposal_id=proposal_id, partition=number, able=able, detail="too wide", sent_ns=0)
            self.broker.publish(ACKS, [(proposal_id, ack)])
        self.run()

    @property
    def decisions(self):
        return self.broker.records(DECISIONS)

    @property
    def epochs(self):
        return [r for r in self.broker.records(EPOCHS) if isinstance(r, ConfigEpoch)]

    @property
    def verdicts(self):
        return [r for r in self.broker.records(EPOCHS) if isinstance(r, EpochVerdict)]

    @property
    def alerts(self):
        return [alert.event for alert in self.broker.records(ALERTS)]

    @property
    def audit(self):
        return entries(self.paths.audit_log)

    def in_band(self, number):
        """What one partition of the validated ticks was told."""
        return [decode(value) for value in self.broker.values(VALIDATED)[number]]

    def file_hash(self):
        return load(self.paths.config).content_hash


def test_the_start_publishes_epoch_1_everywhere(pipeline):
    """At the first start the file (made from the packaged one) is epoch 1, in every partition and in the epoch log."""
    pipeline.start()
    assert pipeline.paths.config.read_text() == packaged_text()
    (epoch,) = pipeline.epochs
    assert (epoch.epoch, epoch.previous_hash, epoch.proposal_id) == (1, DEFAULTS_HASH, "start")
    assert from_canonical_bytes(epoch.config).content_hash == epoch.config_hash == pipeline.file_hash()
    assert all(pipeline.in_band(number) == [epoch] for number in range(topology.PARTITIONS))
    assert pipeline.audit[-1]["event"] == "EPOCH_PUBLISHED"


def test_a_restart_publishes_nothing_new(pipeline):
    """The file is in force already."""
    pipeline.start()
    pipeline.start()
    assert len(pipeline.epochs) == 1
    assert pipeline.verdicts == []


def test_an_edit_while_the_governor_was_away_is_the_next_epoch(pipeline):
    """The operator's file wins at start."""
    pipeline.start()
    pipeline.paths.config.write_text(packaged_text().replace("cusum_k = 0.5", "cusum_k = 0.9"))
    pipeline.start()
    assert [e.epoch for e in pipeline.epochs] == [1, 2]
    assert pipeline.epochs[1].previous_hash == pipeline.epochs[0].config_hash
    assert from_canonical_bytes(pipeline.epochs[1].config).orchestration.cusum_k == 0.9


def test_environment_overrides_are_part_of_the_epoch_and_audited(pipeline):
    """An override of the governor's environment is in the hashed configuration; the file keeps its own value."""
    pipeline.environ = {"USP_ORCHESTRATION__CUSUM_K": "0.7"}
    pipeline.start()
    assert from_canonical_bytes(pipeline.epochs[0].config).orchestration.cusum_k == 0.7
    assert load(pipeline.paths.config).orchestration.cusum_k == 0.5
    assert pipeline.audit[-1]["overrides"] == {"USP_ORCHESTRATION__CUSUM_K": [0.5, 0.7]}


def test_an_accepted_proposal(pipeline):
    """File, epoch in all partitions, answer, audit: all say the same, and one key of the file has changed."""
    pipeline.ready()
    answer = pipeline.propose(best_objective=0.5)
    assert (answer.outcome, answer.epoch, answer.reason) == ("accepted", 2, "in force as epoch 2")
    epoch = pipeline.epochs[-1]
    assert (epoch.config_hash, epoch.proposal_id, epoch.rollback) == (answer.config_hash, "p-1", False)
    assert epoch.baseline_rmse == pytest.approx(1.0)
    assert epoch.config_hash == pipeline.file_hash()
    assert pipeline.paths.config.read_text() == packaged_text().replace("cusum_k = 0.5", "cusum_k = 0.6")
    assert all(pipeline.in_band(number)[-1] == epoch for number in range(topology.PARTITIONS))
    assert [e["event"] for e in pipeline.audit[-2:]] == ["MUTATION_INTENT", "MUTATION_SUCCESS"]
    last = pipeline.audit[-1]
    assert (last["delta"], last["epoch"], last["proposer"]) == ({"orchestration.cusum_k": [0.5, 0.6]}, 2, "test")
    assert (last["best_objective"], last["trigger"]) == (0.5, "Test")
    assert verify(pipeline.paths.audit_log) == []


def test_a_proposal_that_came_before_the_start_is_answered(pipeline):
    """Records may come before the governor knows anything; they wait."""
    pipeline.predict(30)
    pipeline.predict(1, step=2000)
    pipeline.send()
    pipeline.start()
    assert [d.outcome for d in pipeline.decisions] == ["accepted"]


REFUSED = [
    ({"core.float_precision": "32"}, {}, "LOCKED"),
    ({"orchestration.cusum_q": "1"}, {}, "orchestration.cusum_k"),
    ({"orchestration.residual_window_size": "99"}, {}, "not mutable"),
    ({"orchestration.cusum_k": "0.6 0.7"}, {}, "TOML literal"),
    ({"orchestration.cusum_k": ""}, {}, "TOML literal"),
    ({"orchestration.cusum_k": "0.6\nother = 1"}, {}, "one TOML literal"),
    ({"orchestration.cusum_k": "[" * 900}, {}, "TOML literal"),
    ({"orchestration.cusum_k": "9" * 5000}, {}, "TOML literal"),
    ({"orchestration.cusum_k": "'0.6'"}, {}, "Type mismatch"),
    ({"orchestration.cusum_k": "true"}, {}, "Type mismatch"),
    ({"orchestration.grace_period_steps": "21.0"}, {}, "Type mismatch"),
    ({"orchestration.cusum_k": "nan"}, {}, "range"),
    ({"orchestration.cusum_k": "-inf"}, {}, "range"),
    ({"orchestration.cusum_k": "1.1"}, {}, "range"),
    ({"kernels.dgm_width_size": "96"}, {}, "power of two"),
    ({"kernels.dgm_width_size": "256"}, {}, "one doubling"),
    ({"kernels.dgm_depth": "6"}, {}, "one level"),
    ({"orchestration.cusum_k": "0.8"}, {}, "60.0% > 50%"),
    ({"orchestration.cusum_k": "0.5"}, {}, "already has this value"),
    ({"orchestration.sinkhorn_epsilon_min": "0.015", "orchestration.sinkhorn_epsilon_0": "0.05"}, {}, None),
    ({}, {}, "no change"),
    ({f"a.b{n}": "1" for n in range(101)}, {}, "101 changes"),
    ({"x" * 5000: "1"}, {}, "not mutable"),
    (CUSUM, {"proposal_id": ""}, "expected 1 to 200"),
    (CUSUM, {"proposal_id": "x" * 10_000}, "expected 1 to 200"),
    (CUSUM, {"best_objective": math.nan}, "objective"),
    (CUSUM, {"expires_ns": 1}, "expired"),
]


@pytest.mark.parametrize(("changes", "other", "word"), [case for case in REFUSED if case[2]])
def test_every_refusal_has_its_reason_and_leaves_everything_as_it_was(tmp_path, changes, other, word):
    """One answer with a precise reason, an audit line, no epoch, no byte of the file changed."""
    pipeline = Pipeline(tmp_path, None).start()
    answer = pipeline.propose(changes=changes, **other)
    assert answer.outcome == "refused"
    assert word in answer.reason
    assert len(answer.reason) <= 2000
    assert len(pipeline.decisions) == 1
    assert len(pipeline.epochs) == 1
    assert pipeline.paths.config.read_text() == packaged_text()
    last = pipeline.audit[-1]
    assert (last["event"], last["status"], last["error"]) == ("MUTATION_ABORTED", "ABORTED", answer.reason)


def test_a_change_of_an_overridden_key_is_refused(pipeline):
    """It would have no effect, and the answer says which variable hides it."""
    pipeline.environ = {"USP_ORCHESTRATION__CUSUM_K": "0.7"}
    answer = pipeline.ready().propose()
    assert "USP_ORCHESTRATION__CUSUM_K" in answer.reason


def test_without_redis_every_change_is_refused(tmp_path):
    """Fail closed: with Redis away or not configured the answer says so, and epochs at start work all the same."""
    away = RedisRateLimiter(open_redis("redis://127.0.0.1:1/0", timeout_s=0.1))
    for number, limiter in enumerate((None, away)):
        folder = tmp_path / str(number)
        folder.mkdir()
        answer = Pipeline(folder, limiter).ready().propose()
        assert answer.outcome == "refused"
        assert "Redis" in answer.reason


def test_too_soon_is_refused(pipeline):
    """1,000 stable steps, of all symbols together, come first."""
    pipeline.start()
    pipeline.predict(30)
    assert pipeline.propose().reason == "Stability: 30/1000 steps since the last mutation"
    pipeline.predict(1, symbol="Y", partition=3, step=970)
    assert pipeline.propose("p-2").outcome == "accepted"


def test_a_known_proposal_gets_its_answer_again(pipeline):
    """The same id is carried out once, before and after a restart, accepted or refused."""
    pipeline.ready()
    accepted, refused = pipeline.propose(), pipeline.propose("p-2", {"orchestration.cusum_k": "9.9"})
    for restart in (False, True):
        if restart:
            pipeline.start()
        again = pipeline.propose()
        assert (again.outcome, again.epoch, again.config_hash) == ("accepted", 2, accepted.config_hash)
        assert pipeline.propose("p-2", {"orchestration.cusum_k": "9.9"}).reason == refused.reason
    assert len(pipeline.epochs) == 2


def signed(pipeline, proposal_id="p-1", key=b"secret", **other):
    """The fields of a proposal that make it a signed one."""
    facts: dict[str, Any] = {"expires_ns": pipeline.broker.now_ns + HOUR_NS, "nonce": "n-1", "changes": CUSUM} | other
    plain = ConfigProposal(
        proposal_id=proposal_id, proposer="test", trigger="Test", best_objective=None, proposed_ns=1, signature=None,
        **facts,
    )  # fmt: skip
    return {"proposal_id": proposal_id, **facts, "signature": sign(plain, key)}


def test_signed_proposals(pipeline):
    """With a key an unsigned proposal is refused, a signed one is carried out."""
    pipeline.key = b"secret"
    pipeline.ready()
    assert "unsigned" in pipeline.propose("p-0").reason
    assert "does not match" in pipeline.propose(**signed(pipeline, "p-1", key=b"guess")).reason
    assert pipeline.propose(**signed(pipeline, "p-2")).outcome == "accepted"


@pytest.mark.parametrize("restart", [False, True])
def test_a_nonce_is_good_once(pipeline, redis_url, restart):
    """Also after a restart with a wiped Redis; a proposal with a forged signature uses no nonce up."""
    pipeline.key = b"secret"
    pipeline.ready()
    assert pipeline.propose(**signed(pipeline, "p-0", key=b"guess")).outcome == "refused"
    assert pipeline.propose(**signed(pipeline, "p-1")).outcome == "accepted"
    if restart:
        open_redis(redis_url).flushall()
        pipeline.start()
    assert "replayed: its nonce was used by proposal 'p-1'" in pipeline.propose(**signed(pipeline, "p-2")).reason
    assert pipeline.audit[-1]["event"] == "MUTATION_ABORTED"


def test_a_replayed_refusal_stays_refused_and_is_audited(pipeline, redis_url):
    """The very same signed proposal again, after a restart with a wiped Redis, when it would be carried out."""
    pipeline.key = b"secret"
    pipeline.start()
    proposal = signed(pipeline)
    assert "Stability" in pipeline.propose(**proposal).reason
    open_redis(redis_url).flushall()
    pipeline.ready()
    assert "Stability" in pipeline.propose(**proposal).reason
    assert pipeline.audit[-1]["event"] == "PROPOSAL_REPEATED"
    assert len(pipeline.epochs) == 1


def test_an_expired_proposal_is_refused_and_audited(pipeline):
    """Its time is over, whatever its signature."""
    pipeline.key = b"secret"
    proposal = signed(pipeline.ready())
    pipeline.run(2 * 3600)
    assert "expired" in pipeline.propose(**proposal).reason
    assert pipeline.audit[-1]["error"] == pipeline.decisions[-1].reason


def test_an_operators_edit_meanwhile_is_noticed(pipeline):
    """The file is not overwritten; the answer says what to do."""
    pipeline.ready()
    edited = packaged_text() + "# a note\n"
    pipeline.paths.config.write_text(edited)
    assert "usp config adopt" in pipeline.propose().reason
    assert pipeline.paths.config.read_text() == edited
    assert len(pipeline.epochs) == 1


def test_a_broken_file_at_start_is_said_and_looked_at_again(pipeline):
    """No epoch, a critical alert once, proposals refused with the reason; a repaired file is taken up by itself."""
    pipeline.paths.config.write_text(packaged_text().replace("cusum_k = 0.5", "cusum_k = 'x'"))
    pipeline.start()
    assert pipeline.epochs == []
    assert "cusum_k" in pipeline.propose().reason
    pipeline.run(30)
    assert pipeline.alerts.count("ConfigFileRefusedEvent") == 1
    pipeline.paths.config.write_text(packaged_text())
    pipeline.run(30)
    assert [e.epoch for e in pipeline.epochs] == [1]


def test_a_structural_change_waits_for_all_partitions(pipeline):
    """PREPARE with the whole configuration; the file and the epoch come with the eighth acknowledgement."""
    pipeline.ready()
    prepared = pipeline.propose(changes=WIDTH)
    assert (prepared.outcome, prepared.epoch) == ("prepared", 2)
    assert from_canonical_bytes(prepared.config).kernels.dgm_width_size == 128
    pipeline.acknowledge(range(7))
    pipeline.acknowledge([0, 99, -1])
    pipeline.acknowledge([7], proposal_id="other")
    assert pipeline.paths.config.read_text() == packaged_text()
    assert len(pipeline.epochs) == 1
    pipeline.acknowledge([7])
    assert pipeline.decisions[-1].outcome == "accepted"
    assert pipeline.epochs[-1].config == prepared.config
    assert load(pipeline.paths.config).kernels.dgm_width_size == 128


def test_a_nack_refuses_the_proposal(pipeline):
    """One owner that cannot run it is enough; the intent is closed, and the next proposal is free."""
    pipeline.ready()
    pipeline.propose(changes=WIDTH)
    pipeline.acknowledge([3], able=False)
    assert pipeline.decisions[-1].reason == "the owner of partition 3 cannot run it: too wide"
    assert pipeline.audit[-1]["event"] == "MUTATION_ABORTED"
    assert pipeline.propose("p-2").outcome == "accepted"


def test_silence_refuses_the_proposal(pipeline):
    """After the deadline the answer names the partitions that did not speak."""
    pipeline.ready()
    pipeline.propose(changes=WIDTH)
    pipeline.acknowledge([0, 1, 2, 3, 4])
    pipeline.run(30)
    assert pipeline.decisions[-1].outcome == "prepared"
    pipeline.run(120)
    assert pipeline.decisions[-1].reason == "not acknowledged within 120 s by partitions [5, 6, 7]"
    assert pipeline.paths.config.read_text() == packaged_text()
    pipeline.acknowledge(range(8))
    assert len(pipeline.epochs) == 1


def test_a_restart_while_waiting_prepares_again(pipeline):
    """The unanswered proposal is read again, its slot is not taken twice, and it can still be carried out."""
    pipeline.ready()
    pipeline.propose(changes=WIDTH)
    pipeline.start()
    pipeline.run()
    assert [d.outcome for d in pipeline.decisions] == ["prepared", "prepared"]
    assert "ConfigReconciledEvent" in pipeline.alerts
    pipeline.acknowledge(range(8))
    assert pipeline.decisions[-1].outcome == "accepted"


def test_proposals_are_answered_one_after_the_other(pipeline):
    """Others wait behind a structural change, and are answered in order."""
    pipeline.ready()
    pipeline.send(changes=WIDTH)
    for number in range(2, 12):
        pipeline.send(f"p-{number}", {"orchestration.cusum_k": "9"})
    pipeline.run()
    assert [d.proposal_id for d in pipeline.decisions] == ["p-1"]
    pipeline.acknowledge([0], able=False)
    assert [d.proposal_id for d in pipeline.decisions] == ["p-1", *(f"p-{number}" for number in range(1, 12))]


def mutated(pipeline):
    """With epoch 2 in force and watched."""
    pipeline.ready()
    assert pipeline.propose().outcome == "accepted"
    return pipeline


def test_a_good_epoch_passes(pipeline):
    """After 100 predictions the verdict is in every partition and beside the epoch; the file stays."""
    mutated(pipeline).predict(50, error=0.1)
    assert "is being judged (49 of 100 predictions)" in pipeline.propose("p-2").reason
    pipeline.predict(51, error=0.1)
    (verdict,) = pipeline.verdicts
    assert (verdict.epoch, verdict.verdict, verdict.predictions) == (2, "passed", 100)
    assert all(pipeline.in_band(number)[-1] == verdict for number in range(topology.PARTITIONS))
    assert pipeline.audit[-1]["event"] == "EPOCH_VERDICT"
    assert load(pipeline.paths.config).orchestration.cusum_k == 0.6


@pytest.mark.parametrize(("error", "count"), [(1e6, 3), (math.nan, 2), (math.inf, 2)])
def test_a_bad_epoch_is_rolled_back(pipeline, error, count):
    """The earlier configuration is a new epoch, then the verdict; file and audit follow, the proposer is told."""
    mutated(pipeline).predict(count, error=error)
    epochs, (verdict,) = pipeline.epochs, pipeline.verdicts
    assert (epochs[2].rollback, epochs[2].config, epochs[2].epoch) == (True, epochs[0].config, 3)
    assert (verdict.epoch, verdict.verdict) == (2, "rolled_back")
    assert all(pipeline.in_band(number)[-2:] == [epochs[2], verdict] for number in range(topology.PARTITIONS))
    assert pipeline.paths.config.read_text() == packaged_text()
    last = pipeline.audit[-1]
    assert (last["event"], last["status"], last["monitoring_window"]) == ("AUTO_ROLLBACK", "ROLLBACK_SUCCESS", 100)
    assert (pipeline.decisions[-1].proposal_id, pipeline.decisions[-1].outcome) == ("p-1", "rolled_back")
    assert "AUTO_ROLLBACK" in pipeline.alerts
    assert verify(pipeline.paths.audit_log) == []
    pipeline.start()
    assert len(pipeline.epochs) == 3
    assert "cooling down" in pipeline.propose("p-2").reason
    pipeline.run(3700)
    pipeline.predict(1, step=9000, error=0.1)
    assert pipeline.propose("p-3").outcome == "accepted"


@pytest.mark.parametrize(
    ("error", "shadow", "count", "verdict"),
    [(5.0, 5.0, 101, "passed"), (5.0, 4.0, 101, "rolled_back"), (9.0, 3.0, 12, "rolled_back"), (9.0, 9.0, 50, None)],
)
def test_the_shadow_is_the_judge_by_default(pipeline, error, shadow, count, verdict):
    """A wilder market is no damage; what the old configuration would have done better is."""
    pipeline.judge = "shadow"
    mutated(pipeline).predict(count, error=error, shadow=shadow)
    assert [v.verdict for v in pipeline.verdicts] == ([verdict] if verdict else [])
    pipeline.predict(50, error=error)
    assert len(pipeline.verdicts) == (verdict is not None), "predictions without a shadow say nothing"


def back(pipeline, proposal_id="back", target=None, **other):
    """Ask for a rollback by hand."""
    plain = {"changes": {}, "action": "rollback", "target": target, "proposer": "on-call", "trigger": "ManualRollback"}
    return pipeline.propose(proposal_id, **plain | other)


@pytest.mark.parametrize("judged", [False, True])
def test_a_rollback_by_hand(pipeline, judged):
    """The version before comes back, while it is watched and after; file, epochs, audit and answers all say so."""
    mutated(pipeline).predict(101 if judged else 20, error=0.1)
    answer = back(pipeline)
    assert (answer.proposal_id, answer.outcome, answer.epoch) == ("back", "accepted", 3)
    assert (pipeline.epochs[2].rollback, pipeline.epochs[2].config) == (True, pipeline.epochs[0].config)
    assert pipeline.paths.config.read_text() == packaged_text()
    last = pipeline.audit[-1]
    assert (last["event"], last["status"], last["proposer"]) == ("MANUAL_ROLLBACK", "ROLLBACK_SUCCESS", "on-call")
    assert last["delta"] == {"orchestration.cusum_k": [0.6, 0.5]}
    assert [v.verdict for v in pipeline.verdicts] == (["passed"] if judged else ["rolled_back"])
    assert [d.outcome for d in pipeline.decisions if d.proposal_id == "p-1"] == ["accepted", "rolled_back"]
    assert "MANUAL_ROLLBACK" in pipeline.alerts
    pipeline.start()
    assert len(pipeline.epochs) == 3
    assert back(pipeline).epoch == 3, "the same proposal again is the same answer"
    assert "cooling down" in pipeline.propose("p-2").reason
    assert verify(pipeline.paths.audit_log) == []


def test_no_limit_holds_a_rollback_by_hand(tmp_path):
    """Without Redis, frozen, in the cool-down: the way back is open."""
    pipeline = Pipeline(tmp_path, None)
    pipeline.start()
    pipeline.paths.config.write_text(packaged_text().replace("cusum_k = 0.5", "cusum_k = 0.9"))
    create_config_backup(pipeline.paths.config, new_backup_path(pipeline.paths.config))
    pipeline.start()
    freeze_path(pipeline.paths.config).write_text("incident")
    (pipeline.paths.config.with_name("config.toml.bak.2026-01-01T00:00:00.000000Z")).write_text(packaged_text())
    assert back(pipeline).outcome == "accepted"
    assert back(pipeline, "forth", target=pipeline.epochs[1].config_hash[:12]).outcome == "accepted"
    assert [e.config_hash for e in pipeline.epochs[2:]] == [
        pipeline.epochs[0].config_hash,
        pipeline.epochs[1].config_hash,
    ]
    assert load(pipeline.paths.config).orchestration.cusum_k == 0.9


def test_two_rollbacks_go_back_two_versions(pipeline):
    """The second one does not undo the first."""
    mutated(pipeline).predict(101, error=0.1)
    pipeline.predict(1, step=9000)
    assert pipeline.propose("p-2", {"orchestration.cusum_h": "6.0"}).outcome == "accepted"
    assert back(pipeline, "back-1").epoch == 4
    assert back(pipeline, "back-2").epoch == 5
    assert pipeline.epochs[4].config == pipeline.epochs[0].config
    assert "no version before" in back(pipeline, "back-3").reason


@pytest.mark.parametrize(
    ("target", "word"), [("beef", "names 0 versions"), ("", "names 2 versions"), (None, "no version before")]
)
def test_a_rollback_to_nowhere_is_refused(pipeline, target, word):
    """The answer says which versions there are."""
    pipeline.start()
    if target == "":
        mutated(pipeline)
    assert word in back(pipeline, target=target).reason
    assert pipeline.audit[-1]["event"] == "MUTATION_ABORTED"


def test_a_rollback_to_the_version_in_force_or_without_a_file_is_refused(pipeline):
    """Nothing would change; or the file could not follow, and the next start would bring the bad version back."""
    mutated(pipeline)
    assert "in force already" in back(pipeline, "b-1", target=pipeline.epochs[1].config_hash).reason
    for backup in pipeline.paths.config.parent.glob("config.toml.bak*"):
        backup.unlink()
    assert "no backup leads to version" in back(pipeline, "b-2").reason
    assert len(pipeline.epochs) == 2


def test_a_structural_rollback_by_hand_is_prepared_first(pipeline):
    """Unless the shadow is there, whose program runs already."""
    pipeline.ready()
    pipeline.propose(changes=WIDTH)
    pipeline.acknowledge(range(8))
    pipeline.predict(101, error=0.1)
    assert back(pipeline).outcome == "prepared"
    pipeline.acknowledge(range(8), proposal_id="back")
    assert (pipeline.decisions[-1].proposal_id, pipeline.decisions[-1].outcome) == ("back", "accepted")
    assert load(pipeline.paths.config).content_hash == pipeline.epochs[0].config_hash


def test_a_structural_rollback_onto_the_shadow_needs_no_compilation(pipeline):
    """While it is watched the way back is immediate."""
    pipeline.ready()
    pipeline.propose(changes=WIDTH)
    pipeline.acknowledge(range(8))
    assert back(pipeline).outcome == "accepted"


def adopt(pipeline, proposal_id="adopt"):
    """Ask to take the file over."""
    return pipeline.propose(proposal_id, {}, action="adopt")


def test_an_edit_is_told_once_and_adopted(pipeline):
    """The alert names the way out; adopted, the file is the next epoch and changes go on from it."""
    pipeline.ready()
    pipeline.paths.config.write_text(packaged_text().replace("cusum_k = 0.5", "cusum_k = 0.9"))
    pipeline.run(30)
    pipeline.run(30)
    assert pipeline.alerts.count("ConfigFileEditedEvent") == 1
    assert "usp config adopt" in pipeline.propose("p-0").reason
    answer = adopt(pipeline)
    assert (answer.outcome, answer.epoch) == ("accepted", 2)
    assert from_canonical_bytes(pipeline.epochs[1].config).orchestration.cusum_k == 0.9
    assert pipeline.propose("p-1", {"orchestration.cusum_k": "0.8"}).outcome == "accepted"


def test_there_may_be_nothing_to_adopt(pipeline):
    """The file in force is not an edit, and a watch goes on as if nobody had asked."""
    mutated(pipeline).predict(50, error=0.1)
    assert "nothing to adopt" in adopt(pipeline).reason
    pipeline.predict(51, error=0.1)
    assert [(v.epoch, v.verdict) for v in pipeline.verdicts] == [(2, "passed")]


def test_a_broken_edit_is_not_adopted(pipeline):
    """The answer has the loader's words, the epoch stays; repaired, the file is taken up."""
    pipeline.ready()
    pipeline.paths.config.write_text(packaged_text().replace("cusum_k = 0.5", "cusum_k = -1.0"))
    answer = adopt(pipeline)
    assert (answer.outcome, "cusum_k" in answer.reason) == ("refused", True)
    assert len(pipeline.epochs) == 1
    pipeline.paths.config.write_text(packaged_text())
    pipeline.run(30)
    assert pipeline.propose().outcome == "accepted"


def test_while_frozen_every_change_is_refused(pipeline):
    """With the reason; the judge may still roll back; thawed, changes go on."""
    mutated(pipeline)
    note = freeze_path(pipeline.paths.config)
    note.write_text("exchange outage\n")
    pipeline.predict(3, error=1e6)
    assert pipeline.epochs[-1].rollback
    pipeline.run(3700)
    pipeline.predict(1, step=9000, error=0.1)
    assert "frozen: exchange outage" in pipeline.propose("p-2").reason
    note.unlink()
    assert pipeline.propose("p-3").outcome == "accepted"


def test_a_wiped_redis_is_rebuilt_from_the_audit_log(pipeline, redis_url):
    """While the governor runs: the stable steps and the changes of the last hour count on."""
    mutated(pipeline).predict(101, error=0.1)
    open_redis(redis_url).flushall()
    assert pipeline.propose("p-2", {"orchestration.cusum_h": "6.0"}).reason.startswith("Stability: 101/1000")
    pipeline.predict(1, step=9000)
    assert pipeline.propose("p-3", {"orchestration.cusum_h": "6.0"}).outcome == "accepted"
    assert pipeline.limiter is not None
    assert pipeline.limiter.ask("probe", {}).reason.startswith("Stability")


def test_the_end_of_the_audit_log_is_noted_in_the_broker(pipeline):
    """So that a log that was cut or rewritten with its head is found out."""
    pipeline.ready().propose()
    pipeline.run(30)
    newest = pipeline.broker.records(AUDIT)[-1]
    assert (newest.sequence, newest.head) == (pipeline.audit[-1]["sequence"], pipeline.audit[-1]["hash"])
    log = pipeline.paths.audit_log
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:-1]))
    head_path(log).write_text(f"{len(lines) - 1} {entries(log)[-1]['hash']}\n")
    assert verify(log) == []
    assert "noted elsewhere" in verify(log, newest.head)[0]
    pipeline.start()
    assert "AuditChainBrokenEvent" in pipeline.alerts


def test_no_data_never_passes(pipeline):
    """A silent market ends the watch after a day as inconclusive, with an alert."""
    mutated(pipeline).predict(20, error=0.1)
    pipeline.run(25 * 3600)
    assert [v.verdict for v in pipeline.verdicts] == ["inconclusive"]
    assert "EpochInconclusiveEvent" in pipeline.alerts
    assert len(pipeline.epochs) == 2


@pytest.mark.parametrize("error", [0.1, 0.9])
def test_a_restart_in_the_middle_of_the_watch_changes_no_verdict(pipeline, tmp_path_factory, redis_url, error):
    """The window is rebuilt from the predictions since the epoch, the reference from those before it."""
    mutated(pipeline)
    pipeline.predict(60, error=error)
    pipeline.start()
    pipeline.run()
    pipeline.predict(60, error=error)
    (verdict,) = pipeline.verdicts
    open_redis(redis_url).flushall()
    calm = mutated(Pipeline(tmp_path_factory.mktemp("calm"), pipeline.limiter))
    calm.predict(120, error=error)
    assert calm.verdicts == [verdict]


def test_a_verdict_is_given_once(pipeline):
    """After a restart an epoch that has its verdict is not judged again."""
    mutated(pipeline).predict(101, error=0.1)
    pipeline.start()
    pipeline.predict(3, error=1e9)
    assert [v.verdict for v in pipeline.verdicts] == ["passed"]


def test_a_rollback_does_not_need_its_file(pipeline):
    """With the backup lost, predictions are still saved by an epoch; people are called, and changes wait for them."""
    mutated(pipeline)
    for backup in pipeline.paths.config.parent.glob("config.toml.bak*"):
        backup.unlink()
    pipeline.start()
    pipeline.run()
    pipeline.predict(3, error=1e6)
    assert pipeline.epochs[-1].rollback
    assert pipeline.epochs[-1].config == pipeline.epochs[0].config
    assert "ConfigFileRefusedEvent" in pipeline.alerts
    assert "could not follow" in pipeline.propose("p-2").reason
    pipeline.start()
    assert len(pipeline.epochs) == 3, "the condemned file is not published again"
    assert "rolled back" in pipeline.propose("p-4").reason


def test_an_edited_file_does_not_stop_a_rollback(pipeline):
    """The operator's edit stays in the file; the epoch is rolled back all the same."""
    mutated(pipeline)
    edited = pipeline.paths.config.read_text() + "# a note\n"
    pipeline.paths.config.write_text(edited)
    pipeline.predict(3, error=1e6)
    assert pipeline.epochs[-1].rollback
    assert pipeline.paths.config.read_text() == edited


def test_another_governor_ends_this_one(pipeline):
    """An epoch that this process did not publish means that it is not the governor any more."""
    pipeline.start()
    pipeline.broker.publish(EPOCHS, [("epoch-2", replace(pipeline.epochs[0], epoch=2))])
    with pytest.raises(Exception, match="another governor"):
        pipeline.run()


def test_a_broken_audit_chain_is_said_at_start(pipeline):
    """A tampered log does not stop the governor, it calls people."""
    pipeline.ready().propose()
    log = pipeline.paths.audit_log
    log.write_text(log.read_text().replace('"trigger": "Test"', '"trigger": "Best"'))
    pipeline.start()
    assert "AuditChainBrokenEvent" in pipeline.alerts


def died(pipeline, action, crashes):
    """Carry the action out; the process dies at these passages, (name, number), and starts again each time."""
    passed: Counter[str] = Counter()

    def planted(name):
        passed[name] += 1
        if (name, passed[name]) in crashes:
            raise failpoints.Crash(name)

    failpoints.install(planted)
    try:
        action()
    except failpoints.Crash:
        failpoints.install(failpoints.ignore)
        pipeline.start()
        pipeline.run()
        return
    finally:
        failpoints.install(failpoints.ignore)
    raise AssertionError(f"none of {crashes} was passed")


AROUND_A_LINE = (
    "audit.after_write",
    "audit.before_head",
    "runner.after_effects",
    "runner.before_commit",
    "runner.after_commit",
)


@pytest.mark.parametrize("point", AROUND_A_LINE)
def test_a_refusal_has_its_line_wherever_the_process_dies(pipeline, point):
    """Exactly one line, one reason in line and answer, and no line that says that it was repeated."""
    pipeline.key = b"secret"
    pipeline.start()
    died(pipeline, lambda: pipeline.propose(**signed(pipeline, key=b"guess")), {(point, 1)})
    lines = [line for line in pipeline.audit if line.get("proposal_id") == "p-1"]
    assert [(line["event"], line["error"]) for line in lines] == [("MUTATION_ABORTED", pipeline.decisions[-1].reason)]
    assert {d.outcome for d in pipeline.decisions if d.proposal_id == "p-1"} == {"refused"}
    assert verify(pipeline.paths.audit_log) == []


def test_a_nack_reaches_the_partitions_though_the_process_dies_behind_its_line(pipeline):
    """The intent is closed by the refusal, and the PREPARE is taken back everywhere."""
    pipeline.ready()
    pipeline.propose(changes=WIDTH)
    died(pipeline, lambda: pipeline.acknowledge([3], able=False), {("audit.after_write", 1)})
    assert "too wide" in pipeline.decisions[-1].reason
    assert all(pipeline.in_band(number)[-1].outcome == "refused" for number in range(topology.PARTITIONS))
    assert open_intent(pipeline.paths.audit_log) is None
    assert [line["event"] for line in pipeline.audit].count("MUTATION_ABORTED") == 1


def test_a_refusal_without_a_usable_file_is_not_doubled_by_a_crash(pipeline):
    """The audit log remembers it though nothing else can be read."""
    pipeline.paths.config.write_text("no = configuration\n")
    pipeline.start()
    died(pipeline, lambda: pipeline.propose(), {("runner.before_commit", 1)})
    assert [d.outcome for d in pipeline.decisions] == ["refused"]
    assert [line["event"] for line in pipeline.audit] == ["MUTATION_ABORTED"]


@pytest.mark.parametrize("event", ["EPOCH_PUBLISHED", "EPOCH_VERDICT"])
def test_what_was_committed_gets_its_line_at_the_next_start(pipeline, event):
    """A crash behind the commit loses the line; the log of epochs has the fact."""
    if event == "EPOCH_PUBLISHED":
        died(pipeline, pipeline.start, {("runner.after_commit", 1)})
    else:
        mutated(pipeline)
        died(pipeline, lambda: pipeline.predict(101, error=0.1), {("audit.after_write", 1)})
        lines = pipeline.paths.audit_log.read_bytes().splitlines(keepends=True)
        pipeline.paths.audit_log.write_bytes(b"".join(lines[:-1]))
        pipeline.start()
    (line,) = [line for line in pipeline.audit if line["event"] == event and line.get("epoch") == len(pipeline.epochs)]
    assert line["reconciled"]
    assert "ConfigReconciledEvent" in pipeline.alerts
    count = len(pipeline.audit)
    pipeline.start()
    assert len(pipeline.audit) == count


@pytest.mark.parametrize("point", ["config.after_fsync", "config.after_rename", "config.after_folder_fsync"])
def test_a_disk_that_fails_leaves_the_old_file(pipeline, point):
    """Refused with the system's words; the new file does not stay behind to be taken for an edit."""
    pipeline.ready()
    failed: list[str] = []

    def planted(name):
        if name == point and not failed:
            failed.append(name)
            raise OSError("input/output error")

    failpoints.install(planted)
    try:
        answer = pipeline.propose()
    finally:
        failpoints.install(failpoints.ignore)
    assert (failed, answer.outcome, "input/output error" in answer.reason) == ([point], "refused", True)
    assert pipeline.paths.config.read_text() == packaged_text()
    assert open_intent(pipeline.paths.audit_log) is None
    pipeline.start()
    assert len(pipeline.epochs) == 1


def test_an_adoption_names_who_asked_and_what_changed(pipeline):
    """The audit log has old and new values, the person and the reason."""
    pipeline.ready()
    pipeline.paths.config.write_text(packaged_text().replace("cusum_k = 0.5", "cusum_k = 0.9"))
    pipeline.propose("adopt", {}, action="adopt", proposer="ada", trigger="agreed")
    line = pipeline.audit[-1]
    assert (line["event"], line["proposal_id"], line["proposer"]) == ("EPOCH_PUBLISHED", "adopt", "ada")
    assert (line["trigger"], line["delta"]) == ("agreed", {"orchestration.cusum_k": [0.5, 0.9]})


def test_an_epoch_brings_the_line_of_its_intent_into_every_partition(pipeline):
    """So that snapshots taken under it bear witness to the audit log."""
    pipeline.ready().propose()
    (intent,) = [line for line in pipeline.audit if line["event"] == "MUTATION_INTENT"]
    for number in range(topology.PARTITIONS):
        head, epoch = pipeline.in_band(number)[-2:]
        assert (head.head, head.sequence, epoch.epoch) == (intent["hash"], intent["sequence"], 2)


def test_a_repeated_delivery_of_a_waiting_proposal_waits_once(pipeline):
    """The same offset twice is the same proposal."""
    _, state = STAGE.handle(Batch(0, ()), STAGE.init(packaged_defaults()))
    proposal = pipeline.send()
    record = Record(Partition(PROPOSALS.name, 0), 5, None, proposal, 0)
    _, state = STAGE.handle(Batch(0, (record, record)), state)
    assert len(state.queue) == 1


def test_a_flood_is_refused_at_the_door():
    """Memory is bounded: the proposal after a thousand waiting ones is refused at once."""
    _, state = STAGE.handle(Batch(0, ()), STAGE.init(packaged_defaults()))
    proposal = ConfigProposal(
        proposal_id="p", proposer="", trigger="", changes={}, best_objective=None, proposed_ns=0, expires_ns=None,
        nonce=None, signature=None,
    )  # fmt: skip
    records = [
        Record(Partition(PROPOSALS.name, 0), n, None, replace(proposal, proposal_id=f"p{n}"), 0) for n in range(1001)
    ]
    outputs, state = STAGE.handle(Batch(0, records), state)
    assert len(state.queue) == 1000
    assert any(getattr(getattr(o, "value", None), "proposal_id", None) == "p1000" for o in outputs)


def test_the_governor_starts_without_jax():
    """Neither the stage nor its effects load JAX."""
    code = "import sys, usp.stages.governor, usp.stages.governor_effects; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


SCRIPTS = (
    ("cusum", "good", "cusum", "bad"),
    ("cusum", "bad", "restart"),
    ("width", "acks", "bad"),
    ("width", "restart", "acks", "good", "cusum"),
    ("cusum", "restart", "good", "width", "acks"),
    ("cusum", "back", "restart"),
    ("cusum", "good", "back", "back"),
    ("width", "acks", "good", "back", "acks", "restart"),
    ("edit", "adopt", "cusum"),
    ("cusum", "good", "edit", "adopt", "back"),
)
POINTS = [name for name in failpoints.NAMES if name.startswith(("runner.after_effects", "runner.b", "config", "audit"))]
POINTS += ["runner.after_commit"]


@pytest.mark.slow
@settings(max_examples=60, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate], derandomize=True)
@given(
    crashes=st.sets(st.tuples(st.sampled_from(POINTS), st.integers(1, 3)), min_size=1, max_size=4),
    script=st.sampled_from(SCRIPTS),
    delivery=st.sampled_from(["exactly_once", "at_least_once"]),
)
def test_any_crash_leaves_one_truth(tmp_path_factory, redis_url, crashes, script, delivery):
    """However often it dies: partitions, epoch log, file and audit agree, and each proposal is carried out once."""
    client = open_redis(redis_url, timeout_s=2.0)
    client.flushall()
    pipeline = Pipeline(tmp_path_factory.mktemp("crash"), RedisRateLimiter(client, stability_steps_required=0))
    pipeline.delivery = delivery
    passed: Counter[str] = Counter()

    def planted(name):
        passed[name] += 1
        if (name, passed[name]) in crashes:
            raise failpoints.Crash(name)

    def survive(action):
        try:
            action()
        except failpoints.Crash:
            survive(pipeline.start)

    survive(pipeline.start)
    pipeline.predict(30)
    failpoints.install(planted)
    try:
        for number, step in enumerate(script):
            act(pipeline, step, f"p-{number}", survive)
    finally:
        failpoints.install(failpoints.ignore)
    pipeline.start()
    pipeline.run(150)
    proposals = {f"p-{n}": step for n, step in enumerate(script) if step in ("width", "cusum", "back", "adopt")}
    assert {d.proposal_id for d in pipeline.decisions if d.outcome != "prepared"} == set(proposals)
    agree(pipeline, proposals)


def agree(pipeline, proposals):
    """All that can be read afterwards tells the same story."""
    epochs = pipeline.epochs
    assert [e.epoch for e in epochs] == list(range(1, len(epochs) + 1))
    starts = [e.epoch for e in epochs if e.proposal_id == "start"]
    assert starts[0] == 1
    assert len(starts) == 1 or "adopt" in proposals.values()
    told = [[r for r in pipeline.in_band(n) if isinstance(r, ConfigEpoch)] for n in range(topology.PARTITIONS)]
    assert all(found == epochs for found in told)
    assert pipeline.file_hash() == epochs[-1].config_hash
    assert verify(pipeline.paths.audit_log) == []
    assert open_intent(pipeline.paths.audit_log) is None
    carried_out = [e.proposal_id for e in epochs if e.proposal_id != "start"]
    assert len(set(carried_out)) == len(carried_out)
    results = ("MUTATION_SUCCESS", "AUTO_ROLLBACK", "MANUAL_ROLLBACK")
    closed = [e["proposal_id"] for e in pipeline.audit if e["event"] in results]
    assert sorted(closed) == sorted(carried_out)
    accepted = {d.proposal_id for d in pipeline.decisions if d.outcome == "accepted"}
    adopted = {name for name, step in proposals.items() if step == "adopt"}
    assert accepted - adopted == {p for p in carried_out if not p.startswith("rollback")}
    assert len(pipeline.verdicts) == len({v.epoch for v in pipeline.verdicts})
    lines = [(line["event"], line) for line in pipeline.audit]
    refused = {d.proposal_id for d in pipeline.decisions if d.outcome == "refused"}
    told = [line["proposal_id"] for event, line in lines if event == "MUTATION_ABORTED" and not line.get("reconciled")]
    assert sorted(told) == sorted(refused)
    assert [line["epoch"] for event, line in lines if event == "EPOCH_PUBLISHED"] == starts
    stayed = [v.epoch for v in pipeline.verdicts if v.verdict != "rolled_back"]
    assert [line["epoch"] for event, line in lines if event == "EPOCH_VERDICT"] == stayed


def act(pipeline, step, proposal_id, survive):
    """One step of a script."""
    value = load(pipeline.paths.config).orchestration.cusum_k
    if step == "cusum":
        pipeline.send(proposal_id, {"orchestration.cusum_k": "0.6" if value == 0.5 else "0.5"})
    if step == "width":
        pipeline.send(proposal_id, WIDTH)
    if step in ("back", "adopt"):
        pipeline.send(proposal_id, {}, action={"back": "rollback"}.get(step, step))
    if step == "edit":
        text = pipeline.paths.config.read_text()
        pipeline.paths.config.write_text(edited(text, {"orchestration.cusum_h": 5.5}))
    if step == "acks":
        open_ids = [d.proposal_id for d in pipeline.decisions if d.outcome == "prepared"][-1:]
        for open_id in open_ids:
            survive(lambda open_id=open_id: pipeline.acknowledge(range(8), proposal_id=open_id))
    if step == "good":
        survive(lambda: pipeline.predict(101, error=0.1))
    if step == "bad":
        survive(lambda: pipeline.predict(3, error=1e6))
    survive(pipeline.start if step == "restart" else pipeline.run)
