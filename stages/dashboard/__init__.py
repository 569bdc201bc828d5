# SPDX-License-Identifier: MIT
"""What people look at: the live table and page while it runs, the static report afterwards."""
