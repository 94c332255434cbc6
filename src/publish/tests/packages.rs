//! Packages on their way into a store, and what can be wrong with them.

use super::*;

#[tokio::test]
async fn a_part_that_is_lost_is_said_at_once_and_by_every_later_release() {
    let (mut studio, store) = (Studio::new(), MemStore::default());
    studio.encoder.partial = vec!["b"];
    assert_eq!(studio.publish(&store).await.unwrap().partial, ["b"]);
    assert!(current(&store).await.lectures[1].partial);
    studio.course("Khoá hai", &["a", "b"]);
    let again = studio.publish(&store).await.unwrap();
    assert_eq!((again.partial.as_slice(), again.encoded.len()), (&["b".to_string()][..], 0));
}

/// The store gets its own copy: until then the package is claimed, afterwards not.
#[tokio::test]
async fn a_package_is_held_until_it_was_sent() {
    let (studio, store) = (Studio::new(), MemStore::default());
    let held = studio.encoder.held.clone();
    let media = |s: &MemStore| s.snapshot().keys().filter(|k| k.as_str().ends_with(".mp4")).count();
    // By media in the store; two counts are this test's and the encoder's own.
    let seen = Mutex::new(BTreeMap::new());
    let look = || {
        let _ = seen.lock().unwrap().insert(media(&store), std::sync::Arc::strong_count(&held));
    };
    studio.publish(&FailNth::new(&store, None, &look)).await.unwrap();
    let seen = seen.into_inner().unwrap();
    assert_eq!((seen.get(&1), seen.get(&3)), (Some(&3), Some(&3)), "while sending the first and the second lecture");
    assert_eq!(std::sync::Arc::strong_count(&held), 2);
}

#[tokio::test]
async fn a_full_store_is_found_before_anything_is_encoded() {
    struct Full(MemStore, u64);
    impl Store for Full {
        fn describe(&self) -> String {
            "full".into()
        }
        fn get<'a>(&'a self, key: &'a Key, range: Option<std::ops::Range<u64>>) -> BoxFuture<'a, Vec<u8>> {
            self.0.get(key, range)
        }
        fn head<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Option<crate::store::Meta>> {
            self.0.head(key)
        }
        fn put<'a>(&'a self, key: &'a Key, body: Body<'a>, caching: Caching, when: Precondition) -> BoxFuture<'a, crate::store::Meta> {
            self.0.put(key, body, caching, when)
        }
        fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Vec<crate::store::Listed>> {
            self.0.list(prefix)
        }
        fn delete<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, ()> {
            self.0.delete(key)
        }
        fn tidy<'a>(&'a self) -> BoxFuture<'a, u64> {
            self.0.tidy()
        }
        fn room<'a>(&'a self) -> BoxFuture<'a, Option<u64>> {
            Box::pin(async { Ok(Some(self.1)) })
        }
    }
    let studio = Studio::new();
    let e = studio.publish(&Full(MemStore::default(), MARGIN)).await.unwrap_err();
    assert!(e.kind() == Kind::Limit && e.what().contains("are needed"), "{}", e.report());
    assert!(studio.encoder.asked().is_empty());
    let enough = Full(MemStore::default(), MARGIN + 1000);
    studio.publish(&enough).await.unwrap();
    // A title needs no room to speak of.
    let same = Full(enough.0, 0);
    studio.course("Khoá hai", &["a", "b"]);
    studio.publish(&same).await.unwrap();
}

/// One bad recording must not cost the work on the others, nor change what learners see.
#[tokio::test]
async fn a_lecture_that_fails_keeps_the_release_away_and_the_others_work() {
    let (mut studio, store) = (Studio::new(), MemStore::default());
    studio.encoder.broken = vec!["a"];
    let e = studio.publish(&store).await.unwrap_err();
    assert_eq!((e.kind(), studio.encoder.asked().len()), (Kind::BadMedia, 2));
    assert!(store.list("courses/").await.unwrap().is_empty());
    assert!(!store.list("blobs/").await.unwrap().is_empty(), "lecture b is sent already");
    studio.encoder.broken = vec!["a", "b"];
    let both = studio.publish(&store).await.unwrap_err();
    assert!(both.report().contains("lecture \"a\"") && both.report().contains("lecture \"b\""), "{}", both.report());
}

#[tokio::test]
async fn a_package_that_was_damaged_on_disk_is_refused() {
    for (name, bytes) in [("v-720p.mp4", "video oF"), ("master.m3u8", "#EXTM3U\nv-720p.m3u8\n"), ("package.json", "{}")] {
        let (studio, store) = (Studio::new(), MemStore::default());
        studio.publish(&MemStore::default()).await.unwrap();
        let request = LectureRequest {
            course: "khoa".into(),
            lecture: "a".into(),
            recordings: vec![studio.dir.path().join("a.mp4")],
            trims: None,
            captions: vec![captions::read("vi", "a.vtt", CUES.as_bytes()).unwrap()],
            title: String::new(),
            language: String::new(),
            profile: "p".into(),
        };
        let dir = studio.encoder.dir(&digest_recordings(&request).unwrap());
        std::fs::write(dir.join(name), bytes).unwrap();
        let e = studio.publish(&store).await.unwrap_err();
        assert_eq!(e.kind(), Kind::Corrupt, "{name}: {}", e.report());
        assert!(store.list("courses/").await.unwrap().is_empty());
    }
}
