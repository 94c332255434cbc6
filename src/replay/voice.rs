//! The voice of a visit: what is there of it, and which range is fetched next. The rules are those of `player/loader.js`.

use super::session::{Clock, For, Visit, token};

/// Seconds of voice to have ahead, and bytes in one request; while the first slide is not there, a part of those, and what is
/// enough: on any link, and on a thin one.
pub(super) const AHEAD_S: f64 = 240.0;
const CHUNK: u64 = 65_536;
const FIRST_CHUNK: u64 = CHUNK / 8;
const ENOUGH_S: f64 = 5.0;
const THIN_ENOUGH_S: f64 = 12.0;
/// A range without a byte for so long is asked for again, after a while that doubles.
const PATIENCE_S: f64 = 30.0;
const WAIT_S: (f64, f64) = (0.5, 16.0);

impl Visit<'_> {
    /// Seconds of voice that can be heard: packets of 60 ms come out of a segment as soon as they are whole.
    pub(super) fn buffered(&self) -> f64 {
        let i = self.segment();
        match self.offsets.get(i + 1) {
            Some(end) => {
                let share = (self.at - self.offsets[i]) as f64 / (end - self.offsets[i]).max(1) as f64;
                self.starts[i] + share * (self.starts[i + 1] - self.starts[i])
            }
            None => self.starts[i],
        }
    }

    /// The segment that the next byte belongs to; one behind the last where all is there.
    pub(super) fn segment(&self) -> usize {
        self.offsets.partition_point(|o| *o <= self.at).saturating_sub(1)
    }

    /// Where the segment that is being fetched begins.
    pub(super) fn have(&self) -> f64 {
        self.starts[self.segment()]
    }

    /// The next range of the voice, where one is due.
    pub(super) fn pump(&mut self) {
        let k = self.segment();
        let last = self.lecture.voice.len();
        if self.range.is_some() || self.waits || self.at == 0 || !self.appended || k >= last {
            return;
        }
        let position = self.position();
        let left = self.starts[k] - position;
        let first = !(self.seen && self.clock != Clock::Before);
        if left > AHEAD_S || (first && left > if self.thin { THIN_ENOUGH_S } else { ENOUGH_S }) {
            return;
        }
        let most = if first { FIRST_CHUNK } else { CHUNK };
        let mut to = k + 1;
        while to < last && self.offsets[to + 1] - self.at <= most && self.starts[to] - position < AHEAD_S {
            to += 1;
        }
        let body = self.offsets[to] - self.at;
        self.range = Some(self.ask(For::Voice { from: self.at }, body));
        self.heard_at = self.net.now();
        self.asked_at = self.heard_at;
        self.net.wake(self.heard_at + PATIENCE_S, token::QUIET);
    }

    pub(super) fn quiet(&mut self) {
        let Some(range) = self.range else { return };
        let until = self.heard_at + PATIENCE_S;
        if self.net.now() + 1e-6 < until {
            return self.net.wake(until, token::QUIET);
        }
        self.net.cancel(range);
        self.asked.remove(&range);
        self.range = None;
        self.waits = true;
        self.tries += 1;
        self.net.wake(self.net.now() + (WAIT_S.0 * 2f64.powi(self.tries.min(6))).min(WAIT_S.1), token::RETRY);
    }
}
