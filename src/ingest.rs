//! The technician's way in: recordings are watched until they are whole, copied with digest and verified, probed, and
//! named in `course.toml`. One bad file never stops the others. The same loop serves one run and `--watch`.
//!
//! ```text
//! scan -> whole? -> copy+verify -> probe -> name -> course.toml
//!         pure decision            seam            append, exchange
//! ```
//!
//! Killed at any moment, the next run goes on: a copy without its name is removed, a named one is recognised by its
//! digest, and a recording that `course.toml` does not name is added then.

mod copy;
mod draft;
pub mod names;
pub mod scan;
mod spanned;
mod whole;

pub use draft::Drafted;

use crate::cache::{Cache, Stamp};
use crate::clock::Clock;
use crate::error::{Error, ErrorLine, Kind, Result, ResultExt};
use crate::offload::blocking;
use crate::probe::Source;
use crate::progress::Ctx;
use crate::units::{Bytes, Digest};
use copy::Part;
use draft::Lecture;
use scan::file_name;
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use whole::{Verdict, Watch};

/// Left free on the target disk beyond the copies: `course.toml`, the cache, and a system disk that is never quite full.
const MARGIN: u64 = 64 << 20;

/// What to bring in, and how patiently.
#[derive(Debug, Clone)]
pub struct Request {
    /// Files, directories or camera cards.
    pub paths: Vec<PathBuf>,
    /// The course's directory; made where it is missing.
    pub into: PathBuf,
    /// Go on until cancelled.
    pub watch: bool,
    /// Between two looks.
    pub interval: Duration,
    /// How long a file must be unchanged to be whole.
    pub still: Duration,
}

/// What an ingest needs of its surroundings; tests hand in others.
pub struct Machine<'a> {
    pub cache: &'a Cache,
    pub clock: &'a dyn Clock,
    /// Free bytes on the file system of a path.
    pub free_bytes: &'a (dyn Fn(&Path) -> Result<u64> + Sync),
}

/// Something that a technician wants to know, said once. The `--json` lines of `rivulet ingest` (docs/ingest.md).
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Said {
    /// Not taken yet; said again only when the reason changes.
    Waiting { path: PathBuf, reason: String },
    /// `known`: the same content was there already, as `into`, and was not copied.
    Ingested { path: PathBuf, into: PathBuf, sha256: Digest, bytes: u64, known: bool },
    Refused {
        path: PathBuf,
        reason: String,
        kind: Kind,
        #[serde(skip_serializing_if = "Option::is_none")]
        hint: Option<String>,
    },
    /// Lectures were added to a course file.
    Drafted { course: PathBuf, lectures: Vec<Drafted> },
}

/// How many files came to which end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    pub ingested: usize,
    pub refused: usize,
    /// Of the refused, those that are no usable media; the rest may be sound, but could not be read or copied.
    pub unusable: usize,
    /// `course.toml` could not be extended with what was ingested.
    pub undrafted: bool,
}

impl Tally {
    /// 0; 3 where some were refused or the course file was not extended; where all were refused, 4 if all of them are no
    /// usable media, else 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            Tally { ingested: 0, refused: n @ 1.., unusable, .. } if n == unusable => Kind::BadMedia.exit_code(),
            Tally { ingested: 0, refused: 1.., .. } => Kind::Failed.exit_code(),
            Tally { refused: 0, undrafted: false, .. } => 0,
            _ => Kind::Partial.exit_code(),
        }
    }
}

