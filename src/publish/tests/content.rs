//! What becomes of a course file, its lectures and their captions.

use super::*;

#[tokio::test]
async fn a_course_becomes_a_release_that_a_reader_can_walk() {
    let (studio, store) = (Studio::new(), MemStore::default());
    let done = studio.publish(&store).await.unwrap();
    assert_eq!((done.release, done.stage, done.encoded.len(), done.objects_known), (1, Stage::Full, 2, 0));
    let mut all = store.snapshot();
    // Our own note, for the next publish.
    assert!(all.remove(&Key::new("courses/khoa/pages.json").unwrap()).is_some());
    assert_eq!(done.objects_sent, all.len() as u64, "everything that is there was counted");
    assert_eq!(done.bytes_sent, all.values().map(|(b, _)| b.len() as u64).sum::<u64>());
    read_everything(&store);
    for (key, (_, caching)) in &all {
        let name = key.as_str();
        let begins = ["blobs/", "app-", "hls-", "words-", "khoa/search-"].iter().any(|p| name.starts_with(p));
        let immutable = begins || name.contains("/releases/");
        assert_eq!(*caching == Caching::Immutable, immutable, "{key}");
    }
    for page in ["index.html", "khoa/index.html", "khoa/a.html", "khoa/b.html", "khoa/a.m3u8", "khoa/b.m3u8"] {
        assert!(all.contains_key(&Key::new(page).unwrap()), "{page}");
    }
    let release = current(&store).await;
    assert_eq!(release.lectures[0].captions["vi"].name, "a.vtt");
    assert_eq!(release.lectures[0].handout.as_ref().unwrap().name, "bài.pdf");
    assert_eq!(release.lectures[1].source.recordings.len(), 2);
    let view = course_view(&release).unwrap();
    let ways = &view.modules[0].lectures[0].ways;
    assert_eq!(ways[0].bytes, release.lectures[0].rungs[0].bytes + release.lectures[0].voices[0].bytes);
}

#[tokio::test]
async fn publishing_the_same_twice_makes_no_release_sends_nothing_and_encodes_nothing() {
    let (studio, store) = (Studio::new(), MemStore::default());
    studio.publish(&store).await.unwrap();
    let (before, asked) = (store.snapshot(), studio.encoder.asked());
    assert_eq!(asked, ["a", "b"]);
    let again = studio.publish(&store).await.unwrap();
    assert_eq!((again.release, again.objects_sent, again.bytes_sent), (1, 0, 0));
    assert_eq!(again.objects_known, current(&store).await.objects().len() as u64);
    assert_eq!(store.snapshot(), before);
    assert!(studio.encoder.asked().is_empty());
}

#[tokio::test]
async fn a_lecture_is_encoded_again_only_when_recording_profile_or_trims_change_or_on_refresh() {
    let (studio, store) = (Studio::new(), MemStore::default());
    studio.publish(&store).await.unwrap();
    studio.encoder.asked();
    // A title is not one of them ...
    studio.course("Khoá hai", &["a", "b"]);
    assert_eq!(studio.publish(&store).await.unwrap().release, 2);
    assert!(studio.encoder.asked().is_empty());
    // ... nor is a new name of the same bytes ...
    std::fs::rename(studio.dir.path().join("b1.mts"), studio.dir.path().join("c1.mts")).unwrap();
    let text = std::fs::read_to_string(studio.file()).unwrap();
    studio.write("course.toml", &text.replace("b1.mts", "c1.mts"));
    studio.publish(&store).await.unwrap();
    assert!(studio.encoder.asked().is_empty());
    // ... but other bytes are, and trims, and the profile.
    studio.write("c1.mts", "B1 again");
    studio.publish(&store).await.unwrap();
    assert_eq!(studio.encoder.asked(), ["b"]);
    studio.write(
        "course.toml",
        &text.replace("b1.mts", "c1.mts").replace("recording = \"a.mp4\"", "recording = \"a.mp4\"\ntrims = { start = 1 }"),
    );
    studio.publish(&store).await.unwrap();
    assert_eq!(studio.encoder.asked(), ["a"]);
    studio.publish_with(&store, "other", false).await.unwrap();
    assert_eq!(studio.encoder.asked(), ["a", "b"]);
    let done = studio.publish_with(&store, "other", true).await.unwrap();
    assert_eq!((studio.encoder.asked().len(), done.objects_sent), (2, 0), "a refresh that gives the same sends nothing");
    read_everything(&store);
}

#[tokio::test]
async fn a_title_can_be_corrected_on_a_laptop_without_the_recordings() {
    let (studio, store) = (Studio::new(), MemStore::default());
    studio.publish(&store).await.unwrap();
    let before = current(&store).await;
    for gone in ["a.mp4", "b2.mts", "a.vtt", "bài.pdf"] {
        studio.remove(gone);
    }
    studio.course("Khoá đúng", &["a", "b"]);
    let done = studio.publish(&store).await.unwrap();
    assert_eq!((done.release, done.carried.len(), done.encoded.len()), (2, 2, 0));
    let after = current(&store).await;
    assert_eq!(after.title.in_language("vi"), "Khoá đúng");
    assert_eq!(after.objects(), before.objects());
    read_everything(&store);
    // Don't carry what cannot be right: other trims, more recordings, another order, a lecture that never was published.
    let text = std::fs::read_to_string(studio.file()).unwrap();
    for (from, to) in [
        ("\"a.mp4\"", "\"a.mp4\"\ntrims = { end = 9 }"),
        ("\"a.mp4\"", "[\"a.mp4\", \"new.mp4\"]"),
        ("id = \"a\"", "id = \"z\""),
        ("[\"b1.mts\", \"b2.mts\"]", "[\"b2.mts\", \"b1.mts\"]"),
    ] {
        studio.write("course.toml", &text.replace(from, to));
        assert_eq!(studio.publish(&store).await.unwrap_err().kind(), Kind::Usage, "{to}");
    }
    assert_eq!(current(&store).await, after);
}

