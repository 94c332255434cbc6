//! What a store holds of a course now: pointer and releases, read and checked; and the one write that makes a release
//! the current one.

use super::lock::Lock;
use crate::error::{Error, Kind, Result};
use crate::manifest::{Current, Release, Tombstone, current_key, from_json, release_key, release_number, to_json};
use crate::progress::Ctx;
use crate::store::{Body, Caching, Listed, Meta, Precondition, Store, get_if_there};
use crate::units::Digest;
use futures_util::StreamExt;

/// The pointer of a course and the version that a flip is conditional on.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub current: Option<Current>,
    version: Option<String>,
}

impl Head {
    pub async fn of(store: &dyn Store, course: &str) -> Result<Head> {
        let key = current_key(course)?;
        // The version is read first: if the pointer moves between the two reads, the flip fails, never the other way.
        let version = store.head(&key).await?.map(|m: Meta| m.version);
        let current = match version {
            Some(_) => get_if_there(store, &key).await?.map(|bytes| from_json(&bytes, &key)).transpose()?,
            None => None,
        };
        Ok(Head { current, version })
    }

    /// The release that learners see now; 0 where there is none.
    pub fn number(&self) -> u64 {
        self.current.as_ref().map_or(0, |c| c.release)
    }

    /// The lectures that were taken out of the course.
    pub fn tombstones(&self) -> Vec<Tombstone> {
        self.current.as_ref().map(|c| c.withdrawn.clone()).unwrap_or_default()
    }

    /// What a flip is conditional on, for an intent.
    pub fn version(&self) -> Option<String> {
        self.version.clone()
    }

    /// Moves the pointer, if nobody else has since it was read; gives the bytes written. That somebody wrote the very
    /// same pointer is as good.
    pub async fn flip(&self, store: &dyn Store, to: &Current, lock: &Lock<'_>) -> Result<u64> {
        lock.check().await?;
        let flipped = lock.bound(self.write(store, to)).await?;
        match lock.check().await {
            Ok(()) => Ok(flipped),
            // The lock expired or was taken meanwhile; what counts is whose pointer stands.
            Err(_) if get_if_there(store, &current_key(&to.course)?).await? == Some(to_json(to)?) => Ok(flipped),
            Err(e) => Err(overtaken(&to.course).caused_by(e)),
        }
    }

    async fn write(&self, store: &dyn Store, to: &Current) -> Result<u64> {
        let key = current_key(&to.course)?;
        let bytes = to_json(to)?;
        let when = self.version.clone().map_or(Precondition::Absent, Precondition::Version);
        match store.put(&key, Body::Bytes(&bytes), Caching::Revalidate, when).await {
            Ok(_) => self.moved(store, &bytes, to).await,
            Err(e) if e.kind() == Kind::Conflict => match get_if_there(store, &key).await? {
                Some(now) if now == bytes => Ok(0),
                _ => Err(overtaken(&to.course).caused_by(e)),
            },
            Err(e) => Err(e),
        }
    }
}

impl Head {
    /// The pointer of a course and the release that it points at, of one moment: where the pointer moves in between, a
    /// withdrawal may have written that release anew.
    pub async fn with_release(store: &dyn Store, course: &str) -> Result<(Head, Option<Release>)> {
        loop {
            let head = Head::of(store, course).await?;
            let Some(current) = &head.current else { return Ok((head, None)) };
            match release_of(store, current).await {
                Ok(release) => return Ok((head, Some(release))),
                Err(e) => match head.unless_overtaken(store, course, e).await {
                    e if e.kind() == Kind::Conflict => {}
                    e => return Err(e),
                },
            }
        }
    }

    /// What went wrong, or, where the pointer has moved since it was read, that.
    pub async fn unless_overtaken(&self, store: &dyn Store, course: &str, e: Error) -> Error {
        match Head::of(store, course).await {
            Ok(now) if now.version != self.version => overtaken(course).caused_by(e),
            _ => e,
        }
    }

    /// Looks whether an acknowledged flip was done.
    async fn moved(&self, store: &dyn Store, bytes: &[u8], to: &Current) -> Result<u64> {
        let key = current_key(&to.course)?;
        // Another may have gone on from ours already; only what was there before must not be there still.
        match store.head(&key).await?.map(|m| m.version) == self.version {
            false => Ok(bytes.len() as u64),
            true => Err(super::not_done(store, &key)),
        }
    }
}

/// The error of the one of two publishers who came second.
pub(super) fn overtaken(course: &str) -> Error {
    Error::new(Kind::Conflict, format!("somebody else published the course \"{course}\" at the same time; learners see that release, not yours"))
        .hint("nothing is lost: what was encoded and sent is kept. `rivulet releases STORE COURSE` shows theirs; run the same command again to publish on top of it")
}

/// The pointers of all courses, by course. One that cannot be read is left out with a warning: a damaged course must not
/// keep the others from being published.
pub(super) async fn pointers(store: &dyn Store, ctx: &Ctx) -> Result<Vec<Current>> {
    let listed = store.list("courses/").await?;
    let named = listed.into_iter().filter_map(|Listed { key, .. }| {
        let course = key.as_str().strip_prefix("courses/").and_then(|k| k.strip_suffix("/current.json"))?;
        let course = (!course.contains('/')).then(|| course.to_string())?;
        Some(async move {
            let bytes = get_if_there(store, &key).await?;
            Ok::<_, Error>((key, course, bytes))
        })
    });
    let mut read = futures_util::stream::iter(named.collect::<Vec<_>>()).buffered(store.parallel().max(1));
    let mut all: Vec<Current> = Vec::new();
    while let Some(read) = read.next().await {
        let (key, course, bytes) = read?;
        let Some(bytes) = bytes else { continue };
        match from_json::<Current>(&bytes, &key) {
            Ok(current) if current.course == course => all.push(current),
            Ok(_) => ctx.warn(format!("{key} is of another course; it is left out of the list of courses")),
            Err(e) => ctx.warn(format!("{}; its course is left out of the list of courses", e.report().replace('\n', ", "))),
        }
    }
    all.sort_by(|a, b| a.course.cmp(&b.course));
    Ok(all)
}

/// A release by its number.
pub(super) async fn release(store: &dyn Store, course: &str, n: u64) -> Result<(Release, Vec<u8>)> {
    let key = release_key(course, n)?;
    let bytes = store.get(&key, None).await?;
    let release: Release = from_json(&bytes, &key)?;
    match release.course == course && release.release == n {
        true => Ok((release, bytes)),
        false => Err(Error::new(Kind::Corrupt, format!("{key} holds release {} of \"{}\"", release.release, release.course))),
    }
}

/// The release that a pointer points at; `Corrupt` if its bytes are not those that it was pointed at with.
pub(super) async fn release_of(store: &dyn Store, current: &Current) -> Result<Release> {
    let (release, bytes) = release(store, &current.course, current.release).await?;
    match Digest::of(&bytes) == current.sha256 {
        true => Ok(release),
        false => Err(Error::new(Kind::Corrupt, format!("{} is damaged", release_key(&current.course, current.release)?))),
    }
}

/// The numbers of all releases of a course, rising, those included that were never current.
pub(super) async fn numbers(store: &dyn Store, course: &str) -> Result<Vec<u64>> {
    let listed = store.list(&format!("courses/{course}/releases/")).await?;
    let mut numbers: Vec<u64> = listed.iter().filter_map(|l| release_number(&l.key)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}
