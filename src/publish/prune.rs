//! Making room: releases that nobody keeps, and blobs that nothing names. What may go is decided from what was read after
//! our own intent was in the store, so a publisher who came later waits for us, and one who came earlier was seen.

use super::blobs::Sent;
use super::intent::{FOLDER, Held, Purpose, needs};
use super::state;
use crate::error::{Error, Kind, Result};
use crate::manifest::{Release, Stage, release_key};
use crate::progress::Ctx;
use crate::store::{Key, Listed, Store};
use crate::units::Bytes;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

/// Blobs younger than this are left alone, whoever names them: they may be of a publication that was cut short and will be
/// gone on with.
pub(super) const YOUNG: Duration = Duration::from_secs(7 * 86_400);

/// What was, or would be, deleted: the `--json` line of `prune`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(tag = "type", rename = "pruned")]
pub struct Pruned {
    /// Nothing was done.
    pub dry_run: bool,
    /// By course: the releases that went.
    pub releases: BTreeMap<String, Vec<u64>>,
    pub objects: u64,
    pub bytes: u64,
    /// Objects and bytes of blobs that stay.
    pub kept_objects: u64,
    pub kept_bytes: u64,
    /// Of those, blobs that nothing names and that are younger than 7 days.
    pub young_objects: u64,
}

/// Deletes all releases of every course but the newest `keep`, the current one and the last full one, and blobs of at least
/// 7 days that no other release and no living publisher names. With `dry_run` says what that would be, by this machine's
/// clock. `Conflict`: somebody else deletes at this moment. `Corrupt`, `Unsupported`: something that may name objects cannot
/// be read; nothing was deleted.
pub async fn prune(store: &dyn Store, keep: usize, dry_run: bool, ctx: &Ctx) -> Result<Pruned> {
    if keep == 0 {
        return Err(Error::usage("--keep 0 would keep no release but the current one's objects; keep 1 or more"));
    }
    if dry_run {
        let now = ctx.clock.wall();
        let others = super::intent::read(store, store.list(FOLDER).await?, now).await?;
        let needs = needs(store, &others).await?;
        let garbage = Garbage::find(store, keep, now, &needs.releases, needs.objects).await?;
        return Ok(Pruned { dry_run: true, ..garbage.told() });
    }
    let mut held = Held::put(store, Purpose::Prune, ctx).await?;
    let outcome = delete(store, keep, &mut held).await;
    // Left behind it would only make the next one wait.
    let done = held.done().await;
    let pruned = outcome?;
    done?;
    store.tidy().await?;
    Ok(pruned)
}

async fn delete(store: &dyn Store, keep: usize, held: &mut Held<'_>) -> Result<Pruned> {
    let (now, others) = held.alone().await?;
    let needs = needs(store, &others).await?;
    let garbage = Garbage::find(store, keep, now, &needs.releases, needs.objects).await?;
    // Releases before what they name: a reader never meets a manifest of things that are gone.
    for (course, numbers) in &garbage.releases {
        for n in numbers {
            held.still().await?;
            store.delete(&release_key(course, *n)?).await?;
        }
    }
    let still: Vec<Key> = store.list("courses/").await?.into_iter().map(|l| l.key).collect();
    for (course, n) in garbage.releases.iter().flat_map(|(course, numbers)| numbers.iter().map(move |n| (course, *n))) {
        let key = release_key(course, n)?;
        if still.contains(&key) {
            return Err(super::not_done(store, &key));
        }
    }
    for (key, _) in &garbage.blobs {
        held.still().await?;
        store.delete(key).await?;
    }
    for stale in others.iter().filter(|f| f.stale && !matches!(f.purpose, Some(Purpose::Withdraw { .. }))) {
        store.delete(&stale.key).await?;
    }
    Ok(garbage.told())
}

/// Every release of every course, read.
pub(super) struct Shelf {
    /// By course and number.
    pub releases: BTreeMap<(String, u64), Release>,
    /// By course.
    pub current: BTreeMap<String, u64>,
}

