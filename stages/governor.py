# SPDX-License-Identifier: MIT
"""The governor: the only writer of the configuration. Proposals in, epochs out, each with an answer and a trail.

A proposal goes through these steps, one proposal at a time, in log order:

1. validate (locks, whitelist, types, ranges, size of the step, the loader's rules);
2. ask the rate limiter; a proposal that was answered before gets the same answer again;
3. open the mutation: intent in the audit log, backups;
4. where the change is structural: PREPARE, and wait until the owners of all partitions can run it;
5. replace the file;
6. the commit point: the epoch into every partition, the answer, and the consumed offset, in one transaction;
7. the result in the audit log.

The epoch is then watched; a judge passes it, rolls it back, or finds too little to say.
"""

from collections.abc import Sequence
from dataclasses import replace

from ..io.bus import Partition
from ..io.config_backups import content_hash
from ..io.mutation_rules import ConfigMutationError
from ..schemas.records import ConfigAck, ConfigEpoch, ConfigProposal, Prediction
from . import topology
from .contract import Batch, Effect, Hold, Output, Record, Reply, Send, Stage
from .epoch_window import follow, is_repeat, is_usable, observed, widened
from .governor_messages import (
    AskLimiter,
    ConfigReplaced,
    FindVersion,
    LimiterReply,
    Look,
    MutationOpened,
    MutationRefused,
    Recover,
    Recovered,
    RecoveryFailed,
    Seen,
    VersionFound,
    VersionUnknown,
)
from .governor_outputs import (
    STAGE_NAME,
    alert,
    decision_of,
    noted,
    refused,
)
from .governor_phases import (
    PREPARE_TIMEOUT_NS,
    acknowledged,
    again,
    limited,
    not_written,
    opened,
    refuse,
    replaced,
    version_found,
)
from .governor_proposals import candidate_of, require_trusted
from .governor_start import recovered, recovery_failed
from .governor_state import (
    OFFSETS_KEPT,
    Asking,
    Finding,
    GovernorState,
    Idle,
    Preparing,
    Queued,
    Starting,
    Step,
    init,
    with_nonce,
)
from .governor_verdict import watched
from .poison import BrokenInvariant
from .topology import AUDIT, PARTITIONS, PREDICTIONS, PROPOSALS

NEVER_NS = 2**63 - 1
QUEUE_LENGTH = 1000
BEGUN_AT_ONCE = 3
LOOK_EVERY_NS = 5 * 10**9


def handle(batch: Batch, state: GovernorState) -> Step:
    """See `contract`. Replies of effects come back here before the commit."""
    if not any(isinstance(record.value, Reply) for record in batch.records):
        state = replace(state, begun=0)
    outputs: list[Output] = []
    state = measured(state, batch.records)
    for record in batch.records:
        more, state = take(record, state, batch.now_ns)
        outputs += more
    while True:
        more, after = advance(state, batch.now_ns)
        outputs += more
        if after is state:
            break
        state = after
    if not any(isinstance(output, Effect) for output in outputs):
        outputs += holds(state)
    return outputs, state


def measured(state: GovernorState, records: Sequence[Record]) -> GovernorState:
    """What predictions say about symbols and the watched epoch."""
    predictions = [(r.partition.number, r.offset, r.value) for r in records if isinstance(r.value, Prediction)]
    if not predictions:
        return state
    tracks, window, offsets = dict(state.tracks), state.window, dict(state.offsets)
    for number, _, p in predictions:
        key = number, p.symbol
        track = tracks.get(key)
        if is_repeat(track, p):
            continue
        tracks[key] = follow(track, p)
        if window is not None:
            seen = observed(track, p, window.epoch)
            if seen is not None and is_usable(seen, state.judge):
                window = widened(window, seen, state.judge.window, len(tracks))
    for number in {number for number, _, _ in predictions}:
        if window is None or number not in offsets:
            fresh = tuple(offset for n, offset, _ in predictions if n == number)
            offsets[number] = (*offsets.get(number, ()), *fresh)[-OFFSETS_KEPT:]
    return replace(state, tracks=tracks, window=window, offsets=offsets)


def holds(state: GovernorState) -> list[Output]:
    """A restart reads again the proposals that have no answer, and the predictions that a verdict may need."""
    found: list[Output] = [Hold(Partition(PREDICTIONS.name, n), o[0]) for n, o in state.offsets.items() if o]
    return found + [Hold(Partition(PROPOSALS.name, 0), queued.offset) for queued in state.queue[:1]]


def take(record: Record, state: GovernorState, now_ns: int) -> Step:
    """One record or reply."""
    match record.value:
        case ConfigProposal() as proposal:
            return queue(Queued(record.offset, proposal), state, now_ns)
        case ConfigAck() as ack:
            return acknowledged(ack, state, now_ns)
        case ConfigEpoch(epoch=number) if state.epoch is not None and number > state.epoch.epoch:
            raise BrokenInvariant(f"epoch {number} was published by another governor; expected to be the only one")
        case Recovered() as found:
            return recovered(found, state, now_ns)
        case RecoveryFailed(reason=reason, answers=answers, recorded=recorded):
            known = replace(state, answers={**answers, **state.answers}, recorded=recorded)
            return recovery_failed(reason, known, now_ns)
        case LimiterReply() as reply:
            return limited(reply, state, now_ns)
        case MutationOpened() as reply:
            return opened(reply, state, now_ns)
        case ConfigReplaced(proposal_id=proposal_id):
            return replaced(proposal_id, state, now_ns)
        case MutationRefused(proposal_id=proposal_id, reason=reason):
            return not_written(proposal_id, reason, state, now_ns)
        case VersionFound() as found:
            return version_found(found, state, now_ns)
        case VersionUnknown(proposal_id=proposal_id, reason=reason):
            is_ours = isinstance(state.phase, Finding) and state.phase.proposal.proposal_id == proposal_id
            return refuse(reason, state, now_ns) if is_ours else ([], state)
        case Seen() as found:
            return seen(found, state, now_ns)
        case _:
            return [], state


