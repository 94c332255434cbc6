//! One direction of a link: rate, drop-tail queue, loss, delay, in the order in which the emulator of the tests has them
//! (docs/link.md): a full queue drops a packet; it leaves after those before it, at the link's rate; it is lost or not, and took
//! its time on the air either way; it arrives one delay later, never out of order. Times are seconds since the link's first packet.

use crate::error::{Error, Kind, Result};
use crate::link::Class;
use serde::Deserialize;
use std::collections::VecDeque;
use std::sync::Arc;

/// What waits before a direction at most: 50 full packets, as dummynet has it, with which WebPageTest's profiles were made.
pub const QUEUE_BYTES: f64 = 75_000.0;
/// The way up beside a trace, which measures the way down alone: that of class `3g`.
const TRACE_UP_BPS: f64 = 330_000.0;

/// A link as a learner has it.
#[derive(Debug, Clone)]
pub struct Link {
    down: Rate,
    up_bps: f64,
    /// At the beginning: what a lookup of the server's name takes, and the delay of the way up.
    rtt_s: f64,
    /// Share of packets lost in each direction.
    loss: f64,
}

impl Link {
    /// A constant link.
    pub fn of_class(class: &Class) -> Link {
        Link {
            down: Rate::Constant { bps: class.down_kbps * 1e3, delay_s: class.rtt_ms / 2e3 },
            up_bps: class.up_kbps * 1e3,
            rtt_s: class.rtt_ms / 1e3,
            loss: class.loss_percent / 100.0,
        }
    }
    /// A measured link that begins anew when it ends; nothing is lost on it but what its queue drops.
    pub fn of_trace(trace: Trace) -> Link {
        let rtt_s = 2.0 * trace.spans[0].delay_s;
        Link { down: Rate::Trace(Arc::new(trace)), up_bps: TRACE_UP_BPS, rtt_s, loss: 0.0 }
    }
    /// A link of one rate each way that loses nothing.
    pub fn constant(down_bps: f64, up_bps: f64, rtt_s: f64) -> Link {
        Link { down: Rate::Constant { bps: down_bps, delay_s: rtt_s / 2.0 }, up_bps, rtt_s, loss: 0.0 }
    }
    pub fn rtt_s(&self) -> f64 {
        self.rtt_s
    }
    /// Whether chance has a part in it.
    pub fn loses(&self) -> bool {
        self.loss > 0.0
    }
    /// When the way down has carried so many bytes of packets, were it full from the beginning.
    pub fn carried_s(&self, bytes: f64) -> f64 {
        self.down.finish(0.0, bytes)
    }
    pub(super) fn ways(&self, seed: u64) -> (Pipe, Pipe) {
        let up = Rate::Constant { bps: self.up_bps, delay_s: self.rtt_s / 2.0 };
        (Pipe::new(up, Loss::new(self.loss, 2 * seed + 1)), Pipe::new(self.down.clone(), Loss::new(self.loss, 2 * seed + 2)))
    }
}

#[derive(Debug, Clone)]
enum Rate {
    Constant { bps: f64, delay_s: f64 },
    Trace(Arc<Trace>),
}

impl Rate {
    /// When `bytes` that begin to leave at `start` have left.
    fn finish(&self, start: f64, bytes: f64) -> f64 {
        match self {
            Rate::Constant { bps, .. } => start + bytes * 8.0 / bps,
            Rate::Trace(trace) => trace.finish(start, bytes * 8.0),
        }
    }
    fn delay(&self, at: f64) -> f64 {
        match self {
            Rate::Constant { delay_s, .. } => *delay_s,
            Rate::Trace(trace) => trace.spans[trace.span_at(at % trace.length())].delay_s,
        }
    }
}

/// Measured throughput, looped.
#[derive(Debug, Clone)]
pub struct Trace {
    spans: Vec<Span>,
}

/// `end_s` and `bits` are those of the trace up to the span's end.
#[derive(Debug, Clone)]
struct Span {
    end_s: f64,
    bits: f64,
    bps: f64,
    delay_s: f64,
}

/// As it stands in a file. `latency_ms` is a round trip.
#[derive(Deserialize)]
struct Sample {
    duration_ms: f64,
    bandwidth_kbps: f64,
    #[serde(default)]
    latency_ms: f64,
}

