//! What a store says of a course: [`Current`] points at a [`Release`], and a release names every object that it needs.
//! Pure data and pure functions; docs/manifest.md is the same in prose. Releases hold no clock time, so the same course
//! gives the same bytes.

use crate::course::{Text, Trims};
use crate::error::{Error, Kind, Result, ResultExt};
use crate::package::FileEntry;
pub use crate::package::slides::Chapter;
use crate::store::Key;
use crate::units::Digest;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::collections::{BTreeMap, BTreeSet};

/// Of `releases/<n>.json` and `current.json`.
pub const FORMAT: u32 = 1;

/// `courses/<id>/current.json`: the one mutable thing that decides what learners see.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Current {
    /// [`FORMAT`].
    pub format: u32,
    pub course: String,
    /// The release that learners see.
    pub release: u64,
    pub stage: Stage,
    /// Of the release file: a reader knows whether it has the right bytes.
    pub sha256: Digest,
    pub bytes: u64,
    /// What a list of courses shows, so that it costs one small read per course.
    pub title: Text,
    pub language: String,
    pub lectures: usize,
    pub duration_s: f64,
}

/// How complete a release is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Some lectures are there with their floor alone.
    Floor,
    /// Every lecture is whole.
    Full,
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Stage::Floor => "floor",
            Stage::Full => "full",
        })
    }
}

/// `courses/<id>/releases/<n>.json`: immutable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Release {
    /// [`FORMAT`].
    pub format: u32,
    pub course: String,
    /// This release's number, from 1.
    pub release: u64,
    /// The release that was current when this one was made: the way back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<u64>,
    pub stage: Stage,
    pub title: Text,
    /// BCP 47; the language of the pages and of the voice.
    pub language: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub licence: Option<String>,
    /// In the author's order; empty: all lectures stand in one nameless module.
    pub modules: Vec<Module>,
    /// In the author's order.
    pub lectures: Vec<Lecture>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Module {
    pub id: String,
    pub title: Text,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lecture {
    pub id: String,
    pub title: Text,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub presenter: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prerequisites: Vec<String>,
    pub duration_s: f64,
    pub source: Source,
    /// The plan's digest of the package that this is.
    pub plan: Digest,
    /// A part of the recording was lost; learners see what could be read.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    /// Lowest first. `bytes` are those of the video alone.
    pub rungs: Vec<Rung>,
    pub voices: Vec<Voice>,
    /// In order of time; their stills are in `objects` by the names given here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slides: Vec<Slide>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chapters: Vec<Chapter>,
    /// The package's files by their names in it, playlists with their names turned into the store's, and `package.json`.
    pub objects: BTreeMap<String, Object>,
    /// Captions by language, as files to download.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub captions: BTreeMap<String, Attachment>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handout: Option<Attachment>,
}

/// What a lecture was encoded from: it is encoded again only when this changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// In order. Without their names: releases are public, and recordings are called after patients.
    pub recordings: Vec<Recording>,
    /// The profile's name, for people.
    pub profile: String,
    /// Of the profile's text.
    pub profile_sha256: Digest,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trims: Option<Trims>,
    /// Of the author's captions files, by language: what players are shown.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub captions: BTreeMap<String, Digest>,
}

/// One file of a recording.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recording {
    pub sha256: Digest,
    pub bytes: u64,
}

