//! How many requests that carry bytes are under way at once. A link of 300 ms is filled by several, a link of 128 kbit/s
//! is only made to queue by them: so one more is tried, and kept if more bytes were acknowledged by the service in the same
//! time, else taken back. Where answers are rare, since parts are large, the bytes that have left are counted instead, over so
//! many that what a new socket's buffers take makes no difference. A service that says "slow down" halves them (AIMD).

use super::net::Meter;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Most at once; S3's answer to more is 503, and each holds a part's buffers.
pub const MOST: usize = 16;
/// At first, as other tools begin: one stream alone does not fill a far link that loses packets.
const FIRST: usize = 4;
/// Fewer are never tried: one fills the link while the other waits for its answer.
const LEAST: usize = 2;
/// A measurement is at least so long, and has at least so many answers per lane: where packets are lost, less is chance.
const WINDOW: Duration = Duration::from_secs(4);
const ANSWERS: usize = 4;
/// Or so many bytes per lane have left: a socket's buffers and window, 100 kB or so, are little beside them.
const LEFT: u64 = 1 << 20;
/// Lanes more must bring so much more, or they are taken back.
const GAIN: f64 = 1.1;
/// Below so many bytes a second fewer lanes are tried, too: each keeps a window's worth before others on a thin line.
const THIN: f64 = 32_000.0;
/// A lane less that leaves so much is as good.
const KEPT: f64 = 0.95;
/// Measurements between two tries that brought nothing.
const REST: u32 = 4;

/// The decision, without the waiting.
#[derive(Debug)]
struct Climb {
    lanes: usize,
    /// Bytes per second before the number of lanes was changed, how many there were, and what was counted.
    before: Option<(usize, f64, Counted)>,
    rest: u32,
    /// The last try was of fewer.
    fewer: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counted {
    Acknowledged,
    Left,
}

impl Climb {
    fn new() -> Climb {
        Climb { lanes: FIRST, before: None, rest: 0, fewer: true }
    }

    /// A measurement with `lanes` lanes, all in use, has ended.
    fn measured(&mut self, bytes_per_s: f64, counted: Counted) {
        match self.before.take() {
            // The one cannot be compared with the other: once more from there.
            Some((lanes, _, before)) if before != counted => self.lanes = lanes,
            Some((lanes, rate, _)) if bytes_per_s < rate * if self.lanes > lanes { GAIN } else { KEPT } => {
                self.lanes = lanes;
                self.rest = REST;
            }
            // More were worth having, or fewer are enough: on that way.
            Some((lanes, ..)) => self.try_other(self.lanes < lanes, bytes_per_s, counted),
            None if self.rest > 0 => self.rest -= 1,
            None => self.try_other(!self.fewer && bytes_per_s < THIN, bytes_per_s, counted),
        }
    }

    fn try_other(&mut self, fewer: bool, bytes_per_s: f64, counted: Counted) {
        self.fewer = fewer;
        let other = if fewer { (self.lanes - 1).max(LEAST.min(self.lanes)) } else { (self.lanes + (self.lanes / 2).max(1)).min(MOST) };
        if other != self.lanes {
            self.before = Some((self.lanes, bytes_per_s, counted));
            self.lanes = other;
        }
    }

