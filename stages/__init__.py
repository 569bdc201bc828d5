# SPDX-License-Identifier: MIT
"""The five stages, the one loop that runs them, and the command line. Read `topology`, `contract`, `runner` first."""
