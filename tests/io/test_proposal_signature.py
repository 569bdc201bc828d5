# SPDX-License-Identifier: MIT
"""Promises of signed proposals: any change, absence, age or missing nonce is refused when a key is set."""

from dataclasses import fields, replace

import pytest

from usp.io.proposal_signature import refusal, sign
from usp.schemas.records import ConfigProposal

KEY = b"secret"
NOW = 1_700_000_000_000_000_000
PLAIN = ConfigProposal(
    proposal_id="p-1",
    proposer="tuner",
    trigger="DeepTuning",
    changes={"orchestration.cusum_k": "0.6", "orchestration.cusum_h": "5.5"},
    best_objective=0.9,
    proposed_ns=NOW,
    expires_ns=NOW + 10**9,
    nonce="n-1",
    signature=None,
)
SIGNED = replace(PLAIN, signature=sign(PLAIN, KEY))


def test_a_signed_proposal_is_trusted():
    """The order of the changes does not matter to the signature."""
    turned = replace(SIGNED, changes=dict(reversed(SIGNED.changes.items())))
    assert refusal(SIGNED, KEY, NOW) is None
    assert refusal(turned, KEY, NOW) is None


def test_without_a_key_nothing_need_be_signed():
    """Unsigned proposals are accepted, but an expiry holds."""
    assert refusal(PLAIN, None, NOW) is None
    assert "expired" in (refusal(PLAIN, None, NOW + 10**9) or "")


@pytest.mark.parametrize("name", [field.name for field in fields(ConfigProposal) if field.name != "signature"])
def test_every_field_is_signed(name):
    """Changing any field breaks the signature."""
    other = {"changes": {}, "best_objective": 0.1, "proposed_ns": 1, "expires_ns": NOW + 5}.get(name, "other")
    assert "signature does not match" in (refusal(replace(SIGNED, **{name: other}), KEY, NOW) or "")


@pytest.mark.parametrize("signature", ["", "00", "é", SIGNED.signature[:-1] + "x"])
def test_a_wrong_signature_is_refused(signature):
    """Whatever stands in its place."""
    assert refusal(replace(SIGNED, signature=signature), KEY, NOW)


def test_unsigned_expired_or_eternal_proposals_are_refused():
    """With a key each proposal needs a signature, a nonce and an end within a day."""
    assert "unsigned" in (refusal(PLAIN, KEY, NOW) or "")
    assert "expired" in (refusal(SIGNED, KEY, NOW + 2 * 10**9) or "")
    for change, word in (
        ({"nonce": None}, "nonce"),
        ({"expires_ns": None}, "expiry"),
        ({"expires_ns": NOW * 2}, "expiry"),
    ):
        other = replace(PLAIN, **change)
        assert word in (refusal(replace(other, signature=sign(other, KEY)), KEY, NOW) or "")
