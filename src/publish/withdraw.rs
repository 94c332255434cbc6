//! A lecture taken out of a course for good: patients' images must be removable. Learners first (pointer, pages), then
//! earlier releases, then its objects. The pointer keeps a tombstone, which no rollback and no later publish loses.

use super::blobs::Sent;
use super::commit::commit;
use super::intent::{Held, Purpose, needs};
use super::prune::Shelf;
use super::state::{self, Head};
use super::{not_done, pages_missing, site};
use crate::error::{Error, Kind, Result};
use crate::manifest::{Release, Tombstone, release_key, to_json};
use crate::progress::Ctx;
use crate::store::{Body, Caching, Key, Precondition, Store};
use serde::Serialize;
use std::collections::BTreeSet;

/// How long clients may keep a blob without asking: `max-age` of immutable objects.
const CACHED_S: u64 = 31_536_000;

/// Another publisher may move the pointer while we take the lecture out.
const ROUNDS: usize = 5;

/// What was done, and what remains elsewhere: the `--json` line of `withdraw`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename = "withdrawn")]
pub struct Withdrawal {
    pub course: String,
    pub lecture: String,
    /// The release that is current now, without it.
    pub release: u64,
    /// Earlier releases that it was taken out of.
    pub releases: Vec<u64>,
    /// Objects that were deleted: what to purge from a CDN.
    pub deleted: Vec<String>,
    pub deleted_bytes: u64,
    /// Its objects that other lectures, releases or publishers need.
    pub shared_objects: usize,
    /// Browsers and CDNs may show what they have kept of the deleted objects for so long.
    pub cached_s: u64,
}

/// Takes a lecture out of all releases of a course. May be run again after it was cut short, and then goes on.
/// `NotFound`: no release has it and it was not withdrawn before.
pub async fn withdraw(store: &dyn Store, course: &str, lecture: &str, ctx: &Ctx) -> Result<Withdrawal> {
    let purpose = |objects| Purpose::Withdraw { course: course.into(), lecture: lecture.into(), objects };
    let mut held = Held::put(store, purpose(Vec::new()), ctx).await?;
    let outcome = run(store, course, lecture, &mut held, purpose, ctx).await;
    match outcome {
        Ok((done, left)) => {
            held.done().await?;
            for key in left {
                store.delete(&key).await?;
            }
            store.tidy().await?;
            Ok(done)
        }
        // Before the pointer was moved there is nothing to go on with. After it, the intent says what is left to delete.
        Err((e, begun)) => {
            if !begun {
                let _ = held.done().await;
            }
            Err(e)
        }
    }
}

type Outcome = std::result::Result<(Withdrawal, Vec<Key>), (Error, bool)>;

async fn run(
    store: &dyn Store,
    course: &str,
    lecture: &str,
    held: &mut Held<'_>,
    purpose: impl Fn(Vec<String>) -> Purpose,
    ctx: &Ctx,
) -> Outcome {
    let early = |e| (e, false);
    let late = |e| (e, true);
    let (_, others) = held.alone().await.map_err(early)?;
    // What an earlier run that was cut short had still to delete.
    let mut objects: BTreeSet<String> = BTreeSet::new();
    let mut left = Vec::new();
    for found in &others {
        if let Some(Purpose::Withdraw { course: c, lecture: l, objects: o }) = &found.purpose
            && (c.as_str(), l.as_str()) == (course, lecture)
        {
            objects.extend(o.iter().cloned());
            left.push(found.key.clone());
        }
    }
    let shelf = Shelf::read(store).await.map_err(early)?;
    let of_course = |shelf: &Shelf| shelf.releases.iter().filter(|((c, _), _)| c == course).map(|(_, r)| r.clone()).collect::<Vec<_>>();
    for release in of_course(&shelf) {
        objects.extend(release.lecture(lecture).iter().flat_map(|l| l.all_objects()).map(|o| o.key.clone()));
    }
    held.change(purpose(objects.iter().cloned().collect())).await.map_err(early)?;

    let release = take_out_of_current(store, course, lecture, &shelf, ctx)
        .await
        // After any other error the pointer may have moved: the intent must go on saying what is to be deleted.
        .map_err(|e| {
            let begun = !matches!(e.kind(), Kind::NotFound | Kind::Conflict);
            (e, begun)
        })?;
    pages_agree(store, course, &release, ctx).await.map_err(late)?;
    // Read again: a publisher may have written a release with it since, or come to name one of its objects in another course.
    let mut releases = BTreeSet::new();
    let mut shelf = shelf;
    for _ in 0..ROUNDS {
        releases.extend(strip(store, course, held).await.map_err(late)?);
        shelf = Shelf::read(store).await.map_err(late)?;
        if of_course(&shelf).iter().all(|r| r.lecture(lecture).is_none()) {
            break;
        }
    }
    if let Some(still) = of_course(&shelf).into_iter().find(|r| r.lecture(lecture).is_some()) {
        return Err(late(not_done(store, &release_key(course, still.release).map_err(late)?)));
    }
    let named = shelf.names(|_, _| true);
    let (_, others) = held.others().await.map_err(late)?;
    let needed = needs(store, &others).await.map_err(late)?;
    let shared = |key: &String| named.contains(key) || needed.objects.contains(key);
    let mut done = Withdrawal {
        course: course.into(),
        lecture: lecture.into(),
        release: release.release,
        releases: releases.into_iter().collect(),
        deleted: Vec::new(),
        deleted_bytes: 0,
        shared_objects: objects.iter().filter(|key| shared(key)).count(),
        cached_s: CACHED_S,
    };
    let there = store.list("blobs/").await.map_err(late)?;
    for listed in there.into_iter().filter(|l| objects.contains(l.key.as_str()) && !shared(&l.key.to_string())) {
        held.still().await.map_err(late)?;
        store.delete(&listed.key).await.map_err(late)?;
        done.deleted_bytes += listed.bytes;
        done.deleted.push(listed.key.to_string());
    }
    let there = store.list("blobs/").await.map_err(late)?;
    match there.into_iter().find(|l| done.deleted.iter().any(|k| k == l.key.as_str())) {
        Some(still) => Err(late(not_done(store, &still.key))),
        None => Ok((done, left)),
    }
}

