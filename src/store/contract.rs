//! The contract of [`Store`], as one suite that every store must pass. It asks for an empty store.

use super::{Body, Caching, Key, Precondition, Store};
use crate::error::Kind;
use crate::units::Digest;

fn key(name: &str) -> Key {
    Key::new(name).unwrap()
}

async fn put(store: &dyn Store, name: &str, bytes: &[u8], when: Precondition) -> Result<super::Meta, Kind> {
    store.put(&key(name), Body::Bytes(bytes), Caching::Revalidate, when).await.map_err(|e| e.kind())
}

/// Panics at the first rule that the store breaks.
pub async fn check(store: &dyn Store) {
    reading_what_is_not_there(store).await;
    whole_and_ranges(store).await;
    conditions(store).await;
    lists(store).await;
    times(store).await;
    files_are_verified(store).await;
    deleting(store).await;
    large_objects(store).await;
}

async fn reading_what_is_not_there(store: &dyn Store) {
    assert!(store.list("").await.unwrap().is_empty(), "an empty store lists nothing");
    assert!(store.list("blobs/").await.unwrap().is_empty(), "nor does a prefix that nothing has");
    assert_eq!(store.head(&key("a/b")).await.unwrap(), None);
    assert_eq!(store.get(&key("a/b"), None).await.unwrap_err().kind(), Kind::NotFound);
    assert_eq!(store.get(&key("a/b"), Some(0..1)).await.unwrap_err().kind(), Kind::NotFound);
    store.delete(&key("a/b")).await.expect("deleting nothing is no error");
    assert_eq!(store.tidy().await.unwrap(), 0);
}

async fn whole_and_ranges(store: &dyn Store) {
    let meta = put(store, "a/b.txt", b"0123456789", Precondition::None).await.unwrap();
    assert_eq!(meta.bytes, 10);
    assert_eq!(store.head(&key("a/b.txt")).await.unwrap(), Some(meta), "head tells what put told");
    let range = async |r| store.get(&key("a/b.txt"), r).await.unwrap();
    assert_eq!(range(None).await, b"0123456789");
    assert_eq!(range(Some(0..3)).await, b"012");
    assert_eq!(range(Some(3..7)).await, b"3456");
    assert_eq!(range(Some(8..100)).await, b"89", "a range is clipped to the object");
    assert_eq!(range(Some(10..20)).await, b"", "and may be empty");
    put(store, "a/b.txt", b"", Precondition::None).await.unwrap();
    assert_eq!(range(None).await, b"", "an object may be empty");
    assert_eq!(store.head(&key("a")).await.unwrap(), None, "a prefix is no object");
}

async fn conditions(store: &dyn Store) {
    let first = put(store, "c", b"one", Precondition::Absent).await.unwrap();
    assert_eq!(put(store, "c", b"two", Precondition::Absent).await, Err(Kind::Conflict));
    assert_eq!(put(store, "c", b"two", Precondition::Version("no-such".into())).await, Err(Kind::Conflict));
    assert_eq!(store.get(&key("c"), None).await.unwrap(), b"one", "a refused put changes nothing");
    let second = put(store, "c", b"two", Precondition::Version(first.version.clone())).await.unwrap();
    assert_ne!(first.version, second.version, "other bytes of the same length, another version");
    assert_eq!(put(store, "c", b"six", Precondition::Version(first.version)).await, Err(Kind::Conflict));
    assert_eq!(store.get(&key("c"), None).await.unwrap(), b"two");
    assert_eq!(put(store, "not-there", b"x", Precondition::Version(second.version)).await, Err(Kind::Conflict));
    assert_eq!(store.head(&key("not-there")).await.unwrap(), None, "a refused put makes nothing");
    put(store, "c", b"three", Precondition::None).await.expect("without a condition a put overwrites");
}

