//! The rules of docs/publish.md, on a store in memory, with an encoder that makes tiny packages of the real shape.

use super::*;
use crate::captions;
use crate::error::ResultExt;
use crate::manifest::Recording;
use crate::manifest::{Current, from_json};
use crate::package::{FileEntry, Package, RecordingRef, Rung, Voice};
use crate::store::fault::{FailNth, Fault as Planted};
use crate::store::mem::MemStore;
use crate::store::{Key, get_if_there};
use crate::units::Digest;
use std::collections::BTreeMap;
use std::sync::Mutex;

const CUES: &str = "WEBVTT\n\n00:01.000 --> 00:02.000\nChào\n";

/// Makes a package whose bytes depend on recordings, captions, trims and profile alone; notes what it was asked for.
struct FakeEncoder {
    work: tempfile::TempDir,
    asked: Mutex<Vec<String>>,
    /// Lectures that fail.
    broken: Vec<&'static str>,
    /// Lectures of which a part is lost.
    partial: Vec<&'static str>,
    /// Held for each package until it was sent.
    held: std::sync::Arc<()>,
}

impl FakeEncoder {
    fn new() -> Self {
        FakeEncoder {
            work: tempfile::tempdir().unwrap(),
            asked: Mutex::default(),
            broken: vec![],
            partial: vec![],
            held: Default::default(),
        }
    }
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
    fn dir(&self, source: &Source) -> PathBuf {
        self.work.path().join(Digest::of(&serde_json::to_vec(&source).unwrap()).short())
    }
}

fn digest_recordings(request: &LectureRequest) -> Result<Source> {
    let one = |path: &PathBuf| {
        let bytes = std::fs::read(path).doing(|| format!("cannot read {}", path.display()))?;
        Ok(Recording { sha256: Digest::of(&bytes), bytes: bytes.len() as u64 })
    };
    let recordings = request.recordings.iter().map(one).collect::<Result<_>>()?;
    let profile_sha256 = Digest::of(request.profile.as_bytes());
    let captions = request.captions.iter().map(|c| (c.language.clone(), c.sha256)).collect();
    Ok(Source { recordings, profile: request.profile.clone(), profile_sha256, trims: request.trims, captions })
}

impl Encoder for FakeEncoder {
    fn source<'a>(&'a self, request: &'a LectureRequest) -> BoxFuture<'a, Source> {
        Box::pin(async move { digest_recordings(request) })
    }
    fn encode<'a>(&'a self, request: &'a LectureRequest) -> BoxFuture<'a, Packed> {
        Box::pin(async move {
            self.asked.lock().unwrap().push(request.lecture.clone());
            if self.broken.contains(&request.lecture.as_str()) {
                return Err(Error::bad_media(format!("{} is no media", request.recordings[0].display())));
            }
            let source = digest_recordings(request)?;
            let dir = self.dir(&source);
            let partial = self.partial.contains(&request.lecture.as_str());
            if !dir.join("package.json").exists() {
                let names = request.recordings.iter().map(|r| course::file_name(r)).collect::<Vec<_>>();
                write_package(&dir, &source, &names, &request.captions, partial);
            }
            Ok(Packed { dir, partial, warnings: vec!["ten pictures were lost".into()], hold: Box::new(self.held.clone()) })
        })
    }
}

