//! A store that is far away, read through this machine: what learners ask for is kept for a while, so that a class that
//! opens the same lecture costs one transfer. Names that hold a digest are kept until there is no room, or the far store says that
//! they are gone, which it is asked every [`BELIEVED`]; pages and other text for [`FRESH`], with the facts that belong to their bytes; the rest is passed on. Requests for what is just being fetched
//! wait for it.

use super::kind;
use crate::clock::Clock;
use crate::error::{Error, Kind, Result};
use crate::store::{Body, BoxFuture, Caching, Key, Listed, Meta, Precondition, Store};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::OnceCell;

/// How old a page may be: an author who has published sees it at once.
const FRESH: Duration = Duration::from_secs(2);
/// How long an object that never changes is believed to be there still: one that was withdrawn is not shown for much longer.
const BELIEVED: Duration = Duration::from_secs(60);
/// Media are fetched in pieces of this size, aligned: a second or two of a rung in one request.
const PIECE: u64 = 1 << 20;
/// All that is kept.
const ROOM: usize = 64 << 20;

/// A text that changes under each of so many reads is being written in place, which stores do not do.
const TRIES: u32 = 4;

/// What is kept of an object that never changes: its facts, all of it where it is small, or a piece by its number. Of one
/// that does: all of it and its facts, together.
#[derive(Clone, PartialEq, Eq, Hash)]
enum What {
    Facts,
    Whole,
    Piece(u64),
    Page,
}

#[derive(Clone)]
struct Held {
    meta: Option<Meta>,
    bytes: Arc<Vec<u8>>,
}

struct Entry {
    cell: Arc<OnceCell<Held>>,
    since: Duration,
    used: u64,
}

/// By name and by what of the object it is.
type Entries = HashMap<(Key, What), Entry>;

/// See the module.
pub struct Near {
    far: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    held: Mutex<(Entries, u64)>,
}

impl Near {
    pub fn new(far: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Near {
        Near { far, clock, held: Mutex::default() }
    }

    /// What is kept under this name, or what `fetch` gives; errors are not kept.
    async fn keep<F>(&self, key: &Key, what: What, fetch: impl FnOnce() -> F) -> Result<Held>
    where
        F: Future<Output = Result<Held>>,
    {
        let kept_for = match what {
            What::Facts => Some(BELIEVED),
            What::Page => Some(FRESH),
            What::Whole | What::Piece(_) => None,
        };
        let at = self.clock.now();
        let cell = {
            let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            held.1 += 1;
            let now = held.1;
            let id = (key.clone(), what.clone());
            if held.0.get(&id).is_some_and(|e| kept_for.is_some_and(|most| at.saturating_sub(e.since) > most)) {
                held.0.remove(&id);
            }
            let entry = held.0.entry(id).or_insert_with(|| Entry { cell: Arc::default(), since: at, used: 0 });
            entry.used = now;
            Arc::clone(&entry.cell)
        };
        let outcome = cell.get_or_try_init(fetch).await.cloned();
        // That something is not there may change under any name.
        if outcome.as_ref().map_or(true, |held| held.meta.is_none()) {
            self.held.lock().unwrap_or_else(PoisonError::into_inner).0.remove(&(key.clone(), what));
        }
        self.shrink();
        outcome
    }

    /// Lets go of what was not used for longest.
    fn shrink(&self) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let size = |e: &Entry| 200 + e.cell.get().map_or(0, |h| h.bytes.len());
        let mut all: usize = held.0.values().map(size).sum();
        if all <= ROOM {
            return;
        }
        let mut by_use: Vec<_> = held.0.iter().map(|(id, e)| (e.used, id.clone(), size(e))).collect();
        by_use.sort_by_key(|(used, ..)| *used);
        for (_, id, bytes) in by_use {
            // Down to half, so that this is rare.
            if all <= ROOM / 2 {
                break;
            }
            held.0.remove(&id);
            all -= bytes;
        }
    }

    /// The facts of an object that never changes; what is kept of one that is gone, or has others now, is dropped.
    async fn facts(&self, key: &Key) -> Result<Option<Meta>> {
        let before = {
            let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            held.0.get(&(key.clone(), What::Facts)).and_then(|e| e.cell.get()?.meta.clone())
        };
        let fetch = || async {
            let meta = match self.far.head(key).await {
                // A class goes on with what is here while the far store cannot be reached.
                Err(e) if e.kind() == Kind::Unavailable && before.is_some() => before.clone(),
                found => found?,
            };
            Ok(Held { meta, bytes: Arc::default() })
        };
        let meta = self.keep(key, What::Facts, fetch).await?.meta;
        if before.is_some() && before != meta {
            let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            held.0.retain(|(of, what), _| of != key || !matches!(what, What::Whole | What::Piece(_)));
        }
        Ok(meta)
    }

