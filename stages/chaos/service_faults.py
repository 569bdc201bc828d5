# SPDX-License-Identifier: MIT
"""Faults of broker and Redis: they do not answer for a while, or die and come back on their port with their files."""

import signal
from dataclasses import replace

from ...io.local_kafka import start_kafka
from ...io.local_process import LocalProcess
from ...io.local_redis import start_redis
from .scene import Scene, tell

AWAY_S = 8.0
MINUTE_S = 60.0


def kill_broker(scene: Scene, away_s: float = 1.0) -> str:
    """The broker dies and comes back on its port with its files."""
    broker = scene.services.broker
    if broker.local is None or broker.choice.jars is None:
        return "skipped: not our broker"
    broker.local.kill()
    scene.pause(away_s)
    port = int(broker.bootstrap_servers.rpartition(":")[2])
    folder = scene.data_dir / "kafka"
    restarted = start_kafka(folder, broker.choice.jars, port=port, detour=scene.services.detour)
    scene.services.broker = replace(broker, local=restarted)
    scene.services.started.callback(restarted.stop)
    return "came back"


def broker_away_for_a_minute(scene: Scene) -> str:
    """The broker is frozen, or dead, for longer than every session and deadline of the stages."""
    if scene.generator.random() < 0.5:  # a coin
        return f"frozen for {broker_away(scene, MINUTE_S)}"
    return f"dead for {MINUTE_S:.0f} s, {kill_broker(scene, MINUTE_S)}"


def broker_away(scene: Scene, away_s: float = AWAY_S) -> str:
    """The broker is frozen."""
    local = scene.services.broker.local
    return pause_process(scene, local.process if local is not None else None, away_s)


def redis_away(scene: Scene) -> str:
    """Redis is frozen."""
    local = scene.services.redis.local
    return pause_process(scene, local.process if local is not None else None, AWAY_S)


def kill_redis(scene: Scene) -> str:
    """Redis dies and comes back on its port with its files."""
    running = scene.services.redis
    if running.local is None:
        return "skipped: not our Redis"
    running.local.kill()
    scene.pause(1.0)
    port = int(running.url.rpartition(":")[2].partition("/")[0])
    restarted = start_redis(scene.data_dir / "redis", port=port)
    scene.services.redis = replace(running, local=restarted)
    scene.services.started.callback(restarted.stop)
    return "came back"


def pause_process(scene: Scene, process: LocalProcess | None, away_s: float) -> str:
    """A service that does not answer for a while."""
    if process is None:
        return "skipped: not our service"
    tell(process.pid, signal.SIGSTOP)
    try:
        scene.pause(away_s)
    finally:
        tell(process.pid, signal.SIGCONT)
    return f"{away_s:.0f} s"
