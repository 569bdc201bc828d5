# SPDX-License-Identifier: MIT
"""What the `usp config` commands do to the broker: send a proposal and wait for its answer, read the epochs."""

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from confluent_kafka import Producer

from ...config.model import ModelConfig, from_canonical_bytes
from ...io.avro import encode
from ...io.kafka import BusUnavailable
from ...io.proposal_signature import sign
from ...io.reader import TopicReader
from ...io.wire import SINGLE_OBJECT, FramingProducer, Wire
from ...schemas.records import AuditHead, ConfigDecision, ConfigEpoch, ConfigProposal, EpochVerdict, ProposalAction
from .. import topology

LIFETIME_NS = 10 * 60 * 10**9
SILENT_READS = 3
KEY_VARIABLE = "USP_PROPOSAL_KEY"

Kind = TypeVar("Kind")


class Broker(NamedTuple):
    """How a command reaches the broker."""

    servers: str
    security: Mapping[str, str]
    wire: Wire = SINGLE_OBJECT

    def reader(self, topic: str, from_start: bool) -> TopicReader:
        """A reader of one topic."""
        return TopicReader(self.servers, [topic], from_start=from_start, security=self.security, wire=self.wire)


def proposal_of(
    action: ProposalAction,
    changes: Mapping[str, str],
    proposer: str,
    trigger: str,
    now_ns: int,
    key: bytes | None,
    target: str | None = None,
    best_objective: float | None = None,
) -> ConfigProposal:
    """A proposal with an id and a nonce of its own, answerable for ten minutes; signed where there is a key."""
    proposal = ConfigProposal(
        proposal_id=f"{action}-{uuid.uuid4()}",
        proposer=proposer,
        trigger=trigger,
        changes=dict(changes),
        best_objective=best_objective,
        proposed_ns=now_ns,
        expires_ns=now_ns + LIFETIME_NS,
        nonce=uuid.uuid4().hex,
        signature=None,
        action=action,
        target=target,
    )
    return proposal if key is None else replace(proposal, signature=sign(proposal, key))


def weighed(proposal: ConfigProposal, best_objective: float | None, key: bytes | None) -> ConfigProposal:
    """The proposal with the objective that a search reached, signed again."""
    turned = replace(proposal, best_objective=best_objective, signature=None)
    return turned if key is None else replace(turned, signature=sign(turned, key))


def submit(broker: Broker, proposal: ConfigProposal, wait_s: float) -> ConfigDecision | None:
    """The final answer to a proposal, None if it did not come in time; the governor answers it all the same."""
    reader = broker.reader(topology.DECISIONS.name, from_start=False)
    try:
        send(broker, proposal)
        end = time.monotonic() + wait_s
        while time.monotonic() < end:
            for record in reader.read(timeout_s=0.1):
                decision = record.value
                is_ours = isinstance(decision, ConfigDecision) and decision.proposal_id == proposal.proposal_id
                if is_ours and isinstance(decision, ConfigDecision) and decision.outcome != "prepared":
                    return decision
        return None
    finally:
        reader.close()


def send(broker: Broker, proposal: ConfigProposal) -> None:
    """Onto the topic of proposals; BusUnavailable if the broker does not take it."""
    config: dict[str, Any] = {"bootstrap.servers": broker.servers, "log_level": 2, **broker.security}
    producer: Producer = FramingProducer(config, broker.wire)
    producer.produce(topology.PROPOSALS.name, key=proposal.proposal_id, value=encode(proposal))
    if producer.flush(10.0):
        raise BusUnavailable(f"{broker.servers} did not take the proposal within 10 s; nothing was changed, try again")


def read_all(broker: Broker, topic: str, kinds: tuple[type[Any], ...]) -> list[Any]:
    """Every record of these types that a topic holds, in log order."""
    reader = broker.reader(topic, from_start=True)
    found: list[Any] = []
    silent = 0
    try:
        while silent < SILENT_READS:
            records = reader.read(timeout_s=0.3)
            silent = 0 if records else silent + 1
            found += [record.value for record in records if isinstance(record.value, kinds)]
    finally:
        reader.close()
    return found


class Version(NamedTuple):
    """An epoch and what became of it."""

    epoch: ConfigEpoch
    verdict: EpochVerdict | None

    @property
    def config(self) -> ModelConfig:
        """Its configuration."""
        return from_canonical_bytes(self.epoch.config)


def versions(broker: Broker) -> list[Version]:
    """All epochs with their verdicts, oldest first."""
    records = read_all(broker, topology.EPOCHS.name, (ConfigEpoch, EpochVerdict))
    verdicts = {record.epoch: record for record in records if isinstance(record, EpochVerdict)}
    epochs = {record.epoch: record for record in records if isinstance(record, ConfigEpoch)}
    return [Version(epochs[number], verdicts.get(number)) for number in sorted(epochs)]


def noted_head(broker: Broker) -> AuditHead | None:
    """The newest line of the audit log that the governor noted in the broker."""
    heads: Sequence[AuditHead] = read_all(broker, topology.AUDIT.name, (AuditHead,))
    return heads[-1] if heads else None