fn write_package(dir: &Path, source: &Source, names: &[String], captions: &[Captions], partial: bool) {
    let seed = serde_json::to_string(source).unwrap();
    let (video, voice) = (format!("video of {seed}"), format!("voice of {:?}", source.recordings));
    let media = |file: &str, n: usize| {
        format!("#EXTM3U\n#EXT-X-MAP:URI=\"{file}\",BYTERANGE=\"4@0\"\n#EXTINF:1.0,\n#EXT-X-BYTERANGE:{n}@4\n{file}\n#EXT-X-ENDLIST\n")
    };
    let sound = "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"opus\",NAME=\"vi\",URI=\"a-opus.m3u8\"\n";
    let variant = "#EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO=\"opus\"\nv-720p.m3u8\n";
    let frames = "#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=1,URI=\"i-720p.m3u8\"\n";
    let shown = captions.iter().map(|c| (c.language.as_str(), captions::webvtt(&c.fit(0, 10_000).cues)));
    let mut texts: Vec<(String, String)> = Vec::new();
    for (language, text) in shown {
        texts.push((format!("c-{language}.m3u8"), format!("#EXTM3U\n#EXTINF:1.0,\nc-{language}.vtt\n#EXT-X-ENDLIST\n")));
        texts.push((format!("c-{language}.vtt"), text));
    }
    let subtitles: String = captions
        .iter()
        .map(|c| format!("#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID=\"c\",NAME=\"vi\",URI=\"c-{}.m3u8\"\n", c.language))
        .collect();
    let fixed = [
        ("v-720p.m3u8", media("v-720p.mp4", video.len())),
        ("i-720p.m3u8", media("v-720p.mp4", 9)),
        ("a-opus.m3u8", media("a-opus.mp4", voice.len())),
        ("master.m3u8", format!("#EXTM3U\n{sound}{subtitles}{variant}{frames}")),
        ("floor.m3u8", format!("#EXTM3U\n{sound}{variant}")),
        ("v-720p.mp4", video.clone()),
        ("a-opus.mp4", voice.clone()),
    ];
    texts.extend(fixed.map(|(name, text)| (name.to_string(), text)));
    std::fs::create_dir_all(dir).unwrap();
    let mut files = BTreeMap::new();
    for (name, text) in &texts {
        std::fs::write(dir.join(name), text).unwrap();
        files.insert(name.to_string(), FileEntry { sha256: Digest::of(text.as_bytes()), bytes: text.len() as u64 });
    }
    let rung = Rung {
        crf: 26,
        max_bps: 500_000,
        name: "720p".into(),
        codec: "avc1.64001f".into(),
        width: 1280,
        height: 720,
        frame_rate: 25.0,
        bytes: video.len() as u64,
        average_bps: 1,
        peak_bps: 1,
        iframe_average_bps: 1,
        iframe_peak_bps: 1,
        init_bytes: 4,
        segments: vec![],
    };
    let voice = Voice {
        name: "opus".into(),
        codec: "opus".into(),
        language: "vi".into(),
        rate_hz: 48000,
        bytes: voice.len() as u64,
        average_bps: 1,
        peak_bps: 1,
        init_bytes: 4,
        segments: vec![],
    };
    let package = Package {
        left_out: vec![],
        partial,
        preset: "medium".into(),
        format: 1,
        tool: "test".into(),
        plan: Digest::of(seed.as_bytes()),
        title: "t".into(),
        duration_s: 1.0,
        recordings: (source.recordings.iter().zip(names))
            .map(|(r, name)| RecordingRef { name: name.clone(), sha256: r.sha256, bytes: r.bytes })
            .collect(),
        profile: source.profile.clone(),
        fingerprint: BTreeMap::new(),
        shape: String::new(),
        target_duration_s: 1,
        boundaries_s: vec![0.0, 1.0],
        rungs: vec![rung],
        voices: vec![voice],
        captions: vec![],
        loudness: None,
        slides: Vec::new(),
        chapters: Vec::new(),
        files,
        deviations: vec![],
        repairs: names.iter().map(|n| format!("{n}: turned upright")).collect(),
        warnings: names.iter().map(|n| format!("{n}: pictures were lost")).collect(),
    };
    std::fs::write(dir.join("package.json"), serde_json::to_vec(&package).unwrap()).unwrap();
}

/// A directory with a course of two lectures, one of them of two files, with captions and a handout.
struct Studio {
    dir: tempfile::TempDir,
    encoder: FakeEncoder,
}

