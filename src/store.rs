//! Where releases live: a directory, later a bucket. [`Store`]'s comments are the contract that every store keeps.

pub mod dir;

use crate::error::Result;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;

pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// A store-relative name: `/`-separated, no empty part, no `.` or `..`, no leading `/`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

impl Key {
    pub fn new(name: impl Into<String>) -> Result<Key> {
        let name = name.into();
        let bad = name.split('/').any(|p| p.is_empty() || p == "." || p == "..") || name.contains(['\0', '\\']);
        match bad {
            true => Err(crate::error::Error::usage(format!("\"{name}\" is not a name in a store"))),
            false => Ok(Key(name)),
        }
    }
    pub fn as_str(&self) -> &str {
        &self.0
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
pub enum Body<'a> {
    Bytes(&'a [u8]),
    File(&'a std::path::Path),
}

/// Objects by name. All calls may be repeated. Errors: `NotFound`, `Conflict` (a precondition failed), `Denied`,
/// `Limit` (no space), `Unavailable` (may be tried again).
pub trait Store: Send + Sync {
    /// For messages: the directory or URL.
    fn describe(&self) -> String;
    /// The object's bytes, or those of a range (end exclusive, clipped to the object).
    fn get<'a>(&'a self, key: &'a Key, range: Option<Range<u64>>) -> BoxFuture<'a, Vec<u8>>;
    /// `None` where nothing is there.
    fn head<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Option<Meta>>;
    /// Whole or not at all: a reader never sees half an object, and what is acknowledged survives a power cut.
    fn put<'a>(&'a self, key: &'a Key, body: Body<'a>, caching: Caching, when: Precondition) -> BoxFuture<'a, Meta>;
    /// Everything below a prefix (a whole key or ending in `/`), sorted by key.
    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Vec<(Key, Meta)>>;
    /// Gone afterwards; no error where nothing was.
    fn delete<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, ()>;
}