    /// A part of an object that never changes.
    async fn part(&self, key: &Key, meta: &Meta, what: What, range: Option<Range<u64>>) -> Result<Arc<Vec<u8>>> {
        let fetch = || async { Ok(Held { meta: Some(meta.clone()), bytes: Arc::new(self.far.get(key, range).await?) }) };
        Ok(self.keep(key, what, fetch).await?.bytes)
    }

    /// A text with its own facts, `None` where it is not there.
    async fn page(&self, key: &Key) -> Result<Held> {
        let fetch = || async {
            for _ in 0..TRIES {
                let Some(meta) = self.far.head(key).await? else { return Ok(Held { meta: None, bytes: Arc::default() }) };
                let bytes = crate::store::get_if_there(self.far.as_ref(), key).await?;
                if let Some(bytes) = bytes
                    && bytes.len() as u64 == meta.bytes
                    && self.far.head(key).await?.as_ref() == Some(&meta)
                {
                    return Ok(Held { meta: Some(meta), bytes: Arc::new(bytes) });
                }
            }
            Err(Error::new(Kind::Conflict, format!("{key} changes faster than it can be read")))
        };
        self.keep(key, What::Page, fetch).await
    }
}

/// Whether an object's bytes stay, and if not, whether it is a text.
enum Sort {
    Lasting,
    Page,
    Other,
}

fn sort(key: &Key) -> Sort {
    match kind::caching(key.as_str()) {
        Caching::Immutable => Sort::Lasting,
        Caching::Revalidate if kind::is_text(key.content_type()) => Sort::Page,
        Caching::Revalidate => Sort::Other,
    }
}

fn missing(key: &Key) -> Error {
    Error::new(Kind::NotFound, format!("{key} is not in the store"))
}

fn slice(all: &[u8], range: Option<Range<u64>>) -> Vec<u8> {
    let at = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).min(all.len());
    range.map_or_else(|| all.to_vec(), |r| all[at(r.start).min(at(r.end))..at(r.end)].to_vec())
}

