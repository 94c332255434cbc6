//! Where a service does not honour conditional writes ([`Conditions::Ignored`]), authors of one course keep out of each
//! other's way by an object that says who is at work: `courses/<id>/lock.json`. Taken before a release is numbered,
//! read back before and after the flip, given back after it. It expires, so that a killed author holds nobody up for long.
//!
//! Taking it: nobody's live lock is there; write ours; wait [`SETTLE`]; it is still ours. Of two who saw no lock and wrote,
//! the later one's stands, and the earlier one sees that after the wait. That holds as long as a write takes less than
//! [`SETTLE`] from the look before it; a write that took longer is taken back. What is done under the lock ends [`MARGIN`] before
//! it expires ([`Lock::bound`]), done or not. A service with conditions needs none of this.

use crate::clock::Clock;
use crate::error::{Error, Kind, Result};
use crate::manifest::to_json;
use crate::store::{Body, Caching, Conditions, Key, Precondition, Store, get_if_there};
use crate::units::Digest;
use serde::{Deserialize, Serialize};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, UNIX_EPOCH};

/// Longest time from looking for a lock to having written one.
const SETTLE: Duration = Duration::from_secs(4);
/// A lock of this age holds nobody up: numbering and flipping take seconds, on the worst link a minute.
const EXPIRES: Duration = Duration::from_secs(180);
/// Nothing is written under a lock that has only so long to live: other clocks are not quite ours, and what we have let go of may
/// still be on its way.
const MARGIN: Duration = Duration::from_secs(30);
/// A machine that slept finds its lock expired: timers do not count that, the wall clock does, and is looked at so often.
const LOOK: Duration = Duration::from_secs(1);

/// What the object says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    format: u32,
    /// Nobody else's, ever.
    holder: String,
    /// By the holder's clock, seconds since 1970.
    expires_s: u64,
}

/// A course that nobody else may number or flip, where the store needs a lock for that; else nothing.
pub(super) struct Lock<'a> {
    held: Option<Held<'a>>,
    course: String,
    clock: &'a dyn Clock,
}

struct Held<'a> {
    store: &'a dyn Store,
    key: Key,
    holder: String,
    /// As in the note, and the same moment by the clock that only rises.
    expires_s: u64,
    expires: Duration,
    /// Something that was begun under the lock may be done yet: it is not given back, it expires.
    unsettled: AtomicBool,
}

impl<'a> Lock<'a> {
    /// `Conflict` where somebody else is at work on the course.
    pub async fn take(store: &'a dyn Store, course: &str, clock: &'a dyn Clock) -> Result<Lock<'a>> {
        if store.conditions().await? == Conditions::Honoured {
            return Ok(Lock { held: None, course: course.to_string(), clock });
        }
        let key = Key::new(format!("courses/{course}/lock.json"))?;
        let (looked, now_s) = (clock.now(), || now_s(clock));
        if let Some(note) = read(store, &key).await?
            && now_s() < note.expires_s
            // A clock that is far ahead must not hold others up for ever.
            && note.expires_s - now_s() <= 2 * EXPIRES.as_secs()
        {
            return Err(busy(course, note.expires_s - now_s()));
        }
        let holder = holder(clock);
        let (expires_s, expires) = (now_s() + EXPIRES.as_secs(), clock.now() + EXPIRES);
        let note = Note { format: 1, holder: holder.clone(), expires_s };
        store.put(&key, Body::Bytes(&to_json(&note)?), Caching::Revalidate, Precondition::None).await?;
        let held = Held { store, key, holder, expires_s, expires, unsettled: AtomicBool::new(false) };
        let lock = Lock { held: Some(held), course: course.to_string(), clock };
        if clock.now() - looked > SETTLE {
            lock.release().await?;
            return Err(slow(course));
        }
        clock.sleep(SETTLE).await;
        lock.check().await?;
        Ok(lock)
    }

    /// `Conflict` where the lock is not ours any more.
    pub async fn check(&self) -> Result<()> {
        let Some(Held { store, key, holder, .. }) = &self.held else { return Ok(()) };
        let now_s = || now_s(self.clock);
        match read(*store, key).await? {
            Some(note) if note.holder == *holder && now_s() < note.expires_s => Ok(()),
            Some(note) if note.holder != *holder => Err(busy(&self.course, note.expires_s.saturating_sub(now_s()))),
            _ => Err(busy(&self.course, 0)),
        }
    }

    /// Does what nobody else may do at the same time, for as long as the lock is sure to be ours.
    pub async fn bound<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let Some(held) = &self.held else { return work.await };
        let (mut work, mut begun) = (pin!(work), false);
        loop {
            let by_wall = Duration::from_secs(held.expires_s.saturating_sub(now_s(self.clock)));
            let left = held.expires.saturating_sub(self.clock.now()).min(by_wall).saturating_sub(MARGIN);
            if left.is_zero() && !begun {
                return Err(slow(&self.course));
            }
            if left.is_zero() {
                held.unsettled.store(true, Ordering::Relaxed);
                return Err(unknown(&self.course));
            }
            begun = true;
            if let Ok(done) = tokio::time::timeout(left.min(LOOK), &mut work).await {
                return done;
            }
        }
    }

    /// Gives it back, if it is still ours.
    pub async fn release(self) -> Result<()> {
        let Some(Held { store, key, holder, .. }) = self.held.filter(|h| !h.unsettled.load(Ordering::Relaxed)) else { return Ok(()) };
        match read(store, &key).await? {
            Some(note) if note.holder == holder => store.delete(&key).await,
            _ => Ok(()),
        }
    }
}

