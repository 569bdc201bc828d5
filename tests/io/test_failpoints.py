# SPDX-License-Identifier: MIT
import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from usp.io import failpoints

ROOT = Path(failpoints.__file__).parents[1]


@pytest.fixture(autouse=True)
def no_failpoint() -> Iterator[None]:
    """Every test leaves the process unarmed."""
    yield
    failpoints.install(failpoints.ignore)


def test_an_unarmed_failpoint_does_nothing():
    """Production passes every one of them all the time."""
    failpoints.configure("")
    assert {None} == {failpoints.failpoint(name) for name in failpoints.NAMES}


def test_only_the_armed_one_acts():
    """A schedule hits the place that it names."""
    failpoints.configure("runner.before_commit:raise")
    failpoints.failpoint("runner.after_commit")
    with pytest.raises(failpoints.Crash, match=r"runner.before_commit"):
        failpoints.failpoint("runner.before_commit")


def test_a_crash_is_no_ordinary_exception():
    """`except Exception` on the way up does not save the process."""
    assert not issubclass(failpoints.Crash, Exception)


@pytest.mark.parametrize("value", ["nowhere:kill", "runner.before_commit", "runner.before_commit:explode", ":"])
def test_a_wrong_setting_is_refused_clearly(value: str):
    """A misspelt failpoint must not test nothing."""
    with pytest.raises(ValueError, match=r"USP_FAILPOINT: found .*expected"):
        failpoints.configure(value)


def passed_in_source() -> set[str]:
    """Every literal name given to `failpoint`; names built from a step count with every step."""
    names: set[str] = set()
    for path in [*(ROOT / "io").glob("*.py"), *(ROOT / "stages").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "failpoint":
                match node.args[0]:
                    case ast.Constant(value=str(name)):
                        names.add(name)
                    case ast.JoinedStr(values=[ast.Constant(value=str(prefix)), *_]):
                        names |= {name for name in failpoints.NAMES if name.startswith(prefix)}
    return names


def test_every_failpoint_is_declared_and_every_declared_one_is_passed():
    """The table is the list of crash points that the reliability tests go through."""
    assert passed_in_source() == set(failpoints.NAMES)


# Which failpoints lie inside the execution of an effect; none only where nothing outlives the process.
EFFECTS: dict[str, tuple[str, ...]] = {
    "PersistSnapshot": ("snapshot.before_temp", "snapshot.after_folder_fsync", "snapshot.before_prune"),
    "UpdateHint": ("hint.before_update", "hint.after_update"),
    "ScrubSnapshots": ("snapshot.after_set_aside",),
    "AppendLines": ("lines.after_rotate", "lines.after_write", "lines.after_fsync"),
    "Recover": ("config.after_rename", "config.after_result", "audit.after_write"),
    "OpenMutation": ("config.before_intent", "config.after_intent", "config.after_backup"),
    "ReplaceConfig": ("config.after_temp", "config.after_write", "config.after_fsync", "config.after_rename"),
    "CloseMutation": ("config.after_result", "audit.after_write", "audit.before_head"),
    "RecordAudit": ("audit.after_write", "audit.before_head"),
    "AskLimiter": (),  # one script in Redis, which runs whole or not at all
    "SettleLimiter": (),  # the same
    "SnapshotBegun": (),  # a reference in memory
    "SnapshotTaken": (),  # the ring in memory
    "Observe": (),  # a ring in memory
    "Compile": (),  # a program in memory
    "FindVersion": (),  # only reads
    "Look": (),  # only reads
}


def effects_in_source() -> set[str]:
    """Every class that a stage declares as an effect."""
    return {
        node.name
        for path in (ROOT / "stages").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef) and any(isinstance(b, ast.Name) and b.id == "Effect" for b in node.bases)
    }


def test_every_effect_has_its_failpoints():
    """A new effect is not done until it is said where a crash can fall into it."""
    assert effects_in_source() == set(EFFECTS)
    assert {name for names in EFFECTS.values() for name in names} <= set(failpoints.NAMES)
    inside = {name for name in failpoints.NAMES if not name.startswith("runner.")}
    families = {name.partition(".")[0] for names in EFFECTS.values() for name in names}
    assert {name.partition(".")[0] for name in inside} == families
