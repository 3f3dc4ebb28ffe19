"""Token buckets, one a (site, client network), in this process (DESIGN 4.2). The moment is an argument."""

from __future__ import annotations

from collections import OrderedDict

BUCKETS_MAX = 100_000
"""Beyond, the bucket used longest ago is forgotten: its client starts with a full one again."""

Key = tuple[str, bytes]


class RateLimiter:
    """Lets `rate_per_second` through on average and `burst` at once."""

    def __init__(
        self, rate_per_second: float, burst: int, *, buckets_max: int = BUCKETS_MAX
    ) -> None:
        """A rate of 0 lets everything through."""
        self._rate = rate_per_second
        self._burst = float(burst)
        self._buckets_max = buckets_max
        self._buckets: OrderedDict[Key, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def wait_seconds(self, key: Key, now_seconds: float) -> float:
        """Take a token of `key`: 0 when there was one, else the seconds until there is.

        Args:
            key: site and network.
            now_seconds: a clock that may stand still or go back, but costs nothing then.
        """
        if self._rate <= 0:
            return 0.0
        bucket = self._buckets.get(key)
        if bucket is None:
            tokens = self._burst
            if len(self._buckets) >= self._buckets_max:
                self._buckets.popitem(last=False)
        else:
            tokens, filled_at = bucket
            if now_seconds > filled_at:
                tokens += (now_seconds - filled_at) * self._rate
            tokens = min(tokens, self._burst)
            self._buckets.move_to_end(key)
        if tokens < 1.0:
            self._buckets[key] = (tokens, now_seconds)
            return (1.0 - tokens) / self._rate
        self._buckets[key] = (tokens - 1.0, now_seconds)
        return 0.0
