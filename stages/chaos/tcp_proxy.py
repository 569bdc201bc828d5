# SPDX-License-Identifier: MIT
"""A TCP proxy that is a bad network on demand: it delays, drops what passes in one direction, and resets.

TCP repeats what is lost on the way, so what a program sees of a bad network is one of these three: everything comes
late; nothing comes, and nobody says why; the connection is gone. What was dropped is missing from the stream, so such
a connection is never used again: it is reset when the weather clears.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from threading import Thread
from typing import Literal, NamedTuple, Self, TypeVar

from ...io.ports import LOOPBACK

CHUNK_BYTES = 1 << 16
CLOSE_S = 10.0
RESET_INSTEAD_OF_FIN = struct.pack("ii", 1, 0)  # SO_LINGER on, for no time

T = TypeVar("T")
Direction = Literal["requests", "answers"]
DIRECTIONS: tuple[Direction, ...] = ("requests", "answers")


class Weather(NamedTuple):
    """What happens to each piece of bytes: it waits so long, or is swallowed."""

    delay_s: float = 0.0
    drops: tuple[Direction, ...] = ()


CLEAR = Weather()


class Line:
    """One client's connection and the one to the server behind it; `gaps` are the directions that lost something."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.ends = (client, server)
        self.gaps: set[Direction] = set()

    def reset(self) -> None:
        """Both sides see their connection reset, not closed in order."""
        for end in self.ends:
            reset(end)


def reset(end: asyncio.StreamWriter) -> None:
    """Drop what was not sent yet, and say RST instead of FIN."""
    with contextlib.suppress(OSError):
        end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_INSTEAD_OF_FIN)
    end.transport.abort()


class TcpProxy:
    """From one loopback port to another, in a thread of its own. A context manager."""

    def __init__(self, port: int, server_port: int) -> None:
        self.port = port
        self.server_port = server_port
        self.weather = CLEAR
        self.lines: list[Line] = []
        self.loop = asyncio.new_event_loop()
        self.thread = Thread(target=self.loop.run_forever, name="tcp-proxy", daemon=True)

    def __enter__(self) -> Self:
        self.thread.start()
        self.listener = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self.connect, LOOPBACK, self.port), self.loop
        ).result(CLOSE_S)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self.close(), self.loop).result(CLOSE_S)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(CLOSE_S)
        self.loop.close()

    async def close(self) -> None:
        """Listen no more, and end every line."""
        self.listener.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def clear(self) -> int:
        """The weather is good again; the lines from which something is missing are reset. How many."""
        self.weather = CLEAR
        return self.reset(lambda line: bool(line.gaps))

    def reset(self, chosen: Callable[[Line], bool] = lambda _: True) -> int:
        """Reset the chosen lines; how many."""

        def cut() -> int:
            hit = [line for line in self.lines if chosen(line)]
            for line in hit:
                line.reset()
            return len(hit)

        return self.call(cut)

    def call(self, action: Callable[[], T]) -> T:
        """Do something in the proxy's thread, and wait for it."""

        async def act() -> T:
            return action()

        return asyncio.run_coroutine_threadsafe(act(), self.loop).result(CLOSE_S)

    async def connect(self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        """Serve one client until both sides have said everything, or one is gone."""
        try:
            from_server, to_server = await asyncio.open_connection(LOOPBACK, self.server_port)
        except (OSError, asyncio.CancelledError):
            reset(to_client)
            return
        line = Line(to_client, to_server)
        self.lines.append(line)
        try:
            await asyncio.gather(
                self.pump(line, "requests", from_client, to_server), self.pump(line, "answers", from_server, to_client)
            )
            to_client.close()
            to_server.close()
        except (OSError, asyncio.CancelledError):
            line.reset()
        finally:
            self.lines.remove(line)

    async def pump(
        self, line: Line, direction: Direction, source: asyncio.StreamReader, sink: asyncio.StreamWriter
    ) -> None:
        """Pass on what one side says, as the weather is, until it has said everything."""
        while chunk := await source.read(CHUNK_BYTES):
            if self.weather.delay_s:
                await asyncio.sleep(self.weather.delay_s)
            if direction in self.weather.drops or direction in line.gaps:
                line.gaps.add(direction)
                continue
            sink.write(chunk)
            await sink.drain()
        sink.write_eof()
