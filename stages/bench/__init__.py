# SPDX-License-Identifier: MIT
"""The figures that the project promises, measured by commands that anybody can run."""
