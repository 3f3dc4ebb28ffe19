"""The scripts of the Redis store, and the errors of a Redis server in our words."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import wraps
from hashlib import sha1
from importlib.resources import files
from typing import Any, ParamSpec, TypeVar

import msgspec
import redis.exceptions as redis_errors

from services.backends.redis_key import type_of
from visits.errors import (
    PartitionStoppedError,
    StoppedState,
    StoreUnavailableError,
    VisitCounterError,
)

Argument = str | bytes | int
Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")

BEGIN = """
local pointer = redis.call('GET', KEYS[1])
if (pointer or '') ~= ARGV[1] then return 0 end
local is_taken = redis.call('EXISTS', KEYS[2]) == 1 or redis.call('GET', KEYS[3]) == ARGV[2]
if is_taken or redis.call('ZSCORE', KEYS[4], ARGV[2]) then return 0 end
redis.call('HSET', KEYS[2], unpack(ARGV, 3))
redis.call('SET', KEYS[1], ARGV[2])
return 1
"""
"""Makes a generation if the pointer still stands where it was read (`''`: no pointer), and no shadow or doomed one has the number."""

TOUCH = """
local pointer = redis.call('GET', KEYS[1])
local head = redis.call('HMGET', KEYS[2], 'log_id', 'position', 'fingerprint', 'as_of')
if pointer ~= ARGV[1] or not head[2] then return {'miss', pointer or '0'} end
if head[1] ~= ARGV[2] or head[2] ~= ARGV[3] or head[3] ~= ARGV[4] then
  return {'miss', pointer, head[1], head[2], head[3]}
end
if tonumber(ARGV[5]) > tonumber(head[4]) then redis.call('HSET', KEYS[2], 'as_of', ARGV[5]) end
return {'applied'}
"""

META = """
if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('HSET', KEYS[1], unpack(ARGV)) end
return redis.call('HGETALL', KEYS[1])
"""


class Script:
    """One script, called by its hash and sent whole only where the server does not know it."""

    def __init__(self, source: str) -> None:
        """Take the source."""
        self.source = source
        self.sha = sha1(source.encode(), usedforsecurity=False).hexdigest()

    async def __call__(
        self, client: Any, keys: Sequence[str], arguments: Sequence[Argument]
    ) -> Any:
        """Run the script; every key it touches is in `keys`.

        Raises:
            redis.exceptions.RedisError: see `translate`.
        """
        try:
            return await client.evalsha(self.sha, len(keys), *keys, *arguments)
        except redis_errors.NoScriptError:
            return await client.eval(self.source, len(keys), *keys, *arguments)


def packaged(name: str) -> Script:
    """Return a script of this package's folder."""
    return Script((files(__package__) / name).read_text(encoding="utf-8"))


def reads(
    method: Callable[Arguments, Awaitable[Answer]],
) -> Callable[Arguments, Coroutine[Any, Any, Answer]]:
    """Let a method that reads replies refuse what nobody of ours can have written: a number that is none, a field that is missing.

    Raises:
        PartitionStoppedError: `store_corrupt`, from the method.
    """

    @wraps(method)
    async def reading(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Answer:
        try:
            return await method(*args, **kwargs)
        except (KeyError, IndexError, ValueError, msgspec.MsgspecError) as error:
            detail = f"{method.__name__}: {type(error).__name__}: {str(error)[:200]}"
            raise PartitionStoppedError(StoppedState.STORE_CORRUPT, detail) from error

    return reading


def is_wrong_type(error: Exception) -> bool:
    """Claim that a key holds another type than ours: only that is not mended by trying again."""
    return "WRONGTYPE" in str(error)


def wrong_type(found: Sequence[tuple[str, bytes]]) -> PartitionStoppedError:
    """Return the state of a store in which one of some keys holds another type.

    Args:
        found: key and the type it was found to have when it was asked for afterwards.
    """
    wrong = [
        f"{key} is a {kind.decode()}, not a {type_of(key)}"
        for key, kind in found
        if kind.decode() not in {"none", type_of(key)}
    ]
    detail = ", ".join(wrong) or "a key held another type a moment ago"
    return PartitionStoppedError(StoppedState.STORE_CORRUPT, detail)


def translate(error: Exception) -> VisitCounterError:
    """Return what a Redis client's error means to a service: try again."""
    text = str(error) or type(error).__name__
    return StoreUnavailableError(f"Redis: {text[:200]}")
