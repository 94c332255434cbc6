//! Content on its way into `blobs/`: which objects a package becomes, what the store has of them, and the sending of
//! the rest.

use super::rename::{rename_uris, uris};
use crate::course::file_name;
use crate::error::{Error, Kind, Result, ResultExt};
use crate::manifest::{Attachment, Lecture, Object, Release, Rung, Slide, Source, Voice, to_json};
use crate::package::slides::vtt;
use crate::package::{FileEntry, Package};
use crate::store::{Key, Store};
use crate::units::{Bytes, Digest};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

/// The track of the slides: it names them, so in a store it is another text.
const SLIDES: &str = "slides.vtt";

/// Where an object's bytes are until they are in the store.
pub(super) enum Content {
    Bytes(Vec<u8>),
    File(PathBuf),
}

/// An object and its bytes.
pub(super) type Parcel = (Object, Content);

/// How much was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    pub objects: u64,
    pub bytes: u64,
}

impl Sent {
    pub(super) fn add(&mut self, bytes: u64) {
        self.objects += 1;
        self.bytes += bytes;
    }
}

/// What lies in `blobs/`, by one bulk list.
pub(super) struct Known(HashMap<String, Stored>);

/// The length of an object in a store, as far as a list tells it.
#[derive(Clone, Copy)]
enum Stored {
    Plain(u64),
    /// Of its compressed form.
    Packed(u64),
}

impl Known {
    pub async fn of(store: &dyn Store) -> Result<Known> {
        let stored = |key: &Key, n| if store.packs(key) { Stored::Packed(n) } else { Stored::Plain(n) };
        Ok(Known(store.list("blobs/").await?.into_iter().map(|l| (l.key.to_string(), stored(&l.key, l.bytes))).collect()))
    }
    /// Whether the object is there whole, as far as its length tells.
    pub fn has(&self, object: &Object) -> bool {
        match self.0.get(&object.key) {
            Some(Stored::Plain(n)) => *n == object.bytes,
            // Gzip never makes a text longer than by its frame of 18 bytes and 5 in 16 kB.
            Some(Stored::Packed(n)) => *n > 0 && *n <= object.bytes + object.bytes / 1000 + 64,
            None => false,
        }
    }
    /// Fails (`Corrupt`) at the first object of a release that is not there.
    pub fn has_all(&self, store: &dyn Store, release: &Release) -> Result<()> {
        match release.objects().into_values().find(|o| !self.has(o)) {
            None => Ok(()),
            Some(object) => Err(Error::new(Kind::Corrupt, format!("{} is not in {} as it should be", object.key, store.describe()))
                .hint("run the same command again: it sends what is missing")),
        }
    }
    pub fn add(&mut self, object: &Object) {
        self.0.insert(object.key.clone(), Stored::Plain(object.bytes));
    }
    pub fn forget(&mut self, object: &Object) {
        self.0.remove(&object.key);
    }
}

/// Bytes of those of `parcels` that the store lacks.
pub(super) fn lacking<'a>(known: &Known, parcels: impl Iterator<Item = &'a Parcel>) -> u64 {
    let missing: BTreeMap<&str, u64> = parcels.filter(|(o, _)| !known.has(o)).map(|(o, _)| (o.key.as_str(), o.bytes)).collect();
    missing.values().sum()
}

/// Fails with `Limit` where the store has no room for so many bytes.
pub(super) async fn room(store: &dyn Store, need: u64) -> Result<()> {
    match store.room().await? {
        Some(free) if need > 0 && free < need => {
            let message = format!("{} are free in the store {}, at least {} are needed", Bytes(free), store.describe(), Bytes(need));
            Err(Error::new(Kind::Limit, message).hint("make room there, then run the same command again: what is finished is kept"))
        }
        _ => Ok(()),
    }
}

