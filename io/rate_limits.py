# SPDX-License-Identifier: MIT
"""The limits on changes of the configuration, kept in Redis: shared by all processes, and outliving them.

One script checks and records with the server's clock, so that of any number of callers exactly as many pass as may.
Without Redis nothing passes. Steps come as the highest `state_step` of each symbol, never by counting calls.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import redis

from .mutation_limiter import MAX_MUTATIONS_PER_HOUR, STABILITY_STEPS

WINDOW_US = 3_600_000_000
ANSWER_TTL_S = 30 * 86_400

ASK = """
local window, steps, meta, answer, nonce = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
if redis.call('HGET', meta, 'kept') ~= '1' then return {'lost'} end
local most, span, required = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local ttl, id, has_nonce = ARGV[4], ARGV[5], ARGV[6]
for i = 7, #ARGV, 2 do
  if tonumber(ARGV[i + 1]) > tonumber(redis.call('HGET', steps, ARGV[i]) or '0') then
    redis.call('HSET', steps, ARGV[i], ARGV[i + 1])
  end
end
local total = 0
for _, value in ipairs(redis.call('HVALS', steps)) do total = total + tonumber(value) end
local known = redis.call('GET', answer)
if known then return {'known', known} end
if has_nonce == '1' then
  local owner = redis.call('GET', nonce)
  if owner and owner ~= id then return {'nonce', owner} end
end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
redis.call('ZREMRANGEBYSCORE', window, '-inf', now - span)
local count = redis.call('ZCARD', window)
if count >= most then
  local oldest = redis.call('ZRANGE', window, 0, 0, 'WITHSCORES')
  return {'rate', tostring(count), string.format('%.0f', tonumber(oldest[2]) + span - now)}
end
local before = tonumber(redis.call('HGET', meta, 'total') or '0')
if total - before < required then return {'stability', string.format('%.0f', total - before)} end
redis.call('ZADD', window, string.format('%.0f', now), id)
redis.call('HSET', meta, 'before', string.format('%.0f', before), 'total', string.format('%.0f', total), 'id', id)
redis.call('SET', answer, '', 'EX', ttl)
if has_nonce == '1' then redis.call('SET', nonce, id, 'EX', ttl) end
return {'ok'}
"""

SETTLE = """
local window, meta, answer = KEYS[1], KEYS[2], KEYS[3]
local id, ttl, text, counts = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
redis.call('SET', answer, text, 'EX', ttl)
if counts == '0' and redis.call('ZREM', window, id) == 1 and redis.call('HGET', meta, 'id') == id then
  redis.call('HSET', meta, 'total', redis.call('HGET', meta, 'before'))
end
return 1
"""

REMEMBER = """
local window, meta = KEYS[1], KEYS[2]
if redis.call('HGET', meta, 'kept') == '1' then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
for i = 2, #ARGV, 2 do redis.call('ZADD', window, string.format('%.0f', now - tonumber(ARGV[i + 1])), ARGV[i]) end
if redis.call('HEXISTS', meta, 'total') == 0 then redis.call('HSET', meta, 'total', ARGV[1]) end
redis.call('HSET', meta, 'kept', '1')
return 1
"""


class LimiterAnswer(NamedTuple):
    """Whether a change may be made. `stored` is the answer that this proposal got before, if it is final.

    `lost`: Redis has no memory of the limits; nothing is allowed before `remember`.
    """

    allowed: bool
    reason: str
    stored: str | None = None
    lost: bool = False


class RedisRateLimiter:
    """Ask before a change, settle after it. Never raises when Redis is away: it refuses.

    `key_prefix` names the log of the predictions too: on another log the steps begin again.
    """

    def __init__(
        self,
        client: "redis.Redis",
        key_prefix: str = "usp:",
        max_mutations_per_hour: int = MAX_MUTATIONS_PER_HOUR,
        stability_steps_required: int = STABILITY_STEPS,
        window_us: int = WINDOW_US,
    ) -> None:
        # The braces keep all keys in one slot of a cluster.
        self.prefix = f"{{{key_prefix}governor}}:"
        self.most = max_mutations_per_hour
        self.required = stability_steps_required
        self.window_us = window_us
        self.ask_script = client.register_script(ASK)
        self.settle_script = client.register_script(SETTLE)
        self.remember_script = client.register_script(REMEMBER)

    def key(self, *parts: str) -> str:
        return self.prefix + ":".join(parts)

    def ask(self, proposal_id: str, steps: Mapping[str, int], nonce: str | None = None) -> LimiterAnswer:
        """Check and record in one. A proposal that was allowed before and has no final answer yet is allowed again."""
        keys = [
            *map(self.key, ("window", "steps", "last")),
            self.key("answer", proposal_id),
            self.key("nonce", nonce or ""),
        ]
        flat = [item for symbol, step in steps.items() for item in (symbol, step)]
        args = [self.most, self.window_us, self.required, ANSWER_TTL_S, proposal_id, int(nonce is not None), *flat]
        try:
            answer = cast("list[Any]", self.ask_script(keys=keys, args=args))
        except redis.RedisError as fault:
            return LimiterAnswer(False, unavailable(fault))
        return self.in_words(*map(text_of, answer))

    def in_words(self, verdict: str, first: str = "", second: str = "") -> LimiterAnswer:
        """The script's answer as a decision with its reason."""
        if verdict == "lost":
            return LimiterAnswer(False, "Redis has lost the rate limits; expected them to be rebuilt first", lost=True)
        if verdict == "known":
            return LimiterAnswer(allowed=not first, reason="asked before", stored=first or None)
        if verdict == "nonce":
            return LimiterAnswer(False, f"replayed: its nonce was used by proposal {first!r}; expected a fresh one")
        if verdict == "rate":
            wait_s = int(second) / 1e6
            return LimiterAnswer(
                False, f"Rate limit: {first}/{self.most} mutations in the last hour; try again in {wait_s:.0f} s"
            )
        if verdict == "stability":
            return LimiterAnswer(False, f"Stability: {first}/{self.required} steps since the last mutation")
        return LimiterAnswer(True, "OK")

    def settle(self, proposal_id: str, answer: str, *, counts: bool) -> bool:
        """Keep the final answer; `counts` False gives the slot back. False if Redis is away: the slot stays taken."""
        keys = [self.key("window"), self.key("last"), self.key("answer", proposal_id)]
        try:
            self.settle_script(keys=keys, args=[proposal_id, ANSWER_TTL_S, answer, int(counts)])
        except redis.RedisError:
            return False
        return True

    def remember(self, history: Sequence[tuple[str, float]], steps: int = 0) -> bool:
        """What the audit log knows, for a Redis that has lost it; nothing if it has not.

        `history` are the changes of the last hour (proposal id, age in seconds), `steps` the total of steps that the
        newest change was made at. False if Redis is away.
        """
        flat = [item for proposal_id, age_s in history for item in (proposal_id, int(age_s * 1e6))]
        try:
            self.remember_script(keys=[self.key("window"), self.key("last")], args=[steps, *flat])
        except redis.RedisError:
            return False
        return True


def text_of(item: Any) -> str:
    """A reply of the server as text, whatever the client decodes."""
    return item.decode() if isinstance(item, bytes) else str(item)


def unavailable(fault: Exception) -> str:
    """Without the address, which may hold a password."""
    return (
        f"the rate limits are not to be had (Redis: {type(fault).__name__}); nothing is changed without them, try again"
    )
