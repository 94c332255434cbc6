//! How many requests that carry bytes are under way at once. A link of 300 ms is filled by several, a link of 128 kbit/s
//! is only made to queue by them: so one more is tried, and kept if more bytes were acknowledged by the service in the same
//! time, else taken back. Where answers are rare, since parts are large, the bytes that have left are counted instead, over so
//! many that what a new socket's buffers take makes no difference. A service that says "slow down" halves them (AIMD). [`super::climb`] decides.
//!
//! What is hardly more than its headers takes no lane: a thousand playlists are waiting, not sending, and lanes that are right for
//! films would have them take a round trip each. So many of them go beside the lanes.

use super::climb::{Climb, FIRST, Measured};
use super::net::Meter;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A measurement is at least so long, and has at least so many answers per lane: where packets are lost, less is chance.
const WINDOW: Duration = Duration::from_secs(4);
const ANSWERS: usize = 4;
/// Or so many bytes per lane have left: a socket's buffers and window, 100 kB or so, are little beside them.
const LEFT: u64 = 1 << 20;
/// An object of so few bytes goes beside the lanes ...
const TINY: u64 = 2048;
/// ... with so many of its kind: with their headers 25 kB, a third of a usual queue.
const TINY_AT_ONCE: usize = 16;
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
    tiny: Arc<Semaphore>,
    state: Arc<Mutex<State>>,
    meter: Arc<Meter>,
}

/// Leave to send; given back when dropped.
pub struct Lane {
    permit: Option<OwnedSemaphorePermit>,
    /// It goes beside the lanes.
    tiny: bool,
    lanes: Lanes,
}

impl Lanes {
    pub fn new(meter: Arc<Meter>) -> Lanes {
        let climb = Climb::new();
        let state = State { climb, permits: FIRST, began: None, left: 0, bytes: 0, answers: 0, waited: false };
        let (semaphore, tiny) = (Arc::new(Semaphore::new(FIRST)), Arc::new(Semaphore::new(TINY_AT_ONCE)));
        Lanes { semaphore, tiny, state: Arc::new(Mutex::new(state)), meter }
    }

    /// Leave to send so many bytes.
    pub async fn enter_with(&self, bytes: u64) -> Lane {
        match bytes <= TINY {
            // Fails only if closed, which nobody does.
            true => Lane { permit: Arc::clone(&self.tiny).acquire_owned().await.ok(), tiny: true, lanes: self.clone() },
            false => self.enter().await,
        }
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
        Lane { permit, tiny: false, lanes: self.clone() }
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
        self.tiny.forget_permits(self.tiny.available_permits() / 2);
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
                    s.climb.measured(Measured::acknowledged(s.bytes, s.answers, span));
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
                s.climb.measured(Measured::left(bytes, span));
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
        if !self.tiny {
            self.lanes.answered(bytes);
        }
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

    #[tokio::test]
    async fn playlists_go_beside_films() {
        let lanes = Lanes::new(Arc::default());
        let mut films = Vec::new();
        for _ in 0..FIRST {
            films.push(lanes.enter_with(20_000).await);
        }
        assert!(lanes.enter_with(TINY + 1).now_or_never().is_none(), "all lanes are taken");
        let mut playlists = Vec::new();
        for _ in 0..TINY_AT_ONCE {
            playlists.push(lanes.enter_with(300).now_or_never().expect("there is room beside them"));
        }
        assert!(lanes.enter_with(300).now_or_never().is_none());
        playlists.pop();
        assert!(lanes.enter_with(300).now_or_never().is_some());
        // A service that asks for less gets fewer of them, too.
        playlists.clear();
        lanes.slow_down();
        for _ in 0..TINY_AT_ONCE / 2 {
            playlists.push(lanes.enter_with(300).now_or_never().unwrap());
        }
        assert!(lanes.enter_with(300).now_or_never().is_none());
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
}
