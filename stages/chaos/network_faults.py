# SPDX-License-Identifier: MIT
"""Faults of the network between the stages and the broker."""

from .scene import Scene
from .tcp_proxy import CLEAR, DIRECTIONS, Weather

SPELL_S = 10.0
DELAY_S = (0.02, 1.0)
CUTS, CUT_EVERY_S = 6, 1.0
SKIPPED = "skipped: not our broker"


def slow_network(scene: Scene) -> str:
    """Each piece of bytes comes late, in both directions."""
    if scene.network is None:
        return SKIPPED
    delay_s = float(scene.generator.uniform(*DELAY_S))
    scene.network.weather = Weather(delay_s)
    try:
        scene.pause(SPELL_S)
    finally:
        scene.network.weather = CLEAR
    return f"{1000 * delay_s:.0f} ms late for {SPELL_S:.0f} s"


def silent_network(scene: Scene) -> str:
    """What passes in one direction or in both is swallowed; then the lines that lost something are reset.

    Where the answers are swallowed a commit takes place and nobody hears of it.
    """
    if scene.network is None:
        return SKIPPED
    drops = (DIRECTIONS[:1], DIRECTIONS[1:], DIRECTIONS)[int(scene.generator.integers(3))]
    scene.network.weather = Weather(drops=drops)
    try:
        scene.pause(SPELL_S)
    finally:
        cut = scene.network.clear()
    return f"{' and '.join(drops)} swallowed for {SPELL_S:.0f} s, then {cut} lines reset"


def cut_network(scene: Scene) -> str:
    """Again and again about half of the lines are reset."""
    if scene.network is None:
        return SKIPPED
    cut = 0
    for _ in range(CUTS):
        cut += scene.network.reset(lambda _: bool(scene.generator.random() < 0.5))  # a coin
        scene.pause(CUT_EVERY_S)
    return f"{cut} lines reset in {CUTS} cuts"