    fn slow_down(&mut self) {
        (self.lanes, self.before, self.rest) = ((self.lanes / 2).max(1), None, REST);
    }
}

#[derive(Debug)]
struct State {
    climb: Climb,
    /// Permits that exist, free or taken: follows `climb.lanes`.
    permits: usize,
    began: Option<Instant>,
    /// What the sockets had sent then.
    left: u64,
    bytes: u64,
    answers: usize,
    /// Somebody waited for a lane since the measurement began: only then does it say what more lanes would do.
    waited: bool,
}

impl State {
    /// The next measurement.
    fn begin(&mut self, at: Option<Instant>, left: u64) {
        (self.began, self.left, self.bytes, self.answers, self.waited) = (at, left, 0, 0, false);
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Lanes {
    semaphore: Arc<Semaphore>,
    state: Arc<Mutex<State>>,
    meter: Arc<Meter>,
}

/// Leave to send; given back when dropped.
pub struct Lane {
    permit: Option<OwnedSemaphorePermit>,
    lanes: Lanes,
}

impl Lanes {
    pub fn new(meter: Arc<Meter>) -> Lanes {
        let climb = Climb::new();
        let state = State { climb, permits: FIRST, began: None, left: 0, bytes: 0, answers: 0, waited: false };
        Lanes { semaphore: Arc::new(Semaphore::new(FIRST)), state: Arc::new(Mutex::new(state)), meter }
    }

    pub async fn enter(&self) -> Lane {
        let permit = match Arc::clone(&self.semaphore).try_acquire_owned() {
            Ok(permit) => Some(permit),
            Err(_) => {
                self.with(|s| s.waited = true);
                let mut turn = pin!(Arc::clone(&self.semaphore).acquire_owned());
                loop {
                    match tokio::time::timeout(WINDOW, &mut turn).await {
                        // Fails only if closed, which nobody does.
                        Ok(permit) => break permit.ok(),
                        Err(_) => self.waiting(),
                    }
                }
            }
        };
        let left = self.left();
        self.with(|s| {
            if s.began.is_none() {
                (s.began, s.left) = (Some(Instant::now()), left);
            }
        });
        Lane { permit, lanes: self.clone() }
    }

    fn left(&self) -> u64 {
        self.meter.sent.load(Ordering::Relaxed)
    }

    /// How many there are now.
    #[cfg(test)]
    pub fn count(&self) -> usize {
        self.with(|s| s.climb.lanes)
    }

    pub fn slow_down(&self) {
        self.with(|s| {
            s.climb.slow_down();
            s.begin(None, 0);
        });
        self.follow();
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn answered(&self, bytes: u64) {
        let left = self.left();
        self.with(|s| {
            (s.bytes, s.answers) = (s.bytes + bytes, s.answers + 1);
            let Some(began) = s.began else { return };
            let span = began.elapsed();
            if span >= WINDOW && s.answers >= ANSWERS * s.climb.lanes {
                if s.waited {
                    s.climb.measured(s.bytes as f64 / span.as_secs_f64(), Counted::Acknowledged);
                }
                s.begin(Some(Instant::now()), left);
            }
        });
        self.follow();
    }

    /// Somebody has waited for a while.
    fn waiting(&self) {
        let left = self.left();
        self.with(|s| {
            let Some(began) = s.began else { return };
            let (span, bytes) = (began.elapsed(), left.saturating_sub(s.left));
            if span >= WINDOW && bytes >= LEFT * s.climb.lanes as u64 {
                s.climb.measured(bytes as f64 / span.as_secs_f64(), Counted::Left);
                s.begin(Some(Instant::now()), left);
            }
            s.waited = true;
        });
        self.follow();
    }

    /// Adds permits at once; takes away those that are free, and the others as they come back.
    fn follow(&self) {
        self.with(|s| {
            if s.permits < s.climb.lanes {
                self.semaphore.add_permits(s.climb.lanes - s.permits);
                s.permits = s.climb.lanes;
            }
            while s.permits > s.climb.lanes && self.semaphore.forget_permits(1) == 1 {
                s.permits -= 1;
            }
        });
    }
}

impl Lane {
    /// The service has acknowledged this request's bytes.
    pub fn done(self, bytes: u64) {
        self.lanes.answered(bytes);
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.permit = None;
        self.lanes.follow();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    /// What a link carries that shares `bytes_per_s` among `lanes` requests of `object` bytes, each of which waits `rtt`
    /// for its answer; and what a controller makes of it in the end: its lanes, and the share of the link that it uses.
    fn settle(rtt: f64, bytes_per_s: f64, object: f64) -> (usize, f64) {
        let carried = |lanes: usize| (lanes as f64 * object / (object / bytes_per_s + rtt)).min(bytes_per_s);
        let mut climb = Climb::new();
        let (mut lanes, mut used) = (0, 0.0);
        for n in 0..400 {
            // Measurements are never quite the same.
            let noise = 1.0 + 0.03 * (n as f64 * 2.39).sin();
            if n >= 200 {
                (lanes, used) = (lanes + climb.lanes, used + carried(climb.lanes) / bytes_per_s);
            }
            climb.measured(carried(climb.lanes) * noise, Counted::Acknowledged);
        }
        ((lanes as f64 / 200.0).round() as usize, used / 200.0)
    }

    #[test]
    fn a_far_link_is_filled_and_a_thin_one_is_not_flooded() {
        // 20 kB objects, 300 ms, 1 Mbit/s: each takes 160 ms of the link and 300 ms of waiting.
        let (lanes, used) = settle(0.3, 125_000.0, 20_000.0);
        assert!((3..=6).contains(&lanes) && used > 0.95, "{lanes} lanes, {used} of the link");
        // 10 Mbit/s: 16 ms of the link each; all lanes are needed.
        let (lanes, used) = settle(0.3, 1_250_000.0, 20_000.0);
        assert!(lanes >= 14 && used > 0.75, "{lanes} lanes, {used} of the link");
        // 128 kbit/s: two fill it, and what is tried beyond brings nothing.
        let (lanes, used) = settle(0.1, 16_000.0, 100_000.0);
        assert!(lanes == 2 && used > 0.95, "{lanes} lanes, {used} of the link");
    }

    #[tokio::test]
    async fn a_service_that_asks_for_less_gets_less() {
        let lanes = Lanes::new(Arc::default());
        let mut held = Vec::new();
        for _ in 0..FIRST {
            held.push(lanes.enter().await);
        }
        lanes.slow_down();
        assert_eq!(lanes.count(), FIRST / 2);
        held.truncate(FIRST / 2);
        assert!(lanes.enter().now_or_never().is_none(), "the others are still under way");
        held.pop();
        assert!(lanes.enter().now_or_never().is_some());
    }

    /// Parts of 5 MiB are answered rarely; what has left the sockets decides then.
    #[test]
    fn large_parts_do_not_keep_a_fast_far_link_at_two() {
        let meter: Arc<Meter> = Arc::default();
        let lanes = Lanes::new(meter.clone());
        let later = |span: Duration, bytes: u64| {
            lanes.with(|s| s.began = s.began.and_then(|at| at.checked_sub(span)));
            meter.sent.fetch_add(bytes, Ordering::Relaxed);
            lanes.waiting();
            lanes.count()
        };
        lanes.with(|s| s.begin(Some(Instant::now()), 0));
        let (first, more) = (FIRST as u64, FIRST + FIRST / 2);
        assert_eq!(later(2 * WINDOW, first * LEFT - 1), FIRST, "too little to tell");
        assert_eq!(later(2 * WINDOW, 1), more);
        // In the same time half as much again: it is worth having, and so may more be.
        assert_eq!(later(4 * WINDOW, 2 * first * LEFT), more + more / 2);
        // Those brought nothing.
        assert_eq!(later(8 * WINDOW, 3 * first * LEFT), more);
    }

    #[test]
    fn what_is_counted_differently_is_not_compared() {
        let mut climb = Climb::new();
        climb.measured(100.0, Counted::Left);
        assert!(climb.lanes > FIRST);
        climb.measured(900.0, Counted::Acknowledged);
        assert_eq!(climb.lanes, FIRST);
    }
}
