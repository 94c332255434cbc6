//! Where releases live: a directory or a bucket. [`Store`]'s comments are the contract that every store keeps;
//! `contract` tests it on each. Nothing above this module knows which kind of store it talks to.

pub mod dir;
pub mod mem;
pub mod s3;

#[cfg(test)]
pub mod contract;
#[cfg(test)]
pub mod fault;

use crate::error::{Error, Result};
use crate::progress::Ctx;
use crate::units::{Bitrate, Digest};
use std::future::Future;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// A store-relative name: `/`-separated, no empty part, no leading `/`, no part that begins with a dot (`.` and `..`
/// would leave the store, and a directory store keeps its unfinished writes under such names).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

impl Key {
    pub fn new(name: impl Into<String>) -> Result<Key> {
        let name = name.into();
        let bad = name.split('/').any(|p| p.is_empty() || p.starts_with('.')) || name.contains(['\0', '\\']);
        match bad {
            true => Err(Error::usage(format!("\"{name}\" is not a name in a store"))),
            false => Ok(Key(name)),
        }
    }
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// What HTTP calls it, from the extension: a store has no other place to keep it in common with a directory. Players
    /// refuse a playlist or captions under a wrong type, and browsers a script.
    pub fn content_type(&self) -> &'static str {
        let file = self.0.rsplit('/').next().unwrap_or_default();
        match file.rsplit_once('.').map_or("", |(_, ext)| ext) {
            "html" => "text/html; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "js" => "text/javascript; charset=utf-8",
            "json" | "map" => "application/json",
            "webmanifest" => "application/manifest+json",
            "m3u8" => "application/vnd.apple.mpegurl",
            // A package's voice is a-<codec>.mp4; its video is video even where it holds sound.
            "mp4" if file.starts_with("a-") => "audio/mp4",
            "mp4" | "m4v" => "video/mp4",
            "m4a" => "audio/mp4",
            "m4s" => "video/iso.segment",
            "ts" => "video/mp2t",
            "webm" => "video/webm",
            "aac" => "audio/aac",
            "mp3" => "audio/mpeg",
            "vtt" => "text/vtt; charset=utf-8",
            "txt" | "md" | "toml" => "text/plain; charset=utf-8",
            "svg" => "image/svg+xml",
            "webp" => "image/webp",
            "png" => "image/png",
            "jpg" | "jpeg" => "image/jpeg",
            "pdf" => "application/pdf",
            "docx" => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            "pptx" => "application/vnd.openxmlformats-officedocument.presentationml.presentation",
            "zip" => "application/zip",
            _ => "application/octet-stream",
        }
    }
    /// Text, which gzip makes several times smaller.
    pub fn is_text(&self) -> bool {
        let mime = self.content_type();
        mime.starts_with("text/")
            || matches!(mime, "application/json" | "application/manifest+json" | "application/vnd.apple.mpegurl" | "image/svg+xml")
    }
}
impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a store knows of an object without reading it.
#[derive(Debug, Clone, PartialEq)]
pub struct Meta {
    pub bytes: u64,
    /// Changes when the bytes change; compared, never interpreted.
    pub version: String,
}

/// One line of a list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    pub key: Key,
    /// As [`Meta::bytes`].
    pub bytes: u64,
    /// When these bytes were put, by the store's own clock: `LastModified` of S3, a file's mtime. Whole seconds do. Ages are
    /// only ever the difference of two such times, so a studio whose clock is wrong deletes nothing too early.
    pub modified: SystemTime,
    /// As [`Meta::version`], where a list tells it.
    pub version: Option<String>,
}

/// What a conditional write asks of the object that is there now.
#[derive(Debug, Clone, PartialEq)]
pub enum Precondition {
    /// Overwrite whatever is there.
    None,
    /// Nothing may be there.
    Absent,
    /// The object must still have this [`Meta::version`].
    Version(String),
}

/// How clients may keep an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caching {
    /// `public, max-age=31536000, immutable`
    Immutable,
    /// `no-cache`
    Revalidate,
}

/// Where the bytes of a put come from.
#[derive(Clone, Copy)]
pub enum Body<'a> {
    Bytes(&'a [u8]),
    /// A file that must have these very bytes: it is digested on its way in, and one that differs is refused
    /// (`Corrupt`) with nothing stored.
    File {
        path: &'a Path,
        sha256: Digest,
        bytes: u64,
    },
}

/// Bytes of an object on its way that are there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Acknowledged {
    pub bytes: u64,
    /// Of these, what an earlier run had sent.
    pub earlier: u64,
}

