//! A learner's page and player, who follow every name that they are given.

use super::*;

/// `../blobs/x` as `folder/page` means it.
fn resolve(from: &str, uri: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in uri.split('/') {
        match part {
            ".." => parts.truncate(parts.len().saturating_sub(1)),
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

/// Walks everything as a learner's page and player would, and panics at the first name that leads nowhere.
pub fn read_everything(store: &MemStore) {
    let all: BTreeMap<String, Vec<u8>> = store.snapshot().into_iter().map(|(k, (b, _))| (k.to_string(), b)).collect();
    let there = |from: &str, uri: &str| {
        let key = resolve(from, uri);
        assert!(all.contains_key(&key), "{from} names {uri}, which is not there");
        key
    };
    for (key, bytes) in &all {
        let text = || std::str::from_utf8(bytes).unwrap();
        if key.ends_with("/current.json") {
            let current: Current = from_json(bytes, &Key::new(key).unwrap()).unwrap();
            let release = &all[&format!("courses/{}/releases/{}.json", current.course, current.release)];
            assert_eq!((Digest::of(release), release.len() as u64), (current.sha256, current.bytes));
        }
        if key.contains("/releases/") {
            let release: Release = from_json(bytes, &Key::new(key).unwrap()).unwrap();
            for object in release.objects().values() {
                let blob = all.get(&object.key).unwrap_or_else(|| panic!("{key} names {}, which is not there", object.key));
                assert_eq!((Digest::of(blob), blob.len() as u64), (object.sha256, object.bytes));
                if object.key.ends_with(".m3u8") {
                    rename::uris(std::str::from_utf8(blob).unwrap()).iter().for_each(|u| drop(there(&object.key, u)));
                }
            }
        }
        if key.ends_with(".m3u8") && !key.starts_with("blobs/") {
            assert!(!rename::uris(text()).is_empty());
            rename::uris(text()).iter().for_each(|u| drop(there(key, u)));
        }
        if key.ends_with(".html") {
            for value in text().split("=\"").skip(1).filter_map(|v| v.split('"').next()) {
                // Lists name pages, and pages name immutable things; next and previous may come a moment later.
                let page = key.ends_with("index.html") && value.ends_with(".html") && !value.starts_with('.');
                if page && value != "index.html" || value.starts_with("../blobs/") || value.starts_with("../app-") {
                    there(key, value);
                }
            }
            // The words of other languages, by their languages.
            for address in text().split("\"languages\":{").skip(1).filter_map(|v| v.split('}').next()) {
                let named: Vec<&str> = address.split('"').filter(|v| v.starts_with("../words-")).collect();
                assert_eq!(named.len(), 1, "{address}");
                there(key, named[0]);
            }
            // What a script on it asks for.
            for name in ["\"search\":\"", "\"worker\":\""] {
                for value in text().split(name).skip(1).filter_map(|v| v.split('"').next()) {
                    there(key, value);
                }
            }
        }
        if key.ends_with("/search.json") {
            let list: serde_json::Value = serde_json::from_slice(bytes).unwrap();
            for row in list["lectures"].as_array().unwrap() {
                let name = row[2].as_str().unwrap();
                assert!(name.is_empty() || there(key, name).contains("/search-"), "{name}");
            }
        }
    }
}

/// All that matters to learners: not who is at work.
pub fn published(store: &MemStore) -> BTreeMap<Key, (Vec<u8>, Caching)> {
    store.snapshot().into_iter().filter(|(key, _)| !key.as_str().starts_with("intents/")).collect()
}

/// A store with these objects, all put now.
pub async fn copy_of(objects: &BTreeMap<Key, (Vec<u8>, Caching)>, clock: &Arc<TestClock>) -> MemStore {
    let store = MemStore::with_clock(clock.clone());
    for (key, (bytes, caching)) in objects {
        store.put(key, Body::Bytes(bytes), *caching, Precondition::None).await.unwrap();
    }
    store
}

/// Everything that a learner who began with this release may still fetch is there.
pub fn keeps_playing(store: &MemStore, release: &Release) {
    let all = store.snapshot();
    for object in release.objects().values() {
        assert!(all.contains_key(&object.key().unwrap()), "{} is gone under a learner", object.key);
    }
}
