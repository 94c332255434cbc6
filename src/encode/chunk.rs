//! The child's job: decode one span of one file once, and encode it into every rung. It obeys the plan's slots to the letter:
//! each slot names the picture to show and the rungs that show it; where the decoder fails to bring it, the one before stands
//! in and is counted. Where the analysis kept all pictures of a chunk, nothing is decoded again.

use super::chunkfile::{self, ChunkFile, Header, Health, Part, RungUnits};
use super::decoder::init;
use super::encoder::{Encoder, Settings};
use super::reel::{Reel, Way};
use super::spool::Kept;
use crate::child::Reporter;
use crate::error::{Error, Result};
use crate::picture::{Cascade, Frame, Look, Turn};
use crate::pipeline::Fragments;
use crate::plan::{Picture, RungPlan, Slot};
use crate::probe::Video;
use crate::units::{MediaTime, Size};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    pub path: PathBuf,
    /// `None`: every slot shows the title card.
    pub video: Option<Video>,
    /// Decode from the file's start instead of seeking.
    pub sequential: bool,
    /// Times of all pictures, for a stream that has none of its own.
    pub times: Option<Vec<u64>>,
    /// Where the analysis kept pictures.
    pub kept: Option<PathBuf>,
    pub title: String,
    /// `bt709` or `bt601`, the same for the whole lecture.
    pub colour: String,
    /// Why the recording gives no picture here and a card stands in.
    pub lost: Option<String>,
    /// Chunks of one file in order; more than one where a single pass makes them all.
    pub chunks: Vec<JobChunk>,
    /// Of every mean that a slot shows the pictures that it is of.
    pub means: BTreeMap<u64, Vec<u64>>,
    pub rungs: Vec<RungPlan>,
    pub preset: String,
    pub fragments: Fragments,
    /// The plan's work directory.
    pub out: PathBuf,
    /// Each chunk is one segment of the lecture, made to predict the others.
    pub samples: bool,
    /// [`Part::Floor`]: `rungs` is the lowest alone, and slots that it does not show are left out.
    pub part: Part,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JobChunk {
    pub index: usize,
    /// The lecture's number of its first segment.
    pub first: usize,
    /// Starts of its segments and the end of the last.
    pub boundaries: Vec<MediaTime>,
    pub slots: Vec<Slot>,
}

