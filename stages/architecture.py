# SPDX-License-Identifier: MIT
"""Kernel B's architecture law: how wide and deep the network is to be at a given entropy ratio."""

from math import ceil, sqrt

from ..config.model import ModelConfig, packaged_defaults

WIDEST, DEEPEST = 256, 6


def scaled_architecture(entropy_ratio: float, config: ModelConfig) -> tuple[int, int]:
    """(width, depth) for the next step; unchanged while the ratio is at most the trigger.

    Capacity grows with ratio^beta, capped against the original (packaged) architecture and the schema's maxima, so
    that repeated events cannot compound. PREDICTOR 3.2, architecture rule.
    """
    width, depth = config.kernels.dgm_width_size, config.kernels.dgm_depth
    law = config.orchestration
    if not entropy_ratio > law.entropy_scaling_trigger:
        return width, depth
    original = packaged_defaults().kernels
    ceiling = law.dgm_max_capacity_factor * original.dgm_width_size * original.dgm_depth
    capacity = min(width * depth * entropy_ratio**law.dgm_entropy_coupling_beta, ceiling)
    if capacity <= width * depth:
        return width, depth
    shape = width / depth
    deeper = max(ceil(sqrt(capacity / shape)), depth + 1)
    deeper = min(deeper, DEEPEST)
    wider = 1 << (ceil(deeper * shape) - 1).bit_length()
    return min(wider, WIDEST), deeper
