//! How hls.js 1.7 chooses a rung, with what the page sets (`player/app/video.js`): two moving averages of the rate, of which the
//! lower counts; the highest rung that the rate carries and whose next segment comes before the buffer is empty.

use super::lecture::Rung;

/// Half-lives of the averages, seconds of loading; factors for staying and for rising.
const FAST_S: f64 = 3.0;
const SLOW_S: f64 = 9.0;
const KEEP: f64 = 0.95;
const RISE: f64 = 0.7;
/// Time to the first byte until it was measured, and its own average's half-life in samples.
const FIRST_BYTE_S: f64 = 0.1;
const FIRST_BYTE_HALF: f64 = 9.0;
/// No sample counts as shorter.
const LEAST_S: f64 = 0.05;
/// `maxStarvationDelay` of the page.
const STARVE_S: f64 = 8.0;

/// An average that forgets: a sample counts by its weight.
#[derive(Debug, Clone, Copy)]
struct Average {
    half: f64,
    value: f64,
    weight: f64,
}

impl Average {
    fn new(half: f64) -> Average {
        Average { half, value: 0.0, weight: 0.0 }
    }
    fn add(&mut self, weight: f64, value: f64) {
        let kept = 0.5f64.powf(weight / self.half);
        self.value = value * (1.0 - kept) + kept * self.value;
        self.weight += weight;
    }
    fn get(&self) -> Option<f64> {
        (self.weight > 0.0).then(|| self.value / (1.0 - 0.5f64.powf(self.weight / self.half)))
    }
}

#[derive(Debug, Clone)]
pub struct Abr {
    fast: Average,
    slow: Average,
    first_byte: Average,
    /// Until something was measured.
    begin_bps: f64,
    /// Of the last segment.
    pub level: usize,
    /// What loading a media playlist took.
    pub playlist_s: f64,
}

/// What is known when the next segment is chosen.
pub struct Now<'a> {
    pub rungs: &'a [Rung],
    /// Whether each rung's playlist is there.
    pub known: &'a [bool],
    /// Seconds of pictures ahead, and of the last segment.
    pub buffer_s: f64,
    pub segment_s: f64,
}

impl Abr {
    pub fn new(begin_bps: f64) -> Abr {
        let (fast, slow, first_byte) = (Average::new(FAST_S), Average::new(SLOW_S), Average::new(FIRST_BYTE_HALF));
        Abr { fast, slow, first_byte, begin_bps, level: 0, playlist_s: 0.0 }
    }

    /// A segment has come: seconds from its request to its first byte, to its last, and its bytes.
    pub fn loaded(&mut self, first_s: f64, all_s: f64, bytes: u64) {
        let seconds = (all_s - first_s.min(self.first_byte_s())).max(LEAST_S);
        let bps = bytes as f64 * 8.0 / seconds;
        self.fast.add(seconds, bps);
        self.slow.add(seconds, bps);
        self.first_byte.add(first_s.max(LEAST_S).sqrt(), first_s);
    }

    pub fn bps(&self) -> f64 {
        self.fast.get().zip(self.slow.get()).map_or(self.begin_bps, |(fast, slow)| fast.min(slow))
    }
    pub fn first_byte_s(&self) -> f64 {
        self.first_byte.get().unwrap_or(FIRST_BYTE_S)
    }

    /// The rung of the next segment.
    pub fn choose(&self, now: &Now) -> usize {
        let carried = |starve: f64| (0..now.rungs.len()).rev().find(|i| self.carries(now, *i, starve));
        carried(0.0).or_else(|| carried(STARVE_S.min(now.segment_s))).unwrap_or(0)
    }

    fn carries(&self, now: &Now, i: usize, starve: f64) -> bool {
        let usable = self.bps() * if i > self.level { RISE } else { KEEP };
        let deep = now.buffer_s >= 2.0 * now.segment_s && starve == 0.0;
        let bps = if deep { now.rungs[i].average_bps } else { now.rungs[i].peak_bps };
        let first = self.first_byte_s();
        let switch = if now.known[i] { 0.0 } else { first + self.playlist_s };
        let takes = first + bps * now.segment_s / usable + switch;
        usable >= bps && (takes <= first || takes < now.buffer_s + starve)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rungs(bps: &[f64]) -> Vec<Rung> {
        let one =
            |b: &f64| Rung { name: String::new(), bytes: vec![], init_bytes: 0, average_bps: *b, peak_bps: 1.5 * b, playlist_bytes: 0 };
        bps.iter().map(one).collect()
    }

    #[test]
    fn the_rung_follows_the_rate_and_rises_with_a_margin() {
        let rungs = rungs(&[50e3, 150e3, 400e3]);
        let now = |buffer_s| Now { rungs: &rungs, known: &[true; 3], buffer_s, segment_s: 6.0 };
        let mut abr = Abr::new(150e3);
        assert_eq!(abr.choose(&now(0.0)), 0);
        for _ in 0..20 {
            abr.loaded(0.1, 1.1, 32_500);
        }
        // 260 kbit/s: with a deep buffer the average of 150 fits into 0.7 of it, with a short one its peak of 225 does not.
        assert!((abr.bps() - 260e3).abs() < 1e3, "{}", abr.bps());
        assert_eq!((abr.choose(&now(30.0)), abr.choose(&now(6.0))), (1, 0));
        abr.level = 1;
        assert_eq!(abr.choose(&now(6.5)), 1);
    }

    #[test]
    fn a_drop_is_believed_sooner_than_a_rise() {
        let mut abr = Abr::new(150e3);
        (0..10).for_each(|_| abr.loaded(0.0, 2.0, 100_000));
        let high = abr.bps();
        abr.loaded(0.0, 2.0, 10_000);
        let low = abr.bps();
        abr.loaded(0.0, 2.0, 100_000);
        assert!(low < 0.75 * high && abr.bps() < 0.95 * high, "{high} {low} {}", abr.bps());
    }
}
