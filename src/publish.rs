//! From a course file to what learners see. Order is everything here (docs/publish.md): blobs, a bulk list to verify
//! them, the release, then the flip of `current`, then pages. Until the flip nothing that a reader can reach has changed;
//! after it, everything it names is there. Every step may be cut short and the whole be run again.
//!
//! ```text
//! decide    what each lecture needs: encoding, or what the current release has
//! blobs     a package becomes content-addressed objects; those the store lacks are sent
//! state     pointer and releases; the conditional flip
//! site      pages and stable playlists, a function of the pointers
//! history   releases, rollback, diff
//! lock      keeps authors apart where a service ignores conditions
//! verify    is all of it true? and repair
//! ```

mod blobs;
mod decide;
mod history;
mod lock;
mod rename;
mod site;
mod state;
mod verify;

pub use blobs::Sent;
pub use history::{ReleaseLine, compare, releases, rollback};
pub use rename::rename_uris;
pub use site::course_view;
pub use verify::{Fault, Report, verify_store};

use crate::captions::Captions;
use crate::clock::SystemClock;
use crate::course::{self, Course, Trims};
use crate::error::{Error, Kind, Result};
use crate::manifest::{self, FORMAT, Release, Source, Stage, release_key, to_json};
use crate::offload::blocking;
use crate::progress::Ctx;
use crate::store::{Body, BoxFuture, Caching, Precondition, Store};
use blobs::Known;
use decide::{Choice, Decided};
use serde::Serialize;
use state::Head;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Room that the store must have before anything is encoded, besides what is known to be sent: enough to find a full disk
/// before hours of work. What encoding gives is looked at again, exactly, before it is sent.
const MARGIN: u64 = 200_000_000;

/// The multivariant playlist that every package has.
const MASTER: &str = "master.m3u8";

/// What an encoder is asked for: one lecture.
#[derive(Debug, Clone, PartialEq)]
pub struct LectureRequest {
    pub course: String,
    pub lecture: String,
    /// In order; several files are one recording. All are there.
    pub recordings: Vec<PathBuf>,
    pub trims: Option<Trims>,
    /// Read and found to be captions; on the recording's clock.
    pub captions: Vec<Captions>,
    /// In `language`.
    pub title: String,
    pub language: String,
    /// A profile's name or path, as the command line gave it.
    pub profile: String,
}

/// A package that is ready to be sent.
pub struct Packed {
    pub dir: PathBuf,
    /// A part of the recording was lost; `warnings` say which.
    pub partial: bool,
    pub warnings: Vec<String>,
    /// Dropped when the package has been sent: until then nobody else may change or free it.
    pub hold: Box<dyn Send + Sync>,
}

/// Makes packages; `publish` knows nothing of how.
pub trait Encoder: Send + Sync {
    /// What the lecture would be encoded from, without encoding it: decides whether it has to be.
    fn source<'a>(&'a self, request: &'a LectureRequest) -> BoxFuture<'a, Source>;
    /// The finished package; work that is already done is not done again.
    fn encode<'a>(&'a self, request: &'a LectureRequest) -> BoxFuture<'a, Packed>;
}

/// How to publish.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// For lectures that are encoded.
    pub profile: String,
    /// Encode every lecture whose recording is here, changed or not.
    pub refresh: bool,
}

/// What was published: the `--json` line of `publish` and `rollback`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename = "published")]
pub struct Published {
    pub course: String,
    /// The release that is current now.
    pub release: u64,
    pub stage: Stage,
    /// Files written to the store: blobs, release, pointer, pages.
    pub objects_sent: u64,
    pub bytes_sent: u64,
    /// Objects of the release that the store had already.
    pub objects_known: u64,
    /// Lectures that were encoded for it.
    pub encoded: Vec<String>,
    /// Lectures taken over from the release before because their recording is not here.
    pub carried: Vec<String>,
    /// Lectures of the release that lack a part of their recording.
    pub partial: Vec<String>,
}