async fn lists(store: &dyn Store) {
    for name in ["l/b", "l/a/z", "l/a-/y", "lx"] {
        put(store, name, name.as_bytes(), Precondition::None).await.unwrap();
    }
    let names = async |p: &str| store.list(p).await.unwrap().into_iter().map(|l| (l.key.to_string(), l.bytes)).collect::<Vec<_>>();
    let expected = |names: &[&str]| names.iter().map(|n| (n.to_string(), n.len() as u64)).collect::<Vec<_>>();
    assert_eq!(names("l/").await, expected(&["l/a-/y", "l/a/z", "l/b"]), "sorted by the whole key, all depths, with bytes");
    assert_eq!(names("l/a/").await, expected(&["l/a/z"]));
    for listed in store.list("l/").await.unwrap() {
        let told = listed.version.is_none() || listed.version == store.head(&listed.key).await.unwrap().map(|m| m.version);
        assert!(told, "a list tells the version that head tells: {listed:?}");
        let (foretold, other) = (store.version_of(&listed.key, listed.key.as_str().as_bytes()), store.version_of(&listed.key, b"other"));
        assert!(foretold.is_none() || listed.version.is_none() || foretold == listed.version, "and the one that was foretold");
        assert!(other.is_none() || other != foretold);
    }
}

/// What was put later is not dated earlier; a second put dates anew. No more is asked: S3 has whole seconds.
async fn times(store: &dyn Store) {
    for name in ["t/a", "t/b"] {
        put(store, name, b"x", Precondition::None).await.unwrap();
    }
    let at = async |name: &str| store.list("t/").await.unwrap().into_iter().find(|l| l.key.as_str() == name).unwrap().modified;
    let first = at("t/a").await;
    assert!(first <= at("t/b").await);
    put(store, "t/a", b"x", Precondition::None).await.unwrap();
    assert!(first <= at("t/a").await);
}

async fn files_are_verified(store: &dyn Store) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    std::fs::write(&path, b"a film").unwrap();
    let good = Body::File { path: &path, sha256: Digest::of(b"a film"), bytes: 6 };
    let meta = store.put(&key("f/good"), good, Caching::Immutable, Precondition::None).await.unwrap();
    assert_eq!(meta.bytes, 6);
    assert_eq!(store.get(&key("f/good"), None).await.unwrap(), b"a film");
    for (sha256, bytes) in [(Digest::of(b"A film"), 6), (Digest::of(b"a film"), 7)] {
        let bad = Body::File { path: &path, sha256, bytes };
        let refused = store.put(&key("f/bad"), bad, Caching::Immutable, Precondition::None).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::Corrupt);
        assert_eq!(store.head(&key("f/bad")).await.unwrap(), None, "nothing of a damaged file is stored");
    }
    let gone = Body::File { path: &dir.path().join("gone"), sha256: Digest::of(b""), bytes: 0 };
    assert_eq!(store.put(&key("f/gone"), gone, Caching::Immutable, Precondition::None).await.unwrap_err().kind(), Kind::NotFound);
    assert_eq!(store.head(&key("f/gone")).await.unwrap(), None);
    assert_eq!(store.list("f/").await.unwrap().len(), 1);
}

async fn deleting(store: &dyn Store) {
    store.delete(&key("c")).await.unwrap();
    assert_eq!(store.head(&key("c")).await.unwrap(), None);
    assert!(store.list("").await.unwrap().iter().all(|l| l.key.as_str() != "c"));
    store.delete(&key("c")).await.expect("twice is as good as once");
    put(store, "c", b"again", Precondition::Absent).await.expect("what was deleted may be made again");
}

async fn large_objects(store: &dyn Store) {
    let bytes: Vec<u8> = (0..3_000_000u32).map(|i| (i * 7 % 251) as u8).collect();
    let meta = put(store, "large", &bytes, Precondition::Absent).await.unwrap();
    assert_eq!(meta.bytes, 3_000_000);
    assert_eq!(store.get(&key("large"), Some(2_999_990..3_000_010)).await.unwrap(), &bytes[2_999_990..]);
    assert!(store.get(&key("large"), None).await.unwrap() == bytes);
}
