# SPDX-License-Identifier: MIT
"""The end of a watch: the epoch passes, is rolled back, or nothing can be said."""

from dataclasses import replace

from ..io.mutation_protocol import FAILED, ROLLBACK, STATUS
from .contract import AfterCommit, Output
from .governor_messages import CloseMutation, OpenMutation
from .governor_outputs import alert, answer, audited, decision_of, epoch_after, in_force, judged, verdict_of
from .governor_proposals import mutation_of, rollback_of
from .governor_state import Candidate, GovernorState, Idle, Opening, answered
from .judge import Judgement
from .poison import BrokenInvariant

COOL_DOWN_NS = 3600 * 10**9
VERDICT_DEADLINE_NS = 24 * 3600 * 10**9

Step = tuple[list[Output], GovernorState]


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
    return [OpenMutation(mutation_of(candidate, state))], replace(state, phase=Opening(candidate))


def settled(number: int, judgement: Judgement, state: GovernorState, now_ns: int) -> Step:
    """The epoch stays."""
    outputs = [*judged(verdict_of(number, judgement)), audited("EPOCH_VERDICT", facts_of(number, judgement, state))]
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
    judgement, bad = candidate.judgement, state.epoch
    if judgement is None or bad is None:
        raise BrokenInvariant("a rollback without a judgement or without an epoch to leave")
    proposal_id = candidate.proposal.proposal_id
    epoch = epoch_after(state, proposal_id, candidate.config, candidate.config_hash, now_ns, rollback=True)
    decision = decision_of(bad.proposal_id, "rolled_back", judgement.reason, now_ns, epoch)
    facts = {**numbers(judgement, state), "epoch": epoch.epoch}
    outputs: list[Output] = [*in_force(epoch), *judged(verdict_of(bad.epoch, judgement)), answer(decision)]
    outputs.append(
        alert(ROLLBACK, "critical", now_ns, {"epoch": epoch.epoch, "from": bad.epoch, "reason": judgement.reason})
    )
    if problem is None:
        outputs.append(AfterCommit(CloseMutation(proposal_id, ROLLBACK, facts)))
        fault, text = state.fault, candidate.text
    else:
        fault, text = f"the file could not follow the rollback of epoch {bad.epoch}: {problem}", state.text
        fault += ". Restore it and restart the governor"
        outputs.append(alert("ConfigFileRefusedEvent", "critical", now_ns, {"reason": fault}))
        shared = {"proposal_id": proposal_id, "trigger": candidate.proposal.trigger, "status": STATUS[FAILED]}
        outputs.append(audited(FAILED, {**shared, **facts, "error": fault}))
    after = replace(
        state,
        phase=Idle(),
        text=text,
        epoch=epoch,
        previous=None,
        previous_text=None,
        backup=None,
        window=None,
        cool_down_ns=now_ns + COOL_DOWN_NS,
        fault=fault,
        answers=answered(state, decision),
    )
    return outputs, after
