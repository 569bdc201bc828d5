# SPDX-License-Identifier: MIT
"""The keys of the edge: sections [io] and [validation]."""

from dataclasses import dataclass
from typing import Annotated, Literal

from .keys import Key


@dataclass(frozen=True, kw_only=True)
class Io:
    """Checks at ingest, snapshots, telemetry and the dashboard."""

    frozen_signal_min_steps: Annotated[
        int, Key("equal values in a row that raise the frozen alarm", "values", "[5, 100000]")
    ]
    frozen_signal_recovery_ratio: Annotated[
        float, Key("share of the historical variance above which a signal moves again", range="(0, inf)")
    ]
    frozen_signal_recovery_steps: Annotated[int, Key("moving steps in a row that lift the alarm", "steps", "[1, 1000]")]
    frozen_signal_variance_floor: Annotated[
        float, Key("historical variance of a signal that has no history", "value units squared", "(0, inf)")
    ]
    degraded_recovery_min_steps: Annotated[
        int, Key("clean steps in a row that end degraded mode", "steps", "[1, 1000]")
    ]
    outlier_history_window: Annotated[
        int, Key("accepted values behind the robust history of a symbol", "values", "[16, 4096]", structural=True)
    ]
    outlier_history_min: Annotated[int, Key("accepted values before the outlier test begins", "values", "[2, 4096]")]
    outlier_increment_floor_factor: Annotated[
        float,
        Key("an outlier lies at least this many robust scales of the increments from the centre", "scales", "[0, inf)"),
    ]
    level_shift_confirmations: Annotated[
        int, Key("consistent outliers in a row that are taken as a new level", "values", "[2, 1000]")
    ]
    gap_limit_factor: Annotated[
        float,
        Key("gap limit between updates, or core.staleness_ttl_ns if that is longer", "nominal intervals", "[1, inf)"),
    ]
    silence_limit_factor: Annotated[
        float, Key("quiet time of a symbol after which it is silent", "nominal intervals", "[1, inf)")
    ]
    symbol_max_bytes: Annotated[int, Key("longest symbol that is accepted", "UTF-8 bytes", "[1, 4096]")]
    snapshot_format: Annotated[Literal["msgpack", "protobuf"], Key("body of a snapshot; protobuf is reserved")]
    snapshot_compression: Annotated[Literal["none", "gzip", "brotli"], Key("compression of a snapshot's body")]
    snapshot_hash_algorithm: Annotated[Literal["sha256", "crc32c"], Key("integrity footer of a snapshot")]
    snapshot_atomic_fsync: Annotated[bool, Key("fsync file and folder, so that a snapshot survives a power cut")]
    snapshot_every_steps: Annotated[int, Key("snapshot of a partition after at most", "steps", "[1, inf)")]
    snapshot_every_s: Annotated[float, Key("snapshot of a partition after at most", "s", "(0, inf)")]
    snapshot_keep_last: Annotated[int, Key("newest snapshots of a partition that are kept", "snapshots", "[1, 1000]")]
    snapshot_keep_hourly: Annotated[int, Key("hours for which one snapshot each is kept", "hours", "[0, 8760]")]
    telemetry_hash_interval_steps: Annotated[int, Key("a telemetry record each so many steps", "steps", "[1, inf)")]
    telemetry_hash_algorithm: Annotated[Literal["sha256", "crc32c"], Key("hash of the parity records")]
    telemetry_buffer_capacity: Annotated[int, Key("records that the telemetry ring holds", "records", "[1, 1048576]")]
    telemetry_adaptive_window_size: Annotated[
        int, Key("solver steps before an adaptive telemetry record exists", "steps", "[1, 100000]")
    ]
    telemetry_dashboard_title: Annotated[str, Key("title of the dashboard")]
    telemetry_dashboard_width: Annotated[int, Key("width of a chart", "px", "[1, 10000]")]
    telemetry_dashboard_height: Annotated[int, Key("height of a chart", "px", "[1, 10000]")]
    telemetry_dashboard_spread_epsilon: Annotated[float, Key("least spread of a chart's axis", range="(0, inf)")]
    telemetry_dashboard_recent_rows: Annotated[int, Key("rows of the table of recent records", "rows", "[1, 10000]")]


@dataclass(frozen=True, kw_only=True)
class Validation:
    """Bounds that computed quantities are held to."""

    validation_simplex_atol: Annotated[float, Key("L1 tolerance of the transport plan between weights", range="(0, 1)")]
    validation_holder_exponent_min: Annotated[float, Key("lower clip of the Hoelder exponent", range="[0, 1]")]
    validation_holder_exponent_max: Annotated[float, Key("upper clip of the Hoelder exponent", range="[0, 1]")]
    validation_viscosity_residual_max: Annotated[
        float, Key("mean squared PDE residual that is still valid", range="(0, inf)")
    ]
