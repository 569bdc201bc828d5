# SPDX-License-Identifier: MIT
"""The page of alerts and the code say the same, and every alert is triggered by a test."""

import re
from pathlib import Path
from typing import get_args

import pytest

from usp.schemas.records import Severity
from usp.stages import ingest_faults, predictions, topology
from usp.stages.adaptive_alerts import LEVELS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "runbooks/alerts.md").read_text()
EVENTS, OTHER_NAMES = PAGE.split("## Other names for the same")
CODE = {p: p.read_text() for folder in ("stages", "io", "predictor") for p in (ROOT / folder).rglob("*.py")}
TESTS = "\n".join(p.read_text() for p in (ROOT / "tests").rglob("*.py") if p != Path(__file__))
NAME = r"[A-Z][a-z]+[A-Za-z]*(?:Event|Activated|Warning)|MUTATION_SUCCESS|AUTO_ROLLBACK|MANUAL_ROLLBACK"
SPECIFIED = (
    "OutlierRejectedEvent",
    "OutlierDetectedEvent",
    "FrozenSignalAlarmEvent",
    "StaleSignalEvent",
    "StaleDataEvent",
    "DegradedInferenceModeActivated",
    "NormalOperationRestoredEvent",
    "RegimeChangedEvent",
    "CriticalSingularityEvent",
    "FreezingTopologicalBranchEvent",
    "ModeDegradationAlert",
    "ModeCollapseWarning",
    "GradientInstabilityEvent",
    "SinkhornDivergenceWarning",
    "CorruptedSnapshotEvent",
    "InsufficientStorageEvent",
    "SnapshotWriteFailedEvent",
    "DomainError",
    "StalenessWarning",
    "FrequencyWarning",
    "IntegrityError",
    "ConfigMutationError",
    "FileExistsError",
    "MissingCredentialError",
    "KurtosisWarning",
    "AUTO_ROLLBACK",
    "MUTATION_SUCCESS",
    "MUTATION_ABORTED",
    "MUTATION_FAILED",
)


def rows() -> dict[str, tuple[str, str]]:
    """Event -> (severity, stages) of the page."""
    found: dict[str, tuple[str, str]] = {}
    for names, severity, stages in re.findall(r"^\| (`.+?) \| (\w+) \| ([\w, -]+) \|", EVENTS, re.M):
        for name in re.findall(r"`(\w+)`", names):
            assert name not in found, f"{name} has two rows"
            found[name] = (severity, stages)
    return found


ROWS = rows()


def raised() -> set[str]:
    """Every event that the code names."""
    found = {n for text in CODE.values() for n in re.findall(rf'"({NAME})"', text)}
    return found | {n for text in CODE.values() for n in re.findall(r"class (\w+Event)\(NamedTuple", text)}


def test_every_event_has_its_row_and_every_row_its_event():
    """Whoever sees an event finds what it means and what to do."""
    assert sorted(ROWS) == sorted(raised())


def declared() -> dict[str, str]:
    """Severities of the tables in the code, and of calls that name both."""
    found = {event: severity for _, _, event, severity in predictions.EVENTS}
    found |= dict(ingest_faults.EVENTS.values())
    found |= {level.event: level.severity for level in LEVELS}
    for text in CODE.values():
        found |= dict(re.findall(rf'"({NAME})",\s+"(info|warning|critical)"', text))
    return found


@pytest.mark.parametrize("event", sorted(declared()))
def test_the_page_has_the_severity_that_is_sent(event: str):
    """One severity per event."""
    assert ROWS[event][0] == declared()[event]


def test_severities_and_stages_exist():
    """Those of the schema, those of the topology."""
    for severity, stages in ROWS.values():
        assert severity in get_args(Severity)
        assert set(stages.split(", ")) <= topology.STAGES.keys() | {"any"}


@pytest.mark.parametrize("event", sorted(raised()))
def test_every_event_is_triggered_by_a_test(event: str):
    """A test names it, the constant that holds it, or the reason of the refusal that it is."""
    constants = [name for text in CODE.values() for name in re.findall(rf'^(\w+) = "{event}"', text, re.M)]
    reasons = [f'"{reason}"' for reason, (name, _) in ingest_faults.EVENTS.items() if name == event]
    assert any(re.search(rf"\b{name}\b", TESTS) for name in [event, *constants]) or any(
        reason in TESTS for reason in reasons
    )


def test_every_name_of_the_specification_is_explained():
    """As an event of ours, or as another name for one."""
    named = set(re.findall(r"`(\w+)`", OTHER_NAMES))
    assert [name for name in SPECIFIED if name not in ROWS and name not in named] == []
