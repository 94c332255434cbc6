//! How many lanes there are to be, decided on what they carried: without the waiting, which is [`super::lanes`]'.

use std::time::Duration;

/// Most at once; S3's answer to more is 503, and each holds a part's buffers.
pub const MOST: usize = 16;
/// At first, as other tools begin: one stream alone does not fill a far link that loses packets.
pub const FIRST: usize = 4;
/// Fewer are never tried: one fills the link while the other waits for its answer.
const LEAST: usize = 2;
/// Lanes more must bring so much more, or they are taken back.
const GAIN: f64 = 1.1;
/// Below so many bytes a second each lane keeps a window's worth before others on a thin line.
const THIN: f64 = 32_000.0;
/// A lane less that leaves so much is as good: what more of them send into a full queue is lost, and sent again.
const KEPT: f64 = 0.98;
/// ... on a thin line.
const KEPT_THIN: f64 = 0.95;
/// Objects of which the mean is so many times that of those before bring other rates on any number of lanes.
const OTHER: f64 = 1.5;
/// Measurements between two tries that brought nothing.
const REST: u32 = 4;

/// How many there are, and what is being tried.
#[derive(Debug)]
pub struct Climb {
    pub lanes: usize,
    /// Before the number of lanes was changed: how many there were, and what they carried.
    before: Option<(usize, Measured)>,
    rest: u32,
    /// The last try was of fewer.
    fewer: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counted {
    Acknowledged,
    Left,
}

/// What lanes that were all in use carried.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    bytes_per_s: f64,
    counted: Counted,
    /// Mean bytes of an answer's object; 0 where answers were not counted.
    object: f64,
}

impl Measured {
    pub fn acknowledged(bytes: u64, answers: usize, span: Duration) -> Measured {
        let object = bytes as f64 / answers.max(1) as f64;
        Measured { bytes_per_s: bytes as f64 / span.as_secs_f64(), counted: Counted::Acknowledged, object }
    }
    pub fn left(bytes: u64, span: Duration) -> Measured {
        Measured { bytes_per_s: bytes as f64 / span.as_secs_f64(), counted: Counted::Left, object: 0.0 }
    }
    /// Whether a difference says something about the number of lanes.
    fn compares_with(&self, other: &Measured) -> bool {
        self.counted == other.counted && self.object <= OTHER * other.object && other.object <= OTHER * self.object
    }
}

impl Climb {
    pub fn new() -> Climb {
        Climb { lanes: FIRST, before: None, rest: 0, fewer: true }
    }

    /// A measurement with `lanes` lanes, all in use, has ended.
    pub fn measured(&mut self, now: Measured) {
        match self.before.take() {
            // The one cannot be compared with the other: once more from there.
            Some((lanes, before)) if !now.compares_with(&before) => self.lanes = lanes,
            Some((lanes, before)) if now.bytes_per_s < before.bytes_per_s * self.worth(lanes, &before) => {
                self.lanes = lanes;
                self.rest = REST;
            }
            // More were worth having, or fewer are enough: on that way.
            Some((lanes, _)) => self.try_other(self.lanes < lanes, now),
            None if self.rest > 0 => self.rest -= 1,
            None => self.try_other(!self.fewer, now),
        }
    }

    /// What the lanes that there are now must bring, as a share of what so many brought.
    fn worth(&self, lanes: usize, before: &Measured) -> f64 {
        match self.lanes > lanes {
            true => GAIN,
            false if before.bytes_per_s < THIN => KEPT_THIN,
            false => KEPT,
        }
    }

    fn try_other(&mut self, fewer: bool, now: Measured) {
        self.fewer = fewer;
        let other = if fewer { (self.lanes - 1).max(LEAST.min(self.lanes)) } else { (self.lanes + (self.lanes / 2).max(1)).min(MOST) };
        if other != self.lanes {
            self.before = Some((self.lanes, now));
            self.lanes = other;
        }
    }

    pub fn slow_down(&mut self) {
        (self.lanes, self.before, self.rest) = ((self.lanes / 2).max(1), None, REST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a link carries that shares `bytes_per_s` among `lanes` requests of `object` bytes, each of which waits `rtt`
    /// for its answer; and what a controller makes of it in the end: its lanes, and the share of the link that it uses.
    fn settle(rtt: f64, bytes_per_s: f64, object: f64) -> (usize, f64) {
        let carried = |lanes: usize| (lanes as f64 * object / (object / bytes_per_s + rtt)).min(bytes_per_s);
        let mut climb = Climb::new();
        let (mut lanes, mut used) = (0, 0.0);
        for n in 0..400 {
            // Measurements are never quite the same.
            let noise = 1.0 + 0.03 * (n as f64 * 2.39).sin();
            if n >= 200 {
                (lanes, used) = (lanes + climb.lanes, used + carried(climb.lanes) / bytes_per_s);
            }
            let bytes = carried(climb.lanes) * noise;
            climb.measured(Measured { bytes_per_s: bytes, counted: Counted::Acknowledged, object });
        }
        ((lanes as f64 / 200.0).round() as usize, used / 200.0)
    }

    #[test]
    fn a_far_link_is_filled_and_a_thin_one_is_not_flooded() {
        // 20 kB objects, 300 ms, 1 Mbit/s: each takes 160 ms of the link and 300 ms of waiting.
        let (lanes, used) = settle(0.3, 125_000.0, 20_000.0);
        assert!((3..=6).contains(&lanes) && used > 0.95, "{lanes} lanes, {used} of the link");
        // 3 Mbit/s: seven fill it.
        let (lanes, used) = settle(0.3, 375_000.0, 20_000.0);
        assert!((6..=9).contains(&lanes) && used > 0.95, "{lanes} lanes, {used} of the link");
        // 10 Mbit/s: 16 ms of the link each; all lanes are needed.
        let (lanes, used) = settle(0.3, 1_250_000.0, 20_000.0);
        assert!(lanes >= 14 && used > 0.75, "{lanes} lanes, {used} of the link");
        // 128 kbit/s: two fill it, and what is tried beyond brings nothing.
        let (lanes, used) = settle(0.1, 16_000.0, 100_000.0);
        assert!(lanes == 2 && used > 0.95, "{lanes} lanes, {used} of the link");
    }

    #[test]
    fn what_is_counted_differently_is_not_compared() {
        let mut climb = Climb::new();
        let second = Duration::from_secs(1);
        climb.measured(Measured::left(100, second));
        assert!(climb.lanes > FIRST);
        climb.measured(Measured::acknowledged(900, 1, second));
        assert_eq!(climb.lanes, FIRST);
        // Playlists, then films.
        let mut climb = Climb::new();
        climb.measured(Measured::acknowledged(3_000, 10, second));
        assert!(climb.lanes > FIRST);
        climb.measured(Measured::acknowledged(100_000, 5, second));
        assert_eq!(climb.lanes, FIRST);
    }
}