/// What publishing would do: the `--json` line of `publish --dry-run`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename = "would_publish")]
pub struct Forecast {
    pub course: String,
    /// Lectures that would be encoded; what they become is not in the numbers below.
    pub encode: Vec<String>,
    pub carried: Vec<String>,
    /// Files that would be written as far as it is known before encoding: with nothing to encode, all of them.
    pub objects: u64,
    pub bytes: u64,
    pub objects_known: u64,
}

/// Publishes a course file: encodes what has changed, sends what is missing, makes a release of it unless nothing is
/// different, and makes it current. Fails with `Conflict` if somebody else did so meanwhile.
pub async fn publish(file: &Path, store: &dyn Store, encoder: &dyn Encoder, options: &Options, ctx: &Ctx) -> Result<Published> {
    let mut job = Job::prepare(file, store, encoder, options, ctx).await?;
    let margin = if job.ids(|c| matches!(c, Choice::Encode(_))).is_empty() { 0 } else { MARGIN };
    blobs::room(store, &job.known, job.lectures.iter().flat_map(|l| &l.parcels), margin).await?;
    let mut sent = Sent::default();
    job.encode_and_send(encoder, options.refresh, &mut sent).await?;
    let content = job.content();
    verify_all_there(store, &content).await?;

    ctx.check()?;
    let release = match &job.before {
        Some(before) if before.same_content(&content) => before.clone(),
        _ => commit(store, &job.head, content, &mut sent).await?,
    };
    let blobs = release.objects().len() as u64;
    let known = blobs.saturating_sub(job.blobs_sent);
    let pages = site::refresh(store, &release.course, ctx).await.map_err(|e| pages_missing(&release, e))?;
    store.tidy().await?;
    Ok(Published {
        course: release.course.clone(),
        release: release.release,
        stage: release.stage,
        objects_sent: sent.objects + pages.objects,
        bytes_sent: sent.bytes + pages.bytes,
        objects_known: known,
        encoded: job.ids(|c| matches!(c, Choice::Encode(_))),
        carried: job.ids(|c| matches!(c, Choice::Carry)),
        partial: release.partial(),
    })
}

/// What [`publish`] would do. Writes nothing and encodes nothing.
pub async fn forecast(file: &Path, store: &dyn Store, encoder: &dyn Encoder, options: &Options, ctx: &Ctx) -> Result<Forecast> {
    let job = Job::prepare(file, store, encoder, options, ctx).await?;
    let mut would = Sent::default();
    let mut seen = BTreeSet::new();
    for (object, _) in job.lectures.iter().flat_map(|l| &l.parcels) {
        if !job.known.has(object) && seen.insert(&object.key) {
            would.add(object.bytes);
        }
    }
    let encode = job.ids(|c| matches!(c, Choice::Encode(_)));
    let mut known = 0;
    if encode.is_empty() {
        let mut release = job.content();
        known = release.objects().len() as u64 - would.objects;
        let mut pointers = state::pointers(store, ctx).await?;
        match &job.before {
            Some(before) if before.same_content(&release) => release = before.clone(),
            _ => {
                release.previous = job.head.current.as_ref().map(|c| c.release);
                release.release = state::numbers(store, &release.course).await?.last().map_or(1, |n| n + 1);
                let file = to_json(&release)?;
                let pointer = release.pointer(&file);
                would.add(file.len() as u64);
                would.add(to_json(&pointer)?.len() as u64);
                pointers.retain(|p| p.course != pointer.course);
                pointers.push(pointer);
                pointers.sort_by(|a, b| a.course.cmp(&b.course));
            }
        }
        for change in site::changes(store, &release, &pointers).await? {
            if let site::Change::Write(_, bytes, _) = change {
                would.add(bytes.len() as u64);
            }
        }
    }
    Ok(Forecast {
        course: job.course.id.clone(),
        encode,
        carried: job.ids(|c| matches!(c, Choice::Carry)),
        objects: would.objects,
        bytes: would.bytes,
        objects_known: known,
    })
}