impl Trace {
    /// Reads a JSON list of `{duration_ms, bandwidth_kbps, latency_ms}`. `place` is for messages. Fails (`BadMedia`) where it is
    /// no such list, or one that carries nothing.
    pub fn parse(text: &[u8], place: &str) -> Result<Trace> {
        let what = format!("{place} is no trace: wanted a JSON list of {{duration_ms, bandwidth_kbps, latency_ms}}");
        let samples: Vec<Sample> = serde_json::from_slice(text).map_err(|e| Error::new(Kind::BadMedia, what).caused_by(e))?;
        let mut trace = Trace { spans: Vec::with_capacity(samples.len()) };
        let (mut end_s, mut bits) = (0.0, 0.0);
        for (i, s) in samples.iter().enumerate() {
            let right = s.duration_ms > 0.0 && s.bandwidth_kbps >= 0.0 && s.latency_ms >= 0.0;
            if !right {
                return Err(Error::bad_media(format!(
                    "{place}: span {}: duration_ms is {}, wanted above 0; bandwidth_kbps {} and latency_ms {}, wanted 0 or more",
                    i + 1,
                    s.duration_ms,
                    s.bandwidth_kbps,
                    s.latency_ms
                )));
            }
            end_s += s.duration_ms / 1e3;
            bits += s.duration_ms * s.bandwidth_kbps;
            trace.spans.push(Span { end_s, bits, bps: s.bandwidth_kbps * 1e3, delay_s: s.latency_ms / 2e3 });
        }
        match bits >= 1.0 {
            true => Ok(trace),
            false => Err(Error::bad_media(format!("{place} carries nothing: at least one span needs a bandwidth_kbps above 0"))),
        }
    }

    fn length(&self) -> f64 {
        self.spans.last().map_or(1.0, |s| s.end_s)
    }
    fn all_bits(&self) -> f64 {
        self.spans.last().map_or(1.0, |s| s.bits)
    }
    /// The span of a moment within the trace.
    fn span_at(&self, offset: f64) -> usize {
        self.spans.partition_point(|s| s.end_s <= offset).min(self.spans.len() - 1)
    }
    fn before(&self, i: usize) -> (f64, f64) {
        i.checked_sub(1).map_or((0.0, 0.0), |i| (self.spans[i].end_s, self.spans[i].bits))
    }

    fn finish(&self, start: f64, bits: f64) -> f64 {
        let loops = (start / self.length()).floor();
        let offset = start - loops * self.length();
        let i = self.span_at(offset);
        let (began, carried) = self.before(i);
        let target = carried + (offset - began) * self.spans[i].bps + bits;
        let (mut more, mut rest) = ((target / self.all_bits()).floor(), target % self.all_bits());
        if rest <= 0.0 && more > 0.0 {
            (more, rest) = (more - 1.0, self.all_bits());
        }
        let i = self.spans.partition_point(|s| s.bits < rest).min(self.spans.len() - 1);
        let (began, carried) = self.before(i);
        let within = if self.spans[i].bps > 0.0 { (rest - carried) / self.spans[i].bps } else { 0.0 };
        // Sums of floats may fall a hair short of where they began.
        ((loops + more) * self.length() + began + within).max(start)
    }
}

/// Loses a share of all packets, the same ones for the same seed.
#[derive(Debug, Clone)]
struct Loss {
    share: f64,
    state: u64,
}

impl Loss {
    fn new(share: f64, seed: u64) -> Loss {
        Loss { share, state: seed }
    }
    /// SplitMix64, whose every output is as good as any.
    fn happens(&mut self) -> bool {
        if self.share <= 0.0 {
            return false;
        }
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        ((z >> 11) as f64 / (1u64 << 53) as f64) < self.share
    }
}

/// See the module.
pub(super) struct Pipe {
    rate: Rate,
    loss: Loss,
    /// When each that waits has left, and its size.
    waiting: VecDeque<(f64, f64)>,
    backlog: f64,
    free_at: f64,
    last: f64,
}

