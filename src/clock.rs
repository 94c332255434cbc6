//! Time as a thing that is handed in, so that what waits can be tested without waiting.

use std::future::Future;
use std::pin::Pin;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

/// Two clocks (one that only rises, one that files are stamped with) and a way to wait.
pub trait Clock: Send + Sync {
    /// Time since some fixed moment; never goes back.
    fn now(&self) -> Duration;
    /// The clock of file times; may jump.
    fn wall(&self) -> SystemTime;
    fn sleep(&self, span: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// The machine's own clocks.
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        static START: OnceLock<Instant> = OnceLock::new();
        START.get_or_init(Instant::now).elapsed()
    }
    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }
    fn sleep(&self, span: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(tokio::time::sleep(span))
    }
}

/// A clock for tests: it stands still until it is moved or waited on, and waiting takes no time.
#[cfg(test)]
#[derive(Debug, Default)]
pub struct TestClock(std::sync::Mutex<Duration>);

#[cfg(test)]
impl TestClock {
    pub fn advance(&self, span: Duration) {
        *self.0.lock().unwrap() += span;
    }
}

#[cfg(test)]
impl Clock for TestClock {
    fn now(&self) -> Duration {
        *self.0.lock().unwrap()
    }
    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000) + self.now()
    }
    /// Others get their turn before it returns, under any executor.
    fn sleep(&self, span: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let mut waited = false;
        Box::pin(std::future::poll_fn(move |cx| match std::mem::replace(&mut waited, true) {
            true => std::task::Poll::Ready(()),
            false => {
                self.advance(span);
                cx.waker().wake_by_ref();
                std::task::Poll::Pending
            }
        }))
    }
}
