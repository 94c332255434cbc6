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

/// A clock for tests: waiting moves it, and takes no time.
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
    /// Others get their turn before it returns.
    fn sleep(&self, span: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            self.advance(span);
            tokio::task::yield_now().await;
        })
    }
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

#[cfg(test)]
pub mod manual {
    //! A clock that stands still until it is moved.

    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// Whoever waits on it moves it on.
    #[derive(Default)]
    pub struct ManualClock(AtomicU64);

    impl ManualClock {
        pub fn advance(&self, span: Duration) {
            self.0.fetch_add(span.as_millis() as u64, Ordering::SeqCst);
        }
    }

    impl Clock for ManualClock {
        fn now(&self) -> Duration {
            Duration::from_millis(self.0.load(Ordering::SeqCst))
        }
        fn wall(&self) -> SystemTime {
            SystemTime::UNIX_EPOCH + self.now()
        }
        fn sleep(&self, span: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
            self.advance(span);
            // Others have their turn meanwhile.
            let mut waited = false;
            Box::pin(std::future::poll_fn(move |cx| match std::mem::replace(&mut waited, true) {
                true => std::task::Poll::Ready(()),
                false => {
                    cx.waker().wake_by_ref();
                    std::task::Poll::Pending
                }
            }))
        }
    }
}