impl Source {
    /// Whether both give the same package: the names of profiles may differ.
    pub fn same(&self, other: &Source) -> bool {
        let digests = |s: &Source| s.recordings.iter().map(|r| r.sha256).collect::<Vec<_>>();
        digests(self) == digests(other)
            && self.profile_sha256 == other.profile_sha256
            && self.trims == other.trims
            && self.captions == other.captions
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rung {
    pub name: String,
    pub codec: String,
    pub width: u32,
    pub height: u32,
    pub bytes: u64,
    pub average_bps: u64,
    pub peak_bps: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Voice {
    pub name: String,
    pub codec: String,
    pub language: String,
    pub bytes: u64,
    pub average_bps: u64,
}

/// A slide: when it is shown, and its still. What was read on it is in the package's `slides.vtt` and `package.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Slide {
    /// In `objects`: `slides/0001.webp`.
    pub file: String,
    pub start_s: f64,
    pub end_s: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
}

/// An immutable object of the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    /// From the store's root: `blobs/ab/ab12….mp4`.
    pub key: String,
    /// Of the plain content; also its name.
    pub sha256: Digest,
    /// Of the plain content.
    pub bytes: u64,
}

impl Object {
    /// The object for content of this digest that was called `name`.
    pub fn of(entry: &FileEntry, name: &str) -> Object {
        Object { key: blob_name(&entry.sha256, name), sha256: entry.sha256, bytes: entry.bytes }
    }
    /// Fails (`Corrupt`) if the manifest says something that is no name in a store, or not this content's name.
    pub fn key(&self) -> Result<Key> {
        let named = self.key.strip_prefix("blobs/").and_then(|k| k.get(3..)).and_then(|k| k.split_once('.'));
        match named {
            Some((digest, ext)) if digest == self.sha256.to_string() && self.key == blob_name(&self.sha256, &format!("x.{ext}")) => {
                Key::new(&self.key)
            }
            _ => Err(Error::new(Kind::Corrupt, format!("the manifest names an object {} that is not the name of its digest", self.key))),
        }
    }
}

/// A file of the author's that learners may download.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attachment {
    /// The author's file name.
    pub name: String,
    #[serde(flatten)]
    pub object: Object,
}

/// `blobs/<2 hex>/<digest>.<ext>`. The extension is the name's if it is short and plain, else `bin`; it is for web
/// servers that tell types by it.
pub fn blob_name(sha256: &Digest, name: &str) -> String {
    let ext = name.rsplit_once('.').map(|(_, e)| e.to_ascii_lowercase()).unwrap_or_default();
    let plain = (1..=8).contains(&ext.len()) && ext.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let hex = sha256.to_string();
    format!("blobs/{}/{hex}.{}", &hex[..2], if plain { &ext } else { "bin" })
}

/// `courses/<id>/current.json`
pub fn current_key(course: &str) -> Result<Key> {
    Key::new(format!("courses/{course}/current.json"))
}

/// `courses/<id>/releases/<n>.json`
pub fn release_key(course: &str, n: u64) -> Result<Key> {
    Key::new(format!("courses/{course}/releases/{n}.json"))
}

/// The number in a release's key.
pub fn release_number(key: &Key) -> Option<u64> {
    let name = key.as_str().rsplit_once("/releases/")?.1.strip_suffix(".json")?;
    name.parse().ok().filter(|n: &u64| n.to_string() == name)
}

/// Pretty JSON with a newline at its end: people read these files too, and they are stored compressed where it matters.
pub fn to_json<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    let mut text = serde_json::to_vec_pretty(value).kind(Kind::Bug, || "a manifest does not serialise".into())?;
    text.push(b'\n');
    Ok(text)
}

/// Reads what [`to_json`] wrote; another format's file is `Unsupported`, a broken one `Corrupt`.
pub fn from_json<T: DeserializeOwned>(bytes: &[u8], key: &Key) -> Result<T> {
    #[derive(Deserialize)]
    struct Header {
        format: u32,
    }
    let header: Header = serde_json::from_slice(bytes).kind(Kind::Corrupt, || format!("{key} is damaged"))?;
    if header.format != FORMAT {
        return Err(Error::new(Kind::Unsupported, format!("{key} has format {}, this version reads {FORMAT}", header.format))
            .hint("use the version of rivulet that published it, or a newer one"));
    }
    serde_json::from_slice(bytes).kind(Kind::Corrupt, || format!("{key} is damaged"))
}

impl Release {
    /// The pointer at this release, whose file has these bytes.
    pub fn pointer(&self, file: &[u8]) -> Current {
        Current {
            format: FORMAT,
            course: self.course.clone(),
            release: self.release,
            stage: self.stage,
            sha256: Digest::of(file),
            bytes: file.len() as u64,
            title: self.title.clone(),
            language: self.language.clone(),
            lectures: self.lectures.len(),
            duration_s: self.lectures.iter().map(|l| l.duration_s).sum(),
        }
    }
    /// Whether learners would see the same: all but the release's own numbers.
    pub fn same_content(&self, other: &Release) -> bool {
        Release { release: 0, previous: None, ..self.clone() } == Release { release: 0, previous: None, ..other.clone() }
    }
    /// The lectures that lack a part of their recording.
    pub fn partial(&self) -> Vec<String> {
        self.lectures.iter().filter(|l| l.partial).map(|l| l.id.clone()).collect()
    }
    pub fn lecture(&self, id: &str) -> Option<&Lecture> {
        self.lectures.iter().find(|l| l.id == id)
    }
    /// Every object that the release needs, once each.
    pub fn objects(&self) -> BTreeMap<&str, &Object> {
        self.lectures.iter().flat_map(Lecture::all_objects).map(|o| (o.key.as_str(), o)).collect()
    }
}

