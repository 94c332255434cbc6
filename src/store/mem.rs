//! A store in memory: the plainest reading of the contract, for tests of everything above stores.

use super::{Body, BoxFuture, Caching, Key, Listed, Meta, Precondition, Store};
use crate::clock::{Clock, SystemClock};
use crate::error::{Error, Kind, Result, ResultExt};
use crate::units::Digest;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

/// See the module.
pub struct MemStore {
    objects: Mutex<Objects>,
    clock: Arc<dyn Clock>,
    parallel: usize,
}

type Objects = BTreeMap<Key, (Vec<u8>, Caching, SystemTime)>;

impl Default for MemStore {
    fn default() -> Self {
        MemStore::with_clock(Arc::new(SystemClock))
    }
}

impl MemStore {
    /// A store whose objects are dated by this clock.
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        MemStore { objects: Mutex::default(), clock, parallel: 1 }
    }

    /// The same store, which says that so many puts at once are worth having.
    pub fn side_by_side(self, parallel: usize) -> Self {
        MemStore { parallel, ..self }
    }

    /// Everything that is there, to compare two stores; without the times.
    pub fn snapshot(&self) -> BTreeMap<Key, (Vec<u8>, Caching)> {
        self.lock().iter().map(|(key, (bytes, caching, _))| (key.clone(), (bytes.clone(), *caching))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn meta(bytes: &[u8]) -> Meta {
    Meta { bytes: bytes.len() as u64, version: Digest::of(bytes).to_string() }
}

fn missing(key: &Key) -> Error {
    Error::new(Kind::NotFound, format!("{key} is not in the store"))
}

impl MemStore {
    fn put_now(&self, key: &Key, body: Body<'_>, caching: Caching, when: &Precondition) -> Result<Meta> {
        let bytes = match body {
            Body::Bytes(bytes) => bytes.to_vec(),
            Body::File { path, sha256, bytes } => {
                let read = std::fs::read(path).doing(|| format!("cannot read {}", path.display()))?;
                if read.len() as u64 != bytes || Digest::of(&read) != sha256 {
                    return Err(super::dir::differs(path));
                }
                read
            }
        };
        let mut objects = self.lock();
        let held = match (when, objects.get(key)) {
            (Precondition::None, _) | (Precondition::Absent, None) => true,
            (Precondition::Version(v), Some((there, ..))) => meta(there).version == *v,
            (Precondition::Absent, Some(_)) | (Precondition::Version(_), None) => false,
        };
        if !held {
            return Err(Error::new(Kind::Conflict, format!("{key} was changed by somebody else")));
        }
        let meta = meta(&bytes);
        objects.insert(key.clone(), (bytes, caching, self.clock.wall()));
        Ok(meta)
    }
}

impl Store for MemStore {
    fn describe(&self) -> String {
        "memory".into()
    }
    fn get<'a>(&'a self, key: &'a Key, range: Option<Range<u64>>) -> BoxFuture<'a, Vec<u8>> {
        Box::pin(async move {
            let objects = self.lock();
            let (bytes, ..) = objects.get(key).ok_or_else(|| missing(key))?;
            let range = range.unwrap_or(0..u64::MAX);
            let end = range.end.min(bytes.len() as u64) as usize;
            let start = (range.start.min(end as u64)) as usize;
            Ok(bytes[start..end].to_vec())
        })
    }
    fn head<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Option<Meta>> {
        Box::pin(async move { Ok(self.lock().get(key).map(|(bytes, ..)| meta(bytes))) })
    }
    fn put<'a>(&'a self, key: &'a Key, body: Body<'a>, caching: Caching, when: Precondition) -> BoxFuture<'a, Meta> {
        Box::pin(async move { self.put_now(key, body, caching, &when) })
    }
    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Vec<Listed>> {
        Box::pin(async move {
            let objects = self.lock();
            let below = objects.iter().filter(|(key, _)| key.as_str().starts_with(prefix));
            Ok(below
                .map(|(key, (bytes, _, modified))| {
                    let Meta { bytes, version } = meta(bytes);
                    Listed { key: key.clone(), bytes, modified: *modified, version: Some(version) }
                })
                .collect())
        })
    }
    fn delete<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            self.lock().remove(key);
            Ok(())
        })
    }
    fn tidy<'a>(&'a self) -> BoxFuture<'a, u64> {
        Box::pin(async { Ok(0) })
    }
    fn version_of(&self, _: &Key, bytes: &[u8]) -> Option<String> {
        Some(meta(bytes).version)
    }
    fn parallel(&self) -> usize {
        self.parallel
    }
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn memory_keeps_the_contract() {
        super::super::contract::check(&super::MemStore::default()).await;
    }
}
