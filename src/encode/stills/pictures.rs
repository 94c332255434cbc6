//! Single pictures of a recording, by their times.

use super::Job;
use crate::encode::decoder::{Decoded, Decoder};
use crate::encode::spool::Kept;
use crate::error::{Error, Result};
use crate::picture::{Colour, View};
use crate::probe::Video;

/// From one wanted picture to the next, at a further one seeking costs less than decoding on: most recordings have a keyframe
/// every 2 to 10 s.
const JUMP_NS: u64 = 15_000_000_000;
/// A decoded picture counts as the planned one within this; containers round to milliseconds at worst.
const SAME_NS: u64 = 1_000_000;

/// Where the pictures come from: each wanted one is decoded once, in order of time.
pub struct Pictures<'a> {
    job: &'a Job,
    video: &'a Video,
    /// Pictures that the analysis kept need no decoding.
    kept: Option<Kept>,
    decoder: Option<Decoder>,
    /// The next picture that the decoder gave and nobody has used.
    ahead: Option<Decoded>,
    /// Stream time that decoding has come to.
    at: u64,
}

impl<'a> Pictures<'a> {
    pub fn new(job: &'a Job, video: &'a Video) -> Self {
        Pictures { job, video, kept: job.kept.as_deref().and_then(Kept::open), decoder: None, ahead: None, at: 0 }
    }

    /// Hands the picture of stream time `wanted` to `then`; `None` where it cannot be had.
    pub fn show<T>(&mut self, wanted: u64, alive: &mut dyn FnMut(), then: impl FnOnce(&View, Colour) -> Result<T>) -> Result<Option<T>> {
        if let Some((frame, colour)) = self.kept.as_mut().and_then(|kept| kept.get(wanted)) {
            return then(&frame.view(), colour).map(Some);
        }
        let far = wanted > self.at.saturating_add(JUMP_NS) && !self.job.sequential;
        if far || self.decoder.is_none() {
            // The one before lets go of its memory first.
            (self.decoder, self.ahead) = (None, None);
            let from = (!self.job.sequential).then_some(wanted);
            let times = self.job.times.clone();
            self.decoder = Some(Decoder::open(&self.job.fragments, &self.job.path, self.video, from, times, false, alive)?);
        }
        let decoder = self.decoder.as_mut().ok_or_else(|| Error::bug("a decoder vanished"))?;
        loop {
            if self.ahead.is_none() {
                self.ahead = decoder.next(alive)?;
                alive();
            }
            match &self.ahead {
                Some(picture) if picture.stream_ns + SAME_NS < wanted => self.ahead = None,
                _ => break,
            }
        }
        self.at = wanted;
        match self.ahead.as_ref().filter(|p| p.stream_ns <= wanted + SAME_NS && !p.damaged) {
            Some(picture) => picture.view(|view, colour| then(view, colour)).map(Some),
            None => Ok(None),
        }
    }
}
