# SPDX-License-Identifier: MIT
"""Who may propose: HMAC-SHA-256 over all fields of a proposal, with a nonce and an expiry against replays."""

import hashlib
import hmac
import json

from ..schemas.records import ConfigProposal

MAX_LIFETIME_NS = 86_400 * 10**9


def signed_bytes(proposal: ConfigProposal) -> bytes:
    """The canonical bytes that are signed: every field but the signature, as compact JSON with sorted keys."""
    fields = {name: value for name, value in vars(proposal).items() if name != "signature"}
    return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()


def sign(proposal: ConfigProposal, key: bytes) -> str:
    """The signature that belongs into the proposal, hexadecimal."""
    return hmac.new(key, signed_bytes(proposal), hashlib.sha256).hexdigest()


def refusal(proposal: ConfigProposal, key: bytes | None, now_ns: int) -> str | None:
    """Why the proposal is not to be trusted, None if it is. Without a key only the expiry is looked at.

    Whether the nonce was used before is asked elsewhere, where it is remembered.
    """
    if proposal.expires_ns is not None and proposal.expires_ns <= now_ns:
        return f"expired {(now_ns - proposal.expires_ns) / 1e9:.1f} s ago; expected an answerable proposal"
    if key is None:
        return None
    if proposal.signature is None:
        return "unsigned; expected an HMAC-SHA-256 signature, since a proposal key is set"
    if not hmac.compare_digest(sign(proposal, key).encode(), proposal.signature.lower().encode()):
        return "its signature does not match; expected one made with the governor's proposal key"
    if not proposal.nonce or len(proposal.nonce) > 200:
        return "signed without a nonce; expected one of 1 to 200 characters, used once"
    if proposal.expires_ns is None or proposal.expires_ns > now_ns + MAX_LIFETIME_NS:
        return "signed without an expiry within 24 hours; expected `expires_ns`, so that it cannot be replayed later"
    return None