impl Store for Near {
    fn describe(&self) -> String {
        self.far.describe()
    }
    fn get<'a>(&'a self, key: &'a Key, range: Option<Range<u64>>) -> BoxFuture<'a, Vec<u8>> {
        Box::pin(async move {
            match sort(key) {
                Sort::Lasting => {}
                Sort::Page => {
                    let page = self.page(key).await?;
                    return page.meta.map(|_| slice(&page.bytes, range)).ok_or_else(|| missing(key));
                }
                Sort::Other => return self.far.get(key, range).await,
            }
            let meta = self.head(key).await?.ok_or_else(|| missing(key))?;
            if meta.bytes <= PIECE || self.far.packs(key) {
                return Ok(slice(&self.part(key, &meta, What::Whole, None).await?, range));
            }
            let range = range.unwrap_or(0..meta.bytes);
            let (mut at, end) = (range.start, range.end.min(meta.bytes));
            let mut all = Vec::new();
            while at < end {
                let n = at / PIECE;
                let from = n * PIECE;
                let piece = self.part(key, &meta, What::Piece(n), Some(from..(from + PIECE).min(meta.bytes))).await?;
                let wanted = slice(&piece, Some(at - from..(end - from).min(PIECE)));
                if wanted.is_empty() {
                    break;
                }
                at += wanted.len() as u64;
                all.extend(wanted);
            }
            Ok(all)
        })
    }
    fn head<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Option<Meta>> {
        Box::pin(async move {
            match sort(key) {
                Sort::Lasting => self.facts(key).await,
                Sort::Page => Ok(self.page(key).await?.meta),
                Sort::Other => self.far.head(key).await,
            }
        })
    }
    /// Writing goes through, though `serve` never does.
    fn put<'a>(&'a self, key: &'a Key, body: Body<'a>, caching: Caching, when: Precondition) -> BoxFuture<'a, Meta> {
        self.far.put(key, body, caching, when)
    }
    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Vec<Listed>> {
        self.far.list(prefix)
    }
    fn delete<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, ()> {
        self.far.delete(key)
    }
    fn tidy<'a>(&'a self) -> BoxFuture<'a, u64> {
        self.far.tidy()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::TestClock;
    use crate::store::fault::{FailNth, Fault};
    use crate::store::mem::MemStore;
    use std::sync::atomic::Ordering;

    fn key(name: &str) -> Key {
        Key::new(name).unwrap()
    }
    async fn put(store: &MemStore, name: &str, bytes: &[u8]) {
        store.put(&key(name), Body::Bytes(bytes), Caching::Immutable, Precondition::None).await.unwrap();
    }

    #[tokio::test]
    async fn a_class_costs_one_transfer_and_a_new_page_is_seen_soon() {
        let far: &'static MemStore = Box::leak(Box::default());
        let film: Vec<u8> = (0..3_500_000u32).map(|i| (i % 249) as u8).collect();
        put(far, "blobs/ab/film.mp4", &film).await;
        put(far, "c/index.html", b"old").await;
        let counted: &'static FailNth = Box::leak(Box::new(FailNth::new(far, None, &|| ())));
        let clock = Arc::new(TestClock::default());
        let asked = || counted.count.load(Ordering::SeqCst);
        let near = Arc::new(Near::new(Arc::new(Counted(counted)), clock.clone()));
        let mut class = tokio::task::JoinSet::new();
        for _ in 0..30 {
            let (near, film) = (near.clone(), film.clone());
            class.spawn(async move {
                for range in [0..10, 900_000..1_200_000, 1_048_576..2_097_152, 3_400_000..9_999_999] {
                    let end = (range.end as usize).min(film.len());
                    let got = near.get(&key("blobs/ab/film.mp4"), Some(range.clone())).await.unwrap();
                    assert!(got == film[range.start as usize..end], "{range:?}");
                }
            });
        }
        while let Some(done) = class.join_next().await {
            done.unwrap();
        }
        assert_eq!(asked(), 4, "facts and three pieces: the third is never asked for");

        assert_eq!(near.get(&key("c/index.html"), None).await.unwrap(), b"old");
        put(far, "c/index.html", b"new!").await;
        assert_eq!(near.get(&key("c/index.html"), None).await.unwrap(), b"old");
        clock.advance(FRESH + Duration::from_millis(1));
        assert_eq!(near.get(&key("c/index.html"), None).await.unwrap(), b"new!");
        assert_eq!(near.head(&key("c/index.html")).await.unwrap(), far.head(&key("c/index.html")).await.unwrap());
        assert_eq!(near.get(&key("gone.html"), None).await.unwrap_err().kind(), Kind::NotFound);
        put(far, "gone.html", b"here").await;
        assert_eq!(near.get(&key("gone.html"), None).await.unwrap(), b"here", "that something is missing is not kept");
    }

    #[tokio::test]
    async fn what_was_withdrawn_is_let_go_and_an_outage_withdraws_nothing() {
        let far: &'static MemStore = Box::leak(Box::default());
        put(far, "blobs/ab/film.mp4", &vec![7u8; 3 << 20]).await;
        let film = key("blobs/ab/film.mp4");
        let down: &'static FailNth = Box::leak(Box::new(FailNth::new(far, Some(Fault::Once(2)), &|| ())));
        let clock = Arc::new(TestClock::default());
        let near = Near::new(Arc::new(Counted(down)), clock.clone());
        assert_eq!(near.get(&film, Some(0..10)).await.unwrap(), [7; 10]);
        clock.advance(BELIEVED + Duration::from_millis(1));
        assert_eq!(near.get(&film, Some(0..10)).await.unwrap(), [7; 10], "the third operation fails");
        far.delete(&film).await.unwrap();
        assert_eq!(near.get(&film, Some(0..10)).await.unwrap(), [7; 10], "still believed");
        clock.advance(BELIEVED + Duration::from_millis(1));
        assert_eq!(near.get(&film, Some(0..10)).await.unwrap_err().kind(), Kind::NotFound);
        assert!(near.held.lock().unwrap().0.is_empty(), "not a piece is left");
    }

    /// `Arc<dyn Store>` of a store that is borrowed.
    struct Counted(&'static FailNth<'static>);
    impl Store for Counted {
        fn describe(&self) -> String {
            self.0.describe()
        }
        fn get<'a>(&'a self, key: &'a Key, range: Option<Range<u64>>) -> BoxFuture<'a, Vec<u8>> {
            self.0.get(key, range)
        }
        fn head<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Option<Meta>> {
            self.0.head(key)
        }
        fn put<'a>(&'a self, key: &'a Key, body: Body<'a>, caching: Caching, when: Precondition) -> BoxFuture<'a, Meta> {
            self.0.put(key, body, caching, when)
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
    }

    #[tokio::test]
    async fn what_is_kept_is_bounded() {
        let far: Arc<MemStore> = Arc::default();
        let film = vec![7u8; 80 << 20];
        put(&far, "blobs/ab/film.mp4", &film).await;
        let near = Near::new(far, Arc::new(TestClock::default()));
        for n in 0..80 {
            near.get(&key("blobs/ab/film.mp4"), Some(n << 20..(n + 1) << 20)).await.unwrap();
        }
        let held = near.held.lock().unwrap();
        let bytes: usize = held.0.values().filter_map(|e| e.cell.get()).map(|h| h.bytes.len()).sum();
        assert!(bytes <= ROOM && bytes > ROOM / 4, "{bytes}");
    }
}
