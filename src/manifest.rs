//! What a store says of a course: [`Current`] points at a [`Release`], and a release names every object that it needs.
//! Pure data and pure functions; docs/manifest.md is the same in prose. Releases hold no clock time, so the same course
//! gives the same bytes.

mod diff;
pub mod schema;
mod withdrawn;

pub use diff::{Diff, diff};
pub use withdrawn::Tombstone;

use crate::course::{Text, Trims};
use crate::error::{Error, Kind, Result, ResultExt};
use crate::package::FileEntry;
pub use crate::package::slides::Chapter;
use crate::store::Key;
use crate::units::Digest;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::collections::BTreeMap;

/// Of `releases/<n>.json` and `current.json`.
pub const FORMAT: u32 = 1;

/// `courses/<id>/current.json`: the one mutable thing that decides what learners see.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    /// Lectures that were taken out of the course; absent where none was. Here and not in a release, since going back to an
    /// earlier one must not lose it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub withdrawn: Vec<Tombstone>,
}

/// How complete a release is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    /// Where learners find the store's root, ending in a slash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// In the author's order; empty: all lectures stand in one nameless module.
    pub modules: Vec<Module>,
    /// In the author's order.
    pub lectures: Vec<Lecture>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Module {
    pub id: String,
    pub title: Text,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    /// Only the lowest rung is there yet; the others follow in a later release.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub floor_only: bool,
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Rung {
    pub name: String,
    pub codec: String,
    pub width: u32,
    pub height: u32,
    pub bytes: u64,
    pub average_bps: u64,
    pub peak_bps: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Voice {
    pub name: String,
    pub codec: String,
    pub language: String,
    pub bytes: u64,
    pub average_bps: u64,
}

/// A slide: when it is shown, and its still. What was read on it is in the package's `slides.vtt` and `package.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Slide {
    /// In `objects`: `slides/0001.webp`.
    pub file: String,
    pub start_s: f64,
    pub end_s: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
}

/// An immutable object of the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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

/// `courses/<id>/pages.json`
pub fn pages_key(course: &str) -> Result<Key> {
    Key::new(format!("courses/{course}/pages.json"))
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
    /// The pointer at this release, whose file has these bytes, in a course with these tombstones.
    pub fn pointer(&self, file: &[u8], withdrawn: Vec<Tombstone>) -> Current {
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
            withdrawn,
        }
    }
    /// Whether learners would see the same: all but the release's own numbers.
    pub fn same_content(&self, other: &Release) -> bool {
        Release { release: 0, previous: None, ..self.clone() } == Release { release: 0, previous: None, ..other.clone() }
    }
    /// What the lectures make it.
    pub fn stage_of(lectures: &[Lecture]) -> Stage {
        if lectures.iter().any(|l| l.floor_only) { Stage::Floor } else { Stage::Full }
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

#[cfg(test)]
mod tests;
