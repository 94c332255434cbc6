//! The slides of a visit: the one that is shown, and those to come. The rules are those of `player/app/slides.js`.

use super::net::Request;
use super::session::{Clock, For, Visit};
use super::voice::AHEAD_S;

/// The voice has to be so far ahead before slides to come are fetched, and so many bytes of them.
const AFTER_S: f64 = 15.0;
const AHEAD: u64 = 300_000;

impl Visit<'_> {
    /// Asks for a slide; `None` where the browser has it.
    pub(super) fn load(&mut self, i: usize) -> Option<Request> {
        self.slides[i] = true;
        let bytes = self.lecture.slides[i].bytes;
        (bytes > 0).then(|| self.ask(For::Slide(i), bytes))
    }

    pub(super) fn prefetch(&mut self, wanted: usize) {
        let short = self.have() - self.position() < AFTER_S && self.have() < self.lecture.duration_s() - 1.0;
        if self.prefetching.is_some() || self.clock == Clock::Before || short {
            return;
        }
        let until = self.position() + AHEAD_S;
        let mut ahead = 0;
        for i in wanted + 1..self.lecture.slides.len() {
            let slide = self.lecture.slides[i];
            ahead += slide.bytes;
            if slide.start_s >= until || ahead > AHEAD {
                return;
            }
            if !self.slides[i] {
                self.prefetching = self.load(i);
                return;
            }
        }
    }
}
