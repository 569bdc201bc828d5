# SPDX-License-Identifier: MIT
"""Promises of the stated rule: +30 % RMSE over 100 predictions rolls back, NaN at once, and to the bound version."""

import math

import pytest

from usp.config.model import load, packaged_text
from usp.io.audit_log import entries, verify
from usp.io.config_mutation import ConfigMutationError, DegradationMonitor, atomic_write_config


@pytest.fixture
def changed_file(tmp_path):
    """A configuration that was changed once."""
    config, log = tmp_path / "config.toml", tmp_path / "mutations.log"
    config.write_text(packaged_text())
    atomic_write_config(config, {"orchestration.cusum_k": 0.6}, audit_log_path=log)
    return config, log


def monitor_of(changed_file, baseline=1.0):
    config, log = changed_file
    monitor = DegradationMonitor(
        config_path=config, backup_path=config.with_name("config.toml.bak"), audit_log_path=log
    )
    monitor.start_monitoring(baseline)
    return monitor


def feed(monitor, *errors):
    for error in errors:
        monitor.record_prediction_error(error)
    return monitor.check_degradation()


CASES = [
    (1.0, [1.0] * 100, False, 0.0),
    (1.0, [1.2999] * 100, False, 0.2999),
    (1.0, [-1.3001] * 100, True, 0.3001),
    (1.0, [0.5] * 100, False, -0.5),
    (0.0, [0.0] * 100, False, 0.0),
    (0.0, [0.0] * 99 + [1e-9], True, math.inf),
    (1.0, [1e200] * 2, True, 1e200),
]


@pytest.mark.parametrize(("baseline", "errors", "degraded", "increase"), CASES)
def test_the_rule(changed_file, baseline, errors, degraded, increase):
    """More than 30 % above the baseline is degraded; a baseline of zero neither hides it nor divides by zero."""
    found, relative = feed(monitor_of(changed_file, baseline), *errors)
    assert found is degraded
    assert relative == pytest.approx(increase)


@pytest.mark.parametrize("count", [0, 1, 99])
def test_nothing_is_decided_before_the_window_is_full(changed_file, count):
    """Too few errors are no verdict, and the monitoring goes on."""
    monitor = monitor_of(changed_file)
    assert feed(monitor, *[1.0] * count) == (False, 0.0)
    assert feed(monitor, *[20.0] * 100)[0] is True


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_an_error_that_is_not_a_number_is_degraded_at_once(changed_file, bad):
    """A diverged model does not get a hundred predictions."""
    assert feed(monitor_of(changed_file), 1.0, bad) == (True, math.inf)


def test_a_hopeless_window_is_cut_short(changed_file):
    """Once the squares exceed the bound of the whole window there is nothing to wait for."""
    assert feed(monitor_of(changed_file), 14.0)[0] is True
    assert feed(monitor_of(changed_file), 12.0)[0] is False


def test_the_verdict_comes_once(changed_file):
    """After it nothing is watched any more."""
    monitor = monitor_of(changed_file)
    assert feed(monitor, *[2.0] * 100)[0] is True
    assert feed(monitor, *[2.0] * 100) == (False, 0.0)


@pytest.mark.parametrize("baseline", [math.nan, math.inf, -1.0])
def test_a_baseline_that_is_none_is_refused(changed_file, baseline):
    """A baseline that no RMSE can be is an error of the caller."""
    with pytest.raises(ValueError, match="baseline"):
        monitor_of(changed_file, baseline)


def test_a_rollback_restores_the_file_and_is_audited(changed_file):
    """Back to the version before, byte for byte, through the audited writer, with the requirement's fields."""
    config, log = changed_file
    monitor = monitor_of(changed_file, 0.05)
    assert feed(monitor, *[0.07] * 100)[0] is True
    monitor.trigger_rollback()
    assert config.read_text() == packaged_text()
    entry = entries(log)[-1]
    assert (entry["event"], entry["status"]) == ("AUTO_ROLLBACK", "ROLLBACK_SUCCESS")
    assert entry["reason"] == "Performance degradation detected"
    assert entry["pre_mutation_rmse"] == 0.05
    assert entry["post_mutation_rmse"] == pytest.approx(0.07)
    assert entry["relative_increase"] == pytest.approx(0.4)
    assert (entry["degradation_threshold"], entry["monitoring_window"]) == (0.3, 100)
    assert verify(log) == []


def test_a_rollback_with_a_zero_baseline_is_logged(changed_file):
    """The audit line of a rollback from a baseline of zero is written, not a division by zero."""
    monitor = monitor_of(changed_file, 0.0)
    assert feed(monitor, *[1.0] * 100)[0] is True
    monitor.trigger_rollback()
    assert entries(changed_file[1])[-1]["relative_increase"] == "inf"


def test_a_later_change_cannot_slip_another_version_in(changed_file):
    """The monitor restores the version that it was bound to, although .bak has moved on."""
    config, log = changed_file
    monitor = monitor_of(changed_file)
    atomic_write_config(config, {"orchestration.cusum_h": 6.0}, audit_log_path=log)
    assert feed(monitor, math.nan)[0] is True
    monitor.trigger_rollback()
    assert load(config).orchestration.cusum_k == 0.5


def test_a_backup_that_changed_is_refused(changed_file):
    """A backup that is not the bound version any more is not restored."""
    config, _ = changed_file
    monitor = monitor_of(changed_file)
    for backup in config.parent.glob("config.toml.bak*"):
        backup.write_text(packaged_text() + "# changed\n")
    with pytest.raises(ConfigMutationError, match="changed since"):
        monitor.trigger_rollback()


def test_a_missing_backup_is_said(tmp_path):
    """Without a backup the error names it."""
    monitor = DegradationMonitor(config_path=tmp_path / "config.toml", backup_path=tmp_path / "config.toml.bak")
    monitor.start_monitoring(1.0)
    with pytest.raises(FileNotFoundError, match="Backup config not found"):
        monitor.trigger_rollback()
