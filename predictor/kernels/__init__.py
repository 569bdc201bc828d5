# SPDX-License-Identifier: MIT
"""The four kernels, each a bank of experts in one file with the same functions, in the order A, B, C, D."""

from . import dgm, levy_sde, rkhs, signature

MODULES = (rkhs, dgm, levy_sde, signature)