/// Brings recordings in until all are decided, or with `watch` until cancelled. `probe` tells whether a whole file is a
/// recording that can be used, and its facts; its error is the reason of a refusal. Fails as a whole only where nothing
/// can go on: a path that is not there, a target that cannot be written, no disk space, cancelled at work.
pub async fn run<P>(request: &Request, machine: &Machine<'_>, probe: P, say: &mut dyn FnMut(Said), ctx: &Ctx) -> Result<Tally>
where
    P: AsyncFn(&Path, &Ctx) -> Result<Source>,
{
    fs::create_dir_all(&request.into).doing(|| format!("cannot make {}", request.into.display()))?;
    copy::can_write(&request.into)?;
    let mut session = Session {
        request,
        machine,
        say,
        ctx,
        files: BTreeMap::new(),
        order: Vec::new(),
        tally: Tally::default(),
        away: HashSet::new(),
        last: None,
        undrafted: Vec::new(),
    };
    loop {
        session.scan()?;
        session.look();
        session.take_all(&probe).await?;
        if !request.watch && session.files.values().all(|f| f.state != State::Open) {
            return Ok(session.tally);
        }
        let pause = if request.watch { request.interval } else { request.interval.min(request.still.max(Duration::from_millis(100))) };
        tokio::select! {
            biased;
            // Between two files is the right moment to stop a watch: nothing is lost, all is said.
            () = ctx.cancel.cancelled() => return if request.watch { Ok(session.tally) } else { ctx.check().map(|()| session.tally) },
            () = machine.clock.sleep(pause) => {}
        }
    }
}

#[derive(Debug, PartialEq)]
enum State {
    Open,
    /// Whole; to be taken in this round.
    Ready,
    /// Taken or refused, in this state of the file.
    Decided(Stamp),
}

struct Candidate {
    watch: Watch,
    state: State,
    /// The reason said last.
    said: Option<String>,
}

/// A recording that has arrived and is not in a lecture yet.
struct Arrived {
    name: String,
    source: Source,
}

struct Session<'a> {
    request: &'a Request,
    machine: &'a Machine<'a>,
    say: &'a mut dyn FnMut(Said),
    ctx: &'a Ctx,
    files: BTreeMap<PathBuf, Candidate>,
    /// Of the last scan, in the order of taking.
    order: Vec<PathBuf>,
    tally: Tally,
    /// Named paths that could not be read at the last scan.
    away: HashSet<PathBuf>,
    /// The last recording of an earlier round: a later part may go on from it.
    last: Option<Arrived>,
    /// Lectures that wait for `course.toml` to be readable again.
    undrafted: Vec<Lecture>,
}

