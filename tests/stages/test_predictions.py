# SPDX-License-Identifier: MIT
import pytest

from usp.predictor import OUTPUTS
from usp.predictor.kernels.contract import Health
from usp.predictor.records import OUTPUT_COUNT
from usp.schemas.records import ValidatedTick
from usp.stages.predictions import Flags, flags_of, transitions

TICK = ValidatedTick(
    origin_partition=3,
    origin_offset=17,
    origin_row=0,
    symbol="X",
    venue="",
    kind="trade",
    price=1.0,
    size=None,
    bid=None,
    ask=None,
    sequence=None,
    ts_event_ns=5,
    ts_publish_ns=5,
    producer_id="",
    accept=True,
    suspend_jko_update=False,
    degraded_mode=False,
    freeze_kernel_d=False,
    staleness_ns=0,
    validated_ns=5,
    events=[],
    ingest_config_hash="",
)


def row(**outputs: float) -> list[float]:
    """Packed outputs of a step at which all is well but this."""
    values = [0.0] * OUTPUT_COUNT
    values[OUTPUTS.sinkhorn_converged] = 1.0
    for name, value in outputs.items():
        place = getattr(OUTPUTS, name)
        values[place.start if isinstance(place, slice) else place] = value
    return values


@pytest.mark.parametrize(
    ("outputs", "event", "severity"),
    [
        ({"degraded_mode": 1.0}, "DegradedInferenceModeActivated", "warning"),
        ({"breaker_active": 1.0}, "CriticalSingularityEvent", "critical"),
        ({"mode_collapse_warning": 1.0}, "ModeCollapseWarning", "warning"),
        ({"regime_changed": 1.0}, "RegimeChangedEvent", "warning"),
        ({"sinkhorn_converged": 0.0}, "SinkhornDivergenceWarning", "warning"),
        ({"kernel_d_frozen": 1.0}, "FreezingTopologicalBranchEvent", "warning"),
        ({"kernel_health": float(Health.NOT_FINITE)}, "KernelFailedEvent", "critical"),
    ],
)
def test_a_flag_that_turns_is_told_once(outputs: dict[str, float], event: str, severity: str):
    """With the tick that turned it; not again while it stays."""
    up = flags_of(row(**outputs))
    (told,) = transitions(TICK, Flags(), up)
    assert (told.event, told.severity, told.symbol, told.origin_offset) == (event, severity, "X", 17)
    assert transitions(TICK, up, up) == []


def test_the_end_of_degraded_mode_is_told():
    """The other flags end silently."""
    calm = flags_of(row())
    assert calm == Flags()
    assert [each.event for each in transitions(TICK, Flags(degraded=True), calm)] == ["NormalOperationRestoredEvent"]
    assert transitions(TICK, Flags(singular=True, unsettled=True, kernel_failed=True), calm) == []


def test_a_transport_that_was_held_back_is_no_news():
    """In degraded mode the weights are frozen on purpose; a kernel that warms up has not failed."""
    assert not flags_of(row(degraded_mode=1.0, sinkhorn_converged=0.0)).unsettled
    assert not flags_of(row(kernel_health=float(Health.WARMING_UP))).kernel_failed
