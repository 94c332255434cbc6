//! Which picture is shown when, and where segments and chunks begin. All of it is decided here, from the exact times that
//! probing found, so that a chunk encoder only obeys and chunks join to the tick.

use crate::error::{Error, Result};
use crate::probe::{Access, Source};
use crate::profile::Profile;
use crate::units::MediaTime;
use serde::{Deserialize, Serialize};

/// One file's share of the lecture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Index into the recording's files.
    pub source: usize,
    /// Where it begins on the lecture's timeline.
    pub offset: MediaTime,
    /// The span of the file's stream time that is used, nanoseconds.
    pub from_ns: u64,
    pub to_ns: u64,
    /// How its pictures are reached; `None`: no pictures, a title card stands in.
    pub pictures: Option<Access>,
    /// The audio track that is its voice.
    pub voice: Option<usize>,
}

impl Part {
    /// A stream time of the file on the lecture's timeline.
    fn at(&self, ns: u64) -> MediaTime {
        self.offset.plus(MediaTime::from_ns(ns.saturating_sub(self.from_ns)).ticks())
    }
    pub fn end(&self) -> MediaTime {
        self.at(self.to_ns)
    }
}

/// A run of whole segments of one part: the unit of work, of resume and of distribution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Chunk {
    pub part: usize,
    /// First segment, and one past the last.
    pub segments: (usize, usize),
    /// Every picture of the chunk in order. The first one of each segment is at its boundary.
    pub slots: Vec<Slot>,
}

/// At lecture time `at` the picture `show` appears.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    pub at: MediaTime,
    pub show: Picture,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Picture {
    /// The file's picture with this stream time, nanoseconds.
    At(u64),
    /// The title card.
    Card,
}

/// Joins the files end to end and cuts the trim out of the whole.
pub fn parts(sources: &[Source], trim: Option<(f64, f64)>) -> Result<Vec<Part>> {
    let starts: Vec<u64> = sources.iter().map(Source::start_ns).collect();
    let ends: Vec<u64> = sources.iter().zip(&starts).map(|(s, start)| s.end_ns() - start).collect();
    let whole: u64 = ends.iter().sum();
    let (first, last) = match trim {
        None => (0, whole),
        Some((from, to)) => {
            let (from, to) = ((from.max(0.0) * 1e9) as u64, (to.min(whole as f64 / 1e9) * 1e9) as u64);
            if from + 500_000_000 > to {
                return Err(Error::usage(format!("the trim leaves nothing: the recording lasts {:.1} s", whole as f64 / 1e9)));
            }
            (from, to)
        }
    };
    let mut parts = Vec::new();
    let mut begin = 0;
    let mut offset = MediaTime::ZERO;
    for (i, source) in sources.iter().enumerate() {
        let (from, to) = (first.max(begin), last.min(begin + ends[i]));
        if from < to {
            let part = Part {
                source: i,
                offset,
                from_ns: starts[i] + from - begin,
                to_ns: starts[i] + to - begin,
                pictures: source.frames_ns.iter().any(|t| *t < starts[i] + to - begin).then_some(source.access),
                voice: source.voice,
            };
            offset = part.end();
            parts.push(part);
        }
        begin += ends[i];
    }
    match offset > MediaTime::ZERO {
        true => Ok(parts),
        false => Err(Error::bad_media("the recording holds neither a picture nor a sound that lasts")),
    }
}

/// Segment boundaries of the whole lecture and its chunks.
pub fn schedule(profile: &Profile, sources: &[Source], parts: &[Part]) -> (Vec<MediaTime>, Vec<Chunk>) {
    let mut boundaries = vec![MediaTime::ZERO];
    let mut chunks = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        let slots = slots(profile, &sources[part.source], part);
        let cuts = cuts(profile, &slots, part);
        let first = boundaries.len() - 1;
        boundaries.extend(cuts[1..].iter().map(|&i| slots[i].at).chain([part.end()]));
        let segments = cuts.len();
        let length = part.end().since(part.offset) as f64 / MediaTime::HZ as f64;
        let wanted = (length / profile.chunks.target_s).round().max(if length >= 24.0 { 2.0 } else { 1.0 }) as usize;
        let count = wanted.min(segments);
        for c in 0..count {
            let (a, b) = (c * segments / count, (c + 1) * segments / count);
            let end = cuts.get(b).copied().unwrap_or(slots.len());
            chunks.push(Chunk { part: index, segments: (first + a, first + b), slots: slots[cuts[a]..end].to_vec() });
        }
    }
    (boundaries, chunks)
}