impl Session<'_> {
    /// Finds what is there now. A path that is away (a card pulled out) is said once and waited for by a watch.
    fn scan(&mut self) -> Result<()> {
        self.order.clear();
        for path in &self.request.paths {
            match scan::scan(path) {
                Ok(found) => {
                    if self.away.remove(path) {
                        self.ctx.note(format!("{} is back", path.display()));
                    }
                    if found.is_empty() && !self.request.watch {
                        return Err(Error::new(Kind::NotFound, format!("there is no recording in {}", path.display()))
                            .hint(format!("looked for {}; a file named by itself may be called anything", scan::EXTENSIONS.join(" "))));
                    }
                    for file in found {
                        if !self.order.contains(&file) {
                            self.files.entry(file.clone()).or_insert_with(|| Candidate {
                                watch: Watch::default(),
                                state: State::Open,
                                said: None,
                            });
                            self.order.push(file);
                        }
                    }
                }
                Err(e) if !self.request.watch => self.gone(path, e)?,
                Err(e) => {
                    if self.away.insert(path.clone()) {
                        (self.say)(Said::Waiting { path: path.clone(), reason: format!("it cannot be read now ({e})") });
                    }
                }
            }
        }
        // What is gone is forgotten, unless its whole folder is away: then it is known when it comes back.
        if self.away.is_empty() {
            self.files.retain(|path, _| self.order.contains(path));
        }
        Ok(())
    }

    /// A named path went away in a run that does not wait for it: an error at the start, a refusal of what was still open
    /// later.
    fn gone(&mut self, path: &Path, e: std::io::Error) -> Result<()> {
        let known: Vec<PathBuf> = self.files.keys().filter(|p| p.starts_with(path)).cloned().collect();
        if known.is_empty() {
            return Err(e).doing(|| format!("cannot read {}", path.display()));
        }
        for file in known.into_iter().filter(|p| self.files.get(p).is_some_and(|f| f.state == State::Open)).collect::<Vec<_>>() {
            self.unreadable(&file, std::io::Error::new(e.kind(), e.to_string()));
        }
        Ok(())
    }

    fn unreadable(&mut self, path: &Path, e: std::io::Error) {
        if let Err(error) = Err::<(), _>(e).doing(|| "it cannot be read".into()) {
            self.refuse(path, &error, None);
        }
    }

    /// Looks at every file that is not decided, or has changed since.
    fn look(&mut self) {
        for path in self.order.clone() {
            let Some(file) = self.files.get_mut(&path) else { continue };
            if let State::Decided(stamp) = &file.state {
                match fs::metadata(&path) {
                    // Inode and device are others each time a card is plugged in.
                    Ok(meta)
                        if self.request.watch && (Stamp::of(&meta).bytes, Stamp::of(&meta).mtime_ns) != (stamp.bytes, stamp.mtime_ns) =>
                    {
                        file.state = State::Open;
                    }
                    _ => continue,
                }
            }
            let look = match whole::look(&path, self.machine.clock.wall()) {
                Ok(look) => look,
                // In a watch it may be a card with a bad contact; else nobody will put it right meanwhile.
                Err(e) if self.request.watch => {
                    self.waiting(&path, format!("it cannot be read now ({e})"));
                    continue;
                }
                Err(e) => {
                    self.unreadable(&path, e);
                    continue;
                }
            };
            let verdict = file.watch.observe(self.machine.clock.now(), self.request.still, &look);
            match verdict {
                Verdict::Whole => file.state = State::Ready,
                Verdict::Growing(why) => self.waiting(&path, why),
                Verdict::NotMedia(why) => self.refuse(&path, &Error::bad_media(why), Some(look.stamp)),
                Verdict::Incomplete(why) => {
                    let error = Error::bad_media(format!("it is incomplete: {why}")).hint(match why.contains("no index") {
                        true => "copy it again from the camera; without its index nothing of it can be read",
                        false => {
                            "copy it again from the camera; if this is all there is, `rivulet encode` takes what can still be read of it"
                        }
                    });
                    self.refuse(&path, &error, Some(look.stamp));
                }
            }
        }
    }

    /// Takes what is ready, in order, and drafts its lectures.
    async fn take_all<P: AsyncFn(&Path, &Ctx) -> Result<Source>>(&mut self, probe: &P) -> Result<()> {
        let ready: Vec<PathBuf> =
            self.order.iter().filter(|p| self.files.get(*p).is_some_and(|f| f.state == State::Ready)).cloned().collect();
        if !ready.is_empty()
            && let Err(e) = self.room()
        {
            if !self.request.watch {
                return Err(e);
            }
            for path in ready {
                self.waiting(&path, e.what().to_string());
                self.reopen(&path);
            }
            return Ok(());
        }
        let mut group: Vec<Arrived> = Vec::new();
        let mut notes: Vec<String> = Vec::new();
        for path in ready {
            match self.take(&path, probe).await {
                Ok(Some(next)) => {
                    let previous = group.last().or(self.last.as_ref());
                    let evidence = previous.and_then(|p| spanned::continues((&p.name, &p.source), (&next.name, &next.source)));
                    match evidence {
                        Some(evidence) if !group.is_empty() => {
                            notes.push(format!("Một bài ghi nhiều tệp? / One recording in several files? {evidence}."));
                            self.ctx.note(format!("taken as one recording: {evidence}"));
                        }
                        evidence => {
                            self.draft(&group, &mut notes).await?;
                            self.last = group.pop().or(self.last.take());
                            group.clear();
                            notes.extend(
                                evidence.map(|e| format!("Có thể là phần tiếp theo của / perhaps goes on from another recording: {e}.")),
                            );
                        }
                    }
                    group.push(next);
                }
                Ok(None) => {}
                Err(e) => {
                    // What has come before is not forgotten for what cannot go on.
                    self.draft(&group, &mut notes).await?;
                    return Err(e);
                }
            }
        }
        self.draft(&group, &mut notes).await?;
        self.last = group.pop().or(self.last.take());
        if !self.undrafted.is_empty() {
            self.draft(&[], &mut notes).await?;
        }
        Ok(())
    }

    /// Copies, probes and names one file. `None` where it was refused or must wait; an error stops the whole ingest.
    async fn take<P: AsyncFn(&Path, &Ctx) -> Result<Source>>(&mut self, path: &Path, probe: &P) -> Result<Option<Arrived>> {
        self.ctx.check()?;
        let stamp = fs::metadata(path).ok().map(|m| Stamp::of(&m));
        let outcome = self.bring(path, probe).await;
        match outcome {
            Ok((into, source, known)) => {
                for problem in &source.problems {
                    self.ctx.warn(format!("{}: {problem}", file_name(path)));
                }
                self.tally.ingested += 1;
                self.decide(path, stamp);
                (self.say)(Said::Ingested {
                    path: path.to_path_buf(),
                    into: into.clone(),
                    sha256: source.sha256,
                    bytes: source.bytes,
                    known,
                });
                Ok(Some(Arrived { name: file_name(&into), source }))
            }
            Err(e) if e.kind() == Kind::Cancelled => Err(e),
            // It changed under our hands, or another ingest is at it: look again.
            Err(e) if e.kind() == Kind::Conflict => {
                self.waiting(path, e.what().to_string());
                self.reopen(path);
                Ok(None)
            }
            // The disk filled up meanwhile, or was pulled out: no fault of this file.
            Err(e) if e.kind() == Kind::Limit || !self.request.into.is_dir() => match self.request.watch {
                false => Err(e),
                true => {
                    self.waiting(path, e.what().to_string());
                    self.reopen(path);
                    Ok(None)
                }
            },
            Err(e) => {
                self.refuse(path, &e, stamp);
                Ok(None)
            }
        }
    }

    /// The file's place in the course's directory, its facts, and whether it was there before.
    async fn bring<P: AsyncFn(&Path, &Ctx) -> Result<Source>>(&self, path: &Path, probe: &P) -> Result<(PathBuf, Source, bool)> {
        let known = {
            let (path, into, cache, ctx) = (path.to_path_buf(), self.request.into.clone(), self.machine.cache.clone(), self.ctx.clone());
            blocking(move || already_there(&path, &into, &cache, &ctx)).await?
        };
        if let Some(there) = known {
            let source = Source { path: there.clone(), ..probe(&there, self.ctx).await? };
            return Ok((there, source, true));
        }
        let part = {
            let (path, into, cache, ctx) = (path.to_path_buf(), self.request.into.clone(), self.machine.cache.clone(), self.ctx.clone());
            blocking(move || Part::copy(&path, &into, &cache, &ctx)).await?
        };
        // The copy is probed, not the original: it lies on a faster disk than a card or a share does.
        let mut source = probe(part.path(), self.ctx).await.map_err(|e| renamed(e, part.path(), path))?;
        (source.sha256, source.bytes) = (part.sha256, part.bytes);
        let name = names::safe(&file_name(path));
        let (into, cache, ctx) = (self.request.into.clone(), self.machine.cache.clone(), self.ctx.clone());
        let settled = blocking(move || part.settle(&into, &name, &cache, &ctx)).await?;
        let known = settled.is_err();
        let (Ok(into) | Err(into)) = settled;
        source.path = into.clone();
        Ok((into, source, known))
    }

    /// Fails with `Limit` where what is to be copied does not fit. Files that may be there already are not counted.
    fn room(&self) -> Result<()> {
        let into = &self.request.into;
        let mut needed = 0;
        for (path, file) in &self.files {
            let Ok(meta) = fs::metadata(path) else { continue };
            let open = !matches!(file.state, State::Decided(_));
            if open && !lies_in(path, into) && copy::same_size(into, meta.len()).is_empty() {
                needed += meta.len();
            }
        }
        let free = (self.machine.free_bytes)(into)?;
        if needed == 0 || free >= needed + MARGIN {
            return Ok(());
        }
        Err(Error::new(
            Kind::Limit,
            format!(
                "no room in {}: {} are to be copied (and {} kept free), {} are free",
                into.display(),
                Bytes(needed),
                Bytes(MARGIN),
                Bytes(free)
            ),
        )
        .hint("free some space there (`rivulet clean` shows what the work directory holds), or ingest into another disk"))
    }

    /// Adds a lecture for `group`, and those that could not be added before. A course file that cannot be extended is
    /// said and left alone; a watch tries again.
    async fn draft(&mut self, group: &[Arrived], notes: &mut Vec<String>) -> Result<()> {
        let tried_before = group.is_empty();
        if let Some(first) = group.first() {
            let recordings = group.iter().map(|a| a.name.clone()).collect();
            self.undrafted.push(Lecture { title: names::title(&first.name), recordings, notes: std::mem::take(notes) });
        }
        if self.undrafted.is_empty() {
            return Ok(());
        }
        let (into, lectures, ctx) = (self.request.into.clone(), self.undrafted.clone(), self.ctx.clone());
        match blocking(move || draft::write(&into, &lectures, &ctx)).await {
            Ok(drafted) => {
                self.undrafted.clear();
                self.tally.undrafted = false;
                if !drafted.is_empty() {
                    (self.say)(Said::Drafted { course: self.request.into.join("course.toml"), lectures: drafted });
                }
                Ok(())
            }
            Err(e) if e.kind() == Kind::Cancelled => Err(e),
            Err(e) => {
                if !tried_before && !self.tally.undrafted {
                    self.ctx.warn(e.report());
                }
                self.tally.undrafted = true;
                Ok(())
            }
        }
    }

    fn waiting(&mut self, path: &Path, reason: String) {
        let Some(file) = self.files.get_mut(path) else { return };
        if file.said.as_ref() != Some(&reason) {
            file.said = Some(reason.clone());
            (self.say)(Said::Waiting { path: path.to_path_buf(), reason });
        }
    }

    fn refuse(&mut self, path: &Path, error: &Error, stamp: Option<Stamp>) {
        self.tally.refused += 1;
        self.tally.unusable += usize::from(matches!(error.kind(), Kind::BadMedia | Kind::Unsupported));
        let line = ErrorLine::from(error);
        (self.say)(Said::Refused { path: path.to_path_buf(), reason: line.in_a_line(), kind: line.kind, hint: line.hint });
        self.decide(path, stamp);
    }

    fn decide(&mut self, path: &Path, stamp: Option<Stamp>) {
        if let Some(file) = self.files.get_mut(path) {
            // Without a stamp (it could not even be looked at) any later state is another one.
            file.state = State::Decided(stamp.unwrap_or(Stamp { bytes: 0, mtime_ns: 0, inode: 0, device: 0 }));
            file.said = None;
        }
    }

    fn reopen(&mut self, path: &Path) {
        if let Some(file) = self.files.get_mut(path) {
            (file.state, file.watch) = (State::Open, Watch::default());
        }
    }
}

