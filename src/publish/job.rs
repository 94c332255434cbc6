//! One publication on its way: what is wanted, what is there, what becomes of each lecture. First a release with the floor of
//! what is new, so that it can be watched within minutes; then all of it. If the second half fails, the first stands.

use super::beside::Beside;
use super::blobs::{self, Known, Parcel, Sent};
use super::commit::commit;
use super::decide::{self, Choice, Decided};
use super::intent::{Held, Purpose};
use super::send::Sending;
use super::state::{self, Head};
use super::{Encoder, MARGIN, Options, Packed, pages_missing, promise, site, verify_all_there};
use crate::course::{self, Course};
use crate::error::{Error, Kind, Result};
use crate::manifest::{self, FORMAT, Release, Stage, Tombstone};
use crate::offload::blocking;
use crate::progress::Ctx;
use crate::store::Store;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde::Serialize;
use std::path::Path;
use std::pin::pin;

/// What was published: the `--json` line of `publish` and `rollback`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename = "published")]
pub struct Published {
    pub course: String,
    /// The release that is current now.
    pub release: u64,
    pub stage: Stage,
    /// Files written to the store for it: blobs, release, pointer, pages.
    pub objects_sent: u64,
    pub bytes_sent: u64,
    /// Objects of the release that the store had already.
    pub objects_known: u64,
    /// Lectures that were encoded for it; at stage `floor` those whose floor was.
    pub encoded: Vec<String>,
    /// Lectures taken over from the release before because their recording is not here.
    pub carried: Vec<String>,
    /// Lectures of the release that lack a part of their recording.
    pub partial: Vec<String>,
}

/// Publishes a course file: encodes what has changed, sends what is missing, makes a release of it unless nothing is
/// different, and makes it current. `told` hears of a release with floors when that is current; the last release is
/// returned. Fails with `Conflict` if somebody else published meanwhile.
pub async fn publish(
    file: &Path,
    store: &dyn Store,
    encoder: &dyn Encoder,
    options: &Options,
    ctx: &Ctx,
    told: &mut (dyn FnMut(&Published) + Send),
) -> Result<Published> {
    let mut job = Job::prepare(file, store, encoder, options, ctx).await?;
    let margin = if job.ids(|c| matches!(c, Choice::Encode(_))).is_empty() { 0 } else { MARGIN };
    blobs::room(store, blobs::lacking(&job.known, job.lectures.iter().flat_map(|l| &l.parcels)) + margin).await?;
    if job.nothing_to_do() {
        return job.unchanged().await;
    }
    let purpose = Purpose::publish(&job.content(), job.head.version(), job.before.as_ref());
    let mut intent = Held::put(store, purpose, ctx).await?;
    let outcome = job.run(encoder, &mut intent, told).await;
    // One that could not be removed goes stale by itself.
    let tidy = async {
        match outcome.is_ok() {
            true => store.tidy().await,
            false => Ok(0),
        }
    };
    let (removed, tidied) = tokio::join!(intent.done(), tidy);
    let published = outcome?;
    removed?;
    tidied?;
    Ok(published)
}

pub(super) struct Job<'a> {
    pub course: Course,
    store: &'a dyn Store,
    options: &'a Options,
    ctx: &'a Ctx,
    pub head: Head,
    pub before: Option<Release>,
    pub known: Known,
    pub lectures: Vec<Decided>,
    sent: Sent,
    /// Blobs among what was sent.
    blobs_sent: u64,
}