/// Objects by name. All calls may be repeated. Errors: `NotFound`, `Conflict` (a precondition failed), `Denied`,
/// `Limit` (no space), `Corrupt` (a file is not what its caller says), `Unavailable` (may be tried again).
pub trait Store: Send + Sync {
    /// For messages: the directory or URL.
    fn describe(&self) -> String;
    /// The object's bytes, or those of a range (end exclusive, clipped to the object).
    fn get<'a>(&'a self, key: &'a Key, range: Option<Range<u64>>) -> BoxFuture<'a, Vec<u8>>;
    /// `None` where nothing is there.
    fn head<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Option<Meta>>;
    /// Whole or not at all: a reader never sees half an object, and what is acknowledged survives a power cut.
    fn put<'a>(&'a self, key: &'a Key, body: Body<'a>, caching: Caching, when: Precondition) -> BoxFuture<'a, Meta>;
    /// Every key below a prefix (empty, or ending in `/`) with the bytes that are stored and when it was put, sorted by key, in
    /// as few requests as the store can. It must show every put that was acknowledged and no object that was deleted before it
    /// began (S3's strong consistency): publishing and pruning at once rely on it. Versions where they cost nothing: a directory
    /// would have to read every object for them.
    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Vec<Listed>>;
    /// Gone afterwards; no error where nothing was.
    fn delete<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, ()>;
    /// Removes what interrupted puts of ours left behind and nobody is writing now; gives their number.
    fn tidy<'a>(&'a self) -> BoxFuture<'a, u64>;
    /// Bytes that still fit, so that nobody encodes for hours what then cannot be stored; `None` where nobody knows.
    fn room<'a>(&'a self) -> BoxFuture<'a, Option<u64>> {
        Box::pin(async { Ok(None) })
    }
    /// Whether a put whose [`Precondition`] does not hold is refused for certain. May ask the store, once.
    fn conditions<'a>(&'a self) -> BoxFuture<'a, Conditions> {
        Box::pin(async { Ok(Conditions::Honoured) })
    }
    /// Whether objects of this name may be stored compressed: `list` then tells what is stored, [`Meta::bytes`] and `get` what
    /// was put.
    fn packs(&self, _: &Key) -> bool {
        false
    }
    /// The [`Listed::version`] that these bytes would have if they were put, where that is known beforehand: the same means the
    /// same bytes, another one means nothing.
    fn version_of(&self, _: &Key, _: &[u8]) -> Option<String> {
        None
    }
    /// How many puts are worth having under way at once; the store itself decides how many of them send.
    fn parallel(&self) -> usize {
        1
    }
    /// Where a browser would look for the objects, a URL ending in `/`, if the store is on a web server.
    fn web<'a>(&'a self) -> BoxFuture<'a, Option<String>> {
        Box::pin(async { Ok(None) })
    }
    /// The authorities (DER) whose certificates count on the way there; empty where Mozilla's are all there are.
    fn authorities<'a>(&'a self) -> BoxFuture<'a, Vec<Vec<u8>>> {
        Box::pin(async { s3::authorities(None) })
    }
    /// What the store has acknowledged of an unfinished put of this object: of a large one there may be parts.
    fn acknowledged(&self, _: &Key) -> Acknowledged {
        Acknowledged::default()
    }
    /// Bytes that have left for the store since it was opened, headers and repetitions included, where that is known.
    fn bytes_sent(&self) -> Option<u64> {
        None
    }
}

/// What becomes of a put whose [`Precondition`] does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conditions {
    /// Refused, even if two come at the same moment.
    Honoured,
    /// The service does not look at it. The store looks itself, which leaves a moment for somebody else: whoever writes
    /// conditionally must keep others away by other means.
    Ignored,
}

/// How a store that is not on this machine is reached.
#[derive(Clone)]
pub struct Via {
    /// Told when something is tried again or done another way; stops what is under way when it is cancelled.
    pub ctx: Ctx,
    /// Most bits a second to send, all connections together, everything counted.
    pub uplink: Option<Bitrate>,
    /// The work directory, where unfinished uploads are remembered; `None` as everywhere ([`crate::workdir::WorkDir::open`]).
    pub work: Option<PathBuf>,
}

impl Via {
    pub fn new(ctx: &Ctx) -> Via {
        Via { ctx: ctx.clone(), uplink: None, work: None }
    }
}

/// What [`open`] may find at the place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// A store, or a place for a new one.
    NewOrStore,
    /// A store with something in it.
    Store,
}

/// The store that a command line names. A directory that holds other people's files is refused rather than mixed with; a
/// bucket is asked for nothing yet.
pub fn open(name: &str, expect: Expect, via: Via) -> Result<Arc<dyn Store>> {
    if name.starts_with("s3://") {
        return Ok(Arc::new(s3::S3Store::new(name, via)?));
    }
    if let Some((scheme, _)) = name.split_once("://") {
        return Err(Error::usage(format!("\"{name}\" is not a store that this version can reach: {scheme}:// is unknown to it"))
            .hint("name a directory, or s3://BUCKET/FOLDER"));
    }
    let store = dir::DirStore::new(name);
    match (store.looks_like()?, expect) {
        (dir::Looks::Store, _) | (dir::Looks::Empty, Expect::NewOrStore) => Ok(Arc::new(store)),
        (dir::Looks::Foreign, _) => Err(Error::usage(format!("{name} holds other files and is not a store"))
            .hint("a store is a directory of its own; name a new or an empty one")),
        (dir::Looks::Empty, Expect::Store) => Err(Error::new(crate::error::Kind::NotFound, format!("there is no store in {name}"))
            .hint("`rivulet publish COURSE.toml --to DIR` makes one")),
    }
}

/// The bytes of an object, or `None` where nothing is there.
pub async fn get_if_there(store: &dyn Store, key: &Key) -> Result<Option<Vec<u8>>> {
    match store.get(key, None).await {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == crate::error::Kind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::Key;

    #[test]
    fn players_get_the_types_they_insist_on() {
        for (name, expected) in [
            ("master.m3u8", "application/vnd.apple.mpegurl"),
            ("v-720p.mp4", "video/mp4"),
            ("x/a-opus.mp4", "audio/mp4"),
            ("c-vi.vtt", "text/vtt; charset=utf-8"),
            ("slides/0001.webp", "image/webp"),
            ("README", "application/octet-stream"),
        ] {
            assert_eq!(Key::new(name).unwrap().content_type(), expected, "{name}");
        }
    }
}
