# SPDX-License-Identifier: MIT
"""What the commands of `usp` do, one module per command; `cli.py` names them."""