impl<'a> Job<'a> {
    pub async fn prepare(file: &Path, store: &'a dyn Store, encoder: &dyn Encoder, options: &'a Options, ctx: &'a Ctx) -> Result<Job<'a>> {
        let loaded = course::load(file)?;
        let Some(id) = loaded.course.as_ref().map(|c| c.id.clone()) else {
            return Err(loaded.accept(|_| false).err().unwrap_or_else(|| Error::bug("a course without problems was not made")));
        };
        // Both are awaited: what the first says of a wrong key or name is the message.
        let (head, known) = tokio::join!(Head::with_release(store, &id), Known::of(store));
        let ((head, before), known) = (head?, known?);
        let course = loaded.accept(|missing| decide::has(before.as_ref(), missing))?;
        refuse_withdrawn(&course, &head, &options.restore)?;
        let mut lectures = Vec::new();
        for lecture in &course.lectures {
            ctx.check()?;
            lectures.push(decide::lecture(&course, lecture, before.as_ref(), store, &known, encoder, options, ctx).await?);
        }
        Ok(Job { course, store, options, ctx, head, before, known, lectures, sent: Sent::default(), blobs_sent: 0 })
    }

    /// Learners see this very content already.
    fn nothing_to_do(&self) -> bool {
        let content = self.content();
        self.lectures.iter().all(|l| l.made)
            && self.options.restore.is_empty()
            && self.before.as_ref().is_some_and(|b| b.same_content(&content))
            && content.objects().into_values().all(|o| self.known.has(o))
    }

    /// Nothing is sent, not even an intent, but pages that somebody was stopped in writing.
    async fn unchanged(&mut self) -> Result<Published> {
        let release = self.before.clone().ok_or_else(|| Error::bug("nothing is unchanged"))?;
        let current = self.head.current.as_ref().ok_or_else(|| Error::bug("a release without a pointer"))?;
        let published = match site::settled(self.store, current, &release).await? {
            true => self.told(release, Sent::default(), Vec::new()),
            false => self.show(release, Vec::new()).await?,
        };
        self.store.tidy().await?;
        Ok(published)
    }

    async fn run(&mut self, encoder: &dyn Encoder, intent: &mut Held<'_>, told: &mut (dyn FnMut(&Published) + Send)) -> Result<Published> {
        let store = self.store;
        // What a release asks of the store, and pages of all courses need, is under way while lectures are sent. Where it failed,
        // both are asked once more when they are needed, which may be hours later; what would fail then, too, ends it now.
        let ahead = async {
            let (conditions, assets) = tokio::join!(store.conditions(), site::assets(store));
            forgiven(conditions)?;
            Ok::<_, Error>(forgiven(assets)?.unwrap_or_default())
        };
        let first = async {
            let floors = self.floors(encoder, intent).await?;
            if floors.is_empty() {
                self.each(encoder, intent, Stage::Full).await?;
            }
            Ok::<_, Error>(floors)
        };
        let (floors, assets) = {
            let (mut first, mut ahead) = (pin!(first), pin!(ahead));
            tokio::select! {
                biased;
                assets = &mut ahead => {
                    let assets = assets?;
                    (first.await?, assets)
                }
                floors = &mut first => {
                    let assets = ahead.await;
                    (floors?, assets?)
                }
            }
        };
        (self.sent.objects, self.sent.bytes) = (self.sent.objects + assets.objects, self.sent.bytes + assets.bytes);
        if !floors.is_empty() {
            let release = self.release(intent).await?;
            told(&self.show(release.clone(), floors).await?);
            // The full release goes on top of this one, and of nobody else's.
            self.head = Head::of(self.store, &self.course.id).await?;
            if self.head.number() != release.release {
                return Err(state::overtaken(&self.course.id));
            }
            self.before = Some(release);
            // The pointer has moved, and with it what the intent holds for: encoding and sending go on for hours.
            intent.change(Purpose::publish(&self.content(), self.head.version(), self.before.as_ref())).await?;
            (self.sent, self.blobs_sent) = (Sent::default(), 0);
            self.each(encoder, intent, Stage::Full).await?;
        }
        let encoded = self.ids(|c| matches!(c, Choice::Encode(_)));
        let release = self.release(intent).await?;
        self.show(release, encoded).await
    }

    /// Makes and sends the floors of what is new, and whole what is too short for that; gives the ids of the former. None
    /// are made where all is short: then there is nothing to wait for.
    async fn floors(&mut self, encoder: &dyn Encoder, intent: &mut Held<'_>) -> Result<Vec<String>> {
        match self.lectures.iter().any(|d| d.has_nothing() && d.fresh) {
            true => self.each(encoder, intent, Stage::Floor).await,
            false => Ok(Vec::new()),
        }
    }

    /// Makes what the stage asks for of each lecture, and sends it while the next is made. One that fails does not stop the others:
    /// their work is kept, and all failures are told together. Gives the ids of lectures of which a floor was made.
    async fn each(&mut self, encoder: &dyn Encoder, intent: &mut Held<'_>, stage: Stage) -> Result<Vec<String>> {
        let mut floors = Vec::new();
        let mut failed: Vec<(String, Error)> = Vec::new();
        let before = self.sent.objects;
        let (ctx, refresh) = (self.ctx, self.options.refresh);
        let sending = Sending::new(self.store, &mut self.known, &mut self.sent, &self.course.id, ctx);
        let mut under_way = FuturesUnordered::new();
        let mut broken = None;
        for decided in &mut self.lectures {
            ctx.check()?;
            let id = decided.lecture.id.clone();
            // What cannot be sent is told when this lecture is made: its work is kept.
            let mut ended = |e: Error| {
                if broken.is_none() {
                    ctx.note(format!("{}: sending has ended; stopping after lecture \"{id}\"", e.what()));
                    broken = Some(e);
                }
            };
            let made = while_sending(&mut under_way, make(encoder, decided, stage), &mut ended).await;
            if let Some(e) = broken {
                return Err(e);
            }
            let (packed, floor) = match made {
                Ok(Made::Nothing) => (None, false),
                Ok(Made::Floor(packed)) => (Some(packed), true),
                Ok(Made::Whole(packed)) => (Some(packed), false),
                Err(e) if e.kind() == Kind::Cancelled => return Err(e),
                Err(e) => {
                    failed.push((id, e));
                    continue;
                }
            };
            let mut hold = None;
            if let Some(packed) = packed {
                if let Err(e) = promise::hold(&packed, &id, self.options, self.ctx).await {
                    failed.push((id, e));
                    continue;
                }
                if packed.partial && !floor {
                    ctx.warn(format!("lecture \"{id}\" is published without a part: {}", packed.warnings.join("; ")));
                }
                let source = decided.source.clone().ok_or_else(|| Error::bug("a lecture without a source is to be encoded"))?;
                let (owned, dir) = (id.clone(), packed.dir);
                hold = Some(packed.hold);
                match (blocking(move || blobs::from_package(&dir, &owned, source)).await, floor) {
                    (Ok((lecture, parcels)), true) => {
                        decided.take_floor(lecture, parcels);
                        floors.push(id.clone());
                    }
                    (Ok((lecture, parcels)), false) => decided.take(lecture, parcels),
                    (Err(e), _) => {
                        failed.push((id, e));
                        continue;
                    }
                }
            }
            if refresh {
                sending.distrust(&decided.parcels).await?;
            }
            let keys = decided.parcels.iter().map(|(object, _)| object.key.as_str());
            let mut failure = None;
            while_sending(&mut under_way, intent.still_publishing(keys), &mut |e| failure = failure.take().or(Some(e))).await?;
            if let Some(e) = failure {
                return Err(e);
            }
            let (sending, parcels) = (&sending, &decided.parcels);
            under_way.push(async move {
                sending.send(parcels).await?;
                // Now the store has its own copy.
                drop(hold);
                Ok(())
            });
            while under_way.len() >= sending.lectures()
                && let Some(sent) = under_way.next().await
            {
                sent?;
            }
        }
        while let Some(sent) = under_way.next().await {
            sent?;
        }
        drop(under_way);
        sending.end();
        self.blobs_sent += self.sent.objects - before;
        match failed.len() {
            0 => Ok(floors),
            n => Err(not_encoded(failed, n, &self.course.id)),
        }
    }

    /// Makes what there is of all lectures a release, and current.
    async fn release(&mut self, intent: &mut Held<'_>) -> Result<Release> {
        let content = self.content();
        // From here on everything that it names must stay: said first, then looked for.
        intent.change(Purpose::publish(&content, self.head.version(), self.before.as_ref())).await?;
        intent.wait_for_deleters().await?;
        self.known = Known::of(self.store).await?;
        let before = self.sent.objects;
        let wanted = content.objects();
        let sending = Sending::new(self.store, &mut self.known, &mut self.sent, &self.course.id, self.ctx);
        for decided in &self.lectures {
            // Pruned since it was seen, or acknowledged and lost.
            let needed = |(o, _): &&Parcel| wanted.contains_key(o.key.as_str());
            if decided.parcels.iter().filter(needed).any(|p| sending.lacks_any(std::slice::from_ref(p))) {
                sending.send(&decided.parcels).await?;
            }
        }
        sending.end();
        self.blobs_sent += self.sent.objects - before;
        let there = match self.sent.objects > before {
            true => verify_all_there(self.store, &content).await,
            false => self.known.has_all(self.store, &content),
        };
        if let Err(e) = there {
            return Err(self.head.unless_overtaken(self.store, &self.course.id, e).await);
        }
        self.ctx.check()?;
        let options = self.options;
        let course = &self.course;
        commit(self.store, &self.head, self.before.as_ref(), content, &mut self.sent, &*self.ctx.clock, |n, tombstones| {
            restored(course, &options.restore, n, tombstones)
        })
        .await
    }

    /// Brings the pages into agreement, and says what was done.
    async fn show(&self, release: Release, encoded: Vec<String>) -> Result<Published> {
        let beside = Beside::new(self.store, self.lectures.iter().flat_map(|l| &l.parcels));
        let pages = site::refresh(&beside, &release.course, self.ctx).await.map_err(|e| pages_missing(&release, e))?;
        Ok(self.told(release, pages, encoded))
    }

    fn told(&self, release: Release, pages: Sent, encoded: Vec<String>) -> Published {
        let blobs = release.objects().len() as u64;
        Published {
            course: release.course.clone(),
            release: release.release,
            stage: release.stage,
            objects_sent: self.sent.objects + pages.objects,
            bytes_sent: self.sent.bytes + pages.bytes,
            objects_known: blobs.saturating_sub(self.blobs_sent),
            encoded,
            carried: self.ids(|c| matches!(c, Choice::Carry)),
            partial: release.partial(),
        }
    }

    /// The release that the course is now, numbers aside.
    pub fn content(&self) -> Release {
        let lectures: Vec<_> = self.lectures.iter().map(|l| l.so_far().unwrap_or(&l.lecture).clone()).collect();
        Release {
            format: FORMAT,
            course: self.course.id.clone(),
            release: 0,
            previous: None,
            stage: Release::stage_of(&lectures),
            title: self.course.title.clone(),
            language: self.course.language.clone(),
            licence: self.course.licence.clone(),
            address: self.course.address.clone(),
            modules: self.course.modules.iter().map(|m| manifest::Module { id: m.id.clone(), title: m.title.clone() }).collect(),
            lectures,
        }
    }

    /// What release `n` makes of the tombstones.
    pub fn restored(&self, n: u64, tombstones: &mut [Tombstone]) {
        restored(&self.course, &self.options.restore, n, tombstones);
    }

    pub fn ids(&self, which: impl Fn(&Choice) -> bool) -> Vec<String> {
        self.lectures.iter().filter(|l| which(&l.choice)).map(|l| l.lecture.id.clone()).collect()
    }
}

/// Drives what is being sent until `first` is done, and tells what goes wrong with it.
async fn while_sending<T>(
    under_way: &mut FuturesUnordered<impl Future<Output = Result<()>>>,
    first: impl Future<Output = T>,
    failed: &mut (dyn FnMut(Error) + Send),
) -> T {
    let mut first = pin!(first);
    loop {
        tokio::select! {
            biased;
            Some(sent) = under_way.next(), if !under_way.is_empty() => sent.unwrap_or_else(&mut *failed),
            done = &mut first => return done,
        }
    }
}

/// What was asked ahead of its time, or nothing where it can be asked again. What trying again cannot mend is told before hours
/// of encoding.
fn forgiven<T>(outcome: Result<T>) -> Result<Option<T>> {
    match outcome {
        Ok(done) => Ok(Some(done)),
        Err(e) if matches!(e.kind(), Kind::Denied | Kind::Usage | Kind::Unsupported | Kind::NotFound | Kind::Limit) => Err(e),
        Err(_) => Ok(None),
    }
}

/// At stage `Floor`: the floors of what is new, and whole what learners have nothing of otherwise.
async fn make(encoder: &dyn Encoder, decided: &Decided, stage: Stage) -> Result<Made> {
    let Choice::Encode(request) = &decided.choice else { return Ok(Made::Nothing) };
    match stage {
        _ if decided.made => return Ok(Made::Nothing),
        Stage::Floor if !decided.has_nothing() => return Ok(Made::Nothing),
        Stage::Floor if decided.fresh => {
            if let Some(packed) = encoder.floor(request).await? {
                return Ok(Made::Floor(packed));
            }
        }
        _ => {}
    }
    Ok(Made::Whole(encoder.encode(request).await?))
}

/// What became of one lecture.
enum Made {
    Nothing,
    Floor(Packed),
    Whole(Packed),
}

fn restored(course: &Course, restore: &[String], n: u64, tombstones: &mut [Tombstone]) {
    for tombstone in tombstones.iter_mut().filter(|t| t.restored.is_none() && restore.contains(&t.lecture)) {
        if course.lectures.iter().any(|l| l.id == tombstone.lecture) {
            tombstone.restored = Some(n);
        }
    }
}

/// A withdrawn lecture comes back only when its author says so.
fn refuse_withdrawn(course: &Course, head: &Head, restore: &[String]) -> Result<()> {
    let buried = |id: &str| head.current.as_ref().is_some_and(|c| c.tombstone(id).is_some());
    let named: Vec<&str> =
        course.lectures.iter().map(|l| l.id.as_str()).filter(|id| buried(id) && !restore.iter().any(|r| r == id)).collect();
    if let Some(first) = named.first() {
        let list = named.iter().map(|id| format!("\"{id}\"")).collect::<Vec<_>>().join(", ");
        return Err(Error::usage(format!("the course file names {list}, which was withdrawn from \"{}\"", course.id))
            .hint(format!("take it out of the course file; or, if learners may see it again, publish with --restore {first}")));
    }
    match restore.iter().find(|id| !buried(id) || !course.lectures.iter().any(|l| l.id == **id)) {
        Some(id) if !buried(id) => {
            Err(Error::usage(format!("--restore {id}: no lecture of that name is withdrawn from \"{}\"", course.id)))
        }
        Some(id) => Err(Error::usage(format!("--restore {id}: the course file does not have that lecture"))),
        None => Ok(()),
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
