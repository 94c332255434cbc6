//! Which picture is shown when on which rung, and where segments and chunks begin. All of it is decided here, from the exact
//! times that probing and analysis found, so that a chunk encoder only obeys and chunks join to the tick.

use super::ladder::RungPlan;
use super::{Shape, cadence};
use crate::error::{Error, Result};
use crate::probe::{Access, Source};
use crate::profile::Profile;
use crate::timeline::{Features, Timeline};
use crate::units::MediaTime;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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
    /// By the time that a mean is called by, the stream times of the pictures that it is of.
    pub means: BTreeMap<u64, Vec<u64>>,
}

impl Part {
    /// A stream time of the file on the lecture's timeline.
    pub fn at(&self, ns: u64) -> MediaTime {
        self.offset.plus(MediaTime::from_ns(ns.saturating_sub(self.from_ns)).ticks())
    }
    pub fn end(&self) -> MediaTime {
        self.at(self.to_ns)
    }
    /// The pictures of the mean that is called by a time; none where that is a picture's own.
    pub fn mean(&self, ns: u64) -> Vec<u64> {
        self.means.get(&ns).cloned().unwrap_or_default()
    }
    /// What stands in a timeline is shown by the mean of what stood: of 8-bit pictures in standard range.
    pub fn take_means(&mut self, timeline: &Timeline, source: &Source) {
        let shown = timeline.kept.iter().flat_map(|k| &k.shown).filter(|s| !s.of.is_empty());
        if source.video.as_ref().is_some_and(|v| v.plain()) {
            self.means = shown.map(|s| (s.ns, s.of.clone())).collect();
        }
    }
    /// The picture of a time, or the mean that is called by it.
    pub fn picture(&self, ns: u64) -> Picture {
        if self.means.contains_key(&ns) { Picture::Mean(ns) } else { Picture::At(ns) }
    }
}

/// A run of whole segments of one part: the unit of work, of resume and of distribution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Chunk {
    pub part: usize,
    /// First segment, and one past the last.
    pub segments: (usize, usize),
    /// Every picture of the chunk in order. The first one of each segment is at its boundary, on all rungs.
    pub slots: Vec<Slot>,
}

/// At lecture time `at` the picture `show` appears, on some rungs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    pub at: MediaTime,
    pub show: Picture,
    /// Bit `i`: the rung `i` shows it; the others stay with what they showed. Whatever a rung shows, those above it show.
    pub rungs: u16,
}

impl Slot {
    pub fn on(&self, rung: usize) -> bool {
        self.rungs >> rung & 1 == 1
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Picture {
    /// The file's picture with this stream time, nanoseconds.
    At(u64),
    /// The mean that [`Part::means`] has by this time.
    Mean(u64),
    /// The title card.
    Card,
}

/// The shortest lecture.
const LEAST_NS: u64 = 250_000_000;

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
                means: BTreeMap::new(),
            };
            offset = part.end();
            parts.push(part);
        }
        begin += ends[i];
    }
    // A button pressed twice: its last picture stays, or browsers do not begin to play it.
    if let Some(last) = parts.last_mut().filter(|_| offset.to_ns() < LEAST_NS) {
        last.to_ns += LEAST_NS - offset.to_ns();
    }
    match offset > MediaTime::ZERO {
        true => Ok(parts),
        false => Err(Error::bad_media("the recording holds neither a picture nor a sound that lasts")),
    }
}

/// What the plan knows of one part when it is laid out.
pub struct Layout<'a> {
    pub profile: &'a Profile,
    pub shape: Shape,
    pub rungs: &'a [RungPlan],
    pub source: &'a Source,
    pub features: Option<&'a Features>,
    pub timeline: &'a Timeline,
    pub part: &'a Part,
}

