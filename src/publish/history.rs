//! Looking back and going back.

use super::blobs::Sent;
use super::intent::{Held, Purpose};
use super::lock::Lock;
use super::state::{self, Head};
use super::{Published, pages_missing, site, verify_all_there};
use crate::clock::Clock;
use crate::error::{Error, Kind, Result};
use crate::manifest::{self, Diff, Stage};
use crate::progress::Ctx;
use crate::store::Store;
use serde::Serialize;

/// One release of a course: the `--json` line of `releases`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename = "release")]
pub struct ReleaseLine {
    pub course: String,
    pub release: u64,
    /// Which one it was published over.
    pub previous: Option<u64>,
    pub stage: Stage,
    /// Learners see this one.
    pub current: bool,
    pub lectures: usize,
    pub duration_s: f64,
    pub objects: usize,
    pub bytes: u64,
}

/// All releases of a course, oldest first.
pub async fn releases(store: &dyn Store, course: &str) -> Result<Vec<ReleaseLine>> {
    let head = Head::of(store, course).await?;
    let mut lines = Vec::new();
    for n in state::numbers(store, course).await? {
        let (release, _) = state::release(store, course, n).await?;
        let objects = release.objects();
        lines.push(ReleaseLine {
            course: course.to_string(),
            release: n,
            previous: release.previous,
            stage: release.stage,
            current: head.number() == n,
            lectures: release.lectures.len(),
            duration_s: release.lectures.iter().map(|l| l.duration_s).sum(),
            objects: objects.len(),
            bytes: objects.values().map(|o| o.bytes).sum(),
        });
    }
    match lines.is_empty() {
        true => Err(no_course(store, course)),
        false => Ok(lines),
    }
}

/// What a change from the current release to another would be: to release `to`, else to the one before.
pub async fn compare(store: &dyn Store, course: &str, to: Option<u64>) -> Result<(u64, u64, Diff)> {
    let head = Head::of(store, course).await?;
    let current = state::release_of(store, head.current.as_ref().ok_or_else(|| no_course(store, course))?).await?;
    let to = match to.or(current.previous) {
        Some(n) => n,
        None => {
            return Err(Error::usage(format!(
                "release {} is the first of \"{course}\": there is nothing to compare it with",
                current.release
            )));
        }
    };
    let other = find(store, course, to).await?;
    Ok((current.release, to, manifest::diff(&current, &other)))
}

/// Makes an earlier release current: the one named, else the last full one that was current before. Its objects are
/// looked for first. Naming the release that is current already only brings its pages into order.
pub async fn rollback(store: &dyn Store, course: &str, to: Option<u64>, ctx: &Ctx) -> Result<Published> {
    let head = Head::of(store, course).await?;
    let current = head.current.clone().ok_or_else(|| no_course(store, course))?;
    let target = match to {
        Some(n) => find(store, course, n).await?,
        None => last_full_before(store, course, current.release).await?,
    };
    if let Some(gone) = target.lectures.iter().find(|l| current.tombstone(&l.id).is_some()) {
        return Err(Error::new(
            Kind::Conflict,
            format!("release {} still has lecture \"{}\", which was withdrawn", target.release, gone.id),
        )
        .hint("run `rivulet withdraw` again, or `rivulet check STORE --repair`: a withdrawal was cut short"));
    }
    let mut sent = Sent::default();
    if target.release != current.release {
        ctx.check()?;
        // Said before it is looked for: nobody may prune meanwhile what this release names.
        let needs = Purpose::publish(&target, head.version(), Some(&target));
        let mut intent = Held::put(store, needs, ctx).await?;
        let flipped = flip(store, &head, &target, &mut intent, &*ctx.clock).await;
        let removed = intent.done().await;
        sent.add(flipped?);
        removed?;
    } else {
        verify_all_there(store, &target).await?;
    }
    let pages = site::refresh(store, course, ctx).await.map_err(|e| pages_missing(&target, e))?;
    Ok(Published {
        course: course.to_string(),
        release: target.release,
        stage: target.stage,
        objects_sent: sent.objects + pages.objects,
        bytes_sent: sent.bytes + pages.bytes,
        objects_known: target.objects().len() as u64,
        encoded: Vec::new(),
        carried: Vec::new(),
        partial: target.partial(),
    })
}

async fn flip(store: &dyn Store, head: &Head, target: &manifest::Release, intent: &mut Held<'_>, clock: &dyn Clock) -> Result<u64> {
    intent.wait_for_deleters().await?;
    // Read again: it may have been pruned before we said that we want it.
    let (_, bytes) = state::release(store, &target.course, target.release).await?;
    verify_all_there(store, target).await?;
    let lock = Lock::take(store, &target.course, clock).await?;
    let flipped = head.flip(store, &target.pointer(&bytes, head.tombstones()), &lock).await;
    let released = lock.release().await;
    let written = flipped?;
    released?;
    Ok(written)
}

/// Follows `previous` and not the numbers: a number may belong to a release that was written and never current.
async fn last_full_before(store: &dyn Store, course: &str, n: u64) -> Result<manifest::Release> {
    let mut at = state::release(store, course, n).await?.0;
    loop {
        // Always to a smaller number: a manifest that points at itself must not hold us here.
        let Some(previous) = at.previous.filter(|p| *p < at.release) else {
            return Err(Error::usage(format!("release {n} of \"{course}\" has no full release before it"))
                .hint("`rivulet releases STORE COURSE` lists them; name one to go there"));
        };
        at = match state::release(store, course, previous).await {
            Ok((release, _)) => release,
            Err(e) if e.kind() == Kind::NotFound => {
                return Err(Error::usage(format!("release {previous} of \"{course}\", the way back from {}, was pruned", at.release))
                    .hint("`rivulet releases STORE COURSE` lists what is kept; name one to go there"));
            }
            Err(e) => return Err(e),
        };
        if at.stage == Stage::Full {
            return Ok(at);
        }
    }
}

async fn find(store: &dyn Store, course: &str, n: u64) -> Result<manifest::Release> {
    match state::release(store, course, n).await {
        Ok((release, _)) => Ok(release),
        Err(e) if e.kind() == Kind::NotFound => {
            let all = state::numbers(store, course).await?.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
            Err(Error::new(Kind::NotFound, format!("\"{course}\" has no release {n}")).hint(format!("it has {all}")))
        }
        Err(e) => Err(e),
    }
}

fn no_course(store: &dyn Store, course: &str) -> Error {
    Error::new(Kind::NotFound, format!("there is no course \"{course}\" in {}", store.describe()))
}
