//! What goes out for a publication: the objects that the store lacks, of several lectures at once, so that a far link is not left
//! idle by the last large object of each; and one line of progress for all of it.

use super::blobs::{Content, Known, Parcel, Sent, room};
use crate::error::Result;
use crate::progress::{Ctx, Event, Unit};
use crate::store::{Body, BoxFuture, Caching, Precondition, Store};
use futures_util::StreamExt;
use std::collections::BTreeSet;
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
    /// What the store had sent before.
    before: Option<u64>,
    state: Mutex<State<'a>>,
}

struct State<'a> {
    known: &'a mut Known,
    sent: &'a mut Sent,
    /// Keys that are on their way: two lectures may have the same bytes.
    under_way: BTreeSet<String>,
    total: u64,
    done: u64,
}

impl<'a> Sending<'a> {
    pub fn new(store: &'a dyn Store, known: &'a mut Known, sent: &'a mut Sent, task: &'a str, ctx: &'a Ctx) -> Sending<'a> {
        let state = Mutex::new(State { known, sent, under_way: BTreeSet::new(), total: 0, done: 0 });
        Sending { store, ctx, task, began: Instant::now(), before: store.bytes_sent(), state }
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
                if !state.known.has(object) && state.under_way.insert(object.key.clone()) {
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
                self.store.put(&key, body, Caching::Immutable, Precondition::None).await?;
                let state = &mut *self.state();
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
                _ = tick.tick(), if self.before.is_some() => {}
            }
            self.tell();
        }
    }

    fn tell(&self) {
        let (done, total) = {
            let state = self.state();
            (state.done, state.total)
        };
        // Of a large object on a slow link one wants to see something before it is all there.
        let left = self.store.bytes_sent().zip(self.before).map_or(0, |(now, before)| now - before);
        self.ctx.progress.event(Event::Progress {
            task: self.task.into(),
            stage: "sending".into(),
            done: done.max(left).min(total) as f64,
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
