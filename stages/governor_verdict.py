# SPDX-License-Identifier: MIT
"""The end of a watch: the epoch passes, is rolled back, or nothing can be said."""

from dataclasses import replace

from ..io.mutation_protocol import BY_HAND, FAILED, ROLLBACK, STATUS
from ..schemas.records import ConfigEpoch
from .contract import AfterCommit, Output
from .governor_messages import CloseMutation, OpenMutation, SettleLimiter
from .governor_outputs import (
    EPOCH_JUDGED,
    SHOWN_CHARACTERS,
    START,
    alert,
    answer,
    audited,
    decision_of,
    epoch_after,
    in_force,
    judged,
    verdict_of,
)
from .governor_proposals import mutation_of, rollback_of
from .governor_state import Candidate, GovernorState, Idle, Opening, Step, answered
from .judge import Judgement
from .poison import BrokenInvariant

COOL_DOWN_NS = 3600 * 10**9
VERDICT_DEADLINE_NS = 24 * 3600 * 10**9


def watched(state: GovernorState, now_ns: int) -> Step:
    """Ask the judge about the watched epoch; the same state while there is no verdict."""
    if state.window is None:
        return [], state
    is_overdue = now_ns - state.window.opened_ns >= VERDICT_DEADLINE_NS
    judgement = state.judge.judge(state.window.observations, is_overdue)
    if judgement is None:
        return [], state
    if judgement.verdict != "rolled_back":
        return settled(state.window.epoch, judgement, state, now_ns)
    candidate = rollback_of(state, judgement, now_ns)
    if candidate is None:
        reason = f"{judgement.reason}, but there is no earlier epoch"
        return settled(state.window.epoch, judgement._replace(verdict="inconclusive", reason=reason), state, now_ns)
    if candidate.restores is None:
        return rolled_back(candidate, state, now_ns, problem="its backup cannot be had")
    return [OpenMutation(mutation_of(candidate, state))], replace(
        state, phase=Opening(candidate), begun=state.begun + 1
    )


def settled(number: int, judgement: Judgement, state: GovernorState, now_ns: int) -> Step:
    """The epoch stays."""
    outputs = [*judged(verdict_of(number, judgement)), audited(EPOCH_JUDGED, facts_of(number, judgement, state))]
    if judgement.verdict == "inconclusive":
        outputs.append(
            alert("EpochInconclusiveEvent", "warning", now_ns, {"epoch": number, "reason": judgement.reason})
        )
    return outputs, replace(state, window=None)


def facts_of(number: int, judgement: Judgement, state: GovernorState) -> dict[str, object]:
    """What the audit log says about a verdict."""
    return {
        "epoch": number,
        "verdict": judgement.verdict,
        "predictions": judgement.predictions,
        **numbers(judgement, state),
    }


def numbers(judgement: Judgement, state: GovernorState) -> dict[str, object]:
    """The fields that the requirement names, in reference scales."""
    return {
        "reason": judgement.reason,
        "pre_mutation_rmse": judgement.before,
        "post_mutation_rmse": judgement.after,
        "relative_increase": judgement.relative_increase,
        "degradation_threshold": getattr(state.judge, "threshold", None),
        "monitoring_window": state.judge.window,
    }


def rolled_back(candidate: Candidate, state: GovernorState, now_ns: int, problem: str | None) -> Step:
    """Publish the earlier configuration again. `problem` tells why the file could not follow; predictions come first.

    The epoch goes before the verdict: it promotes the shadow, which the verdict would drop.
    """
    bad, proposal = state.epoch, candidate.proposal
    if bad is None:
        raise BrokenInvariant("a rollback without an epoch to leave")
    judgement = candidate.judgement or by_hand(candidate, state)
    epoch = epoch_after(state, proposal.proposal_id, candidate.config, candidate.config_hash, now_ns, rollback=True)
    outputs: list[Output] = [*in_force(epoch, state)]
    if state.window is not None:
        outputs += judged(verdict_of(bad.epoch, judgement))
    leaving = decision_of(bad.proposal_id, "rolled_back", judgement.reason, now_ns, epoch)
    outputs += [answer(leaving)] if bad.proposal_id != START else []
    facts = {**numbers(judgement, state), "epoch": epoch.epoch, "nonce": proposal.nonce}
    detail = {"epoch": epoch.epoch, "from": bad.epoch, "reason": judgement.reason}
    event, severity = (ROLLBACK, "critical") if candidate.judgement else (BY_HAND, "warning")
    outputs.append(alert(event, severity, now_ns, detail))
    if problem is None:
        outputs.append(AfterCommit(CloseMutation(proposal.proposal_id, event, facts)))
        fault, text = state.fault, candidate.text
    else:
        fault, text = f"the file could not follow the rollback of epoch {bad.epoch}: {problem}", state.text
        fault += ". Restore it, then: usp config adopt"
        outputs.append(alert("ConfigFileRefusedEvent", "critical", now_ns, {"reason": fault}))
        shared = {"proposal_id": proposal.proposal_id, "trigger": proposal.trigger, "status": STATUS[FAILED]}
        outputs.append(audited(FAILED, {**shared, **facts, "error": fault}))
    after = replace(
        state,
        phase=Idle(),
        begun=state.begun + 1,
        text=text,
        epoch=epoch,
        previous=None,
        previous_text=None,
        backup=None,
        window=None,
        cool_down_ns=now_ns + COOL_DOWN_NS,
        fault=fault,
        answers=answered(state, leaving),
    )
    return told(candidate, epoch, outputs, after, now_ns)


def told(candidate: Candidate, epoch: ConfigEpoch, outputs: list[Output], state: GovernorState, now_ns: int) -> Step:
    """Who asked for a rollback by hand gets the answer, and leaves the queue."""
    if candidate.judgement is not None:
        return outputs, state
    proposal = candidate.proposal
    decision = decision_of(proposal.proposal_id, "accepted", f"in force as epoch {epoch.epoch}", now_ns, epoch)
    after = replace(state, queue=state.queue[1:], answers=answered(state, decision))
    return [*outputs, answer(decision), AfterCommit(SettleLimiter(decision, counts=False))], after


def by_hand(candidate: Candidate, state: GovernorState) -> Judgement:
    """What stands for a judgement where a person decided."""
    seen = 0 if state.window is None else len(state.window.observations)
    who = candidate.proposal.proposer[:SHOWN_CHARACTERS] or "an operator"
    return Judgement("rolled_back", None, seen, None, None, f"rolled back by hand by {who}")
