//! Single pictures of a recording, by their times.

use super::{Job, Want};
use crate::encode::reel::{Reel, Way};
use crate::encode::spool::Kept;
use crate::error::Result;
use crate::picture::{Colour, View};
use crate::probe::Video;

/// From one wanted picture to the next, at a further one seeking costs less than decoding on: most recordings have a keyframe
/// every 2 to 10 s.
const JUMP_NS: u64 = 15_000_000_000;

/// Where the pictures come from: each wanted one is decoded once, in order of time.
pub struct Pictures<'a> {
    /// Pictures that the analysis kept need no decoding.
    kept: Option<Kept>,
    reel: Reel<'a>,
}

impl<'a> Pictures<'a> {
    pub fn new(job: &'a Job, video: &'a Video) -> Self {
        let way = Way {
            fragments: &job.fragments,
            path: &job.path,
            video,
            sequential: job.sequential,
            times: job.times.as_ref(),
            jump_ns: JUMP_NS,
        };
        Pictures { kept: job.kept.as_deref().and_then(Kept::open), reel: Reel::new(way) }
    }

    /// Hands the wanted picture to `then`; `None` where it cannot be had.
    pub fn show<T>(&mut self, want: &Want, alive: &mut dyn FnMut(), then: impl FnOnce(&View, Colour) -> Result<T>) -> Result<Option<T>> {
        if let Some((frame, colour)) = self.kept.as_mut().and_then(|kept| kept.get(want.ns, want.of.len())) {
            return then(&frame.view(), colour).map(Some);
        }
        match self.reel.get(want.ns, &want.of, alive)?.filter(|found| !found.damaged) {
            Some(found) => found.view(then).map(Some),
            None => Ok(None),
        }
    }
}
