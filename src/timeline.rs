//! What a recording shows, when: slides and their builds, still spans, pointers, moving pictures. [`Watcher`] turns decoded
//! pictures into [`Features`], a few bytes each; [`read`] decides on those alone, so that it can be tested on recorded ones.
//!
//! Times are the file's stream times in nanoseconds; the plan puts them on the lecture's timeline.

mod decide;
mod features;
mod frozen;
mod likeness;
mod looker;
mod shaken;
mod spans;
mod speakers;
mod watch;
mod zones;

pub use decide::read;
pub use features::{Features, Seen, Thumb, ZONES, ZONES_ACROSS, ZONES_DOWN};
pub use likeness::{Added, Chosen, Likeness, Likenesses};
pub use watch::Watcher;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

/// One file's pictures, understood.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Timeline {
    pub slides: Vec<Slide>,
    /// One after the other, without gaps.
    pub spans: Vec<Span>,
    /// Pictures that differ visibly from the one kept before, the first among them.
    pub kept: Vec<Kept>,
    /// Where a speaker or a video moves beside or within slides, one layout after the other; none while there is none.
    pub speakers: Vec<Speaker>,
    /// The share of the time in which a slide stands, with or without a speaker.
    pub slide_share: f64,
}

/// A picture that stands for a while, or a moving span in which none does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Slide {
    /// The first picture that shows something of it.
    pub start_ns: u64,
    /// It stands from here on: the end of a fade or a wipe.
    pub settled_ns: u64,
    pub end_ns: u64,
    /// The picture in which it is complete, after its last build.
    pub still_ns: u64,
    /// When builds added something.
    pub steps_ns: Vec<u64>,
    /// A span without a standing picture: camera, video.
    pub moving: bool,
}

/// A layout that holds for a while.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Speaker {
    pub start_ns: u64,
    pub end_ns: u64,
    /// Fractions of the coded picture: x, y, width, height.
    pub region: [f64; 4],
}

impl Timeline {
    /// Where the speaker is while most of a span is shown.
    pub fn speaker(&self, start_ns: u64, end_ns: u64) -> Option<[f64; 4]> {
        let common = |s: &Speaker| s.end_ns.min(end_ns).saturating_sub(s.start_ns.max(start_ns));
        let most = self.speakers.iter().max_by_key(|s| common(s))?;
        (common(most) * 2 >= end_ns - start_ns).then_some(most.region)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Span {
    pub kind: SpanKind,
    pub start_ns: u64,
    pub end_ns: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpanKind {
    /// Nothing moves.
    Still,
    /// Something small does: a pointer, a pen, typing.
    Pointer,
    /// A slide stands while a speaker or a video moves in one part of the picture.
    Speaker,
    /// All of it moves: camera, video.
    Motion,
    /// What a camera saw stands still to the last level: its signal is lost, or the recorder is stuck.
    Frozen,
    /// Nothing is to be seen.
    Black,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    pub ns: u64,
    /// What shows it, in order, the first of them from its begin on ([`Likenesses`]).
    pub shown: Vec<Likeness>,
    /// It changes something outside the places that move all the time.
    pub content: bool,
}

impl Kept {
    /// The time of what shows it nearest to a time.
    pub fn near(&self, ns: u64) -> u64 {
        self.shown.iter().map(|s| s.ns).min_by_key(|s| s.abs_diff(ns)).unwrap_or(self.ns)
    }
}