impl Studio {
    fn new() -> Self {
        let studio = Studio { dir: tempfile::tempdir().unwrap(), encoder: FakeEncoder::new() };
        for (name, text) in [("a.mp4", "A"), ("b1.mts", "B1"), ("b2.mts", "B2"), ("a.vtt", CUES), ("bài.pdf", "%PDF")] {
            studio.write(name, text);
        }
        studio.course("Khoá một", &["a", "b"]);
        studio
    }
    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.dir.path().join(name), text).unwrap();
    }
    fn remove(&self, name: &str) {
        std::fs::remove_file(self.dir.path().join(name)).unwrap();
    }
    fn course(&self, title: &str, lectures: &[&str]) {
        let mut text = format!("id = \"khoa\"\ntitle = \"{title}\"\nlanguage = \"vi\"\n[[modules]]\nid = \"m\"\ntitle = \"M\"\n");
        for lecture in lectures {
            let rest = match *lecture {
                "a" => "recording = \"a.mp4\"\ncaptions = { vi = \"a.vtt\" }\nhandout = \"bài.pdf\"\n",
                "b" => "recording = [\"b1.mts\", \"b2.mts\"]\n",
                other => panic!("no lecture {other}"),
            };
            text += &format!("[[lectures]]\nid = \"{lecture}\"\ntitle = \"Bài {lecture}\"\nmodule = \"m\"\n{rest}");
        }
        self.write("course.toml", &text);
    }
    fn file(&self) -> PathBuf {
        self.dir.path().join("course.toml")
    }
    async fn publish(&self, store: &dyn Store) -> Result<Published> {
        self.publish_with(store, "p", false).await
    }
    async fn publish_with(&self, store: &dyn Store, profile: &str, refresh: bool) -> Result<Published> {
        publish(&self.file(), store, &self.encoder, &Options { profile: profile.into(), refresh }, &Ctx::silent()).await
    }
    async fn forecast(&self, store: &dyn Store) -> Forecast {
        let options = Options { profile: "p".into(), refresh: false };
        forecast(&self.file(), store, &self.encoder, &options, &Ctx::silent()).await.unwrap()
    }
}

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
fn read_everything(store: &MemStore) {
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
        }
    }
}

async fn current(store: &dyn Store) -> Release {
    let head = Head::of(store, "khoa").await.unwrap();
    state::release_of(store, &head.current.unwrap()).await.unwrap()
}