/// Media seconds made.
pub fn run(job: Job, reporter: &mut Reporter) -> Result<f64> {
    init()?;
    let colour = job.colour.as_str();
    let settings = job.rungs.iter().map(|r| Settings::new(&job.fragments, r, &job.preset, colour)).collect::<Result<Vec<_>>>()?;
    let mut pictures = Pictures::open(&job)?;
    let mut done = 0.0;
    for chunk in &job.chunks {
        // A second try of several chunks does not make the finished ones again.
        let path =
            if job.samples { chunkfile::sample_path(&job.out, chunk.first) } else { chunkfile::path(&job.out, job.part, chunk.index) };
        if chunkfile::open(&path).is_some() {
            continue;
        }
        pictures.health = Health { wanted: chunk.slots.len(), ..Health::default() };
        if job.lost.is_some() {
            pictures.health.missing = chunk.slots.len();
            pictures.health.first_fault_s = chunk.boundaries.first().map(|b| b.seconds());
            pictures.health.fault = job.lost.clone();
        }
        pictures.begin(chunk);
        let floor = made_before(&job, chunk);
        let mut slots = chunk.slots.iter().peekable();
        let mut rungs: Vec<RungUnits> =
            job.rungs.iter().map(|_| RungUnits { avcc: Vec::new(), colour: code_points(colour), segments: Vec::new() }).collect();
        let mut data: Vec<Vec<Vec<u8>>> = vec![Vec::new(); job.rungs.len()];
        for (nth, bounds) in chunk.boundaries.windows(2).enumerate() {
            if !job.samples
                && let Some(made) = chunkfile::open(&chunkfile::sample_path(&job.out, chunk.first + nth))
            {
                while slots.next_if(|s| s.at < bounds[1]).is_some() {}
                for (i, sample) in made.header.rungs.iter().enumerate().take(job.rungs.len()) {
                    adopt(&mut rungs[i], &mut data[i], sample, &made.segment(i, 0)?, &job.rungs[i].name)?;
                }
                pictures.health.add(&made.header.health);
                continue;
            }
            if let Some(floor) = &floor {
                let made = &floor.header.rungs[0];
                let this = RungUnits { segments: vec![made.segments[nth].clone()], ..made.clone() };
                adopt(&mut rungs[0], &mut data[0], &this, &floor.segment(0, nth)?, &job.rungs[0].name)?;
            }
            let first = floor.is_some() as usize;
            let mut encoders = settings[first..].iter().map(Encoder::start).collect::<Result<Vec<_>>>()?;
            while let Some(slot) = slots.next_if(|s| s.at < bounds[1]) {
                let at = done + (slot.at.since(chunk.boundaries[0])) as f64 / MediaTime::HZ as f64;
                let frames = pictures.show(slot, &mut || reporter.progress(at))?;
                for (i, frame) in frames.iter().enumerate().skip(first).filter(|(i, _)| slot.on(*i)) {
                    let frame = frame.as_ref().ok_or_else(|| Error::bug(format!("rung {i} has no frame at {}", slot.at)))?;
                    encoders[i - first].push(frame, MediaTime::from_ticks(slot.at.since(bounds[0])))?;
                }
                reporter.progress(at);
            }
            // All rungs flush at once; the next segment's encoders start when these have let go of their memory.
            encoders.iter().try_for_each(Encoder::end)?;
            for (i, encoder) in encoders.into_iter().enumerate().map(|(i, encoder)| (i + first, encoder)) {
                let coded = encoder.finish(|| reporter.alive())?;
                same_sets(&mut rungs[i], coded.avcc, &job.rungs[i].name)?;
                rungs[i].segments.push(coded.units.iter().map(|u| (u.data.len() as u32, u.shown as u32)).collect());
                data[i].extend(coded.units.into_iter().map(|u| u.data));
            }
        }
        let health = std::mem::take(&mut pictures.health);
        chunkfile::write(&path, &Header { rungs, health }, data.iter().flatten())?;
        done += chunk.boundaries[chunk.boundaries.len() - 1].since(chunk.boundaries[0]) as f64 / MediaTime::HZ as f64;
    }
    Ok(done)
}

/// The floor of a chunk that was made before the rest. Not where pictures were lost: which one stands in for a lost one
/// depends on those of all rungs, and a chunk has the same bytes on every way to it.
fn made_before(job: &Job, chunk: &JobChunk) -> Option<ChunkFile> {
    if job.part == Part::Floor || job.samples || job.rungs.len() < 2 {
        return None;
    }
    let floor = chunkfile::open(&chunkfile::path(&job.out, Part::Floor, chunk.index))?;
    let health = &floor.header.health;
    let fits = floor.header.rungs.len() == 1 && floor.header.rungs[0].segments.len() + 1 == chunk.boundaries.len();
    (fits && health.missing + health.damaged == 0).then_some(floor)
}

fn same_sets(rung: &mut RungUnits, avcc: Vec<u8>, name: &str) -> Result<()> {
    if rung.avcc.is_empty() {
        rung.avcc = avcc;
    } else if rung.avcc != avcc {
        return Err(Error::bug(format!("rung {name} changes its parameter sets within a lecture")));
    }
    Ok(())
}

/// Takes a segment that was made before.
fn adopt(rung: &mut RungUnits, data: &mut Vec<Vec<u8>>, sample: &RungUnits, bytes: &[u8], name: &str) -> Result<()> {
    same_sets(rung, sample.avcc.clone(), name)?;
    let mut rest = bytes;
    for (size, _) in sample.segments.iter().flatten() {
        let (unit, after) = rest.split_at_checked(*size as usize).ok_or_else(|| Error::bug("a sample is shorter than it says"))?;
        data.push(unit.to_vec());
        rest = after;
    }
    rung.segments.extend(sample.segments.iter().cloned());
    Ok(())
}

