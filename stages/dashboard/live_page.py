# SPDX-License-Identifier: MIT
"""The live page beside the telemetry sink: its feed, its server, and what to do when it cannot start."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

from ...config.deployment import DashboardSettings
from ...config.errors import ConfigError, Problem
from ...io.live_server import LiveServer, TokenNeeded, check_access
from ...io.wire import Wire
from .live_feed import LiveFeed
from .live_window import LiveWindow


@contextmanager
def live_page(
    own: DashboardSettings, servers: str, security: Mapping[str, str], wire: Wire, log: Any
) -> Generator[LiveServer]:
    """Serve the page until the context ends. Raises ConfigError without a needed token, OSError for a taken port."""
    require_access(own)
    with LiveFeed(servers, security, log, LiveWindow(), wire) as feed:
        server = LiveServer(feed, own.host, own.port, own.token)
        try:
            yield server
        finally:
            server.close()


@contextmanager
def page_of_sink(
    own: DashboardSettings, servers: str, security: Mapping[str, str], wire: Wire, log: Any
) -> Generator[None]:
    """The same for the sink: off at port 0; a taken port is told, and the logs are written all the same."""
    if own.port == 0:
        yield
        return
    require_access(own)
    try:
        serving = live_page(own, servers, security, wire, log)
        server = serving.__enter__()
    except OSError as fault:
        log.error("live page is off", host=own.host, port=own.port, fault=str(fault))
        yield
        return
    log.info("live page", address=server.address)
    try:
        yield
    finally:
        serving.__exit__(None, None, None)


def require_access(own: DashboardSettings) -> None:
    """ConfigError if other machines could read the page without a token."""
    try:
        check_access(own.host, own.token)
    except TokenNeeded as fault:
        advice = "Set USP_DASHBOARD__TOKEN, or leave USP_DASHBOARD__HOST at 127.0.0.1."
        problem = Problem("dashboard.host", own.host, "a loopback address, or a token of 16 or more", advice)
        raise ConfigError("deployment settings", [problem]) from fault
