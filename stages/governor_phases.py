# SPDX-License-Identifier: MIT
"""The way of one proposal through the governor, from the limiter's answer to the commit point, or to a final no."""

from dataclasses import replace

from ..io.mutation_protocol import SUCCESS
from ..io.mutation_rules import ConfigMutationError
from ..schemas.records import ConfigAck, ConfigDecision, ConfigEpoch
from .contract import AfterCommit, Output
from .epoch_window import Window, pooled_rmse
from .governor_messages import (
    CloseMutation,
    LimiterReply,
    MutationOpened,
    OpenMutation,
    RecordAudit,
    ReplaceConfig,
    SettleLimiter,
    VersionFound,
)
from .governor_outputs import (
    SHOWN_CHARACTERS,
    alert,
    answer,
    decision_of,
    epoch_after,
    in_band,
    in_force,
    prepare,
    refused,
)
from .governor_proposals import mutation_of, way_back
from .governor_state import (
    Asking,
    Candidate,
    Finding,
    GovernorState,
    Idle,
    Opening,
    Preparing,
    Queued,
    Replacing,
    Starting,
    Step,
    answered,
)
from .governor_verdict import rolled_back
from .topology import PARTITIONS

PREPARE_TIMEOUT_NS = 120 * 10**9


def refuse(reason: str, state: GovernorState, now_ns: int) -> Step:
    """The final answer no to the head of the queue."""
    head = state.queue[0]
    decision = decision_of(head.proposal.proposal_id, "refused", reason, now_ns)
    phase = state.phase if isinstance(state.phase, Starting) else Idle()
    after = replace(
        state,
        phase=phase,
        queue=state.queue[1:],
        answers=answered(state, decision),
    )
    closing = in_band(decision) if isinstance(state.phase, Preparing) else []
    nonce = head.proposal.nonce or ""
    is_used = state.nonces.get(nonce) == head.proposal.proposal_id
    return [*refused(head, decision, counts=False, nonce=nonce if is_used else None), *closing], after


def again(head: Queued, known: ConfigDecision, state: GovernorState) -> Step:
    """The same answer; where proposals are signed, somebody may have replayed it, and that is worth a line.

    A proposal that was audited at this very offset was not repeated: the process died before its answer was out.
    """
    after = replace(state, queue=state.queue[1:])
    name, settled = head.proposal.proposal_id, AfterCommit(SettleLimiter(known, known.outcome != "refused"))
    if (name, head.offset) in state.recorded:
        return [answer(known), *in_band(known), settled], after
    repeat = {"event": "PROPOSAL_REPEATED", "proposal_id": name, "proposer": head.proposal.proposer[:SHOWN_CHARACTERS]}
    line = RecordAudit({**repeat, "outcome": known.outcome, "offset": head.offset})
    return [answer(known), *([line] if state.proposal_key else []), settled], after


def limited(reply: LimiterReply, state: GovernorState, now_ns: int) -> Step:
    """The limiter has spoken."""
    if not isinstance(state.phase, Asking) or state.phase.candidate.proposal.proposal_id != reply.proposal_id:
        return [], state
    if reply.decision is not None:
        after = replace(state, phase=Idle(), queue=state.queue[1:], answers=answered(state, reply.decision))
        return [answer(reply.decision)], after
    if not reply.allowed:
        return refuse(reply.reason, state, now_ns)
    return opening(state.phase.candidate, state)


def version_found(found: VersionFound, state: GovernorState, now_ns: int) -> Step:
    """Open the mutation that goes back; no limit holds it up."""
    if not isinstance(state.phase, Finding) or state.phase.proposal.proposal_id != found.proposal_id:
        return [], state
    try:
        candidate = way_back(found, state.phase.proposal, state)
    except ConfigMutationError as fault:
        return refuse(str(fault), state, now_ns)
    return opening(candidate, state)


def opening(candidate: Candidate, state: GovernorState) -> Step:
    """Ask for the intent."""
    return [OpenMutation(mutation_of(candidate, state))], replace(state, phase=Opening(candidate))


