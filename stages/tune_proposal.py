# SPDX-License-Identifier: MIT
"""From what a tuning found to a proposal: a file for `usp config propose --from`, or a record for the governor."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ..io.atomic_file import write_atomically
from ..io.avro import encode
from ..io.proposal_signature import sign
from ..io.wire import Wire
from ..schemas.records import ConfigProposal
from . import topology
from .publisher import tick_producer
from .tune_run import Found

LIFETIME_NS = 600 * 10**9
DELIVERY_S = 10.0
TRIGGERS = {"fast": "FastTuning", "deep": "DeepTuning"}


def proposal_of(found: Found, name: str, now_ns: int, key: bytes | None, trigger: str = "") -> ConfigProposal:
    """The proposal, signed where there is a key. `name` makes its id, which the governor answers once."""
    proposal = ConfigProposal(
        proposal_id=f"tuning-{name}",
        proposer="tuner",
        trigger=trigger or TRIGGERS[found.tuning.tier],
        changes={path: json.dumps(value) for path, value in found.changes.items()},
        best_objective=found.value,
        proposed_ns=now_ns,
        expires_ns=now_ns + LIFETIME_NS,
        nonce=name if key else None,
        signature=None,
    )
    return replace(proposal, signature=sign(proposal, key)) if key else proposal


def write_proposal(found: Found, path: Path) -> None:
    """The changes with what they rest on, as one JSON document."""
    document = {"changes": dict(found.changes), "trigger": TRIGGERS[found.tuning.tier], "best_objective": found.value}
    facts = found.document()
    document |= {"proposer": "tuner", "config_hash": facts["config_hash"], "tuning": facts}
    write_atomically(path, (json.dumps(document, indent=2) + "\n").encode())


def send_proposal(proposal: ConfigProposal, servers: str, security: Mapping[str, str], wire: Wire) -> None:
    """Publish it and wait for the broker's word; TimeoutError if it does not come."""
    producer = tick_producer(servers, security, wire)
    producer.produce(topology.PROPOSALS.name, key=proposal.proposal_id.encode(), value=encode(proposal), partition=0)
    if producer.flush(DELIVERY_S):
        raise TimeoutError(f"the broker at {servers} did not take the proposal within {DELIVERY_S:.0f} s")
