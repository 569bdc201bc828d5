# SPDX-License-Identifier: MIT
"""The keys that identify a configuration and its numerical ground: sections [meta] and [core]."""

from dataclasses import dataclass
from typing import Annotated, Literal

from .keys import Key


@dataclass(frozen=True, kw_only=True)
class Meta:
    """What kind of file this is."""

    schema_version: Annotated[str, Key("version of the state's layout; written into every snapshot")]


@dataclass(frozen=True, kw_only=True)
class Core:
    """Numerical ground and clock rule that everything else stands on."""

    jax_platforms: Annotated[Literal["cpu", "gpu", "tpu"], Key("compute back end", structural=True)]
    jax_default_dtype: Annotated[Literal["float64"], Key("type of all arrays of numbers", structural=True)]
    float_precision: Annotated[Literal[64], Key("width of a floating-point number", "bits", structural=True)]
    prng_seed: Annotated[int, Key("root seed of all random keys", range="[0, inf)")]
    prng_split_count: Annotated[
        int,
        Key(
            "subkeys drawn at each advance of a symbol's random key, at least one per kernel",
            "keys",
            "[4, 64]",
            structural=True,
        ),
    ]
    staleness_ttl_ns: Annotated[
        int, Key("age at which an observation is stale; also the least gap limit between updates", "ns", "[1, inf)")
    ]
    lane_width: Annotated[
        int,
        Key(
            "padded number of symbols per call of the step; part of the build fingerprint",
            "symbols",
            "[8, 64]",
            multiple_of=8,
            structural=True,
        ),
    ]