/// A finished package as the manifest's lecture (texts and files of the author still empty) and its parcels. Playlists
/// are checked against their digests here, media while they are copied.
pub(super) fn from_package(dir: &Path, id: &str, source: Source) -> Result<(Lecture, Vec<Parcel>)> {
    let path = dir.join("package.json");
    let text = std::fs::read(&path).doing(|| format!("cannot read {}", path.display()))?;
    let package: Package = serde_json::from_slice(&text).kind(Kind::Corrupt, || format!("{} is damaged", path.display()))?;
    if package.format != 1 {
        return Err(Error::new(Kind::Unsupported, format!("{} has format {}, this version reads 1", path.display(), package.format)));
    }
    let mut objects = BTreeMap::new();
    let mut parcels: Vec<Parcel> = Vec::new();
    let mut playlists: Vec<(&str, String)> = Vec::new();
    for (name, entry) in &package.files {
        // A name that leads out of the directory is refused like one that leads out of a store.
        Key::new(name.as_str()).map_err(|e| Error::new(Kind::Corrupt, format!("{} is damaged", path.display())).caused_by(e))?;
        match name.as_str() {
            name if name.ends_with(".m3u8") => playlists.push((name, text_file(&dir.join(name), entry)?)),
            // It names stills, whose blob names are known below.
            SLIDES => {}
            _ => {
                let object = Object::of(entry, name);
                objects.insert(name.clone(), object.clone());
                parcels.push((object, Content::File(dir.join(name))));
            }
        }
    }
    if let Some(entry) = package.files.get(SLIDES) {
        text_file(&dir.join(SLIDES), entry)?;
        let unknown = package.slides.iter().find(|s| !objects.contains_key(&s.file));
        if let Some(slide) = unknown {
            return Err(Error::new(Kind::Corrupt, format!("{} names {}, which is not in the package", path.display(), slide.file)));
        }
        let renamed = vtt(&package.slides, |file| objects.get(file).map_or(String::new(), |o| sibling(&o.key))).into_bytes();
        let object = Object::of(&FileEntry { sha256: Digest::of(&renamed), bytes: renamed.len() as u64 }, SLIDES);
        objects.insert(SLIDES.into(), object.clone());
        parcels.push((object, Content::Bytes(renamed)));
    }
    let public = to_json(&public(&package))?;
    let whole = FileEntry { sha256: Digest::of(&public), bytes: public.len() as u64 };
    let object = Object::of(&whole, "package.json");
    objects.insert("package.json".into(), object.clone());
    parcels.push((object, Content::Bytes(public)));
    // Media playlists name media; multivariant ones name playlists, whose blob names are known when they are rendered.
    while !playlists.is_empty() {
        let ready = playlists.iter().position(|(_, text)| uris(text).iter().all(|u| objects.contains_key(u)));
        let Some(ready) = ready else {
            let (name, text) = &playlists[0];
            let gone = uris(text).into_iter().find(|u| !objects.contains_key(u)).unwrap_or_default();
            return Err(Error::new(Kind::Corrupt, format!("{} names {gone}, which is not in the package", dir.join(name).display())));
        };
        let (name, text) = playlists.remove(ready);
        let renamed = rename_uris(&text, &|uri| objects.get(uri).map(|o: &Object| sibling(&o.key)))?.into_bytes();
        let object = Object::of(&FileEntry { sha256: Digest::of(&renamed), bytes: renamed.len() as u64 }, name);
        objects.insert(name.to_string(), object.clone());
        parcels.push((object, Content::Bytes(renamed)));
    }
    if !objects.contains_key(super::MASTER) {
        return Err(Error::new(Kind::Corrupt, format!("the package {} has no {}", dir.display(), super::MASTER)));
    }
    let rung = |r: &crate::package::Rung| Rung {
        name: r.name.clone(),
        codec: r.codec.clone(),
        width: r.width,
        height: r.height,
        bytes: r.bytes,
        average_bps: r.average_bps,
        peak_bps: r.peak_bps,
    };
    let voice = |v: &crate::package::Voice| Voice {
        name: v.name.clone(),
        codec: v.codec.clone(),
        language: v.language.clone(),
        bytes: v.bytes,
        average_bps: v.average_bps,
    };
    let slide =
        |s: &crate::package::slides::Slide| Slide { file: s.file.clone(), start_s: s.start_s, end_s: s.end_s, title: s.title.clone() };
    let lecture = Lecture {
        id: id.to_string(),
        title: Default::default(),
        module: None,
        presenter: None,
        prerequisites: Vec::new(),
        duration_s: package.duration_s,
        source,
        plan: package.plan,
        partial: package.partial,
        floor_only: false,
        rungs: package.rungs.iter().map(rung).collect(),
        voices: package.voices.iter().map(voice).collect(),
        slides: package.slides.iter().map(slide).collect(),
        chapters: package.chapters.clone(),
        objects,
        captions: BTreeMap::new(),
        handout: None,
    };
    Ok((lecture, parcels))
}

/// What the world may read of a package's file: recordings are called after patients, and sentences about them repeat
/// their names.
fn public(package: &Package) -> Package {
    let mut public = package.clone();
    public.recordings.iter_mut().for_each(|r| r.name.clear());
    public.repairs.clear();
    public.warnings.clear();
    public
}

fn text_file(path: &Path, entry: &FileEntry) -> Result<String> {
    let bytes = std::fs::read(path).doing(|| format!("cannot read {}", path.display()))?;
    if Digest::of(&bytes) != entry.sha256 {
        return Err(crate::store::dir::differs(path));
    }
    String::from_utf8(bytes).kind(Kind::Corrupt, || format!("{} is not text", path.display()))
}

/// `blobs/ab/x` as another blob names it: `../ab/x`.
fn sibling(key: &str) -> String {
    format!("../{}", key.trim_start_matches("blobs/"))
}

/// [`sibling`] names as a course's folder needs them: `../ab/x` becomes `../blobs/ab/x`.
pub(super) fn from_folder(sibling: &str) -> Option<String> {
    sibling.strip_prefix("../").map(|rest| format!("../blobs/{rest}"))
}

/// A file of the author's.
pub(super) fn attachment(path: &Path) -> Result<(Attachment, Parcel)> {
    let doing = || format!("cannot read {}", path.display());
    let (sha256, bytes) = std::fs::File::open(path).and_then(Digest::of_reader).doing(doing)?;
    let name = file_name(path);
    let object = Object::of(&FileEntry { sha256, bytes }, &name);
    Ok((Attachment { name, object: object.clone() }, (object, Content::File(path.to_path_buf()))))
}
