//! A store that fails when told to, and lets a reader look after every write.

use super::{Body, BoxFuture, Caching, Key, Listed, Meta, Precondition, Store};
use crate::error::{Error, Kind, Result};
use std::future::Future;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How operation `n` (from 0) goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails and nothing has happened, later ones work: a network error, a connection cut within the body, a 503.
    Once(usize),
    /// It does its work, but the answer is lost: a time-out.
    AnswerLost(usize),
    /// It fails and all after it: the process was killed before it.
    Killed(usize),
    /// A put or delete that is acknowledged and never done; what only reads works.
    Lying(usize),
    /// It is never heard of again, and [`FailNth::vanished`] says so: the process died within it.
    Vanishes(usize),
}

/// What a reader sees between two writes; panics when something is wrong.
pub type Look<'a> = &'a (dyn Fn() + Send + Sync);

/// Passes operations on to a store until the fault strikes; counts them.
pub struct FailNth<'a> {
    pub inner: &'a dyn Store,
    pub fault: Option<Fault>,
    pub after_each: Look<'a>,
    pub count: AtomicUsize,
    pub vanished: tokio::sync::Notify,
}

impl<'a> FailNth<'a> {
    pub fn new(inner: &'a dyn Store, fault: Option<Fault>, after_each: Look<'a>) -> Self {
        FailNth { inner, fault, after_each, count: AtomicUsize::new(0), vanished: Default::default() }
    }

    /// `lie`: what a liar says instead of doing it; `None` for what only reads.
    async fn run<T>(&self, lie: Option<T>, operation: impl Future<Output = Result<T>>) -> Result<T> {
        let n = self.count.fetch_add(1, Ordering::SeqCst);
        if self.inner.parallel() > 1 {
            // Others begin before this one is done.
            tokio::task::yield_now().await;
        }
        // Nothing that a reader could see changes by reading.
        let writes = lie.is_some();
        let planted = || Err(Error::new(Kind::Unavailable, format!("planted fault at operation {n}")));
        match (self.fault, lie) {
            (Some(Fault::Once(at)), _) if n == at => return planted(),
            (Some(Fault::Killed(at)), _) if n >= at => return planted(),
            (Some(Fault::Vanishes(at)), _) if n == at => {
                self.vanished.notify_one();
                return std::future::pending().await;
            }
            (Some(Fault::Lying(at)), Some(lie)) if n == at => return Ok(lie),
            _ => {}
        }
        let outcome = operation.await;
        if writes {
            (self.after_each)();
        }
        match self.fault {
            Some(Fault::AnswerLost(at)) if n == at => planted(),
            _ => outcome,
        }
    }
}

impl Store for FailNth<'_> {
    fn describe(&self) -> String {
        format!("faulty {}", self.inner.describe())
    }
    fn get<'a>(&'a self, key: &'a Key, range: Option<Range<u64>>) -> BoxFuture<'a, Vec<u8>> {
        Box::pin(self.run(None, self.inner.get(key, range)))
    }
    fn head<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Option<Meta>> {
        Box::pin(self.run(None, self.inner.head(key)))
    }
    fn put<'a>(&'a self, key: &'a Key, body: Body<'a>, caching: Caching, when: Precondition) -> BoxFuture<'a, Meta> {
        let bytes = match body {
            Body::Bytes(bytes) => bytes.len() as u64,
            Body::File { bytes, .. } => bytes,
        };
        Box::pin(self.run(Some(Meta { bytes, version: "a lie".into() }), self.inner.put(key, body, caching, when)))
    }
    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Vec<Listed>> {
        Box::pin(self.run(None, self.inner.list(prefix)))
    }
    fn delete<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, ()> {
        Box::pin(self.run(Some(()), self.inner.delete(key)))
    }
    fn room<'a>(&'a self) -> BoxFuture<'a, Option<u64>> {
        Box::pin(self.run(None, self.inner.room()))
    }
    fn tidy<'a>(&'a self) -> BoxFuture<'a, u64> {
        Box::pin(self.run(None, self.inner.tidy()))
    }
    fn parallel(&self) -> usize {
        self.inner.parallel()
    }
}