def opened(reply: MutationOpened, state: GovernorState, now_ns: int) -> Step:
    """The intent is durable: compile first, or go on to the file."""
    if not isinstance(state.phase, Opening) or state.phase.candidate.proposal.proposal_id != reply.proposal_id:
        return [], state
    candidate, state = state.phase.candidate, replace(state, head=reply.head)
    if not candidate.is_structural:
        return replacing(candidate, reply.backup, state)
    number = epoch_after(state, reply.proposal_id, b"", "", now_ns).epoch
    phase = Preparing(candidate, reply.backup, now_ns + PREPARE_TIMEOUT_NS)
    return prepare(candidate, number, PREPARE_TIMEOUT_NS / 1e9, now_ns), replace(state, phase=phase)


def replacing(candidate: Candidate, backup: str, state: GovernorState) -> Step:
    """Ask for the new file."""
    effect = ReplaceConfig(candidate.proposal.proposal_id, candidate.text)
    return [effect], replace(state, phase=Replacing(candidate, backup))


def acknowledged(ack: ConfigAck, state: GovernorState, now_ns: int) -> Step:
    """One partition's owner can, or cannot, run the prepared configuration."""
    phase = state.phase
    if not isinstance(phase, Preparing) or phase.candidate.proposal.proposal_id != ack.proposal_id:
        return [], state
    if not ack.able:
        return refuse(f"the owner of partition {ack.partition} cannot run it: {ack.detail}", state, now_ns)
    acks = phase.acks | ({ack.partition} & set(range(PARTITIONS)))
    if len(acks) == PARTITIONS:
        return replacing(phase.candidate, phase.backup, state)
    return [], replace(state, phase=replace(phase, acks=acks))


def not_written(proposal_id: str, reason: str, state: GovernorState, now_ns: int) -> Step:
    """The file could not be changed. A proposal ends here; a rollback by the judge goes on without the file."""
    if not isinstance(state.phase, Opening | Replacing) or state.phase.candidate.proposal.proposal_id != proposal_id:
        return [], state
    if state.phase.candidate.judgement is not None:
        return rolled_back(state.phase.candidate, state, now_ns, problem=reason)
    return refuse(reason, state, now_ns)


def replaced(proposal_id: str, state: GovernorState, now_ns: int) -> Step:
    """The commit point: the epoch, the answer and the offset go out together."""
    if not isinstance(state.phase, Replacing) or state.phase.candidate.proposal.proposal_id != proposal_id:
        return [], state
    candidate, backup = state.phase.candidate, state.phase.backup
    if candidate.is_rollback:
        return rolled_back(candidate, state, now_ns, problem=None)
    baseline = pooled_rmse(state.tracks)
    epoch = epoch_after(state, proposal_id, candidate.config, candidate.config_hash, now_ns, baseline)
    decision = decision_of(proposal_id, "accepted", f"in force as epoch {epoch.epoch}", now_ns, epoch)
    outputs: list[Output] = [
        *in_force(epoch, state),
        answer(decision),
        alert(SUCCESS, "info", now_ns, {"epoch": epoch.epoch, "proposal_id": proposal_id, "changes": candidate.delta}),
        AfterCommit(CloseMutation(proposal_id, SUCCESS, facts_of(candidate, epoch, state))),
        AfterCommit(SettleLimiter(decision, counts=True)),
    ]
    after = replace(
        state,
        phase=Idle(),
        queue=state.queue[1:],
        text=candidate.text,
        epoch=epoch,
        previous=state.epoch,
        previous_text=state.text,
        backup=backup,
        window=Window(epoch.epoch, now_ns),
        answers=answered(state, decision),
    )
    return outputs, after


def facts_of(candidate: Candidate, epoch: ConfigEpoch, state: GovernorState) -> dict[str, object]:
    """What the limiter's memory is rebuilt from, if Redis loses it."""
    steps = sum(track.step for track in state.tracks.values())
    return {"epoch": epoch.epoch, "state_steps": steps, "nonce": candidate.proposal.nonce}
