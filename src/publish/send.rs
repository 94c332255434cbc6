//! What goes out for a publication: the objects that the store lacks, of several lectures at once, so that a far link is not left
//! idle by the last large object of each; and one line of progress for all of it.

use super::blobs::{Content, Known, Parcel, Sent, room};
use crate::error::Result;
use crate::progress::{Ctx, Event, Unit};
use crate::store::{Body, BoxFuture, Caching, Key, Precondition, Store};
use futures_util::StreamExt;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Between two looks at how much has left for a store that is far away.
const TICK: Duration = Duration::from_secs(1);
/// Lectures that are sent at once to a store that takes several objects at once. Each of them is held in the work directory.
const LECTURES: usize = 4;

/// See the module.
pub(super) struct Sending<'a> {
    store: &'a dyn Store,
    ctx: &'a Ctx,
    /// What progress calls it.
    task: &'a str,
    began: Instant,
    /// What is sent takes its time.
    far: bool,
    state: Mutex<State<'a>>,
}

struct State<'a> {
    known: &'a mut Known,
    sent: &'a mut Sent,
    /// Keys that somebody sends or has sent: two lectures may have the same bytes.
    taken: BTreeSet<String>,
    /// Those of them that are not there yet, and how much of each an earlier run had sent.
    under_way: BTreeMap<Key, u64>,
    total: u64,
    done: u64,
    /// Of what is done, that which an earlier run did.
    earlier: u64,
}

