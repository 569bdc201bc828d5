# SPDX-License-Identifier: MIT
"""Redis as a notice board: which snapshot is the newest. It is only a hint; the verified file decides.

A hint moves forward alone: one script compares the step and writes, so that late writers cannot turn it back.
"""

from typing import Any, Literal, NamedTuple, TypeAlias, cast

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from .failpoints import failpoint

HINT_TIMEOUT_S = 0.25

ADVANCE = """
local known = redis.call('HGET', KEYS[1], 'step')
if known and tonumber(known) >= tonumber(ARGV[3]) then return 0 end
redis.call('HSET', KEYS[1], 'hash', ARGV[1], 'offset', ARGV[2], 'step', ARGV[3], 'path', ARGV[4])
return 1
"""

Advanced: TypeAlias = Literal["advanced", "not_newer"]


class CacheUnavailable(Exception):
    """Redis did not answer in time or refused; nothing that matters is lost."""


class SnapshotHint(NamedTuple):
    """The newest snapshot of a stage's partition, as somebody once said."""

    snapshot_id: str
    next_offset: int
    step: int
    path: str


def open_redis(
    url: str, *, username: str = "", password: str = "", ca_file: str = "", timeout_s: float = HINT_TIMEOUT_S
) -> "redis.Redis":
    """A client that answers or fails within about `timeout_s`, without trying again; connects on first use."""
    options: dict[str, Any] = {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "retry": Retry(NoBackoff(), 0),
        "decode_responses": True,
    }
    if username:
        options["username"] = username
    if password:
        options["password"] = password
    if ca_file:
        options["ssl_ca_certs"] = ca_file
    return redis.Redis.from_url(url, **options)  # pyright: ignore[reportUnknownMemberType]  # its options are untyped


class SnapshotHints:
    """Hints by log, stage and partition. Every call may raise CacheUnavailable, and soon."""

    def __init__(self, client: "redis.Redis", key_prefix: str = "usp:") -> None:
        self.client = client
        self.key_prefix = key_prefix
        self.script = client.register_script(ADVANCE)

    def key(self, log_id: str, stage: str, partition: int) -> str:
        """A log that was made anew has keys of its own, for its steps begin again."""
        return f"{self.key_prefix}snapshot:{log_id}:{stage}:{partition}"

    def advance(self, log_id: str, stage: str, partition: int, hint: SnapshotHint) -> Advanced:
        """Write the hint if its step is greater than the one that is there."""
        failpoint("hint.before_update")
        values: list[str | int] = [hint.snapshot_id, hint.next_offset, hint.step, hint.path]
        try:
            answer = self.script(keys=[self.key(log_id, stage, partition)], args=values)
        except redis.RedisError as fault:
            raise unavailable(fault) from fault
        failpoint("hint.after_update")
        return "advanced" if answer == 1 else "not_newer"

    def read(self, log_id: str, stage: str, partition: int) -> SnapshotHint | None:
        """The hint, None if there is none or it makes no sense."""
        try:
            found = cast(dict[str, str], self.client.hgetall(self.key(log_id, stage, partition)))
        except redis.RedisError as fault:
            raise unavailable(fault) from fault
        try:
            return SnapshotHint(found["hash"], int(found["offset"]), int(found["step"]), found["path"])
        except (KeyError, ValueError):
            return None


def unavailable(fault: Exception) -> CacheUnavailable:
    """Without the address, which may hold a password."""
    return CacheUnavailable(f"Redis is not to be had ({type(fault).__name__}); snapshots go on without their hint")