impl Lecture {
    /// The package's objects and the author's files.
    pub fn all_objects(&self) -> impl Iterator<Item = &Object> {
        self.objects.values().chain(self.captions.values().chain(&self.handout).map(|a| &a.object))
    }
    /// Bytes of the objects that one learner could fetch.
    pub fn bytes(&self) -> u64 {
        self.all_objects().map(|o| o.bytes).sum()
    }
}

/// What is different between two releases, for people who are about to replace one by the other.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Diff {
    pub added: Vec<String>,
    pub removed: Vec<String>,
    /// Other pictures or sound.
    pub reencoded: Vec<String>,
    /// The same pictures and sound with another title, presenter, module, order of prerequisites, captions or handout.
    pub edited: Vec<String>,
    /// The course's own title, language, licence or modules, or the order of lectures.
    pub course_edited: bool,
    /// Objects that the new one needs and the old one did not.
    pub new_objects: usize,
    pub new_bytes: u64,
    /// Of the new objects, those of lectures that were there before: what learners who keep them would fetch again.
    pub again_bytes: u64,
}

/// From one release to another.
pub fn diff(old: &Release, new: &Release) -> Diff {
    let mut diff = Diff::default();
    let known: BTreeSet<&str> = old.objects().into_keys().collect();
    diff.removed = old.lectures.iter().filter(|l| new.lecture(&l.id).is_none()).map(|l| l.id.clone()).collect();
    for lecture in &new.lectures {
        let list = match old.lecture(&lecture.id) {
            None => &mut diff.added,
            Some(before) if before.objects != lecture.objects => &mut diff.reencoded,
            Some(before) if before != lecture => &mut diff.edited,
            Some(_) => continue,
        };
        list.push(lecture.id.clone());
    }
    let order = |r: &Release, other: &Release| {
        r.lectures.iter().filter(|l| other.lecture(&l.id).is_some()).map(|l| l.id.clone()).collect::<Vec<_>>()
    };
    diff.course_edited = (&old.title, &old.language, &old.licence, &old.modules) != (&new.title, &new.language, &new.licence, &new.modules)
        || order(old, new) != order(new, old);
    for (_, object) in new.objects().into_iter().filter(|(key, _)| !known.contains(key)) {
        diff.new_objects += 1;
        diff.new_bytes += object.bytes;
    }
    let again: BTreeMap<&str, u64> = new
        .lectures
        .iter()
        .filter(|l| old.lecture(&l.id).is_some())
        .flat_map(Lecture::all_objects)
        .filter(|o| !known.contains(o.key.as_str()))
        .map(|o| (o.key.as_str(), o.bytes))
        .collect();
    diff.again_bytes = again.values().sum();
    diff
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str) -> Object {
        Object::of(&FileEntry { sha256: Digest::of(name.as_bytes()), bytes: name.len() as u64 }, name)
    }

    fn lecture(id: &str, files: &[&str]) -> Lecture {
        Lecture {
            id: id.into(),
            title: Text(BTreeMap::from([("vi".into(), id.to_uppercase())])),
            module: None,
            presenter: None,
            prerequisites: vec![],
            duration_s: 60.0,
            source: Source {
                recordings: vec![],
                profile: "p".into(),
                profile_sha256: Digest::of(b"p"),
                trims: None,
                captions: BTreeMap::new(),
            },
            plan: Digest::of(id.as_bytes()),
            partial: false,
            rungs: vec![],
            voices: vec![],
            objects: files.iter().map(|f| (f.to_string(), object(f))).collect(),
            slides: Vec::new(),
            chapters: Vec::new(),
            captions: BTreeMap::new(),
            handout: None,
        }
    }

    fn release(n: u64, lectures: Vec<Lecture>) -> Release {
        let title = Text(BTreeMap::from([("vi".into(), "C".into())]));
        let previous = (n > 1).then(|| n - 1);
        Release {
            format: 1,
            course: "c".into(),
            release: n,
            previous,
            stage: Stage::Full,
            title,
            language: "vi".into(),
            licence: None,
            modules: vec![],
            lectures,
        }
    }

    #[test]
    fn manifests_read_back_and_foreign_formats_are_refused() {
        let mut r = release(3, vec![lecture("a", &["v.mp4"])]);
        r.lectures[0].handout = Some(Attachment { name: "Bài 1.pdf".into(), object: object("x.pdf") });
        r.lectures[0].source.trims = Some(Trims { start_s: 1.5, end_s: None });
        let key = release_key("c", 3).unwrap();
        let bytes = to_json(&r).unwrap();
        assert_eq!(from_json::<Release>(&bytes, &key).unwrap(), r);
        let newer = String::from_utf8(bytes.clone()).unwrap().replace("\"format\": 1", "\"format\": 2");
        assert_eq!(from_json::<Release>(newer.as_bytes(), &key).unwrap_err().kind(), Kind::Unsupported);
        assert_eq!(from_json::<Release>(&bytes[..bytes.len() / 2], &key).unwrap_err().kind(), Kind::Corrupt);
    }

    #[test]
    fn names_of_blobs_hold_the_digest_and_a_plain_extension() {
        let d = Digest::of(b"");
        assert!(blob_name(&d, "v-720p.mp4").ends_with("b855.mp4") && blob_name(&d, "v").starts_with("blobs/e3/e3b0"));
        for odd in ["noext", "a.", "a.tài", "a.averylongone", "a.m/4"] {
            assert!(blob_name(&d, odd).ends_with(".bin"), "{odd}");
        }
        assert!(blob_name(&d, "SLIDES.PDF").ends_with(".pdf"));
    }

    /// A manifest that was tampered with must not make us read, or write, elsewhere.
    #[test]
    fn an_object_is_named_by_its_digest_or_refused() {
        let good = object("a.mp4");
        assert!(good.key().is_ok());
        for key in
            ["blobs/../etc/passwd", "index.html", "blobs/", "blobs/é", &good.key.replace("blobs/", "blobs/x"), &format!("{}/x", good.key)]
        {
            assert!(Object { key: key.to_string(), ..good.clone() }.key().is_err(), "{key}");
        }
        assert!(Object { sha256: Digest::of(b"other"), ..good }.key().is_err());
    }

    #[test]
    fn release_numbers_come_from_their_keys() {
        assert_eq!(release_number(&release_key("c", 12).unwrap()), Some(12));
        for odd in ["courses/c/releases/012.json", "courses/c/releases/+1.json", "courses/c/current.json", "courses/c/releases/1.txt"] {
            assert_eq!(release_number(&Key::new(odd).unwrap()), None, "{odd}");
        }
    }

    #[test]
    fn a_diff_tells_reencoded_from_edited_lectures() {
        let old = release(1, vec![lecture("a", &["a.mp4"]), lecture("b", &["b.mp4"]), lecture("c", &["c.mp4"])]);
        let mut new = release(2, vec![lecture("a", &["a.mp4"]), lecture("b", &["bb.mp4"]), lecture("d", &["d.mp4", "bb.mp4"])]);
        assert_eq!(diff(&old, &old), Diff::default());
        new.lectures[0].presenter = Some("Hoa".into());
        let found = diff(&old, &new);
        assert_eq!((found.added, found.removed), (vec!["d".to_string()], vec!["c".to_string()]));
        assert_eq!((found.edited, found.reencoded), (vec!["a".to_string()], vec!["b".to_string()]));
        assert_eq!((found.new_objects, found.new_bytes, found.again_bytes), (2, 11, 6));
        assert!(!found.course_edited);
        let turned = release(2, old.lectures.iter().rev().cloned().collect());
        assert!(diff(&old, &turned).course_edited && turned.same_content(&turned.clone()) && !turned.same_content(&old));
    }
}