impl<'a> Sending<'a> {
    pub fn new(store: &'a dyn Store, known: &'a mut Known, sent: &'a mut Sent, task: &'a str, ctx: &'a Ctx) -> Sending<'a> {
        let state = Mutex::new(State { known, sent, taken: BTreeSet::new(), under_way: BTreeMap::new(), total: 0, done: 0, earlier: 0 });
        Sending { store, ctx, task, began: Instant::now(), far: store.bytes_sent().is_some(), state }
    }

    /// How many lectures may be under way at once.
    pub fn lectures(&self) -> usize {
        self.store.parallel().clamp(1, LECTURES)
    }

    fn state(&self) -> MutexGuard<'_, State<'a>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn lacks_any(&self, parcels: &[Parcel]) -> bool {
        let state = self.state();
        parcels.iter().any(|(o, _)| !state.known.has(o))
    }

    /// Forgets those objects that the store has with the right length and the wrong bytes, so that they are sent again. Reads
    /// them all: for `--refresh`.
    pub async fn distrust(&self, parcels: &[Parcel]) -> Result<()> {
        for (object, _) in parcels {
            self.ctx.check()?;
            let there = self.state().known.has(object);
            if there && super::verify::digest(self.store, &object.key()?, object.bytes).await? != Some(object.sha256) {
                self.ctx.note(format!("{} is damaged; it is sent again", object.key));
                self.state().known.forget(object);
            }
        }
        Ok(())
    }

    /// Sends what the store does not have, as many objects at once as it makes use of.
    pub async fn send(&self, parcels: &[Parcel]) -> Result<()> {
        let (missing, need) = {
            let state = &mut *self.state();
            let mut missing = Vec::new();
            for (object, content) in parcels {
                if !state.known.has(object) && state.taken.insert(object.key.clone()) {
                    missing.push((object.key()?, object, content));
                }
            }
            let need: u64 = missing.iter().map(|(_, o, _)| o.bytes).sum();
            state.total += need;
            (missing, need)
        };
        if missing.is_empty() {
            return Ok(());
        }
        room(self.store, need).await?;
        let mut puts: Vec<BoxFuture<'_, ()>> = Vec::new();
        for (key, object, content) in missing {
            let body = match content {
                Content::Bytes(bytes) => Body::Bytes(bytes),
                Content::File(path) => Body::File { path, sha256: object.sha256, bytes: object.bytes },
            };
            puts.push(Box::pin(async move {
                self.ctx.check()?;
                self.state().under_way.insert(key.clone(), 0);
                self.store.put(&key, body, Caching::Immutable, Precondition::None).await?;
                let state = &mut *self.state();
                state.earlier += state.under_way.remove(&key).unwrap_or(0);
                state.known.add(object);
                state.sent.add(object.bytes);
                state.done += object.bytes;
                Ok(())
            }));
        }
        let mut under_way = futures_util::stream::iter(puts).buffer_unordered(self.store.parallel().max(1));
        let mut tick = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                biased;
                put = under_way.next() => match put {
                    None => return Ok(()),
                    Some(put) => put?,
                },
                _ = tick.tick(), if self.far => {}
            }
            self.tell();
        }
    }

    fn tell(&self) {
        // What the store says that it has, of large objects by their parts. What has left may be lost and go again.
        let (done, earlier, total) = {
            let state = &mut *self.state();
            let (mut done, mut before) = (state.done, state.earlier);
            for (key, earlier) in &mut state.under_way {
                let parts = self.store.acknowledged(key);
                *earlier = parts.earlier;
                done += parts.bytes;
                before += parts.earlier;
            }
            (done, before, state.total)
        };
        self.ctx.progress.event(Event::Progress {
            task: self.task.into(),
            stage: "sending".into(),
            done: done.min(total) as f64,
            earlier: earlier.min(done).min(total) as f64,
            total: total as f64,
            unit: Unit::Bytes,
        });
    }

    /// Nothing more is to be sent.
    pub fn end(self) {
        if self.state().total > 0 {
            let seconds = self.began.elapsed().as_secs_f64();
            self.ctx.progress.event(Event::Done { task: self.task.into(), stage: "sending".into(), seconds });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Object;
    use crate::progress::Progress;
    use crate::store::mem::MemStore;
    use crate::store::{Acknowledged, Listed, Meta};
    use crate::units::Digest;
    use std::ops::Range;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// Far away: sends a lot that is no part of it, and has acknowledged three bytes of what is on its way, two of them earlier, until
    /// it is asked.
    #[derive(Default)]
    struct Far(MemStore, AtomicU64, tokio::sync::Notify);
    impl Store for Far {
        fn describe(&self) -> String {
            "far".into()
        }
        fn get<'a>(&'a self, key: &'a Key, range: Option<Range<u64>>) -> BoxFuture<'a, Vec<u8>> {
            self.0.get(key, range)
        }
        fn head<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Option<Meta>> {
            self.0.head(key)
        }
        fn put<'a>(&'a self, key: &'a Key, body: Body<'a>, caching: Caching, when: Precondition) -> BoxFuture<'a, Meta> {
            Box::pin(async move {
                self.2.notified().await;
                self.0.put(key, body, caching, when).await
            })
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
        fn acknowledged(&self, _: &Key) -> Acknowledged {
            self.2.notify_one();
            Acknowledged { bytes: 3, earlier: 2 }
        }
        fn bytes_sent(&self) -> Option<u64> {
            Some(self.1.fetch_add(1000, Ordering::Relaxed))
        }
    }

    #[derive(Default)]
    struct Told(Mutex<Vec<(f64, f64)>>);
    impl Progress for Told {
        fn event(&self, event: Event) {
            if let Event::Progress { done, earlier, .. } = event {
                self.0.lock().unwrap().push((done, earlier));
            }
        }
    }

    #[tokio::test]
    async fn what_is_told_as_done_is_acknowledged() {
        let (store, told) = (Far::default(), Arc::new(Told::default()));
        let ctx = Ctx { progress: told.clone(), ..Ctx::silent() };
        let (mut known, mut sent) = (Known::of(&store).await.unwrap(), Sent::default());
        let bytes = b"0123456789".to_vec();
        let sha256 = Digest::of(&bytes);
        let object = Object { key: format!("blobs/{}/{sha256}.mp4", &sha256.to_string()[..2]), sha256, bytes: 10 };
        let sending = Sending::new(&store, &mut known, &mut sent, "c", &ctx);
        sending.send(&[(object, Content::Bytes(bytes))]).await.unwrap();
        assert_eq!(*told.0.lock().unwrap(), [(3.0, 2.0), (10.0, 2.0)]);
        sending.end();
    }
}