/// ISO/IEC 23091-2 code points: colour primaries, transfer characteristics, matrix.
fn code_points(colour: &str) -> (u16, u16, u16) {
    if colour == "bt601" { (6, 6, 6) } else { (1, 1, 1) }
}

/// The recording's pictures as the plan asks for them, in the sizes of the rungs that show them.
struct Pictures<'a> {
    job: &'a Job,
    /// `None`: the title card stands for everything.
    reel: Option<Reel<'a>>,
    kept: Option<Kept>,
    /// The pictures of this chunk are all among those kept.
    all_kept: bool,
    /// Which rungs show a picture anywhere in this chunk.
    rungs: HashMap<Picture, u16>,
    sizes: Vec<Size>,
    turn: Turn,
    cascade: Option<(Look, Cascade)>,
    /// What stands: the planned picture and its frames.
    shown: Option<(Picture, Frames)>,
    health: Health,
}

type Frames = Vec<Option<Arc<Frame>>>;

impl Pictures<'_> {
    fn open(job: &Job) -> Result<Pictures<'_>> {
        let sizes: Vec<Size> = job.rungs.iter().map(|r| r.size).collect();
        let way = |video| Way {
            fragments: &job.fragments,
            path: &job.path,
            video,
            sequential: job.sequential,
            times: job.times.as_ref(),
            jump_ns: u64::MAX,
        };
        let mut pictures = Pictures {
            job,
            reel: job.video.as_ref().map(|video| Reel::new(way(video))),
            kept: job.kept.as_deref().and_then(Kept::open),
            all_kept: false,
            rungs: HashMap::new(),
            turn: Turn::default(),
            cascade: None,
            shown: None,
            health: Health::default(),
            sizes,
        };
        match &job.video {
            None => {
                let card = super::card::draw(&job.fragments, &job.title, &job.colour, &pictures.sizes)?;
                pictures.shown = Some((Picture::Card, card.into_iter().map(Some).collect()));
            }
            Some(video) => pictures.turn = Turn::new(video.rotation, video.mirrored),
        }
        Ok(pictures)
    }

    /// Looks through a chunk before its first picture.
    fn begin(&mut self, chunk: &JobChunk) {
        self.rungs.clear();
        for slot in chunk.slots.iter().filter(|s| s.show != Picture::Card) {
            *self.rungs.entry(slot.show).or_default() |= slot.rungs;
        }
        let (job, kept) = (self.job, &self.kept);
        let there =
            |picture: &Picture| job.source(*picture).is_none_or(|(ns, of)| kept.as_ref().is_some_and(|kept| kept.has(ns, of.len())));
        self.all_kept = self.rungs.keys().all(there);
        // What stands from the chunk before may lack a rung's frame.
        if self.job.video.is_some() {
            self.shown = None;
        }
        // Samples lie far apart: each is sought.
        if self.job.samples
            && !self.job.sequential
            && let Some(reel) = &mut self.reel
        {
            reel.rewind();
        }
    }

    /// The frames for a slot, lowest rung first.
    fn show(&mut self, slot: &Slot, alive: &mut dyn FnMut()) -> Result<&[Option<Arc<Frame>>]> {
        // Without a video the title card stands for everything.
        let standing = self.job.video.is_none() || self.shown.as_ref().is_some_and(|(picture, _)| *picture == slot.show);
        if !standing && slot.show != Picture::Card {
            let rungs = self.rungs.get(&slot.show).copied().unwrap_or(slot.rungs);
            if !self.recall(slot.show, rungs)? {
                self.fetch(slot.show, rungs, slot.at, alive)?;
            }
        }
        match &self.shown {
            Some((_, frames)) => Ok(frames),
            None => Err(Error::bug("a slot has no picture")),
        }
    }

    /// Takes a picture from those kept, if the whole chunk can be had so.
    fn recall(&mut self, wanted: Picture, rungs: u16) -> Result<bool> {
        let Some((ns, of)) = self.job.source(wanted).filter(|_| self.all_kept) else { return Ok(false) };
        let Some((frame, colour)) = self.kept.as_mut().and_then(|kept| kept.get(ns, of.len())) else { return Ok(false) };
        let frames = scale(&mut self.cascade, &self.sizes, self.turn, &frame.view(), colour, rungs)?;
        self.shown = Some((wanted, frames));
        Ok(true)
    }

    /// Decodes on to the picture `wanted`.
    fn fetch(&mut self, wanted: Picture, rungs: u16, at: MediaTime, alive: &mut dyn FnMut()) -> Result<()> {
        let (Some(reel), Some((ns, of))) = (&mut self.reel, self.job.source(wanted)) else {
            return Err(Error::bug("a title card has no pictures to fetch"));
        };
        let mut scale = |view: &crate::picture::View, colour, rungs| scale(&mut self.cascade, &self.sizes, self.turn, view, colour, rungs);
        let found = reel.get(ns, of, alive)?;
        let (missing, damaged) = (found.is_none(), found.is_some_and(|f| f.damaged));
        let mut frames = found.map(|found| found.view(|view, colour| scale(view, colour, rungs))).transpose()?;
        if missing || damaged {
            self.health.missing += missing as usize;
            self.health.damaged += damaged as usize;
            self.health.first_fault_s.get_or_insert(at.seconds());
            if let Some(fault) = reel.fault() {
                self.health.fault.get_or_insert(fault);
            }
        }
        // The very first picture may be the missing one: then the next that comes stands in, as nothing came before. A
        // picture that stands in for another is made for all rungs: its successors are not known by it.
        if frames.is_none() && self.shown.is_none() {
            let Some(ahead) = reel.ahead() else {
                let cause = reel.fault().unwrap_or_else(|| "the stream ended before".into());
                return Err(Error::bad_media(format!("no picture can be decoded from {at} on")).caused_by(cause));
            };
            frames = Some(ahead.view(|view, colour| scale(view, colour, u16::MAX))?);
        }
        match (frames, &mut self.shown) {
            (Some(frames), shown) => *shown = Some((wanted, frames)),
            (None, Some((picture, frames))) => {
                *picture = wanted;
                complete(frames, &self.sizes)?;
            }
            (None, None) => {}
        }
        Ok(())
    }
}

