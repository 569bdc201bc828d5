# SPDX-License-Identifier: MIT
"""The bad network of `usp chaos`: what a client sees through it."""

import contextlib
import socket
import time
from collections.abc import Generator
from threading import Thread

import pytest

from usp.io.ports import LOOPBACK, free_port, is_free
from usp.stages.chaos.tcp_proxy import TcpProxy, Weather

PATIENCE_S = 5.0


@pytest.fixture
def echo() -> Generator[int]:
    """The port of a server that answers what it is told."""
    with socket.create_server((LOOPBACK, 0)) as listener:

        def answer(plug: socket.socket) -> None:
            with plug, contextlib.suppress(ConnectionResetError):
                while told := plug.recv(1 << 16):
                    plug.sendall(told)

        def serve() -> None:
            while True:
                try:
                    plug, _ = listener.accept()
                except OSError:
                    return
                Thread(target=answer, args=(plug,), daemon=True).start()

        Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def proxy(echo: int) -> Generator[TcpProxy]:
    """In front of the echo."""
    with TcpProxy(free_port(), echo) as running:
        yield running


def client(proxy: TcpProxy) -> socket.socket:
    """A connection through the proxy."""
    return socket.create_connection((LOOPBACK, proxy.port), timeout=PATIENCE_S)


def said(plug: socket.socket, count: int) -> bytes:
    """So many bytes."""
    told = b""
    while len(told) < count:
        more = plug.recv(count - len(told))
        assert more, f"closed after {told!r}"
        told += more
    return told


def test_good_weather_passes_everything(proxy: TcpProxy) -> None:
    """A megabyte comes back as it went."""
    sent = bytes(range(256)) * 4096
    with client(proxy) as plug:
        Thread(target=plug.sendall, args=(sent,), daemon=True).start()
        assert said(plug, len(sent)) == sent


def test_a_slow_network_is_late_in_both_directions(proxy: TcpProxy) -> None:
    """A question and its answer wait once each."""
    with client(proxy) as plug:
        proxy.weather = Weather(delay_s=0.1)
        asked_s = time.monotonic()
        plug.sendall(b"tick")
        assert said(plug, 4) == b"tick"
        assert time.monotonic() - asked_s >= 0.2


@pytest.mark.parametrize("direction", ["requests", "answers"])
def test_a_silent_network_says_nothing_then_resets(proxy: TcpProxy, direction: str) -> None:
    """What was swallowed never comes; a line without a gap stays."""
    with client(proxy) as plug, client(proxy) as idle:
        plug.sendall(b"before")
        assert said(plug, 6) == b"before"
        proxy.weather = Weather(drops=(direction,))  # type: ignore[arg-type]
        plug.sendall(b"lost")
        plug.settimeout(0.3)
        with pytest.raises(TimeoutError):
            plug.recv(1)
        plug.settimeout(PATIENCE_S)
        proxy.clear()
        with pytest.raises(ConnectionResetError):
            plug.recv(1)
        idle.sendall(b"still here")
        assert said(idle, 10) == b"still here"


def test_a_reset_hits_the_chosen_lines(proxy: TcpProxy) -> None:
    """Both are cut; the next connection works."""
    with client(proxy) as one, client(proxy) as other:
        for plug in (one, other):
            plug.sendall(b"hello")
            assert said(plug, 5) == b"hello"
        assert proxy.reset() == 2
        for plug in (one, other):
            with pytest.raises(ConnectionResetError):
                plug.recv(1)
    with client(proxy) as plug:
        plug.sendall(b"again")
        assert said(plug, 5) == b"again"


def test_an_end_is_passed_on(proxy: TcpProxy) -> None:
    """A client that has said everything still hears the answer; then the line is gone."""
    with client(proxy) as plug:
        plug.sendall(b"last")
        plug.shutdown(socket.SHUT_WR)
        assert said(plug, 4) == b"last"
        assert plug.recv(1) == b""


def test_without_a_server_the_client_is_refused_soon() -> None:
    """The broker is gone: a connection ends at once, at the latest at its first answer."""
    with TcpProxy(free_port(), free_port()) as proxy, pytest.raises(ConnectionResetError), client(proxy) as plug:
        plug.recv(1)


def test_its_port_is_free_afterwards(echo: int) -> None:
    """Lines that were open do not keep it."""
    port = free_port()
    with TcpProxy(port, echo) as proxy:
        plug = client(proxy)
        plug.sendall(b"open")
        assert said(plug, 4) == b"open"
    plug.close()
    assert is_free(port)