/// A note that cannot be read is nobody's.
async fn read(store: &dyn Store, key: &Key) -> Result<Option<Note>> {
    Ok(get_if_there(store, key).await?.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

fn busy(course: &str, seconds: u64) -> Error {
    Error::new(Kind::Conflict, format!("somebody else is publishing the course \"{course}\" at this moment"))
        .hint(format!("nothing is lost: run the same command again in {} s", seconds.clamp(10, 2 * EXPIRES.as_secs())))
}

fn slow(course: &str) -> Error {
    Error::new(Kind::Unavailable, format!("the link is too slow just now to lock the course \"{course}\" safely"))
        .hint("run the same command again: what was sent is kept")
}

/// The answer to a flip that was let go of.
fn unknown(course: &str) -> Error {
    let what = format!("the store did not answer in time: it is not known whether learners see the new release of the course \"{course}\"");
    Error::new(Kind::Unavailable, what).hint(
        "nothing is lost: run the same command again in a minute; it goes on from what is there. `rivulet releases STORE COURSE` shows what \
         learners see",
    )
}

fn now_s(clock: &dyn Clock) -> u64 {
    clock.wall().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// Of this process and moment; the address tells apart two of one process in one tick of the clock.
fn holder(clock: &dyn Clock) -> String {
    let place = Box::new(0u8);
    let now = clock.wall().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let host = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    Digest::of(format!("{host} {} {now} {:p}", std::process::id(), &*place).as_bytes()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::TestClock;
    use crate::manifest::Current;
    use crate::publish::state::Head;
    use crate::store::mem::MemStore;
    use crate::store::{BoxFuture, Listed, Meta};
    use std::ops::Range;

    /// A store that overwrites whatever a condition says, as some services do, and may never answer to a pointer.
    #[derive(Default)]
    struct Careless(MemStore, AtomicBool);
    impl Store for Careless {
        fn describe(&self) -> String {
            "careless".into()
        }
        fn get<'a>(&'a self, key: &'a Key, range: Option<Range<u64>>) -> BoxFuture<'a, Vec<u8>> {
            self.0.get(key, range)
        }
        fn head<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Option<Meta>> {
            self.0.head(key)
        }
        fn put<'a>(&'a self, key: &'a Key, body: Body<'a>, caching: Caching, _: Precondition) -> BoxFuture<'a, Meta> {
            match self.1.load(Ordering::Relaxed) && key.as_str().ends_with("current.json") {
                true => Box::pin(std::future::pending()),
                false => self.0.put(key, body, caching, Precondition::None),
            }
        }
        fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Vec<Listed>> {
            self.0.list(prefix)
        }
        fn delete<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, ()> {
            self.0.delete(key)
        }
        fn tidy<'a>(&'a self) -> BoxFuture<'a, u64> {
            self.0.tidy()
        }
        fn conditions<'a>(&'a self) -> BoxFuture<'a, Conditions> {
            Box::pin(async { Ok(Conditions::Ignored) })
        }
    }

    #[tokio::test]
    async fn of_two_who_begin_at_the_same_moment_one_gets_it() {
        let (store, clock) = (Careless::default(), TestClock::default());
        for _ in 0..20 {
            let (a, b) = tokio::join!(Lock::take(&store, "c", &clock), Lock::take(&store, "c", &clock));
            assert_eq!(usize::from(a.is_ok()) + usize::from(b.is_ok()), 1);
            for lock in [a, b] {
                match lock {
                    Ok(lock) => lock.release().await.unwrap(),
                    Err(e) => assert_eq!(e.kind(), Kind::Conflict),
                }
            }
            assert!(store.list("courses/").await.unwrap().is_empty(), "nothing is left");
        }
    }

    #[tokio::test]
    async fn a_dead_author_s_lock_expires_and_a_living_one_s_holds() {
        let (store, clock) = (Careless::default(), TestClock::default());
        let first = Lock::take(&store, "c", &clock).await.unwrap();
        assert_eq!(Lock::take(&store, "c", &clock).await.err().map(|e| e.kind()), Some(Kind::Conflict));
        assert!(Lock::take(&store, "other", &clock).await.is_ok());
        first.check().await.unwrap();
        let key = Key::new("courses/c/lock.json").unwrap();
        for dead in [now_s(&clock) - 1, now_s(&clock) + 1_000_000] {
            let old = Note { format: 1, holder: "dead".into(), expires_s: dead };
            store.put(&key, Body::Bytes(&to_json(&old).unwrap()), Caching::Revalidate, Precondition::None).await.unwrap();
            assert_eq!(first.check().await.unwrap_err().kind(), Kind::Conflict, "somebody else has it");
            Lock::take(&store, "c", &clock).await.unwrap().release().await.unwrap();
        }
        first.release().await.unwrap();
    }

    /// What hangs is let go of before another may take the lock, and the lock is left to expire: it may be done yet.
    #[tokio::test]
    async fn a_flip_that_hangs_ends_before_the_lock_does() {
        let (store, clock) = (Careless::default(), TestClock::default());
        store.1.store(true, Ordering::Relaxed);
        let pointer = pointer();
        let lock = Lock::take(&store, "c", &clock).await.unwrap();
        // What is left of it, less the margin, is waited for.
        clock.advance(EXPIRES - SETTLE - MARGIN - Duration::from_millis(5));
        let head = Head::of(&store, "c").await.unwrap();
        let moving = head.flip(&store, &pointer, &lock);
        let advancing = async { clock.advance(Duration::from_millis(5)) };
        let e = tokio::join!(moving, advancing).0.unwrap_err();
        assert!(e.kind() == Kind::Unavailable && e.report().contains("not known"), "{}", e.report());
        lock.release().await.unwrap();
        assert_eq!(Lock::take(&store, "c", &clock).await.err().map(|e| e.kind()), Some(Kind::Conflict), "not given back");
        clock.advance(MARGIN);
        store.1.store(false, Ordering::Relaxed);
        let lock = Lock::take(&store, "c", &clock).await.unwrap();
        Head::of(&store, "c").await.unwrap().flip(&store, &pointer, &lock).await.unwrap();
        lock.release().await.unwrap();
    }

    #[tokio::test]
    async fn under_a_lock_that_is_nearly_over_nothing_is_begun() {
        let (store, clock) = (Careless::default(), TestClock::default());
        let lock = Lock::take(&store, "c", &clock).await.unwrap();
        clock.advance(EXPIRES - SETTLE - MARGIN);
        let e = Head::of(&store, "c").await.unwrap().flip(&store, &pointer(), &lock).await.unwrap_err();
        assert!(e.kind() == Kind::Unavailable && e.report().contains("too slow"), "{}", e.report());
        lock.release().await.unwrap();
        assert!(store.list("").await.unwrap().is_empty(), "no pointer, and the lock is given back");
    }

    fn pointer() -> Current {
        serde_json::from_value(serde_json::json!({
            "format": 1, "course": "c", "release": 1, "stage": "full", "sha256": Digest::of(b""), "bytes": 0, "title": {"vi": "C"},
            "language": "vi", "lectures": 0, "duration_s": 0.0
        }))
        .unwrap()
    }

    #[tokio::test]
    async fn a_store_with_conditions_needs_no_lock() {
        let (store, clock) = (MemStore::default(), TestClock::default());
        let lock = Lock::take(&store, "c", &clock).await.unwrap();
        lock.check().await.unwrap();
        assert!(store.snapshot().is_empty());
        lock.release().await.unwrap();
    }
}