/// Recordings are called after patients; a store is public.
#[tokio::test]
async fn no_file_name_of_a_recording_is_published() {
    let (studio, store) = (Studio::new(), MemStore::default());
    studio.publish(&store).await.unwrap();
    for (key, (bytes, _)) in store.snapshot() {
        let text = String::from_utf8_lossy(&bytes);
        assert!(!["a.mp4", "b1.mts", "b2.mts"].iter().any(|name| text.contains(name)), "{key}: {text}");
    }
    assert!(store.snapshot().keys().any(|k| k.as_str().ends_with(".json") && k.as_str().starts_with("blobs/")), "package.json is there");
}

#[tokio::test]
async fn a_changed_course_leaves_no_page_of_a_lecture_that_is_gone() {
    let (studio, store) = (Studio::new(), MemStore::default());
    studio.publish(&store).await.unwrap();
    studio.course("Khoá một", &["a"]);
    studio.publish(&store).await.unwrap();
    let names = store.list("khoa/").await.unwrap().into_iter().map(|l| l.key.to_string()).filter(|n| !n.contains("/search-"));
    assert_eq!(names.collect::<Vec<_>>(), ["khoa/a.html", "khoa/a.m3u8", "khoa/index.html", "khoa/search.json"]);
    read_everything(&store);
}

/// Captions are part of what players are shown: a corrected file makes the package again and sends what differs. Without the
/// recording the release keeps its own.
#[tokio::test]
async fn corrected_captions_make_the_package_again() {
    let (studio, store) = (Studio::new(), MemStore::default());
    studio.publish(&store).await.unwrap();
    let old = current(&store).await;
    let objects = &old.lectures[0].objects;
    assert!(objects.contains_key("c-vi.vtt") && objects.contains_key("c-vi.m3u8"));
    let text = |release: &Release, name: &str| {
        let key = release.lectures[0].objects[name].key().unwrap();
        String::from_utf8(store.snapshot()[&key].0.clone()).unwrap()
    };
    assert!(text(&old, "c-vi.vtt").contains("Chào"));
    assert!(rename::uris(&text(&old, "master.m3u8")).iter().any(|u| u.ends_with(objects["c-vi.m3u8"].key.rsplit('/').next().unwrap())));
    studio.encoder.asked();

    studio.write("a.vtt", &CUES.replace("Chào", "Xin chào"));
    let done = studio.publish(&store).await.unwrap();
    assert_eq!((studio.encoder.asked(), done.encoded), (vec!["a".to_string()], vec!["a".to_string()]));
    let new = current(&store).await;
    assert!(text(&new, "c-vi.vtt").contains("Xin chào"));
    assert_eq!(new.lectures[0].source.recordings, old.lectures[0].source.recordings);
    read_everything(&store);

    // The file is gone from this machine, the recording is there: nothing has changed.
    studio.remove("a.vtt");
    assert!(studio.publish(&store).await.unwrap().encoded.is_empty());
    // Asked for again, the captions come out of the store.
    let done = studio.publish_with(&store, "p2", false).await.unwrap();
    assert!(done.encoded.contains(&"a".to_string()));
    assert!(text(&current(&store).await, "c-vi.vtt").contains("Xin chào"));
    // New captions without the recording: the lecture is carried with the old ones, and the next one who has it makes it.
    studio.remove("a.mp4");
    studio.write("a.vtt", CUES);
    let done = studio.publish_with(&store, "p2", false).await.unwrap();
    assert_eq!(done.carried, ["a"]);
    assert!(text(&current(&store).await, "c-vi.vtt").contains("Xin chào"));
    studio.write("a.mp4", "A");
    assert_eq!(studio.publish_with(&store, "p2", false).await.unwrap().encoded, ["a"]);
    assert!(!text(&current(&store).await, "c-vi.vtt").contains("Xin chào"));
}

/// What was seen to be there is not looked at again; what is missing is found by one list, and whatever else is wrong by repair.
#[tokio::test]
async fn an_unchanged_publish_reads_no_pages_and_still_finds_one_that_is_gone() {
    let (studio, store) = (Studio::new(), MemStore::default());
    studio.publish(&store).await.unwrap();
    let asked = async || {
        let counting = FailNth::new(&store, None, &|| ());
        studio.publish(&counting).await.unwrap();
        counting.count.into_inner()
    };
    let few = asked().await;
    assert!(few < 12, "{few} operations for two lectures");
    for gone in ["khoa/a.html", "khoa/b.m3u8", "khoa/index.html", "courses/khoa/pages.json"] {
        store.delete(&Key::new(gone).unwrap()).await.unwrap();
        assert!(asked().await > few, "without {gone} everything is looked at");
        assert!(store.head(&Key::new(gone).unwrap()).await.unwrap().is_some(), "{gone}");
        assert_eq!(asked().await, few);
    }
}