/// One publication on its way: what is wanted, what is there, what becomes of each lecture.
struct Job<'a> {
    course: Course,
    store: &'a dyn Store,
    ctx: &'a Ctx,
    head: Head,
    before: Option<Release>,
    known: Known,
    lectures: Vec<Decided>,
    blobs_sent: u64,
}

impl<'a> Job<'a> {
    async fn prepare(file: &Path, store: &'a dyn Store, encoder: &dyn Encoder, options: &Options, ctx: &'a Ctx) -> Result<Job<'a>> {
        let loaded = course::load(file)?;
        let Some(id) = loaded.course.as_ref().map(|c| c.id.clone()) else {
            return Err(loaded.accept(|_| false).err().unwrap_or_else(|| Error::bug("a course without problems was not made")));
        };
        let head = Head::of(store, &id).await?;
        let before = match &head.current {
            Some(current) => Some(state::release_of(store, current).await?),
            None => None,
        };
        let course = loaded.accept(|missing| decide::has(before.as_ref(), missing))?;
        let known = Known::of(store).await?;
        let mut lectures = Vec::new();
        for lecture in &course.lectures {
            ctx.check()?;
            lectures.push(decide::lecture(&course, lecture, before.as_ref(), store, &known, encoder, options, ctx).await?);
        }
        Ok(Job { course, store, ctx, head, before, known, lectures, blobs_sent: 0 })
    }

    /// Encodes what must be and sends each lecture as soon as it is there. One that fails does not stop the others:
    /// their work is kept, and all failures are told together.
    async fn encode_and_send(&mut self, encoder: &dyn Encoder, refresh: bool, sent: &mut Sent) -> Result<()> {
        let mut failed: Vec<(String, Error)> = Vec::new();
        let before = sent.objects;
        for decided in &mut self.lectures {
            self.ctx.check()?;
            let id = decided.lecture.id.clone();
            let mut hold = None;
            if let Choice::Encode(request) = &decided.choice {
                let source = decided.source.clone().ok_or_else(|| Error::bug("a lecture without a source is to be encoded"))?;
                let encoded = match encoder.encode(request).await {
                    Ok(packed) => {
                        if packed.partial {
                            self.ctx.warn(format!("lecture \"{id}\" is published without a part: {}", packed.warnings.join("; ")));
                        }
                        hold = Some(packed.hold);
                        blocking(move || blobs::from_package(&packed.dir, &id, source)).await
                    }
                    Err(e) => Err(e),
                };
                match encoded {
                    Ok((lecture, parcels)) => decided.take(lecture, parcels),
                    Err(e) if e.kind() == Kind::Cancelled => return Err(e),
                    Err(e) => {
                        failed.push((decided.lecture.id.clone(), e));
                        continue;
                    }
                }
            }
            if refresh {
                blobs::distrust(self.store, &mut self.known, &decided.parcels, self.ctx).await?;
            }
            let task = decided.lecture.id.clone();
            blobs::send(self.store, &mut self.known, &decided.parcels, &task, sent, self.ctx).await?;
            // Now the store has its own copy.
            drop(hold);
        }
        self.blobs_sent = sent.objects - before;
        match failed.len() {
            0 => Ok(()),
            n => Err(not_encoded(failed, n, &self.course.id)),
        }
    }

    /// The release that the course is now, numbers aside.
    fn content(&self) -> Release {
        Release {
            format: FORMAT,
            course: self.course.id.clone(),
            release: 0,
            previous: None,
            stage: Stage::Full,
            title: self.course.title.clone(),
            language: self.course.language.clone(),
            licence: self.course.licence.clone(),
            modules: self.course.modules.iter().map(|m| manifest::Module { id: m.id.clone(), title: m.title.clone() }).collect(),
            lectures: self.lectures.iter().map(|l| l.lecture.clone()).collect(),
        }
    }

    fn ids(&self, which: impl Fn(&Choice) -> bool) -> Vec<String> {
        self.lectures.iter().filter(|l| which(&l.choice)).map(|l| l.lecture.id.clone()).collect()
    }
}