impl Pipe {
    fn new(rate: Rate, loss: Loss) -> Pipe {
        Pipe { rate, loss, waiting: VecDeque::new(), backlog: 0.0, free_at: 0.0, last: 0.0 }
    }

    /// When a packet of `size` bytes that is offered now arrives; `None` if it never does.
    pub fn offer(&mut self, now: f64, size: f64) -> Option<f64> {
        while let Some((left, size)) = self.waiting.front().filter(|(left, _)| *left <= now) {
            (self.backlog, _) = (self.backlog - size, left);
            self.waiting.pop_front();
        }
        if !self.waiting.is_empty() && self.backlog + size > QUEUE_BYTES {
            return None;
        }
        let left = self.rate.finish(now.max(self.free_at), size);
        self.free_at = left;
        self.waiting.push_back((left, size));
        self.backlog += size;
        if self.loss.happens() {
            return None;
        }
        self.last = self.last.max(left + self.rate.delay(left));
        Some(self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(spans: &[(u32, u32, u32)]) -> Trace {
        let list: Vec<_> = spans
            .iter()
            .map(|(ms, kbps, latency)| format!("{{\"duration_ms\":{ms},\"bandwidth_kbps\":{kbps},\"latency_ms\":{latency}}}"))
            .collect();
        Trace::parse(format!("[{}]", list.join(",")).as_bytes(), "t").unwrap()
    }

    // The same cases as of the emulator (tests/link/test_link.py).
    #[test]
    fn a_trace_waits_through_its_outages_and_loops() {
        let t = trace(&[(1000, 8, 100), (3000, 0, 700)]);
        for (start, bytes, end) in [(0.0, 1000.0, 1.0), (0.5, 1000.0, 4.5), (2.0, 2000.0, 9.0), (2.0, 1000.0, 5.0), (9.0, 500.0, 12.5)] {
            assert!((t.finish(start, bytes * 8.0) - end).abs() < 1e-9, "{start} {bytes}: {}", t.finish(start, bytes * 8.0));
        }
        let rate = Rate::Trace(Arc::new(t));
        assert_eq!([0.0, 2.0, 4.0].map(|at| rate.delay(at)), [0.05, 0.35, 0.05]);
    }

    #[test]
    fn packets_leave_at_the_rate_and_arrive_a_delay_later() {
        let mut pipe = Link::constant(80_000.0, 1e6, 0.1).ways(0).1;
        let found: Vec<f64> = (0..5).map(|_| pipe.offer(0.0, 1000.0).unwrap()).collect();
        assert!(found.iter().enumerate().all(|(n, at)| (at - (0.1 * (n + 1) as f64 + 0.05)).abs() < 1e-9), "{found:?}");
        // An idle link owes nothing.
        assert!((pipe.offer(7.0, 1000.0).unwrap() - 7.15).abs() < 1e-9);
    }

    #[test]
    fn a_full_queue_drops_what_comes_last() {
        let mut pipe = Link::constant(80_000.0, 1e6, 0.0).ways(0).1;
        let taken = (0..60).filter(|_| pipe.offer(0.0, 1500.0).is_some()).count();
        assert_eq!(taken, 50);
        assert!(pipe.offer(0.15, 1500.0).is_some() && pipe.offer(0.15, 1500.0).is_none());
    }

    #[test]
    fn losses_are_their_share_and_their_seeds() {
        let lost = |seed| {
            let mut loss = Loss::new(0.02, seed);
            (0..100_000).filter(|_| loss.happens()).count()
        };
        assert!((1_800..2_200).contains(&lost(1)) && lost(1) == lost(1) && lost(1) != lost(2));
    }

    #[test]
    fn what_is_no_trace_is_refused_with_its_place() {
        for text in [
            "[]",
            "{}",
            "7",
            "[{\"duration_ms\":1000}]",
            "[{\"duration_ms\":1000,\"bandwidth_kbps\":0}]",
            "[{\"duration_ms\":0,\"bandwidth_kbps\":3}]",
        ] {
            let error = Trace::parse(text.as_bytes(), "bus.json").unwrap_err();
            assert!(error.kind() == Kind::BadMedia && error.what().starts_with("bus.json"), "{text}: {}", error.what());
        }
    }
}
