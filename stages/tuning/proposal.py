# SPDX-License-Identifier: MIT
"""From what a tuning found to a proposal for the governor."""

import json

from ...schemas.records import ConfigProposal
from ..commands.config_client import proposal_of, weighed
from ..commands.proposal_file import Wish
from .run import Found

TRIGGERS = {"fast": "FastTuning", "deep": "DeepTuning"}
PROPOSER = "tuner"


def wish_of(found: Found, trigger: str = "") -> Wish:
    """The changes as TOML literals, and what they reached."""
    changes = {key: json.dumps(value) for key, value in found.changes.items()}
    return Wish(changes, trigger or TRIGGERS[found.tuning.tier], found.value)


def tuned_proposal(found: Found, now_ns: int, key: bytes | None, trigger: str = "") -> ConfigProposal:
    """The proposal with an id of its own, signed where there is a key."""
    wish = wish_of(found, trigger)
    return weighed(proposal_of("change", wish.changes, PROPOSER, wish.trigger, now_ns, key), wish.best_objective, key)