impl Job {
    /// Stream time of a picture, and of a mean the pictures that it is of. `None`: the title card.
    fn source(&self, picture: Picture) -> Option<(u64, &[u64])> {
        match picture {
            Picture::At(ns) => Some((ns, &[])),
            Picture::Mean(ns) => Some((ns, self.means.get(&ns).map_or(&[], Vec::as_slice))),
            Picture::Card => None,
        }
    }
}

/// A picture that stands in for a lost one may have been made for few rungs: the others get it from the largest there is.
fn complete(frames: &mut Frames, sizes: &[Size]) -> Result<()> {
    let Some(largest) = frames.iter().flatten().max_by_key(|f| f.size().height).cloned() else {
        return Err(Error::bug("a picture that stands was made for no rung"));
    };
    for (frame, size) in frames.iter_mut().zip(sizes).filter(|(f, _)| f.is_none()) {
        *frame = Some(if largest.size() == *size {
            largest.clone()
        } else {
            Arc::new(crate::picture::Scaler::new(largest.size(), *size).scale(&largest.view())?)
        });
    }
    Ok(())
}

/// The frames of one decoded picture for the rungs that show it. A picture size that changes within a file is scaled to the
/// same rungs.
fn scale(
    cascade: &mut Option<(Look, Cascade)>,
    sizes: &[Size],
    turn: Turn,
    view: &crate::picture::View,
    colour: crate::picture::Colour,
    rungs: u16,
) -> Result<Frames> {
    let look = Look { size: view.size(), depth: view.depth(), colour, turn };
    if cascade.as_ref().is_none_or(|(made_for, _)| *made_for != look) {
        *cascade = Some((look, Cascade::new(look, sizes)));
    }
    cascade.as_mut().expect("made above").1.make_some(view, rungs)
}
