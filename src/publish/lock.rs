//! Where a service does not honour conditional writes ([`Conditions::Ignored`]), authors of one course keep out of each
//! other's way by an object that says who is at work: `courses/<id>/lock.json`. Taken before a release is numbered,
//! read back before and after the flip, given back after it. It expires, so that a killed author holds nobody up for long.
//!
//! Taking it: nobody's live lock is there; write ours; wait [`SETTLE`]; it is still ours. Of two who saw no lock and wrote,
//! the later one's stands, and the earlier one sees that after the wait. That holds as long as a write takes less than
//! [`SETTLE`] from the look before it; a write that took longer is taken back. A service with conditions needs none of this.

use crate::clock::Clock;
use crate::error::{Error, Kind, Result};
use crate::manifest::to_json;
use crate::store::{Body, Caching, Conditions, Key, Precondition, Store, get_if_there};
use crate::units::Digest;
use serde::{Deserialize, Serialize};
use std::time::{Duration, UNIX_EPOCH};

/// Longest time from looking for a lock to having written one.
const SETTLE: Duration = Duration::from_secs(4);
/// A lock of this age holds nobody up: numbering and flipping take seconds, on the worst link a minute.
const EXPIRES: Duration = Duration::from_secs(180);

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
    held: Option<(&'a dyn Store, Key, String)>,
    course: String,
    clock: &'a dyn Clock,
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
        let note = Note { format: 1, holder: holder.clone(), expires_s: now_s() + EXPIRES.as_secs() };
        store.put(&key, Body::Bytes(&to_json(&note)?), Caching::Revalidate, Precondition::None).await?;
        let lock = Lock { held: Some((store, key, holder)), course: course.to_string(), clock };
        if clock.now() - looked > SETTLE {
            lock.release().await?;
            return Err(Error::new(Kind::Unavailable, format!("the link is too slow just now to lock the course \"{course}\" safely"))
                .hint("run the same command again: what was sent is kept"));
        }
        clock.sleep(SETTLE).await;
        lock.check().await?;
        Ok(lock)
    }

    /// `Conflict` where the lock is not ours any more.
    pub async fn check(&self) -> Result<()> {
        let Some((store, key, holder)) = &self.held else { return Ok(()) };
        let now_s = || now_s(self.clock);
        match read(*store, key).await? {
            Some(note) if note.holder == *holder && now_s() < note.expires_s => Ok(()),
            Some(note) if note.holder != *holder => Err(busy(&self.course, note.expires_s.saturating_sub(now_s()))),
            _ => Err(busy(&self.course, 0)),
        }
    }

    /// Gives it back, if it is still ours.
    pub async fn release(self) -> Result<()> {
        let Some((store, key, holder)) = self.held else { return Ok(()) };
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
    use crate::store::mem::MemStore;
    use crate::store::{BoxFuture, Listed, Meta};
    use std::ops::Range;

    /// A store that overwrites whatever a condition says, as some services do.
    #[derive(Default)]
    struct Careless(MemStore);
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
            self.0.put(key, body, caching, Precondition::None)
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

    #[tokio::test]
    async fn a_store_with_conditions_needs_no_lock() {
        let (store, clock) = (MemStore::default(), TestClock::default());
        let lock = Lock::take(&store, "c", &clock).await.unwrap();
        lock.check().await.unwrap();
        assert!(store.snapshot().is_empty());
        lock.release().await.unwrap();
    }
}