/// Segment boundaries of the whole lecture and its chunks.
pub fn schedule<'a>(layouts: impl Iterator<Item = Layout<'a>>) -> (Vec<MediaTime>, Vec<Chunk>) {
    let mut boundaries = vec![MediaTime::ZERO];
    let mut chunks = Vec::new();
    for (index, layout) in layouts.enumerate() {
        let part = layout.part;
        let shown = cadence::worth_showing(&layout);
        let cuts = cuts(&layout, &shown);
        let slots = cadence::slots(&layout, &shown, &cuts);
        let first = boundaries.len() - 1;
        boundaries.extend(cuts[1..].iter().copied().chain([part.end()]));
        let segments = cuts.len();
        let length = part.end().since(part.offset) as f64 / MediaTime::HZ as f64;
        let wanted = (length / layout.profile.chunks.target_s).round().max(if length >= 24.0 { 2.0 } else { 1.0 }) as usize;
        let count = wanted.min(segments);
        for c in 0..count {
            let (a, b) = (c * segments / count, (c + 1) * segments / count);
            let place = |cut: Option<&MediaTime>| cut.map_or(slots.len(), |t| slots.partition_point(|s| s.at < *t));
            let range = place(cuts.get(a))..place(cuts.get(b));
            chunks.push(Chunk { part: index, segments: (first + a, first + b), slots: slots[range].to_vec() });
        }
    }
    (boundaries, chunks)
}

/// A cut goes to a picture that is as near to where it would be, else it repeats the one that stands.
const NEAR: u64 = MediaTime::HZ * 3 / 10;

/// Where the segments of a part begin, rising from its start: at slide changes where slides stand, evenly between, within the
/// profile's least and most.
fn cuts(layout: &Layout, shown: &[cadence::Shown]) -> Vec<MediaTime> {
    let (part, s) = (layout.part, &layout.profile.segments);
    let end = part.end();
    let ticks = |seconds: f64| (seconds * MediaTime::HZ as f64) as u64;
    let (anchors, least, even) = match layout.shape {
        Shape::Slides => (anchors(layout), ticks(layout.profile.slides.least_s), s.most_s),
        _ => (Vec::new(), ticks(s.least_s), s.target_s),
    };
    let mut cuts = vec![part.offset];
    let mut from = part.offset;
    for anchor in anchors.into_iter().filter(|a| end.since(*a) >= ticks(1.0)).chain([end]) {
        if anchor != end && anchor.since(from) < least {
            continue;
        }
        let length = anchor.since(from) as f64;
        let count = (length / ticks(even) as f64).round().max((length / ticks(s.most_s) as f64).ceil()).max(1.0) as u64;
        for k in 1..count {
            let wish = from.plus((length * k as f64 / count as f64).round() as u64);
            let i = shown.partition_point(|p| p.at < wish);
            let near = [i.checked_sub(1), Some(i)].into_iter().flatten().filter_map(|i| shown.get(i)).map(|p| p.at);
            let distance = |t: MediaTime| t.since(wish).max(wish.since(t));
            let at = near.filter(|t| distance(*t) <= NEAR).min_by_key(|t| distance(*t)).unwrap_or(wish);
            if cuts.last().is_some_and(|last| at.since(*last) >= least.min(ticks(1.0))) && end.since(at) >= ticks(0.5) {
                cuts.push(at);
            }
        }
        if anchor != end {
            cuts.push(anchor);
            from = anchor;
        }
    }
    cuts
}

/// A change longer than this begins its segment where it begins, not where it has come to rest: fades are shorter.
const FADE_NS: u64 = 1_500_000_000;

/// Where slides begin: settled, so that the key picture is the one that stays.
fn anchors(layout: &Layout) -> Vec<MediaTime> {
    let place = |s: &crate::timeline::Slide| if s.moving || s.settled_ns - s.start_ns > FADE_NS { s.start_ns } else { s.settled_ns };
    layout.timeline.slides.iter().map(|s| layout.part.at(place(s))).filter(|at| *at > layout.part.offset).collect()
}
