# SPDX-License-Identifier: MIT
"""The library's view of one signal's state: a value that is passed in and handed back, never changed.

`document` holds every array of the predictor by name (segments global, A, B, C, D); the properties are the fields
that the requirement names (PREDICTOR 2.1).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..config.model import ModelConfig
from ..io.signal_history import SignalHistory
from ..predictor import OUTPUTS, program_for, structure_of

Segments = Mapping[str, Mapping[str, np.ndarray]]
DEFAULT_SYMBOL = ""


@dataclass(frozen=True)
class InternalState:
    """Predictor state of one signal and the history by which its next value is judged.

    `solver_explicit_count` and the others below count since the state was made (library calls only).
    """

    document: Segments
    history: SignalHistory
    symbol: str = DEFAULT_SYMBOL
    last_update_ns: int = 0
    baseline_entropy: float = 0.0
    architecture_scaling_events: int = 0

    @property
    def outputs(self) -> np.ndarray:
        """Packed outputs of the last step."""
        return self.document["global"]["outputs"]

    @property
    def state_step(self) -> int:
        """Accepted steps."""
        return int(self.document["global"]["state_step"])

    @property
    def rho(self) -> np.ndarray:
        """Weights of the kernels A, B, C, D, on the simplex."""
        return self.document["global"]["rho"]

    @property
    def rng_key(self) -> np.ndarray:
        """Threefry key, uint32 [2]."""
        return self.document["global"]["rng_key"]

    @property
    def last_prediction(self) -> float:
        """The forecast against which the next error is taken."""
        return float(self.document["global"]["last_prediction"])

    @property
    def residual_window(self) -> np.ndarray:
        """Signed one-step errors, newest last."""
        return self.document["global"]["residual_window"]

    @property
    def ema_variance(self) -> float:
        """EWMA of squared scaled errors."""
        return float(self.document["global"]["ema_variance"])

    @property
    def kurtosis(self) -> float:
        """Of the residual window."""
        return float(self.outputs[OUTPUTS.kurtosis])

    @property
    def holder_exponent(self) -> float:
        """Of the window of levels."""
        return float(self.outputs[OUTPUTS.holder_exponent])

    @property
    def dgm_entropy(self) -> float:
        """Of kernel B's value function."""
        return float(self.outputs[OUTPUTS.dgm_entropy])

    @property
    def degraded_mode(self) -> bool:
        """Flag of the last step."""
        return bool(self.outputs[OUTPUTS.degraded_mode])

    @property
    def emergency_mode(self) -> bool:
        """Flag of the last step."""
        return bool(self.outputs[OUTPUTS.emergency_mode])

    @property
    def regime_changed(self) -> bool:
        """Flag of the last step."""
        return bool(self.outputs[OUTPUTS.regime_changed])


def initial_state(config: ModelConfig, symbol: str = DEFAULT_SYMBOL) -> InternalState:
    """The state of a signal before its first value; its random key follows from the configured seed and `symbol`."""
    program = program_for(structure_of(config, symbol))
    return InternalState(program.to_document(program.init_column(config, symbol)), SignalHistory(), symbol)
