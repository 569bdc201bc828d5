# SPDX-License-Identifier: MIT
"""What the governor learns from predictions: each symbol's reference scale, and the errors under a watched epoch.

Everything is kept per symbol, whose predictions come in order, so the result does not depend on how partitions
interleave, and reading the same predictions again after a restart gives the same window.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

from ..io.degradation import rmse
from ..schemas.records import Prediction
from .judge import Judge, Observation

REFERENCE_LENGTH = 100
LEAST_REFERENCE = 10

SymbolKey = tuple[int, str]
Move = tuple[float, float]


class Reference(NamedTuple):
    """A symbol before the watched epoch: RMS of its increments, and its RMSE in units of that."""

    scale: float
    rmse: float


class Track(NamedTuple):
    """One symbol: its newest prediction, its newest (increment, error) pairs, its reference for the newest epoch."""

    epoch: int
    step: int
    value: float
    moves: tuple[Move, ...] = ()
    reference: Reference | None = None


class Window(NamedTuple):
    """The watch on an epoch since it was published."""

    epoch: int
    opened_ns: int
    observations: tuple[Observation, ...] = ()


def reference_of(moves: tuple[Move, ...]) -> Reference | None:
    """The reference that these pairs give; None if they are too few or the symbol did not move."""
    if len(moves) < LEAST_REFERENCE:
        return None
    scale = rmse([move for move, _ in moves])
    return Reference(scale, rmse([error for _, error in moves]) / scale) if scale > 0 else None


def follow(track: Track | None, p: Prediction) -> Track:
    """The symbol after one more accepted prediction."""
    if track is None:
        return Track(p.config_epoch, p.state_step, p.value)
    is_new_epoch = p.config_epoch > track.epoch
    moves = track.moves
    if p.error is not None and math.isfinite(p.error) and math.isfinite(p.value - track.value):
        moves = (*moves[1 - REFERENCE_LENGTH :], (p.value - track.value, p.error))
    return Track(
        epoch=p.config_epoch,
        step=p.state_step,
        value=p.value,
        moves=moves,
        reference=reference_of(track.moves) if is_new_epoch else track.reference,
    )


def is_repeat(track: Track | None, p: Prediction) -> bool:
    """True for a prediction that says nothing new: published twice, or of a tick that made no step."""
    return not p.accepted or (track is not None and p.state_step <= track.step)


def observed(before: Track | None, p: Prediction, epoch: int) -> Observation | None:
    """The error of a forecast that was made under this epoch; `p` carries the error of the forecast before it.

    A symbol that was seen before has one; if it is absent, it was no number.
    """
    if before is None or before.epoch != epoch:
        return None
    if p.error is None or not math.isfinite(p.error):
        return Observation(p.symbol, math.nan, 0.0)
    if before.reference is None:
        return None
    scale, baseline = before.reference
    shadow = None if p.shadow_error is None else p.shadow_error / scale
    return Observation(p.symbol, p.error / scale, baseline, shadow)


def is_usable(observation: Observation, judge: Judge) -> bool:
    """A pair needs both errors; an error that is no number is damage enough."""
    return observation.shadow_error is not None or not judge.is_paired or not math.isfinite(observation.error)


def widened(window: Window, observation: Observation, length: int, symbols: int) -> Window:
    """The window with one more observation, if there is room: at most half of it for one symbol of several."""
    share = max(length // 2, math.ceil(length / max(symbols, 1)))
    taken = sum(o.symbol == observation.symbol for o in window.observations)
    is_full = len(window.observations) >= length or taken >= share
    return (
        window
        if is_full and math.isfinite(observation.error)
        else window._replace(observations=(*window.observations, observation))
    )


def pooled_rmse(tracks: Mapping[SymbolKey, Track]) -> float | None:
    """The scale-free RMSE of all symbols that have a reference now; None without one."""
    references = [r for r in (reference_of(track.moves) for track in tracks.values()) if r is not None]
    return rmse([r.rmse for r in references]) if references else None
