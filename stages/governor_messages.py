# SPDX-License-Identifier: MIT
"""What the governor asks of the world, and what it is answered. Every effect may be executed twice."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..config.overrides import Override
from ..io.mutation_protocol import Mutation
from ..schemas.records import ConfigDecision, ConfigEpoch
from .contract import Effect, Reply
from .judge import Judge


class Head(NamedTuple):
    """The newest line of the audit log: its number and its hash; 0 and empty before the first."""

    sequence: int
    hash: str


NO_HEAD = Head(0, "")


@dataclass(frozen=True)
class Recover(Effect):
    """Reconcile the configuration file with the committed epochs, then read all that the governor starts from."""


@dataclass(frozen=True)
class Recovered(Reply):
    """Where the governor stands.

    `epoch` is the newest committed one, `previous` what a rollback of it goes back to, `previous_text` the file of
    that version and `backup` its name, None where they cannot be had. `is_judged`: its verdict is committed.
    `condemned` are the hashes of configurations that were rolled back. `repaired` and `doubts` are sentences for the
    people on call: what was reconciled, and what is wrong with the audit log. `answers` and `nonces` (with the proposal
    that used each) are those that epochs and audit log remember. `recorded` are the proposals whose answer the audit
    log has, each with its offset. `head` is the newest audit line. `judge` None keeps the one in use.
    """

    text: str
    overrides: tuple[Override, ...]
    epoch: ConfigEpoch | None = None
    previous: ConfigEpoch | None = None
    previous_text: str | None = None
    backup: str | None = None
    is_judged: bool = False
    condemned: frozenset[str] = frozenset()
    answers: Mapping[str, ConfigDecision] = field(default_factory=dict[str, ConfigDecision])
    repaired: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    proposal_key: bytes | None = field(default=None, repr=False)
    nonces: Mapping[str, str] = field(default_factory=dict[str, str])
    recorded: frozenset[tuple[str, int]] = frozenset()
    head: Head = NO_HEAD
    judge: Judge | None = None


@dataclass(frozen=True)
class RecoveryFailed(Reply):
    """The file cannot be used as it is; people must act. The audit log remembers answers all the same."""

    reason: str
    answers: Mapping[str, ConfigDecision] = field(default_factory=dict[str, ConfigDecision])
    recorded: frozenset[tuple[str, int]] = frozenset()


@dataclass(frozen=True)
class AskLimiter(Effect):
    """May this proposal be carried out now? `steps` is the newest `state_step` by symbol."""

    proposal_id: str
    nonce: str | None
    steps: Mapping[str, int]


@dataclass(frozen=True)
class LimiterReply(Reply):
    """The limiter's answer; `decision` is the final answer that this proposal got before."""

    proposal_id: str
    allowed: bool
    reason: str
    decision: ConfigDecision | None = None


@dataclass(frozen=True)
class OpenMutation(Effect):
    """Intent into the audit log, then backups."""

    mutation: Mutation


@dataclass(frozen=True)
class MutationOpened(Reply):
    """The intent is durable; `backup` is the version before, `head` the newest audit line."""

    proposal_id: str
    backup: str
    head: Head = NO_HEAD


@dataclass(frozen=True)
class ReplaceConfig(Effect):
    """The new file in place of the old, after its intent."""

    proposal_id: str
    text: str


@dataclass(frozen=True)
class ConfigReplaced(Reply):
    """The new file is durable."""

    proposal_id: str


@dataclass(frozen=True)
class MutationRefused(Reply):
    """The file was left as it was."""

    proposal_id: str
    reason: str


@dataclass(frozen=True)
class CloseMutation(Effect):
    """The result of an open intent into the audit log, after the commit."""

    proposal_id: str
    event: str
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class RecordAudit(Effect):
    """An event into the audit log: an answer no before its commit, what was published after it."""

    entry: Mapping[str, Any]


@dataclass(frozen=True)
class Recorded(Reply):
    """The line is durable."""


@dataclass(frozen=True)
class SettleLimiter(Effect):
    """Keep the final answer to a proposal; `counts` False gives its slot back."""

    decision: ConfigDecision
    counts: bool


@dataclass(frozen=True)
class FindVersion(Effect):
    """Which version does a rollback go back to? `target` is a hash or its beginning, None the one before."""

    proposal_id: str
    target: str | None


@dataclass(frozen=True)
class VersionFound(Reply):
    """An earlier configuration, and the file that leads to it with the name of its backup."""

    proposal_id: str
    config: bytes
    config_hash: str
    text: str
    backup: str


@dataclass(frozen=True)
class VersionUnknown(Reply):
    """There is no such version, or its file cannot be had."""

    proposal_id: str
    reason: str


@dataclass(frozen=True)
class Look(Effect):
    """Has somebody else edited the file? How long is the audit log?"""


@dataclass(frozen=True)
class Seen(Reply):
    """SHA-256 of the file (None without one), and the newest audit line."""

    file_hash: str | None
    head: Head
