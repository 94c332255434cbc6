//! The slides of a lecture as the plan has them: when each is shown and which picture of the recording is its still.

use crate::units::MediaTime;
use serde::{Deserialize, Serialize};

/// One slide. Builds that add a line at a time are one slide with steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SlidePlan {
    /// Lecture time.
    pub start: MediaTime,
    pub end: MediaTime,
    /// Index into `Plan::parts`.
    pub part: usize,
    /// Stream time (nanoseconds) of the part's source at which the picture stands in which the slide is complete.
    pub still_ns: u64,
    /// Lecture times at which a build added something.
    pub steps: Vec<MediaTime>,
    /// The part of the picture that is the slide, as fractions of it: x, y, width, height. `None`: all of it.
    pub region: Option<[f64; 4]>,
}
