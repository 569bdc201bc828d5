# SPDX-License-Identifier: MIT
"""Proof by fault: kill, stop and cut off real processes, then check what a reader sees."""
