# SPDX-License-Identifier: MIT
"""Free loopback ports."""

import socket

import pytest

from usp.io.ports import LOOPBACK, first_ephemeral_port, free_port, is_free


def test_a_free_port_lies_below_those_of_outgoing_connections():
    """The kernel never gives it to a client, which could then connect to itself."""
    assert all(free_port() < first_ephemeral_port() for _ in range(20))


def test_a_port_on_which_somebody_listens_is_not_free():
    """Whoever listens is seen, also on all interfaces, and a port is free again afterwards."""
    for address in (LOOPBACK, "0.0.0.0"):
        with socket.socket() as server:
            server.bind((address, 0))
            server.listen()
            port = server.getsockname()[1]
            assert not is_free(port)
        assert is_free(port)


@pytest.mark.parametrize("port", [-1, 0, 65_536])
def test_a_number_that_is_no_port_is_not_free(port: int):
    """Nobody can listen on it."""
    assert not is_free(port)


def test_ports_to_avoid_are_not_given():
    """Two ports for one server differ although nobody listens on the first yet."""
    first = free_port()
    assert first not in {free_port(avoid=frozenset({first})) for _ in range(50)}