fn not_encoded(mut failed: Vec<(String, Error)>, n: usize, course: &str) -> Error {
    if n == 1 {
        let (id, e) = failed.remove(0);
        let error =
            Error::new(e.kind(), format!("cannot publish \"{course}\": lecture \"{id}\" failed; learners see what they saw before"));
        return error.caused_by(e);
    }
    let kind = failed[0].1.kind();
    let each: Vec<String> = failed.iter().map(|(id, e)| format!("lecture \"{id}\": {}", e.report().replace('\n', "; "))).collect();
    Error::new(kind, format!("cannot publish \"{course}\": {n} lectures failed; learners see what they saw before"))
        .caused_by(each.join("\n"))
}

/// Every object of a release must be in the store, whole, before the release may be.
async fn verify_all_there(store: &dyn Store, release: &Release) -> Result<()> {
    let known = Known::of(store).await?;
    match release.objects().into_values().find(|o| !known.has(o)) {
        None => Ok(()),
        Some(object) => Err(Error::new(Kind::Corrupt, format!("{} is not in {} as it should be", object.key, store.describe()))
            .hint("run the same command again: it sends what is missing")),
    }
}

/// Writes the release under the next free number and makes it current. A number whose file has these very bytes is one
/// that we wrote before we were stopped, and is taken again.
async fn commit(store: &dyn Store, head: &Head, release: Release, sent: &mut Sent) -> Result<Release> {
    let lock = lock::Lock::take(store, &release.course, &SystemClock).await?;
    let outcome = number_and_flip(store, head, release, sent, &lock).await;
    // The first error is the one that matters.
    let released = lock.release().await;
    let release = outcome?;
    released?;
    Ok(release)
}

async fn number_and_flip(store: &dyn Store, head: &Head, mut release: Release, sent: &mut Sent, lock: &lock::Lock<'_>) -> Result<Release> {
    release.previous = head.current.as_ref().map(|c| c.release);
    let numbers = state::numbers(store, &release.course).await?;
    let mut written = None;
    for n in numbers.iter().copied().filter(|n| *n > head.number()) {
        release.release = n;
        let bytes = to_json(&release)?;
        if store.get(&release_key(&release.course, n)?, None).await? == bytes {
            written = Some(bytes);
            break;
        }
    }
    let bytes = match written {
        Some(bytes) => bytes,
        None => {
            release.release = numbers.last().map_or(1, |n| n + 1);
            let (key, bytes) = (release_key(&release.course, release.release)?, to_json(&release)?);
            match store.put(&key, Body::Bytes(&bytes), Caching::Immutable, Precondition::Absent).await {
                Ok(_) => sent.add(bytes.len() as u64),
                // The same content, written by somebody else at the same time.
                Err(e) if e.kind() == Kind::Conflict && store.get(&key, None).await? == bytes => {}
                Err(e) if e.kind() == Kind::Conflict => return Err(state::overtaken(&release.course).caused_by(e)),
                Err(e) => return Err(e),
            }
            bytes
        }
    };
    let flipped = head.flip(store, &release.pointer(&bytes), lock).await?;
    if flipped > 0 {
        sent.add(flipped);
    }
    Ok(release)
}

fn pages_missing(release: &Release, e: Error) -> Error {
    Error::new(e.kind(), format!("release {} of \"{}\" is current, but not all its pages are written", release.release, release.course))
        .hint("run `rivulet check STORE --repair`, or publish again: either writes the pages that are missing")
        .caused_by(e)
}

#[cfg(test)]
mod tests;