/// Where this very content lies in `into` already: the file itself, or another of the same size and digest.
fn already_there(path: &Path, into: &Path, cache: &Cache, ctx: &Ctx) -> Result<Option<PathBuf>> {
    if lies_in(path, into) {
        return Ok(Some(into.join(file_name(path))));
    }
    let bytes = fs::metadata(path).doing(|| format!("cannot read {}", path.display()))?.len();
    if copy::same_size(into, bytes).is_empty() {
        return Ok(None);
    }
    let (sha256, bytes) = cache.digest(path, ctx)?;
    copy::twin(into, bytes, &sha256, cache, ctx)
}

fn lies_in(path: &Path, dir: &Path) -> bool {
    let parent = fs::canonicalize(path).ok().and_then(|p| p.parent().map(Path::to_path_buf));
    parent.is_some() && parent == fs::canonicalize(dir).ok()
}

/// The probe saw a temporary name; people know the original's.
fn renamed(error: Error, part: &Path, original: &Path) -> Error {
    let mut line = ErrorLine::from(&error);
    let rename = |text: &mut String| {
        *text = text.replace(&*part.to_string_lossy(), &original.to_string_lossy()).replace(&file_name(part), &file_name(original))
    };
    rename(&mut line.message);
    line.causes.iter_mut().chain(&mut line.hint).for_each(rename);
    line.into()
}

#[cfg(test)]
mod tests;
