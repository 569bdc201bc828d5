# SPDX-License-Identifier: MIT
"""Kernel B's architecture law: how wide and deep the network is to be at a given entropy ratio."""

from ..config.model import ModelConfig, packaged_defaults

WIDTHS = (32, 64, 128, 256)
DEPTHS = (2, 3, 4, 5, 6)


def scaled_architecture(entropy_ratio: float, config: ModelConfig) -> tuple[int, int]:
    """(width, depth) for the next step; unchanged while the ratio is at most the trigger.

    The smallest architecture of the schema with capacity width * depth of at least the old one times ratio^beta. The
    factor is capped against the original (packaged) architecture, so that repeated events cannot compound. The printed
    law deepens beyond the schema's maximum of six layers; here width takes over. PREDICTOR 3.2, architecture rule.
    """
    width, depth = config.kernels.dgm_width_size, config.kernels.dgm_depth
    law = config.orchestration
    if not entropy_ratio > law.entropy_scaling_trigger:
        return width, depth
    original = packaged_defaults().kernels
    ceiling = law.dgm_max_capacity_factor * original.dgm_width_size * original.dgm_depth
    wanted = min(width * depth * entropy_ratio**law.dgm_entropy_coupling_beta, ceiling)
    if wanted <= width * depth:
        return width, depth
    fitting = [(w * d, -d, w) for w in WIDTHS for d in DEPTHS if w * d >= wanted]
    _, negative_depth, wider = min(fitting, default=(0, -DEPTHS[-1], WIDTHS[-1]))
    return wider, -negative_depth
