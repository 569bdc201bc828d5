# SPDX-License-Identifier: MIT
"""Lines that a crash kept from the audit log, written at the next start from what is committed.

What is published is audited behind its commit, so a crash between the two loses the line. The log of epochs has the
fact, and only its newest epoch and verdict can be without a line, since every start looks.
"""

from collections.abc import Sequence
from pathlib import Path

from ..io.audit_log import Entry, append_audit_log, entries
from ..schemas.records import AnyRecord, ConfigEpoch, EpochVerdict
from .governor_outputs import EPOCH_JUDGED, EPOCH_PUBLISHED, START

ROLLED_BACK = "rolled_back"


def completed(audit_log: Path, records: Sequence[AnyRecord]) -> list[str]:
    """Write the lines that are missing for the newest committed epoch and verdict; what was done, in words."""
    epochs = [record for record in records if isinstance(record, ConfigEpoch)]
    verdicts = [record for record in records if isinstance(record, EpochVerdict)]
    lines = entries(audit_log)
    missing: list[Entry] = []
    if epochs:
        missing += epoch_lines(max(epochs, key=lambda epoch: epoch.epoch), lines)
    if verdicts:
        missing += verdict_lines(max(verdicts, key=lambda verdict: verdict.epoch), lines)
    for entry in missing:
        append_audit_log(audit_log, {**entry, "status": "SUCCESS", "reconciled": True})
    return [f"epoch {entry['epoch']}: its {entry['event']} was not in the audit log" for entry in missing]


def epoch_lines(epoch: ConfigEpoch, lines: Sequence[Entry]) -> list[Entry]:
    """The line of an epoch that no line names."""
    is_change = epoch.proposal_id != START
    if any(e.get("epoch") == epoch.epoch or (is_change and e.get("proposal_id") == epoch.proposal_id) for e in lines):
        return []
    hashes = {"old_config_hash": epoch.previous_hash, "config_hash": epoch.config_hash}
    return [{"event": EPOCH_PUBLISHED, "epoch": epoch.epoch, "proposal_id": epoch.proposal_id, **hashes}]


def verdict_lines(verdict: EpochVerdict, lines: Sequence[Entry]) -> list[Entry]:
    """The line of a verdict that no line tells; a rollback has the line of its change."""
    is_told = any(e.get("event") == EPOCH_JUDGED and e.get("epoch") == verdict.epoch for e in lines)
    if is_told or verdict.verdict == ROLLED_BACK:
        return []
    facts = {name: getattr(verdict, name) for name in ("epoch", "verdict", "predictions", "relative_increase")}
    return [{"event": EPOCH_JUDGED, **facts}]
