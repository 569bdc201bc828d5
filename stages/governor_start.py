# SPDX-License-Identifier: MIT
"""The governor's start: from what recovery found to the configuration in force."""

import json
from dataclasses import replace
from typing import Any

from ..io.mutation_rules import ConfigMutationError
from ..io.toml_edit import differences
from ..schemas.records import ConfigEpoch, ConfigProposal
from .contract import Output
from .epoch_window import Window
from .governor_messages import Recovered
from .governor_outputs import (
    EPOCH_JUDGED,
    EPOCH_PUBLISHED,
    SHOWN_CHARACTERS,
    STAGE_NAME,
    START,
    alert,
    answer,
    audited,
    decision_of,
    epoch_after,
    in_force,
    judged,
    refused,
    verdict_of,
)
from .governor_proposals import effective
from .governor_state import GovernorState, Idle, Starting, answered
from .governor_verdict import COOL_DOWN_NS, facts_of
from .judge import Judgement

RETRY_NS = 10 * 10**9


def recovered(found: Recovered, state: GovernorState, now_ns: int) -> tuple[list[Output], GovernorState]:
    """Take over what was found; publish the file as the next epoch if it is not the newest one."""
    if not isinstance(state.phase, Starting):
        return [], state
    adopting = state.phase.adopting
    state = replace(
        state,
        phase=Idle(),
        text=found.text,
        overrides=found.overrides,
        epoch=found.epoch,
        previous=found.previous,
        previous_text=found.previous_text,
        backup=found.backup,
        window=state.window if is_same_watch(found, state) else open_window(found),
        cool_down_ns=found.epoch.created_ns + COOL_DOWN_NS if found.epoch and found.epoch.rollback else 0,
        answers={**found.answers, **state.answers},
        proposal_key=found.proposal_key,
        nonces={**found.nonces, **state.nonces},
        recorded=found.recorded,
        head=found.head,
        judge=found.judge or state.judge,
        fault=None,
        edited=None,
    )
    outputs: list[Output] = [alert("ConfigReconciledEvent", "warning", now_ns, {"done": d}) for d in found.repaired]
    outputs += [alert("AuditChainBrokenEvent", "critical", now_ns, {"problem": p}) for p in found.doubts]
    before = state.epoch
    more, state = publish(found, state, now_ns, state.queue[0].proposal if adopting else None)
    outputs += more
    if adopting and isinstance(state.phase, Idle):
        more, state = adopted(state.epoch if state.epoch != before else None, state, now_ns)
        outputs += more
    return outputs, state


def adopted(epoch: ConfigEpoch | None, state: GovernorState, now_ns: int) -> tuple[list[Output], GovernorState]:
    """The answer to who asked to take the file over."""
    head = state.queue[0]
    name = head.proposal.proposal_id
    if epoch is not None:
        decision = decision_of(name, "accepted", f"the file is in force as epoch {epoch.epoch}", now_ns, epoch)
        outputs: list[Output] = [answer(decision)]
    else:
        reason = state.fault or "the file holds the configuration in force; there is nothing to adopt"
        decision = decision_of(name, "refused", reason, now_ns)
        outputs = refused(head, decision, counts=False)
    after = replace(
        state,
        queue=state.queue[1:],
        answers=answered(state, decision),
    )
    return outputs, after


def is_same_watch(found: Recovered, state: GovernorState) -> bool:
    """True if the epoch that is being watched is still the newest: what was observed stays."""
    return state.window is not None and found.epoch is not None and found.epoch.epoch == state.window.epoch


def open_window(found: Recovered) -> Window | None:
    """The watch goes on where the newest epoch came from a proposal and has no verdict yet."""
    epoch = found.epoch
    is_watched = epoch is not None and epoch.proposal_id != START and not epoch.rollback and not found.is_judged
    return Window(epoch.epoch, epoch.created_ns) if epoch is not None and is_watched else None


def publish(
    found: Recovered, state: GovernorState, now_ns: int, adoption: ConfigProposal | None
) -> tuple[list[Output], GovernorState]:
    """The file's configuration as an epoch, unless it is in force, or is one that was rolled back."""
    try:
        config = effective(state, found.text)
    except ConfigMutationError as fault:
        return recovery_failed(str(fault), replace(state, phase=Starting()), now_ns)
    if state.epoch is not None and config.content_hash == state.epoch.config_hash:
        return [], state
    if config.content_hash in found.condemned:
        fault = "the file holds a configuration that was rolled back; restore another version, then: usp config adopt"
        return [alert("ConfigFileRefusedEvent", "critical", now_ns, {"reason": fault})], replace(state, fault=fault)
    epoch = epoch_after(state, START, config.canonical_bytes, config.content_hash, now_ns)
    facts = {
        **asked_by(adoption),
        "delta": {} if state.epoch is None else config_changes(state.epoch.config, epoch.config),
        "epoch": epoch.epoch,
        "old_config_hash": epoch.previous_hash,
        "config_hash": epoch.config_hash,
        "overrides": {o.variable: [o.old, o.new] for o in state.overrides},
        "status": "SUCCESS",
    }
    outputs = [*in_force(epoch, state), *superseded(state), audited(EPOCH_PUBLISHED, facts)]
    after = replace(state, epoch=epoch, previous=state.epoch, previous_text=None, backup=None, window=None)
    return outputs, after


def asked_by(proposal: ConfigProposal | None) -> dict[str, Any]:
    """Who puts the file into force: whoever asked for its adoption, or the start itself."""
    if proposal is None:
        return {"proposal_id": START, "proposer": STAGE_NAME, "trigger": "Start"}
    return {
        "proposal_id": proposal.proposal_id,
        "proposer": proposal.proposer[:SHOWN_CHARACTERS],
        "trigger": proposal.trigger[:SHOWN_CHARACTERS],
        "nonce": proposal.nonce,
    }


def config_changes(before: bytes, after: bytes) -> dict[str, list[Any]]:
    """[old, new] of every key that differs between two configurations in canonical bytes."""
    return differences(json.loads(before), json.loads(after))


def superseded(state: GovernorState) -> list[Output]:
    """The end of a watch that another epoch has cut short."""
    if state.window is None:
        return []
    cut = Judgement("inconclusive", None, 0, None, None, "the file was changed by hand")
    number = state.window.epoch
    return [*judged(verdict_of(number, cut)), audited(EPOCH_JUDGED, facts_of(number, cut, state))]


def recovery_failed(reason: str, state: GovernorState, now_ns: int) -> tuple[list[Output], GovernorState]:
    """Say so once, refuse proposals, and look again later; the epoch in force stays."""
    if not isinstance(state.phase, Starting):
        return [], state
    is_news = reason != state.phase.reason
    outputs: list[Output] = [alert("ConfigFileRefusedEvent", "critical", now_ns, {"reason": reason})] if is_news else []
    return outputs, replace(state, phase=Starting(now_ns + RETRY_NS, reason))
