# SPDX-License-Identifier: MIT
"""The edge of the process: broker, Redis, files, local services. No JAX, no predictor.

Named by the requirement: `validators`, `loaders`, `telemetry`, `snapshots`, `credentials`, `dashboard`,
`config_mutation`; each can be used as a library.
"""
