# SPDX-License-Identifier: MIT
"""Free TCP ports on the loopback address for local servers."""

import random
import socket
from pathlib import Path

LOOPBACK = "127.0.0.1"
LOWEST_PORT = 20_000
EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
TRIES = 200


def is_free(port: int) -> bool:
    """Whether a server could listen on 127.0.0.1:`port` now; another process may still take it before you do."""
    if not 0 < port < 65_536:
        return False
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_port(avoid: frozenset[int] = frozenset()) -> int:
    """A port that nobody listens on, below the range from which the kernel takes ports for outgoing connections.

    A client that keeps trying to reach a stopped server on an ephemeral port can be given that very port as its own
    and connect to itself; the server could then never come back. Raises OSError when none is free.
    """
    highest = max(LOWEST_PORT + 1_000, first_ephemeral_port() - 1)
    for _ in range(TRIES):
        port = random.SystemRandom().randint(LOWEST_PORT, highest)
        if port not in avoid and is_free(port):
            return port
    raise OSError(f"no free port found on {LOOPBACK} between {LOWEST_PORT} and {highest} in {TRIES} tries")


def first_ephemeral_port() -> int:
    """The lowest port that the kernel gives to outgoing connections; 32768 where it does not say."""
    try:
        return int(EPHEMERAL_RANGE.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 32_768