/// Every picture of a part: the file's own, thinned to the profile's most and filled up to its least.
fn slots(profile: &Profile, source: &Source, part: &Part) -> Vec<Slot> {
    let interval = MediaTime::HZ as f64 / profile.video.max_frame_rate;
    let widest = (MediaTime::HZ as f64 / profile.video.least_frame_rate).round() as u64;
    let mut slots: Vec<Slot> = Vec::new();
    let mut due = f64::MIN;
    let push = |slots: &mut Vec<Slot>, at: MediaTime, show: Picture| {
        // A gap is filled with the picture that stands; the last repeat keeps half an interval from what follows.
        while let Some(last) = slots.last().copied().filter(|last| at.since(last.at) > widest + widest / 2) {
            slots.push(Slot { at: last.at.plus(widest), show: last.show });
        }
        slots.push(Slot { at, show });
    };
    if part.pictures.is_none() {
        push(&mut slots, part.offset, Picture::Card);
    } else {
        // The picture that stands when the part begins: with a trim, the last one before it.
        let from = source.frames_ns.partition_point(|t| *t <= part.from_ns).saturating_sub(1);
        for &ns in source.frames_ns[from..].iter().take_while(|t| **t < part.to_ns) {
            let at = if slots.is_empty() { part.offset } else { part.at(ns) };
            // A quarter of an interval of jitter is forgiven; two pictures in one tick are one.
            let early = (at.ticks() as f64) < due - interval / 4.0;
            if early || slots.last().is_some_and(|s| s.at >= at) {
                continue;
            }
            due = if slots.is_empty() { at.ticks() as f64 + interval } else { (due + interval).max(at.ticks() as f64 + interval / 2.0) };
            push(&mut slots, at, Picture::At(ns));
        }
    }
    // To the end of the sound, the last picture stands.
    let end = part.end();
    while let Some(last) = slots.last().copied().filter(|last| end.since(last.at) > widest + widest / 2) {
        slots.push(Slot { at: last.at.plus(widest), show: last.show });
    }
    slots
}

/// Indices of the slots that begin a segment: about even, at pictures, within the profile's least and most where pictures allow.
fn cuts(profile: &Profile, slots: &[Slot], part: &Part) -> Vec<usize> {
    let length = part.end().since(part.offset) as f64;
    let hz = MediaTime::HZ as f64;
    let s = &profile.segments;
    let count = ((length / hz / s.target_s).round().max(1.0)).max((length / hz / s.most_s).ceil()) as usize;
    let mut cuts = vec![0];
    for k in 1..count {
        let wish = part.offset.ticks() as f64 + length * k as f64 / count as f64;
        let i = slots.partition_point(|slot| (slot.at.ticks() as f64) < wish);
        let before = slots[*cuts.last().expect("never empty")].at;
        let long_enough = |i: usize| slots.get(i).is_some_and(|slot| slot.at.since(before) as f64 >= s.least_s * hz);
        let left = |i: usize| part.end().since(slots[i].at) as f64 >= s.least_s * hz / 2.0;
        // The nearer of the two pictures around the wished time.
        let nearer = match i {
            0 => i,
            _ if i < slots.len() && slots[i].at.ticks() as f64 - wish <= wish - slots[i - 1].at.ticks() as f64 => i,
            _ => i - 1,
        };
        if long_enough(nearer) && left(nearer) {
            cuts.push(nearer);
        }
    }
    cuts
}