#[tokio::test]
async fn a_course_becomes_a_release_that_a_reader_can_walk() {
    let (studio, store) = (Studio::new(), MemStore::default());
    let done = studio.publish(&store).await.unwrap();
    assert_eq!((done.release, done.stage, done.encoded.len(), done.objects_known), (1, Stage::Full, 2, 0));
    let all = store.snapshot();
    assert_eq!(done.objects_sent, all.len() as u64, "everything that is there was counted");
    assert_eq!(done.bytes_sent, all.values().map(|(b, _)| b.len() as u64).sum::<u64>());
    read_everything(&store);
    for (key, (_, caching)) in &all {
        let name = key.as_str();
        let immutable = name.starts_with("blobs/") || name.contains("/releases/") || name.starts_with("app-") || name.starts_with("hls-");
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
        fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Vec<(Key, u64)>> {
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

#[tokio::test]
async fn a_changed_course_leaves_no_page_of_a_lecture_that_is_gone() {
    let (studio, store) = (Studio::new(), MemStore::default());
    studio.publish(&store).await.unwrap();
    studio.course("Khoá một", &["a"]);
    studio.publish(&store).await.unwrap();
    let names: Vec<String> = store.list("khoa/").await.unwrap().into_iter().map(|(k, _)| k.to_string()).collect();
    assert_eq!(names, ["khoa/a.html", "khoa/a.m3u8", "khoa/index.html", "khoa/search.json"]);
    read_everything(&store);
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

/// For every operation of a publish that makes, and of one that changes a course: whatever goes wrong there, a reader
/// never meets a name that leads nowhere, and running again ends with the same bytes as if nothing had happened.
#[tokio::test]
async fn any_fault_at_any_operation_is_healed_by_running_again() {
    let studio = Studio::new();
    let prepare = async |step: usize, store: &MemStore| {
        studio.write("b1.mts", "B1");
        studio.course("Khoá một", &["a", "b"]);
        if step == 1 {
            studio.publish(store).await.unwrap();
            studio.write("b1.mts", "B1 anew");
            studio.course("Khoá hai", &["b"]);
        }
    };
    for step in [0, 1] {
        let undisturbed = MemStore::default();
        prepare(step, &undisturbed).await;
        let counting = FailNth::new(&undisturbed, None, &|| ());
        studio.publish(&counting).await.unwrap();
        let operations = counting.count.into_inner();
        assert!(operations > 20, "{operations}");
        for n in 0..operations {
            for fault in [Planted::Once(n), Planted::AnswerLost(n), Planted::Killed(n)] {
                let store = MemStore::default();
                prepare(step, &store).await;
                let look = || read_everything(&store);
                let faulty = FailNth::new(&store, Some(fault), &look);
                let outcome = studio.publish(&faulty).await;
                assert!(outcome.is_err(), "{fault:?} of {operations} went unnoticed");
                let look = || read_everything(&store);
                studio.publish(&FailNth::new(&store, None, &look)).await.unwrap();
                assert!(store.snapshot() == undisturbed.snapshot(), "{fault:?} in step {step} left a trace");
            }
        }
    }
}

/// Like the above, for going back: after any fault `check --repair` makes the store agree with itself.
#[tokio::test]
async fn a_rollback_cut_short_is_put_right_by_repair() {
    let studio = Studio::new();
    let prepare = async || {
        let store = MemStore::default();
        studio.course("Khoá một", &["a", "b"]);
        studio.publish(&store).await.unwrap();
        studio.course("Khoá hai", &["b"]);
        studio.publish(&store).await.unwrap();
        store
    };
    let (forward, back) = (prepare().await, prepare().await);
    let counting = FailNth::new(&back, None, &|| ());
    rollback(&counting, "khoa", None, &Ctx::silent()).await.unwrap();
    assert_eq!(current(&back).await.release, 1);
    for n in 0..counting.count.into_inner() {
        for fault in [Planted::Once(n), Planted::AnswerLost(n), Planted::Killed(n)] {
            let store = prepare().await;
            let look = || read_everything(&store);
            rollback(&FailNth::new(&store, Some(fault), &look), "khoa", None, &Ctx::silent()).await.unwrap_err();
            verify_store(&store, true, &Ctx::silent()).await.unwrap();
            let now = store.snapshot();
            assert!(now == forward.snapshot() || now == back.snapshot(), "{fault:?} left something between");
        }
    }
}

/// Two authors: B publishes between A's reading and A's flip.
#[tokio::test]
async fn of_two_publishers_at_once_one_is_told_and_loses_nothing() {
    let (one, two, store) = (Studio::new(), Studio::new(), MemStore::default());
    one.publish(&store).await.unwrap();
    one.course("Của một", &["a", "b"]);
    two.course("Của hai", &["a", "b"]);
    let ctx = Ctx::silent();
    let options = Options { profile: "p".into(), refresh: false };
    let job = Job::prepare(&one.file(), &store, &one.encoder, &options, &ctx).await.unwrap();
    two.publish(&store).await.unwrap();
    let after_two = store.snapshot();
    let e = commit(&store, &job.head, job.content(), &mut Sent::default()).await.unwrap_err();
    assert_eq!(e.kind(), Kind::Conflict, "{}", e.report());
    assert_eq!(current(&store).await.title.in_language("vi"), "Của hai");
    for (key, object) in after_two {
        assert_eq!(store.snapshot().get(&key), Some(&object), "{key} is as the winner left it");
    }
    let done = one.publish(&store).await.unwrap();
    assert_eq!(current(&store).await.title.in_language("vi"), "Của một");
    // Going back from there leads to the other author's release, not to one that was never current.
    assert_eq!(current(&store).await.previous, Some(2));
    assert!(done.release > 2);
    read_everything(&store);
}

/// The same on a directory, truly at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn publishers_at_once_on_a_directory_leave_one_whole_release() {
    let place = tempfile::tempdir().unwrap();
    let studios: Vec<Studio> = (0..4).map(|_| Studio::new()).collect();
    let mut tasks = tokio::task::JoinSet::new();
    for (i, studio) in studios.into_iter().enumerate() {
        studio.course(&format!("Khoá {i}"), &["a", "b"]);
        let store = crate::store::dir::DirStore::new(place.path().join("store"));
        tasks.spawn(async move { (i, studio.publish(&store).await) });
    }
    let outcomes = tasks.join_all().await;
    let won: Vec<_> = outcomes.iter().filter(|(_, o)| o.is_ok()).collect();
    assert!(!won.is_empty());
    assert!(outcomes.iter().filter_map(|(_, o)| o.as_ref().err()).all(|e| e.kind() == Kind::Conflict));
    let store = crate::store::dir::DirStore::new(place.path().join("store"));
    let now = current(&store).await;
    assert!(won.iter().any(|(i, _)| now.title.in_language("vi") == format!("Khoá {i}")));
    let report = verify_store(&store, false, &Ctx::silent()).await.unwrap();
    assert_eq!(report.faults, []);
}

#[tokio::test]
async fn going_back_follows_what_was_current_and_forward_again_goes_on() {
    let (studio, store) = (Studio::new(), MemStore::default());
    for title in ["Một", "Hai", "Ba"] {
        studio.course(title, &["a", "b"]);
        studio.publish(&store).await.unwrap();
    }
    let ctx = Ctx::silent();
    assert_eq!(rollback(&store, "khoa", None, &ctx).await.unwrap().release, 2);
    assert_eq!(rollback(&store, "khoa", None, &ctx).await.unwrap().release, 1);
    assert_eq!(rollback(&store, "khoa", None, &ctx).await.unwrap_err().kind(), Kind::Usage);
    let page = get_if_there(&store, &Key::new("khoa/index.html").unwrap()).await.unwrap().unwrap();
    assert!(String::from_utf8(page).unwrap().contains("Một"));
    assert_eq!(rollback(&store, "khoa", Some(9), &ctx).await.unwrap_err().kind(), Kind::NotFound);
    let lines = releases(&store, "khoa").await.unwrap();
    assert_eq!(lines.iter().map(|l| (l.release, l.current)).collect::<Vec<_>>(), [(1, true), (2, false), (3, false)]);
    assert_eq!(rollback(&store, "khoa", Some(1), &ctx).await.unwrap().objects_sent, 0, "to where we are: nothing to do");
    // The next release is made over the one that is current, and the way back is to that.
    studio.course("Bốn", &["a", "b"]);
    assert_eq!(studio.publish(&store).await.unwrap().release, 4);
    assert_eq!(rollback(&store, "khoa", None, &ctx).await.unwrap().release, 1);
    let (from, to, diff) = compare(&store, "khoa", Some(4)).await.unwrap();
    assert_eq!((from, to, diff.course_edited, diff.new_objects), (1, 4, true, 0));
    assert_eq!(releases(&store, "other").await.unwrap_err().kind(), Kind::NotFound);
    read_everything(&store);
}

/// A dry run tells what then happens, and does nothing.
#[tokio::test]
async fn a_forecast_comes_true_to_the_byte() {
    let (studio, store) = (Studio::new(), MemStore::default());
    let first = studio.forecast(&store).await;
    assert_eq!(first.encode, ["a", "b"]);
    assert!(store.snapshot().is_empty() && studio.encoder.asked().is_empty());
    studio.publish(&store).await.unwrap();
    studio.course("Khoá khác", &["a", "b"]);
    studio.write("bài.pdf", "%PDF new");
    let before = store.snapshot();
    let would = studio.forecast(&store).await;
    assert_eq!(store.snapshot(), before);
    let done = studio.publish(&store).await.unwrap();
    assert_eq!((would.objects, would.bytes, would.objects_known), (done.objects_sent, done.bytes_sent, done.objects_known));
    assert!(would.objects > 3);
    let nothing = studio.forecast(&store).await;
    assert_eq!((nothing.objects, nothing.bytes), (0, 0));
}

/// Everything that can go wrong with a store that lies there: found, named, and repaired where that can be done.
#[tokio::test]
async fn a_store_is_verified_and_repaired() {
    let (studio, store) = (Studio::new(), MemStore::default());
    studio.publish(&store).await.unwrap();
    let sound = store.snapshot();
    let ctx = Ctx::silent();
    let report = verify_store(&store, false, &ctx).await.unwrap();
    assert_eq!((report.faults.as_slice(), report.courses, report.releases), (&[][..], 1, 1));
    let put = async |name: &str, bytes: &[u8]| {
        let key = Key::new(name).unwrap();
        store.put(&key, Body::Bytes(bytes), Caching::Revalidate, Precondition::None).await.unwrap();
    };
    // Pages: changed, gone, and one too many.
    put("khoa/index.html", b"?").await;
    store.delete(&Key::new("khoa/a.m3u8").unwrap()).await.unwrap();
    put("khoa/old.html", b"?").await;
    let names = |r: &Report| r.faults.iter().map(|f| (f.key.clone(), f.repaired)).collect::<Vec<_>>();
    let expected = |repaired| ["khoa/a.m3u8", "khoa/index.html", "khoa/old.html"].map(|k| (k.to_string(), repaired));
    assert_eq!(names(&verify_store(&store, false, &ctx).await.unwrap()), expected(false));
    let repaired = verify_store(&store, true, &ctx).await.unwrap();
    assert!(names(&repaired) == expected(true) && repaired.sound());
    assert_eq!(store.snapshot(), sound);
    // A blob with a flipped bit has the right length, so only its digest tells; repair and publish make it whole.
    let blob = current(&store).await.lectures[0].objects["v-720p.mp4"].key.clone();
    let mut bytes = store.get(&Key::new(&blob).unwrap(), None).await.unwrap();
    bytes[3] ^= 1;
    put(&blob, &bytes).await;
    assert_eq!(names(&verify_store(&store, false, &ctx).await.unwrap()), [(blob.clone(), false)]);
    let kept = verify_store(&store, true, &ctx).await.unwrap();
    assert!(kept.faults[0].message.contains("learners see it now") && kept.faults[0].message.contains("--refresh") && !kept.sound());
    assert_eq!(store.get(&Key::new(&blob).unwrap(), None).await.unwrap(), bytes, "what learners see is not taken away");
    assert_eq!(studio.publish(&store).await.unwrap().objects_sent, 0, "its length is right");
    let healed = studio.publish_with(&store, "p", true).await.unwrap();
    assert_eq!((healed.release, healed.objects_sent), (1, 1));
    assert_eq!(store.snapshot(), sound);
    // One that is cut short is seen without a refresh.
    put(&blob, &bytes[..5]).await;
    assert_eq!(studio.publish(&store).await.unwrap().objects_sent, 1);
    assert_eq!(store.snapshot(), sound);
    // What only an earlier release names is taken away.
    studio.write("a.mp4", "A anew");
    studio.publish(&store).await.unwrap();
    put(&blob, &bytes).await;
    verify_store(&store, true, &ctx).await.unwrap();
    assert_eq!(get_if_there(&store, &Key::new(&blob).unwrap()).await.unwrap(), None);
    // A release that was changed is not believed.
    let mut release = store.get(&release_key("khoa", 2).unwrap(), None).await.unwrap();
    release.push(b' ');
    put("courses/khoa/releases/2.json", &release).await;
    assert!(verify_store(&store, true, &ctx).await.unwrap().faults.iter().any(|f| f.message.contains("roll back")));
    assert_eq!(studio.publish(&store).await.unwrap_err().kind(), Kind::Corrupt);
}

#[tokio::test]
async fn a_damaged_course_does_not_keep_others_from_being_published() {
    let (studio, store) = (Studio::new(), MemStore::default());
    let key = Key::new("courses/other/current.json").unwrap();
    store.put(&key, Body::Bytes(b"{"), Caching::Revalidate, Precondition::None).await.unwrap();
    studio.publish(&store).await.unwrap();
    assert_eq!(verify_store(&store, false, &Ctx::silent()).await.unwrap().faults[0].key, key.as_str());
}
