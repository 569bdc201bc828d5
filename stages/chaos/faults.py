# SPDX-License-Identifier: MIT
"""What `usp chaos` does to a running pipeline: each fault acts on real processes, and undoes what it did."""

from collections.abc import Callable
from typing import Any

import numpy as np

from . import network_faults as network
from . import service_faults as services
from . import stage_faults as stages
from .scene import Scene

Fault = Callable[[Scene], str]
FAULTS: dict[str, tuple[float, Fault]] = {
    "kill": (8.0, stages.kill),
    "stop": (3.0, stages.stop),
    "kill two": (2.0, stages.kill_two),
    "failpoint": (6.0, stages.failpoint),
    "stop past the session": (1.0, stages.stop_past_session),
    "broker killed": (0.7, services.kill_broker),
    "broker away": (0.7, services.broker_away),
    "broker away for a minute": (0.2, services.broker_away_for_a_minute),
    "redis away": (0.7, services.redis_away),
    "redis killed": (0.7, services.kill_redis),
    "network slow": (0.7, network.slow_network),
    "network silent": (0.7, network.silent_network),
    "network cut": (0.7, network.cut_network),
    "disk full": (1.0, stages.full_disk),
    "snapshot damaged": (1.5, stages.damage_snapshot),
    "scaled to three and back": (0.7, stages.scale),
}
OF_THE_NETWORK = frozenset(name for name in FAULTS if name.startswith("network"))


def drawn(scene: Scene, names: list[str]) -> str:
    """The name of the next fault, by weight."""
    weights: Any = np.array([FAULTS[name][0] for name in names])
    return str(scene.generator.choice(names, p=weights / weights.sum()))
