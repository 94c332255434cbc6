//! Trying again: only what may pass, after a pause that doubles up to a cap, with jitter so that many clients do not come
//! back at the same moment.

use super::errors::{Again, Failure};
use crate::clock::Clock;
use crate::error::{Error, Kind, Result};
use crate::progress::Ctx;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Tries in all: about two minutes of a service that is away. Longer, and the same command run again goes on.
const TRIES: u32 = 8;
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(40);
/// A pause that a person at the terminal should know of.
const WORTH_SAYING: Duration = Duration::from_secs(4);

/// See the module.
pub struct Retry {
    seed: AtomicU64,
    clock: Arc<dyn Clock>,
}

impl Retry {
    /// With a seed the pauses are always the same.
    pub fn new(seed: Option<u64>, clock: Arc<dyn Clock>) -> Retry {
        let now = || clock.wall().duration_since(std::time::UNIX_EPOCH).map_or(1, |d| d.as_nanos() as u64);
        Retry { seed: AtomicU64::new(seed.unwrap_or_else(|| now() ^ (u64::from(std::process::id()) << 32))), clock }
    }

    /// A number that is not the same twice: xorshift64*.
    pub fn random(&self) -> u64 {
        let step = |x: u64| {
            let mut x = x.max(1);
            x ^= x >> 12;
            x ^= x << 25;
            x ^ (x >> 27)
        };
        let before = self.seed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |x| Some(step(x))).unwrap_or(1);
        step(before).wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// The pause before try `n` (from 1): half of it fixed, half by chance.
    fn pause(&self, n: u32, again: Again) -> Duration {
        let times = if again == Again::Slower { 4 } else { 1 };
        let whole = (FIRST * times).saturating_mul(1 << (n - 1).min(10)).min(LONGEST);
        let chance = (self.random() >> 11) as f64 / (1u64 << 53) as f64;
        whole.mul_f64(0.5 + chance / 2.0)
    }

    /// Runs until it succeeds, fails for good, or has been tried often enough.
    pub async fn run<T, F>(&self, ctx: &Ctx, slower: impl Fn(), request: impl Fn() -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let mut n = 1;
        loop {
            let outcome = tokio::select! {
                biased;
                () = ctx.cancel.cancelled() => return Err(stopped(ctx)),
                outcome = request() => outcome,
            };
            let failure = match outcome {
                Ok(done) => return Ok(done),
                Err(failure) if failure.again == Again::No || n == TRIES => return Err(failure),
                Err(failure) => failure,
            };
            if failure.again == Again::Slower {
                slower();
            }
            let pause = self.pause(n, failure.again);
            if pause >= WORTH_SAYING {
                ctx.note(format!("{}; trying again in {:.0} s", failure.error.what(), pause.as_secs_f64()));
            }
            n += 1;
            tokio::select! {
                biased;
                () = ctx.cancel.cancelled() => return Err(stopped(ctx)),
                () = self.clock.sleep(pause) => {}
            }
        }
    }
}

/// The user asked to stop: what is under way is dropped, as a killed process would.
fn stopped(ctx: &Ctx) -> Failure {
    let error = ctx.check().err().unwrap_or_else(|| Error::new(Kind::Cancelled, "stopped"));
    Failure { error, again: Again::No, code: String::new(), status: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::TestClock;
    use std::sync::atomic::AtomicU32;

    fn failing(again: Again) -> Failure {
        Failure { error: Error::new(Kind::Unavailable, "away"), again, code: String::new(), status: 503 }
    }

    fn with_clock(seed: u64) -> (Retry, Arc<TestClock>) {
        let clock = Arc::new(TestClock::default());
        (Retry::new(Some(seed), clock.clone()), clock)
    }

    #[tokio::test]
    async fn pauses_double_up_to_a_cap_and_end() {
        let ((retry, clock), asked, slower) = (with_clock(7), AtomicU32::new(0), AtomicU32::new(0));
        let count = || {
            slower.fetch_add(1, Ordering::Relaxed);
        };
        let request = || {
            asked.fetch_add(1, Ordering::Relaxed);
            async { Err::<(), _>(failing(Again::Slower)) }
        };
        assert!(retry.run(&Ctx::silent(), count, request).await.is_err());
        assert_eq!((asked.load(Ordering::Relaxed), slower.load(Ordering::Relaxed)), (TRIES, TRIES - 1));
        // 2 + 4 + 8 + 16 + 32 + 40 + 40 s at most, half of it at least.
        let waited = clock.now().as_secs_f64();
        assert!((71.0..=142.0).contains(&waited), "{waited}");
        let (a, b) = (with_clock(7).0, with_clock(7).0);
        assert_eq!(a.pause(3, Again::Soon), b.pause(3, Again::Soon));
        assert!(a.pause(1, Again::Soon) <= FIRST && a.pause(30, Again::Soon) <= LONGEST);
    }

    #[tokio::test]
    async fn what_cannot_pass_is_not_tried_again() {
        let (retry, clock) = with_clock(1);
        let outcome: Result<(), _> = retry.run(&Ctx::silent(), || {}, || async { Err(failing(Again::No)) }).await;
        assert!(outcome.is_err() && clock.now() == Duration::ZERO);
    }

    #[tokio::test]
    async fn a_user_who_stops_does_not_wait() {
        let (ctx, (retry, clock)) = (Ctx::silent(), with_clock(1));
        ctx.cancel.cancel();
        let outcome: Result<(), _> = retry.run(&ctx, || {}, || async { Err(failing(Again::Soon)) }).await;
        assert_eq!(outcome.unwrap_err().error.kind(), Kind::Cancelled);
        assert_eq!(clock.now(), Duration::ZERO);
    }
}
