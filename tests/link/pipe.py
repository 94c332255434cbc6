"""One direction of a link, as pure decisions over a clock that the caller reads: rate, drop-tail queue, loss, delay.

A packet that is offered waits until those before it have left, leaves at the link's rate, is lost or not (it took its time on
the air either way), and arrives one delay later. Never out of order. Times are integers, nanoseconds since the link's first
packet; sizes are bytes of IP packets.
"""

import random
from collections import deque

SECOND = 1_000_000_000


class Constant:
    """A link of `bps` bits a second; its delay is the pipe's."""

    def __init__(self, bps):
        if bps <= 0:
            raise ValueError(f"a rate of {bps} bit/s carries nothing: give one above 0, or a trace")
        self.bps = bps

    def finish(self, start, size):
        """When a packet of `size` bytes that begins to leave at `start` has left."""
        return start + -(-size * 8 * SECOND // self.bps)

    def delay(self, at):
        return None


class Trace:
    """Measured throughput, a list of {duration_ms, bandwidth_kbps, latency_ms}, looped. `latency_ms` is a round trip: half of
    it is the delay of this direction."""

    def __init__(self, spans, where="trace"):
        try:
            self.spans = [(int(s["duration_ms"] * 1_000_000), int(s["bandwidth_kbps"] * 1000), int(s.get("latency_ms", 0) * 500_000)) for s in spans]
        except (TypeError, KeyError, AttributeError) as e:
            raise ValueError(f"{where}: wanted a JSON list of {{duration_ms, bandwidth_kbps, latency_ms}}: {e!r}") from e
        self.length = sum(d for d, _, _ in self.spans)
        if any(d <= 0 or b < 0 or late < 0 for d, b, late in self.spans) or not any(b for _, b, _ in self.spans):
            raise ValueError(f"{where}: durations must be above 0, rates 0 or more and at least one above 0")

    def walk(self, start):
        """From `start` on: (begin of this piece, its end, bit/s, delay)."""
        at, offset = start, start % self.length
        while True:
            for duration, bps, delay in self.spans:
                if offset >= duration:
                    offset -= duration
                    continue
                yield at, at + duration - offset, bps, delay
                at, offset = at + duration - offset, 0

    def finish(self, start, size):
        # In units of bits x nanoseconds a second, so that nothing is rounded before the end.
        left = size * 8 * SECOND
        for begin, end, bps, _ in self.walk(start):
            if bps and left <= (end - begin) * bps:
                return begin + -(-left // bps)
            left -= (end - begin) * bps

    def delay(self, at):
        return next(self.walk(at))[3]


class Loss:
    """Loses `percent` of all packets, by a seed. With `burst` above 1 they go in runs of that many in the mean (Gilbert's
    model: a bad state that loses all, a good one that loses none)."""

    def __init__(self, percent=0.0, burst=1.0, seed=0):
        if not 0 <= percent < 100:
            raise ValueError(f"a loss of {percent} %: wanted from 0 to below 100")
        if burst < 1:
            raise ValueError(f"bursts of {burst} packets: wanted at least 1")
        share = percent / 100
        self.random = random.Random(seed)
        self.burst, self.bad = burst > 1, False
        # To lose this share in the long run, the bad state has to be entered so often.
        self.enter = share if not self.burst else min(1.0, share / (burst * (1 - share)))
        self.leave = 1 / burst

    def __call__(self):
        if not self.burst:
            return self.enter > 0 and self.random.random() < self.enter
        self.bad = self.random.random() >= self.leave if self.bad else self.random.random() < self.enter
        return self.bad


class Pipe:
    """`offer` what comes in, take out what is `due`. A queue has `queue_bytes`, and, where given, at most `queue_ns` of
    waiting; an empty one takes any packet."""

    def __init__(self, rate, delay_ns, queue_bytes=75_000, queue_ns=None, loss=None):
        self.rate, self.delay_ns, self.loss = rate, delay_ns, loss or Loss()
        self.queue_bytes, self.queue_ns = queue_bytes, queue_ns
        self.waiting, self.backlog, self.free_at = deque(), 0, 0  # (when it has left, its size)
        self.flying, self.last = deque(), 0  # (when it arrives, packet)
        self.counts = dict.fromkeys(("offered_packets", "offered_bytes", "dropped_packets", "lost_packets", "delivered_packets", "delivered_bytes"), 0)
        self.counts["queue_peak_bytes"] = 0
        self.by_second = []  # Bytes offered in each second since the first packet.

    def offer(self, now, packet):
        """Whether it was taken into the queue."""
        size, counts = len(packet), self.counts
        counts["offered_packets"] += 1
        counts["offered_bytes"] += size
        second = now // SECOND
        self.by_second += [0] * (second + 1 - len(self.by_second))
        self.by_second[second] += size
        while self.waiting and self.waiting[0][0] <= now:
            self.backlog -= self.waiting.popleft()[1]
        left_at = self.rate.finish(max(now, self.free_at), size)
        full = self.backlog + size > self.queue_bytes or (self.queue_ns is not None and left_at - now > self.queue_ns)
        if self.waiting and full:
            counts["dropped_packets"] += 1
            return False
        self.free_at = left_at
        self.waiting.append((left_at, size))
        self.backlog += size
        counts["queue_peak_bytes"] = max(counts["queue_peak_bytes"], self.backlog)
        if self.loss():
            counts["lost_packets"] += 1
            return True
        delay = self.delay_ns if self.delay_ns is not None else self.rate.delay(left_at)
        self.last = max(self.last, left_at + delay)
        self.flying.append((self.last, packet))
        return True

    def next_due(self):
        """When the next packet arrives; None while nothing is under way."""
        return self.flying[0][0] if self.flying else None

    def due(self, now):
        """The packets that have arrived by `now`, in order, each with its time."""
        while self.flying and self.flying[0][0] <= now:
            at, packet = self.flying.popleft()
            self.counts["delivered_packets"] += 1
            self.counts["delivered_bytes"] += len(packet)
            yield at, packet
