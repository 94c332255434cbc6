//! A store that fails when told to, and lets a reader look after every operation.

use super::{Body, BoxFuture, Caching, Key, Meta, Precondition, Store};
use crate::error::{Error, Kind, Result};
use std::future::Future;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How operation `n` (from 0) goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails, later ones work: a network error.
    Once(usize),
    /// It does its work, but the answer is lost.
    AnswerLost(usize),
    /// It fails and all after it: the process was killed before it.
    Killed(usize),
}

/// What a reader sees between two operations; panics when something is wrong.
pub type Look<'a> = &'a (dyn Fn() + Send + Sync);

/// Passes operations on to a store until the fault strikes; counts them.
pub struct FailNth<'a> {
    pub inner: &'a dyn Store,
    pub fault: Option<Fault>,
    pub after_each: Look<'a>,
    pub count: AtomicUsize,
}

impl<'a> FailNth<'a> {
    pub fn new(inner: &'a dyn Store, fault: Option<Fault>, after_each: Look<'a>) -> Self {
        FailNth { inner, fault, after_each, count: AtomicUsize::new(0) }
    }

    async fn run<T>(&self, operation: impl Future<Output = Result<T>>) -> Result<T> {
        let n = self.count.fetch_add(1, Ordering::SeqCst);
        let planted = || Err(Error::new(Kind::Unavailable, format!("planted fault at operation {n}")));
        match self.fault {
            Some(Fault::Once(at)) if n == at => return planted(),
            Some(Fault::Killed(at)) if n >= at => return planted(),
            _ => {}
        }
        let outcome = operation.await;
        (self.after_each)();
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
        Box::pin(self.run(self.inner.get(key, range)))
    }
    fn head<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Option<Meta>> {
        Box::pin(self.run(self.inner.head(key)))
    }
    fn put<'a>(&'a self, key: &'a Key, body: Body<'a>, caching: Caching, when: Precondition) -> BoxFuture<'a, Meta> {
        Box::pin(self.run(self.inner.put(key, body, caching, when)))
    }
    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Vec<(Key, u64)>> {
        Box::pin(self.run(self.inner.list(prefix)))
    }
    fn delete<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, ()> {
        Box::pin(self.run(self.inner.delete(key)))
    }
    fn room<'a>(&'a self) -> BoxFuture<'a, Option<u64>> {
        Box::pin(self.run(self.inner.room()))
    }
    fn tidy<'a>(&'a self) -> BoxFuture<'a, u64> {
        Box::pin(self.run(self.inner.tidy()))
    }
}
