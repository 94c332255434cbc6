//! How many requests that carry bytes are under way at once. A link of 300 ms is filled by several, a link of 128 kbit/s
//! is only made to queue by them: so one more is tried, and kept if more bytes were acknowledged by the service in the same
//! time, else taken back. A service that says "slow down" halves them (AIMD).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Most at once; S3's answer to more is 503, and each holds a part's buffers.
pub const MOST: usize = 16;
/// At first: one that fills the link while the other waits for its answer.
const FIRST: usize = 2;
/// A measurement is at least so long, and has at least three answers per lane.
const WINDOW: Duration = Duration::from_secs(3);
const ANSWERS: usize = 3;
/// A lane more must bring so much more, or it is taken back.
const GAIN: f64 = 1.1;
/// Measurements between two tries that brought nothing.
const REST: u32 = 8;

/// The decision, without the waiting.
#[derive(Debug)]
struct Climb {
    lanes: usize,
    /// Bytes per second before the last lane was added, and how many there were.
    before: Option<(usize, f64)>,
    rest: u32,
}

impl Climb {
    /// A measurement with `lanes` lanes, all in use, has ended.
    fn measured(&mut self, bytes_per_s: f64) {
        match self.before.take() {
            Some((lanes, rate)) if bytes_per_s < rate * GAIN => {
                self.lanes = lanes;
                self.rest = REST;
            }
            _ if self.rest > 0 => self.rest -= 1,
            _ if self.lanes < MOST => {
                self.before = Some((self.lanes, bytes_per_s));
                self.lanes = (self.lanes + (self.lanes / 2).max(1)).min(MOST);
            }
            _ => {}
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
    bytes: u64,
    answers: usize,
    /// Somebody waited for a lane since the measurement began: only then does it say what more lanes would do.
    waited: bool,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Lanes {
    semaphore: Arc<Semaphore>,
    state: Arc<Mutex<State>>,
}

/// Leave to send; given back when dropped.
pub struct Lane {
    permit: Option<OwnedSemaphorePermit>,
    lanes: Lanes,
}

impl Lanes {
    pub fn new() -> Lanes {
        let climb = Climb { lanes: FIRST, before: None, rest: 0 };
        let state = State { climb, permits: FIRST, began: None, bytes: 0, answers: 0, waited: false };
        Lanes { semaphore: Arc::new(Semaphore::new(FIRST)), state: Arc::new(Mutex::new(state)) }
    }

    pub async fn enter(&self) -> Lane {
        let permit = match Arc::clone(&self.semaphore).try_acquire_owned() {
            Ok(permit) => Some(permit),
            Err(_) => {
                self.with(|s| s.waited = true);
                // Fails only if closed, which nobody does.
                Arc::clone(&self.semaphore).acquire_owned().await.ok()
            }
        };
        self.with(|s| s.began.get_or_insert_with(Instant::now).to_owned());
        Lane { permit, lanes: self.clone() }
    }

    /// How many there are now.
    #[cfg(test)]
    pub fn count(&self) -> usize {
        self.with(|s| s.climb.lanes)
    }

    pub fn slow_down(&self) {
        self.with(|s| {
            s.climb.slow_down();
            (s.began, s.bytes, s.answers, s.waited) = (None, 0, 0, false);
        });
        self.follow();
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn answered(&self, bytes: u64) {
        self.with(|s| {
            (s.bytes, s.answers) = (s.bytes + bytes, s.answers + 1);
            let Some(began) = s.began else { return };
            let span = began.elapsed();
            if span >= WINDOW && s.answers >= ANSWERS * s.climb.lanes {
                if s.waited {
                    s.climb.measured(s.bytes as f64 / span.as_secs_f64());
                }
                (s.began, s.bytes, s.answers, s.waited) = (Some(Instant::now()), 0, 0, false);
            }
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
        let mut climb = Climb { lanes: FIRST, before: None, rest: 0 };
        let (mut lanes, mut used) = (0, 0.0);
        for n in 0..400 {
            // Measurements are never quite the same.
            let noise = 1.0 + 0.03 * (n as f64 * 2.39).sin();
            if n >= 200 {
                (lanes, used) = (lanes + climb.lanes, used + carried(climb.lanes) / bytes_per_s);
            }
            climb.measured(carried(climb.lanes) * noise);
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
        // 128 kbit/s: two fill it, and the third that is tried now and then brings nothing.
        let (lanes, used) = settle(0.1, 16_000.0, 100_000.0);
        assert!(lanes == 2 && used > 0.95, "{lanes} lanes, {used} of the link");
    }

    #[tokio::test]
    async fn a_service_that_asks_for_less_gets_less() {
        let lanes = Lanes::new();
        let held = (lanes.enter().await, lanes.enter().await);
        lanes.slow_down();
        assert_eq!(lanes.count(), 1);
        drop(held.0);
        assert!(lanes.enter().now_or_never().is_none(), "the other is still under way");
        drop(held.1);
        assert!(lanes.enter().now_or_never().is_some());
    }
}
