# SPDX-License-Identifier: MIT
"""`usp up`: the pipeline on local services until Ctrl-C."""

import json
import signal
import time

from rich.console import Console

from ...config.deployment import DeploymentSettings
from ..process import StopSignal
from .demo import live_address, local_pipeline
from .running import MARKER


def run_up(settings: DeploymentSettings, console: Console) -> None:
    """Start everything, say where it listens, keep it running; stop everything on Ctrl-C or SIGTERM."""
    data_dir = settings.paths.resolved("data_dir").absolute()
    marker = data_dir / MARKER
    stop = StopSignal()
    started = time.monotonic()
    try:
        with local_pipeline(settings, data_dir, console, steady=True) as (supervisor, servers, delivery):
            port = int(supervisor.environ["USP_DASHBOARD__PORT"])
            marker.write_text(json.dumps({"bootstrap_servers": servers, "delivery": delivery, "dashboard_port": port}))
            console.print(f"ready in {time.monotonic() - started:.1f} s; delivery is {delivery}")
            console.print(f"publish ticks to {servers}; for example: usp publish --simulate 4")
            console.print(f"live page: {live_address(settings, supervisor.environ)}")
            if settings.tuning.auto:
                supervisor.add_helper("tuner", "tune", "--watch")
                console.print(f"automatic tuning is on; what it does: {data_dir / 'logs' / 'tuner.log'}")
            console.print("stop with Ctrl-C")
            while not stop():
                supervisor.watch()
                time.sleep(0.2)
            console.print("stopping ...")
    finally:
        marker.unlink(missing_ok=True)
        signal.signal(signal.SIGINT, signal.default_int_handler)
