# SPDX-License-Identifier: MIT
"""From a proposal to a valid change of the configuration, or the reason why there is none. Pure."""

import copy
import json
import math
import tomllib
from typing import Any

from ..config.errors import ConfigError, shown
from ..config.model import ModelConfig, is_structural, load
from ..io import proposal_signature
from ..io.config_backups import content_hash
from ..io.mutation_protocol import Mutation
from ..io.mutation_rules import ConfigMutationError, validate_delta
from ..io.toml_edit import changed, differences, document
from ..schemas.records import ConfigProposal
from .governor_messages import VersionFound
from .governor_state import Candidate, GovernorState
from .judge import Judgement

ID_LENGTH = 200
LITERAL_LENGTH = 1000
MAX_CHANGES = 100


def candidate_of(proposal: ConfigProposal, state: GovernorState, now_ns: int) -> Candidate:
    """The change that is proposed. ConfigMutationError with the reason if it may not be made."""
    text, delta = changed(state.text, {key: value_of(key, text) for key, text in proposal.changes.items()})
    require_effect(state, delta)
    is_small, reason = validate_delta(delta)
    if not is_small:
        raise ConfigMutationError(reason)
    config = effective(state, text)
    return Candidate(
        proposal=proposal,
        text=text,
        config=config.canonical_bytes,
        config_hash=config.content_hash,
        delta=delta,
        is_structural=any(is_structural(key) for key in delta),
    )


def require_trusted(proposal: ConfigProposal, state: GovernorState, now_ns: int) -> None:
    """ConfigMutationError for a proposal that is malformed, expired, badly signed, or signed with a used nonce."""
    require_sound(proposal)
    distrust = proposal_signature.refusal(proposal, state.proposal_key, now_ns)
    if distrust:
        raise ConfigMutationError(distrust)
    owner = state.nonces.get(proposal.nonce, proposal.proposal_id) if proposal.nonce else proposal.proposal_id
    if state.proposal_key and owner != proposal.proposal_id:
        raise ConfigMutationError(f"replayed: its nonce was used by proposal {owner!r}; expected a fresh one")


def require_sound(proposal: ConfigProposal) -> None:
    """ConfigMutationError for a proposal that cannot even be answered for."""
    if proposal.action != "change" and proposal.changes:
        raise ConfigMutationError(f"a proposal to {proposal.action} had changes too; expected none")
    if not 0 < len(proposal.proposal_id) <= ID_LENGTH:
        raise ConfigMutationError(f"its id had {len(proposal.proposal_id)} characters; expected 1 to {ID_LENGTH}")
    if len(proposal.changes) > MAX_CHANGES:
        raise ConfigMutationError(f"it had {len(proposal.changes)} changes; expected at most {MAX_CHANGES}")
    if proposal.best_objective is not None and not math.isfinite(proposal.best_objective):
        raise ConfigMutationError(f"its objective was {proposal.best_objective}; expected a finite number or none")


def value_of(key: str, literal: str) -> Any:
    """The value that a TOML literal denotes; ConfigMutationError if it is none."""
    try:
        if len(literal) > LITERAL_LENGTH:
            raise ValueError("too long")
        table = tomllib.loads(f"value = {literal}")
    except (ValueError, RecursionError) as fault:
        raise ConfigMutationError(f"{shown(key)}: was {shown(literal)}, expected a TOML literal such as 0.5") from fault
    if table.keys() != {"value"}:
        raise ConfigMutationError(f"{shown(key)}: was {shown(literal)}, expected one TOML literal and nothing more")
    return table["value"]


def require_effect(state: GovernorState, delta: dict[str, list[Any]]) -> None:
    """ConfigMutationError for changes that would change nothing."""
    same = [key for key, (old, new) in delta.items() if old == new]
    if same:
        raise ConfigMutationError(f"{', '.join(same)}: already has this value; expected a change")
    hidden = [f"{o.key} by {o.variable}" for o in state.overrides if o.key in delta]
    if hidden:
        found = f"overridden in the governor's environment: {', '.join(hidden)}"
        raise ConfigMutationError(f"{found}; unset the variable and restart the governor")


def effective(state: GovernorState, text: str) -> ModelConfig:
    """The configuration of a file's text under the overrides in force; the loader must accept both."""
    mapping = document(text)
    overridden = copy.deepcopy(mapping)
    for override in state.overrides:
        section, _, name = override.key.partition(".")
        overridden.setdefault(section, {})[name] = override.new
    try:
        load(mapping)
        return load(overridden)
    except ConfigError as fault:
        raise ConfigMutationError(f"the loader would refuse the new configuration: {fault}") from fault


def mutation_of(candidate: Candidate, state: GovernorState) -> Mutation:
    """The change of the file that a candidate asks for."""
    return Mutation(
        proposal_id=candidate.proposal.proposal_id,
        trigger=candidate.proposal.trigger,
        text=candidate.text,
        old_file_hash=content_hash(state.text.encode()),
        config_hash=candidate.config_hash,
        delta=candidate.delta,
        proposer=candidate.proposal.proposer,
        best_objective=candidate.proposal.best_objective,
        restores=candidate.restores,
    )


def rollback_of(state: GovernorState, judgement: Judgement, now_ns: int) -> Candidate | None:
    """The way back from the epoch in force to the one before; None if there is none."""
    if state.epoch is None or state.previous is None:
        return None
    proposal = ConfigProposal(
        proposal_id=f"rollback-{state.epoch.epoch}",
        proposer="governor",
        trigger="AutoRollback",
        changes={},
        best_objective=None,
        proposed_ns=now_ns,
        expires_ns=None,
        nonce=None,
        signature=None,
    )
    has_file = state.previous_text is not None and state.backup is not None
    text = state.previous_text if state.previous_text is not None and has_file else state.text
    return Candidate(
        proposal=proposal,
        text=text,
        config=state.previous.config,
        config_hash=state.previous.config_hash,
        delta=differences(document(state.text), document(text)),
        is_structural=False,
        is_rollback=True,
        restores=state.backup if has_file else None,
        judgement=judgement,
    )


def way_back(found: VersionFound, proposal: ConfigProposal, state: GovernorState) -> Candidate:
    """The rollback by hand to a version that was found; ConfigMutationError if there is nothing to go back from."""
    if state.epoch is None:
        raise ConfigMutationError("there is no epoch yet; expected one to go back from")
    now, then = (json.loads(config) for config in (state.epoch.config, found.config))
    is_shadow = state.window is not None and state.previous is not None
    has_program = is_shadow and state.previous is not None and state.previous.config_hash == found.config_hash
    return Candidate(
        proposal=proposal,
        text=found.text,
        config=found.config,
        config_hash=found.config_hash,
        delta=differences(document(state.text), document(found.text)),
        is_structural=not has_program and any(is_structural(key) for key in differences(now, then)),
        is_rollback=True,
        restores=found.backup,
    )
