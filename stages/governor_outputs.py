# SPDX-License-Identifier: MIT
"""The records that the governor publishes, and the audit lines that follow their commit."""

from collections.abc import Mapping
from typing import Any

from ..io.mutation_protocol import ABORTED, STATUS
from ..schemas.records import Alert, AuditHead, ConfigDecision, ConfigEpoch, EpochVerdict, Outcome, Severity
from .contract import AfterCommit, Output, Send
from .governor_messages import Head, RecordAudit, SettleLimiter
from .governor_state import Candidate, GovernorState, Queued
from .judge import Judgement
from .topology import ALERTS, DECISIONS, EPOCHS, PARTITIONS, VALIDATED

STAGE_NAME = "governor"
START = "start"
EPOCH_PUBLISHED = "EPOCH_PUBLISHED"
EPOCH_JUDGED = "EPOCH_VERDICT"
SHOWN_CHARACTERS = 2000


def epoch_after(
    state: GovernorState,
    proposal_id: str,
    config: bytes,
    config_hash: str,
    now_ns: int,
    baseline_rmse: float | None = None,
    rollback: bool = False,
) -> ConfigEpoch:
    """The next epoch; `proposal_id` is "start" for a file that the governor found at its start."""
    return ConfigEpoch(
        epoch=1 if state.epoch is None else state.epoch.epoch + 1,
        config=config,
        config_hash=config_hash,
        previous_hash=state.defaults_hash if state.epoch is None else state.epoch.config_hash,
        proposal_id=proposal_id,
        rollback=rollback,
        baseline_rmse=baseline_rmse,
        created_ns=now_ns,
    )


def in_force(epoch: ConfigEpoch, state: GovernorState) -> list[Output]:
    """The epoch into every partition, where it takes effect, and into the log of all epochs.

    Before it goes the newest audit line, the intent of this very change if it is one: every snapshot taken under the
    epoch bears witness to it.
    """
    key = f"epoch-{epoch.epoch}"
    partitions = [Send(VALIDATED, epoch, key, number) for number in range(PARTITIONS)]
    head = noted(state.head, epoch.created_ns)
    witnesses = [Send(VALIDATED, head, "head", number) for number in range(PARTITIONS)] if state.head.hash else []
    return [*witnesses, *partitions, Send(EPOCHS, epoch, key)]


def noted(head: Head, now_ns: int) -> AuditHead:
    """The newest audit line, as a note outside of the log."""
    return AuditHead(sequence=head.sequence, head=head.hash, noted_ns=now_ns)


def judged(verdict: EpochVerdict) -> list[Output]:
    """The verdict into every partition, where it ends the watch, and beside its epoch."""
    key = f"verdict-{verdict.epoch}"
    partitions = [Send(VALIDATED, verdict, key, number) for number in range(PARTITIONS)]
    return [*partitions, Send(EPOCHS, verdict, key)]


def verdict_of(epoch: int, judgement: Judgement) -> EpochVerdict:
    return EpochVerdict(
        epoch=epoch,
        verdict=judgement.verdict,
        relative_increase=judgement.relative_increase,
        predictions=judgement.predictions,
    )


def decision_of(
    proposal_id: str, outcome: Outcome, reason: str, now_ns: int, epoch: ConfigEpoch | None = None
) -> ConfigDecision:
    """A final answer."""
    return ConfigDecision(
        proposal_id=proposal_id[:SHOWN_CHARACTERS],
        outcome=outcome,
        reason=reason[:SHOWN_CHARACTERS],
        epoch=None if epoch is None else epoch.epoch,
        config_hash=None if epoch is None else epoch.config_hash,
        config=None,
        decided_ns=now_ns,
    )


def prepare(candidate: Candidate, epoch: int, timeout_s: float, now_ns: int) -> list[Output]:
    """The request to compile a configuration and to acknowledge it, for the owner of each partition."""
    decision = ConfigDecision(
        proposal_id=candidate.proposal.proposal_id,
        outcome="prepared",
        reason=f"waits up to {timeout_s:.0f} s until every partition's owner can run it",
        epoch=epoch,
        config_hash=candidate.config_hash,
        config=candidate.config,
        decided_ns=now_ns,
    )
    return [answer(decision), *in_band(decision)]


def in_band(decision: ConfigDecision) -> list[Output]:
    """A PREPARE, or the answer that closes it, into every partition, where its owner hears of it."""
    return [Send(VALIDATED, decision, decision.proposal_id, number) for number in range(PARTITIONS)]


def answer(decision: ConfigDecision) -> Send:
    return Send(DECISIONS, decision, decision.proposal_id)


def refused(queued: Queued, decision: ConfigDecision, counts: bool, nonce: str | None = None) -> list[Output]:
    """The answer to a refused proposal. `nonce` is used up by it.

    Its audit line comes before the commit: after a crash between the two, the restart finds the answer there and gives
    it, so no refusal is without its line and none has two.
    """
    proposal = queued.proposal
    entry = {
        "event": ABORTED,
        "proposal_id": decision.proposal_id,
        "proposer": proposal.proposer[:SHOWN_CHARACTERS],
        "trigger": proposal.trigger[:SHOWN_CHARACTERS],
        "best_objective": proposal.best_objective,
        "nonce": nonce,
        "offset": queued.offset,
        "error": decision.reason,
        "status": STATUS[ABORTED],
    }
    return [answer(decision), RecordAudit(entry), AfterCommit(SettleLimiter(decision, counts))]


def alert(event: str, severity: Severity, now_ns: int, detail: Mapping[str, Any]) -> Send:
    """Something for the people on call."""
    value = Alert(
        event=event,
        severity=severity,
        stage=STAGE_NAME,
        symbol=None,
        origin_partition=None,
        origin_offset=None,
        timestamp_ns=now_ns,
        detail={name: str(item)[:SHOWN_CHARACTERS] for name, item in detail.items()},
    )
    return Send(ALERTS, value, STAGE_NAME)


def audited(event: str, facts: Mapping[str, Any]) -> AfterCommit:
    """An audit line once the commit is done."""
    return AfterCommit(RecordAudit({"event": event, **facts}))