impl Shelf {
    /// Fails (`Corrupt`, `Unsupported`) at the first file that cannot be read: what it names is not known.
    pub async fn read(store: &dyn Store) -> Result<Shelf> {
        let mut shelf = Shelf { releases: BTreeMap::new(), current: BTreeMap::new() };
        let unread = |e: Error| {
            Error::new(e.kind(), "nothing was deleted: what a course names cannot be read")
                .hint("`rivulet check STORE` says what is damaged; publish that course again, or delete its damaged file by hand")
                .caused_by(e)
        };
        let mut pointed = BTreeSet::new();
        for Listed { key, .. } in store.list("courses/").await? {
            let parts: Vec<&str> = key.as_str().split('/').collect();
            match parts[..] {
                ["courses", course, "current.json"] => drop(pointed.insert(course.to_string())),
                ["courses", course, "releases", _] => {
                    let Some(n) = crate::manifest::release_number(&key) else { continue };
                    match state::release(store, course, n).await {
                        Ok((release, _)) => drop(shelf.releases.insert((course.to_string(), n), release)),
                        Err(e) if e.kind() == Kind::NotFound => {}
                        Err(e) if matches!(e.kind(), Kind::Corrupt | Kind::Unsupported) => return Err(unread(e)),
                        Err(e) => return Err(e),
                    }
                }
                _ => {}
            }
        }
        for course in pointed {
            match state::Head::of(store, &course).await {
                Ok(head) => drop(shelf.current.insert(course, head.number())),
                Err(e) if matches!(e.kind(), Kind::Corrupt | Kind::Unsupported) => return Err(unread(e)),
                Err(e) => return Err(e),
            }
        }
        Ok(shelf)
    }

    /// Every object that these releases name.
    pub fn names(&self, of: impl Fn(&str, u64) -> bool) -> BTreeSet<String> {
        let chosen = self.releases.iter().filter(|((course, n), _)| of(course, *n));
        chosen.flat_map(|(_, r)| r.objects().into_keys().map(str::to_string).collect::<Vec<_>>()).collect()
    }

    /// The releases that stay when the newest `keep` of each course do.
    fn kept(&self, keep: usize) -> BTreeSet<(String, u64)> {
        let mut kept = BTreeSet::new();
        let courses: BTreeSet<&String> = self.releases.keys().map(|(course, _)| course).collect();
        for course in courses {
            let all = || self.releases.iter().rev().filter(|((c, _), _)| c == course);
            kept.extend(all().take(keep).map(|(id, _)| id.clone()));
            kept.extend(all().find(|(_, r)| r.stage == Stage::Full).map(|(id, _)| id.clone()));
            kept.extend(self.current.get(course).map(|n| (course.clone(), *n)));
        }
        kept
    }
}

/// What may go.
struct Garbage {
    releases: BTreeMap<String, Vec<u64>>,
    blobs: Vec<(Key, u64)>,
    kept: Sent,
    young: u64,
}

impl Garbage {
    async fn find(
        store: &dyn Store,
        keep: usize,
        now: SystemTime,
        needed: &BTreeSet<(String, u64)>,
        mut named: BTreeSet<String>,
    ) -> Result<Garbage> {
        let shelf = Shelf::read(store).await?;
        let mut kept = shelf.kept(keep);
        kept.extend(needed.iter().cloned());
        named.extend(shelf.names(|course, n| kept.contains(&(course.to_string(), n))));
        let mut garbage = Garbage { releases: BTreeMap::new(), blobs: Vec::new(), kept: Sent::default(), young: 0 };
        for (course, n) in shelf.releases.keys().filter(|id| !kept.contains(id)) {
            garbage.releases.entry(course.clone()).or_default().push(*n);
        }
        for Listed { key, bytes, modified, .. } in store.list("blobs/").await? {
            let old = now.duration_since(modified).is_ok_and(|age| age >= YOUNG);
            match named.contains(key.as_str()) {
                false if old => garbage.blobs.push((key, bytes)),
                named => {
                    garbage.kept.add(bytes);
                    garbage.young += u64::from(!named);
                }
            }
        }
        Ok(garbage)
    }

    fn told(self) -> Pruned {
        Pruned {
            dry_run: false,
            releases: self.releases,
            objects: self.blobs.len() as u64,
            bytes: self.blobs.iter().map(|(_, bytes)| bytes).sum(),
            kept_objects: self.kept.objects,
            kept_bytes: self.kept.bytes,
            young_objects: self.young,
        }
    }
}

impl std::fmt::Display for Pruned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count: usize = self.releases.values().map(Vec::len).sum();
        let would = if self.dry_run { "would delete" } else { "deleted" };
        write!(f, "{would} {count} releases and {} objects, {}", self.objects, Bytes(self.bytes))?;
        write!(f, "; {} objects stay, {}", self.kept_objects, Bytes(self.kept_bytes))?;
        match self.young_objects {
            0 => Ok(()),
            n => write!(f, ", {n} of them named by nothing and younger than 7 days"),
        }
    }
}
