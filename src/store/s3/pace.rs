//! `--uplink`: a token bucket that every socket of a store draws from before it writes. It lies below TLS, so records,
//! handshakes and HTTP headers are counted as they are; what IP and TCP add is reckoned by [`wire_bytes`].

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Payload of a full segment on Ethernet with timestamps, and the IP and TCP headers that carry it (RFC 879, RFC 7323).
const SEGMENT: u64 = 1448;
const SEGMENT_HEADERS: u64 = 52;

/// What `n` bytes given to a socket are on the link.
pub fn wire_bytes(n: u64) -> u64 {
    n + n.div_ceil(SEGMENT) * SEGMENT_HEADERS
}

/// Bytes per second for all sockets together.
#[derive(Debug)]
pub struct Pace {
    rate: f64,
    /// Most that may leave at once after a pause: a quarter of a second, under 1 % of a 30 s window.
    burst: f64,
    state: Mutex<(f64, Instant)>,
}

impl Pace {
    pub fn new(bytes_per_s: f64) -> Pace {
        let burst = (bytes_per_s * 0.25).clamp(wire_bytes(SEGMENT) as f64, 65_536.0);
        Pace { rate: bytes_per_s.max(1.0), burst, state: Mutex::new((burst, Instant::now())) }
    }

    /// Leave for some of `want` bytes, at least one, or how long to wait before asking again.
    pub fn take(&self, now: Instant, want: usize) -> Result<usize, Duration> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let level = (state.0 + now.saturating_duration_since(state.1).as_secs_f64() * self.rate).min(self.burst);
        *state = (level, now);
        let full = wire_bytes(want as u64) as f64;
        // Half a bucket is worth a wake-up; less would be a trickle of small segments.
        let least = full.min(self.burst / 2.0);
        if level < least {
            return Err(Duration::from_secs_f64((least - level) / self.rate) + Duration::from_micros(100));
        }
        let segment = wire_bytes(SEGMENT) as f64;
        let fits = match level >= full {
            true => want as u64,
            false if level >= segment => (level / segment) as u64 * SEGMENT,
            // A very thin link: part of a segment.
            false => ((level - SEGMENT_HEADERS as f64).max(1.0)) as u64,
        };
        let n = fits.clamp(1, want as u64);
        state.0 -= wire_bytes(n) as f64;
        Ok(n as usize)
    }

    /// Gives back what a socket was given leave for and did not take.
    pub fn give_back(&self, given: usize, used: usize) {
        let unused = wire_bytes(given as u64) - wire_bytes(used as u64);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 = (state.0 + unused as f64).min(self.burst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Greedy writers, any write size, timers a millisecond late: every 30 s window is within 5 % of the rate.
    #[test]
    fn every_window_of_thirty_seconds_has_the_rate() {
        for (kbps, write) in [(64.0, 16_384), (512.0, 16_384), (512.0, 700), (20_000.0, 65_536)] {
            let pace = Pace::new(kbps * 125.0);
            let began = Instant::now();
            let (mut at, mut log) = (Duration::ZERO, Vec::new());
            while at < Duration::from_secs(100) {
                match pace.take(began + at, write) {
                    Ok(n) => log.push((at.as_secs_f64(), wire_bytes(n as u64))),
                    Err(wait) => at += wait + Duration::from_millis(1),
                }
            }
            for from in [0.0, 0.1, 13.0, 41.7, 69.0] {
                let sent: u64 = log.iter().filter(|(t, _)| (from..from + 30.0).contains(t)).map(|(_, n)| n).sum();
                let of_rate = sent as f64 / (kbps * 125.0 * 30.0);
                assert!((0.95..=1.05).contains(&of_rate), "{kbps} kbit/s, writes of {write}, from {from} s: {of_rate}");
            }
        }
    }

    #[test]
    fn what_was_not_used_is_given_back() {
        let (pace, now) = (Pace::new(8_000.0), Instant::now());
        let given = pace.take(now, 1448).unwrap();
        pace.give_back(given, 0);
        assert_eq!(pace.take(now, 1448), Ok(given));
    }
}