def queue(queued: Queued, state: GovernorState, now_ns: int) -> Step:
    """Wait in line; a repeated delivery waits once, and a flood is refused at the door."""
    if any(queued.offset == other.offset for other in state.queue):
        return [], state
    if len(state.queue) < QUEUE_LENGTH:
        return [], replace(state, queue=(*state.queue, queued))
    if any(queued.proposal.proposal_id == other.proposal.proposal_id for other in state.queue):
        return [], state
    reason = f"{QUEUE_LENGTH} proposals are waiting; expected fewer, try again later"
    decision = decision_of(queued.proposal.proposal_id, "refused", reason, now_ns)
    return refused(queued, decision, counts=False), state


def advance(state: GovernorState, now_ns: int) -> Step:
    """The next step that needs no reply; the same state when there is none."""
    match state.phase:
        case Starting(retry_ns=retry_ns) if now_ns >= retry_ns:
            return [Recover()], replace(state, phase=replace(state.phase, retry_ns=NEVER_NS))
        case Starting(retry_ns=retry_ns, reason=str(reason)) if state.queue and retry_ns != NEVER_NS:
            known = state.answers.get(state.queue[0].proposal.proposal_id)
            if known is not None:
                return again(state.queue[0], known, state)
            return refuse(f"the governor has no usable configuration: {reason}", state, now_ns)
        case Preparing(deadline_ns=deadline_ns, acks=acks) if now_ns >= deadline_ns:
            missing = sorted(set(range(PARTITIONS)) - acks)
            return refuse(
                f"not acknowledged within {PREPARE_TIMEOUT_NS / 1e9:.0f} s by partitions {missing}", state, now_ns
            )
        case Idle() if now_ns >= state.look_ns:
            return [Look()], replace(state, look_ns=now_ns + LOOK_EVERY_NS)
        case Idle():
            outputs, after = watched(state, now_ns)
            return (outputs, after) if after is not state or not state.queue else begin(state, now_ns)
        case _:
            return [], state


def begin(state: GovernorState, now_ns: int) -> Step:
    """Take up the proposal at the head of the queue."""
    proposal = state.queue[0].proposal
    known = state.answers.get(proposal.proposal_id)
    if known is not None:
        return again(state.queue[0], known, state)
    if state.begun >= BEGUN_AT_ONCE:
        return [], state
    try:
        require_trusted(proposal, state, now_ns)
    except ConfigMutationError as fault:
        return refuse(str(fault), state, now_ns)
    state = replace(state, nonces=with_nonce(state, proposal))
    if proposal.action != "change":
        return turned(proposal, state, now_ns)
    obstacle = why_not_now(state, now_ns)
    if obstacle:
        return refuse(obstacle, state, now_ns)
    try:
        candidate = candidate_of(proposal, state, now_ns)
    except ConfigMutationError as fault:
        return refuse(str(fault), state, now_ns)
    steps = {f"{number}/{symbol}": track.step for (number, symbol), track in state.tracks.items()}
    ask = AskLimiter(proposal.proposal_id, proposal.nonce if state.proposal_key else None, steps)
    return [ask], replace(state, phase=Asking(candidate), begun=state.begun + 1)


def turned(proposal: ConfigProposal, state: GovernorState, now_ns: int) -> Step:
    """A rollback by hand, or the adoption of the file. Both look at what is committed, so nothing may be pending."""
    if state.begun:
        return [], state
    begun = replace(state, begun=1)
    if proposal.action == "adopt":
        return [Recover()], replace(begun, phase=Starting(NEVER_NS, adopting=True))
    if state.fault:
        return refuse(state.fault, state, now_ns)
    return [FindVersion(proposal.proposal_id, proposal.target)], replace(begun, phase=Finding(proposal))


def seen(found: Seen, state: GovernorState, now_ns: int) -> Step:
    """Tell an edit of the file once, and note the end of the audit log in the broker."""
    outputs: list[Output] = []
    if found.head.sequence > state.noted:
        outputs.append(Send(AUDIT, noted(found.head, now_ns), "head"))
    is_other = isinstance(state.phase, Idle) and found.file_hash != content_hash(state.text.encode())
    if is_other and found.file_hash != state.edited:
        advice = "take it over with usp config adopt, or restore the newest backup"
        detail = {"found": str(found.file_hash)[:16], "advice": advice}
        outputs.append(alert("ConfigFileEditedEvent", "warning", now_ns, detail))
    edited = found.file_hash if is_other else None
    return outputs, replace(state, noted=max(state.noted, found.head.sequence), head=found.head, edited=edited)


def why_not_now(state: GovernorState, now_ns: int) -> str | None:
    """What stands in the way of any change."""
    if state.fault:
        return state.fault
    if state.window is not None:
        seen, needed = len(state.window.observations), state.judge.window
        found = f"epoch {state.window.epoch} is being judged ({seen} of {needed} predictions)"
        return f"{found}; propose again after its verdict"
    if now_ns < state.cool_down_ns:
        return f"cooling down after a rollback for another {(state.cool_down_ns - now_ns) / 1e9:.0f} s"
    return None


STAGE = Stage(
    name=STAGE_NAME,
    consumes=topology.STAGES[STAGE_NAME][0],
    produces=topology.STAGES[STAGE_NAME][1],
    dead_letters=topology.DEAD_LETTERS,
    init=init,
    handle=handle,
    gather_s=0.2,
)
