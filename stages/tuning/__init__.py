# SPDX-License-Identifier: MIT
"""Search for better parameters on recorded ticks; what is found goes to the governor as a proposal."""
