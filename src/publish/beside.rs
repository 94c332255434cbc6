//! A store with what lies beside it: what this machine has of the objects that it publishes. Pages are made of them, and a link
//! of 300 ms need not be asked for what it has just carried.

use super::blobs::{Content, Parcel};
use crate::error::ResultExt;
use crate::offload::blocking;
use crate::store::{Body, BoxFuture, Caching, Conditions, Key, Listed, Meta, Precondition, Store};
use crate::units::Digest;
use std::collections::HashMap;
use std::ops::Range;

/// Longer files are not read for the sake of their start: a voice of four hours.
const MOST: u64 = 64 << 20;

/// All calls go to the store, but reads of objects that never change and lie here.
pub(super) struct Beside<'a> {
    store: &'a dyn Store,
    here: HashMap<&'a str, &'a Parcel>,
}

impl<'a> Beside<'a> {
    pub fn new(store: &'a dyn Store, parcels: impl Iterator<Item = &'a Parcel>) -> Beside<'a> {
        Beside { store, here: parcels.map(|parcel| (parcel.0.key.as_str(), parcel)).collect() }
    }

    /// `None` where it is not here, or not here any more: another process may make room in the work directory.
    async fn read(&self, key: &Key, range: Option<Range<u64>>) -> Option<Vec<u8>> {
        let (object, content) = self.here.get(key.as_str())?;
        match content {
            Content::Bytes(bytes) => Some(clip(bytes, range)),
            Content::File(path) if object.bytes <= MOST => {
                let (path, sha256) = (path.clone(), object.sha256);
                let read = blocking(move || {
                    let bytes = std::fs::read(&path).doing(|| format!("cannot read {}", path.display()))?;
                    Ok((Digest::of(&bytes) == sha256).then(|| clip(&bytes, range)))
                });
                read.await.ok().flatten()
            }
            Content::File(_) => None,
        }
    }
}

fn clip(bytes: &[u8], range: Option<Range<u64>>) -> Vec<u8> {
    let at = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).min(bytes.len());
    range.map_or(bytes, |r| &bytes[at(r.start)..at(r.end).max(at(r.start))]).to_vec()
}

impl Store for Beside<'_> {
    fn describe(&self) -> String {
        self.store.describe()
    }
    fn get<'a>(&'a self, key: &'a Key, range: Option<Range<u64>>) -> BoxFuture<'a, Vec<u8>> {
        Box::pin(async move {
            match self.read(key, range.clone()).await {
                Some(bytes) => Ok(bytes),
                None => self.store.get(key, range).await,
            }
        })
    }
    fn head<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Option<Meta>> {
        self.store.head(key)
    }
    fn put<'a>(&'a self, key: &'a Key, body: Body<'a>, caching: Caching, when: Precondition) -> BoxFuture<'a, Meta> {
        self.store.put(key, body, caching, when)
    }
    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Vec<Listed>> {
        self.store.list(prefix)
    }
    fn delete<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, ()> {
        self.store.delete(key)
    }
    fn tidy<'a>(&'a self) -> BoxFuture<'a, u64> {
        self.store.tidy()
    }
    fn room<'a>(&'a self) -> BoxFuture<'a, Option<u64>> {
        self.store.room()
    }
    fn conditions<'a>(&'a self) -> BoxFuture<'a, Conditions> {
        self.store.conditions()
    }
    fn packs(&self, key: &Key) -> bool {
        self.store.packs(key)
    }
    fn version_of(&self, key: &Key, bytes: &[u8]) -> Option<String> {
        self.store.version_of(key, bytes)
    }
    fn parallel(&self) -> usize {
        self.store.parallel()
    }
    fn web<'a>(&'a self) -> BoxFuture<'a, Option<String>> {
        self.store.web()
    }
    fn authorities<'a>(&'a self) -> BoxFuture<'a, Vec<Vec<u8>>> {
        self.store.authorities()
    }
    fn acknowledged(&self, key: &Key) -> crate::store::Acknowledged {
        self.store.acknowledged(key)
    }
    fn bytes_sent(&self) -> Option<u64> {
        self.store.bytes_sent()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Object;
    use crate::store::mem::MemStore;

    #[tokio::test]
    async fn what_is_here_is_not_asked_for_and_what_has_gone_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("voice.mp4");
        std::fs::write(&path, b"0123456789").unwrap();
        let parcel = |name: &str, content, bytes: &[u8]| {
            let key = format!("blobs/{name}");
            (Object { key, sha256: Digest::of(bytes), bytes: bytes.len() as u64 }, content)
        };
        let text = b"abcdefghij";
        let parcels = [parcel("text", Content::Bytes(text.to_vec()), text), parcel("file", Content::File(path.clone()), b"0123456789")];
        let store = MemStore::default();
        let beside = Beside::new(&store, parcels.iter());
        let key = |name: &str| Key::new(format!("blobs/{name}")).unwrap();
        let (text, file) = (key("text"), key("file"));
        for (range, n) in [(None, 10), (Some(2..5), 3), (Some(8..90), 2), (Some(90..95), 0)] {
            assert_eq!(beside.get(&text, range.clone()).await.unwrap().len(), n, "{range:?}");
            assert_eq!(beside.get(&file, range.clone()).await.unwrap().len(), n, "{range:?}");
        }
        assert_eq!(beside.get(&file, Some(2..5)).await.unwrap(), b"234");
        assert!(beside.head(&text).await.unwrap().is_none(), "the store has nothing");
        std::fs::write(&path, b"0123456780").unwrap();
        assert!(beside.get(&file, None).await.is_err(), "changed since");
        std::fs::remove_file(&path).unwrap();
        store.put(&file, Body::Bytes(b"theirs"), Caching::Immutable, Precondition::None).await.unwrap();
        assert_eq!(beside.get(&file, None).await.unwrap(), b"theirs");
    }
}
