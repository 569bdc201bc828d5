# SPDX-License-Identifier: MIT
"""What the governor knows, and where it stands with the proposal at the head of its queue."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from ..config.model import ModelConfig
from ..config.overrides import Override
from ..schemas.records import ConfigDecision, ConfigEpoch, ConfigProposal
from .contract import Output
from .epoch_window import SymbolKey, Track, Window
from .governor_messages import NO_HEAD, Head
from .judge import Judge, Judgement, PairedShadow

ANSWERS_KEPT = 1000
NONCES_KEPT = 10_000
OFFSETS_KEPT = 1024


@dataclass(frozen=True)
class Queued:
    """A proposal and its place in the log."""

    offset: int
    proposal: ConfigProposal


@dataclass(frozen=True)
class Candidate:
    """A valid change: the new file, the configuration it leads to, and what differs.

    A rollback names in `restores` the backup that holds its text, None where there is none any more. One by the judge
    has the judgement that led to it; one by hand has none.
    """

    proposal: ConfigProposal
    text: str
    config: bytes
    config_hash: str
    delta: Mapping[str, list[Any]]
    is_structural: bool
    is_rollback: bool = False
    restores: str | None = None
    judgement: Judgement | None = None


@dataclass(frozen=True)
class Starting:
    """Nothing is known yet; asks again at `retry_ns`. `reason` tells why the last attempt failed.

    `adopting`: the proposal at the head of the queue asked to take the file over.
    """

    retry_ns: int = 0
    reason: str | None = None
    adopting: bool = False


@dataclass(frozen=True)
class Idle:
    """No proposal is being worked on."""


@dataclass(frozen=True)
class Finding:
    """The version of a rollback is being looked for."""

    proposal: ConfigProposal


@dataclass(frozen=True)
class Asking:
    """The limiter has been asked."""

    candidate: Candidate


@dataclass(frozen=True)
class Opening:
    """The intent is being written."""

    candidate: Candidate


@dataclass(frozen=True)
class Preparing:
    """The owners of the partitions compile; `acks` are those that can run it."""

    candidate: Candidate
    backup: str
    deadline_ns: int
    acks: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Replacing:
    """The file is being replaced."""

    candidate: Candidate
    backup: str


Phase: TypeAlias = Starting | Idle | Finding | Asking | Opening | Preparing | Replacing


@dataclass(frozen=True)
class GovernorState:
    """Never changed in place.

    `text` is the file as it was last read or written, `epoch` the configuration in force; `previous`,
    `previous_text` and `backup` are what a rollback goes back to. `fault` tells why nothing may be changed until a
    restart. `begun` counts the proposals begun since time last passed: each costs rounds of effects.
    `offsets` are the newest predictions by partition, from which a restart must read again. `nonces` are the used ones
    with their proposals, `recorded` the (proposal, offset) whose answer the audit log had at the start. `look_ns` is
    when the file is looked at next, `edited` the hash of an edit that was told, `head` the newest audit line that is
    known, `noted` the number of the newest one that was noted in the broker.
    """

    defaults_hash: str
    judge: Judge = field(default_factory=PairedShadow)
    phase: Phase = field(default_factory=Starting)
    queue: tuple[Queued, ...] = ()
    begun: int = 0
    text: str = ""
    overrides: tuple[Override, ...] = ()
    epoch: ConfigEpoch | None = None
    previous: ConfigEpoch | None = None
    previous_text: str | None = None
    backup: str | None = None
    window: Window | None = None
    cool_down_ns: int = 0
    fault: str | None = None
    answers: Mapping[str, ConfigDecision] = field(default_factory=dict[str, ConfigDecision])
    tracks: Mapping[SymbolKey, Track] = field(default_factory=dict[SymbolKey, Track])
    offsets: Mapping[int, tuple[int, ...]] = field(default_factory=dict[int, "tuple[int, ...]"])
    proposal_key: bytes | None = field(default=None, repr=False)
    nonces: Mapping[str, str] = field(default_factory=dict[str, str])
    recorded: frozenset[tuple[str, int]] = frozenset()
    head: Head = NO_HEAD
    look_ns: int = 0
    edited: str | None = None
    noted: int = 0


Step: TypeAlias = tuple[list[Output], GovernorState]


def init(config: ModelConfig) -> GovernorState:
    """Before anything is known but the packaged defaults, which are epoch 0."""
    return GovernorState(defaults_hash=config.content_hash)


def answered(state: GovernorState, decision: ConfigDecision) -> Mapping[str, ConfigDecision]:
    """The remembered answers with one more; the oldest is forgotten when they are too many."""
    answers = {**state.answers, decision.proposal_id: decision}
    while len(answers) > ANSWERS_KEPT:
        del answers[next(iter(answers))]
    return answers


def with_nonce(state: GovernorState, proposal: ConfigProposal) -> Mapping[str, str]:
    """The used nonces with that of a proposal; the oldest is forgotten when they are too many."""
    nonces = {**state.nonces, **({proposal.nonce: proposal.proposal_id} if proposal.nonce else {})}
    while len(nonces) > NONCES_KEPT:
        del nonces[next(iter(nonces))]
    return nonces