/// Writes the pages until none is left that may still name what is about to be deleted; another publisher may be writing
/// them as well.
async fn pages_agree(store: &dyn Store, course: &str, release: &Release, ctx: &Ctx) -> Result<()> {
    let mut differs = None;
    for _ in 0..ROUNDS {
        site::refresh(store, course, ctx).await.map_err(|e| pages_missing(release, e))?;
        let (_, Some(now)) = Head::with_release(store, course).await? else { return Err(state::overtaken(course)) };
        let pointers = state::pointers(store, ctx).await?;
        match site::changes(store, &now, &pointers).await?.first() {
            None => return Ok(()),
            Some(change) => differs = Some(change.key().clone()),
        }
    }
    match differs {
        Some(key) => Err(not_done(store, &key)),
        None => Ok(()),
    }
}

/// Makes a release without the lecture current, with its tombstone. Gives the release that is current afterwards.
async fn take_out_of_current(store: &dyn Store, course: &str, lecture: &str, shelf: &Shelf, ctx: &Ctx) -> Result<Release> {
    for _ in 0..ROUNDS {
        ctx.check()?;
        let (head, Some(release)) = Head::with_release(store, course).await? else {
            return Err(Error::new(Kind::NotFound, format!("there is no course \"{course}\" in {}", store.describe())));
        };
        let Some(current) = &head.current else { return Err(Error::bug("a release without a pointer")) };
        let buried = current.tombstone(lecture).is_some();
        if release.lecture(lecture).is_none() && buried {
            return Ok(release);
        }
        let somewhere =
            release.lecture(lecture).is_some() || shelf.releases.values().any(|r| r.course == course && r.lecture(lecture).is_some());
        if !somewhere {
            let has = release.lectures.iter().map(|l| l.id.as_str()).collect::<Vec<_>>().join(", ");
            return Err(Error::new(Kind::NotFound, format!("no release of \"{course}\" has a lecture \"{lecture}\""))
                .hint(format!("its current release has {has}")));
        }
        match commit(store, &head, Some(&release), release.without(lecture), &mut Sent::default(), &*ctx.clock, |n, tombstones| {
            tombstones.retain(|t| t.lecture != lecture);
            tombstones.push(Tombstone { lecture: lecture.into(), release: n, restored: None });
        })
        .await
        {
            Err(e) if e.kind() == Kind::Conflict => continue,
            outcome => return outcome,
        }
    }
    Err(state::overtaken(course))
}

/// Takes lectures that have a tombstone out of the releases of a course, in place: their numbers stay, so that going back
/// stays possible. Gives the numbers.
pub(super) async fn strip(store: &dyn Store, course: &str, held: &mut Held<'_>) -> Result<Vec<u64>> {
    let current = Head::of(store, course).await?.current;
    let mut changed = Vec::new();
    for n in state::numbers(store, course).await? {
        let release = match state::release(store, course, n).await {
            Ok((release, _)) => release,
            // Taken back by the publisher who came second.
            Err(e) if e.kind() == Kind::NotFound => continue,
            Err(e) => return Err(e),
        };
        let Some(bare) = current.as_ref().and_then(|c| c.stripped(&release)) else { continue };
        held.still().await?;
        store.put(&release_key(course, n)?, Body::Bytes(&to_json(&bare)?), Caching::Immutable, Precondition::None).await?;
        changed.push(n);
    }
    Ok(changed)
}
