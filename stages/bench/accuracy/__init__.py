# SPDX-License-Identifier: MIT
"""`usp bench accuracy`: families of series, peers, metrics and the page that shows them side by side."""
