//! Puts decoded sound where its timestamps say, on one continuous 48 kHz timeline. Small jitter (timestamps rounded to
//! milliseconds, lazy recorders) is ignored; a clock that drifts against the timestamps is followed by cross-fades of a
//! few milliseconds; holes become silence and what was there before wins over what overlaps it. So the error stays
//! below 10 ms however long the recording is, and no splice clicks.

use super::RATE_HZ;

/// A frame of two channels.
pub type Stereo = [f32; 2];

/// Deviations up to here are left alone: 4 ms, inaudible against the picture, above the jitter of rounded timestamps.
const TOLERANCE: i64 = 4 * MS;
/// From here on a deviation is a hole or an overlap and is dealt with at once: 40 ms, two usual packets.
const JUMP: i64 = 40 * MS;
/// A deviation between the two must last this long before it is corrected, or jitter would be chased.
const PATIENCE: i64 = 250 * MS;
/// Length of a cross-fade where drift is corrected: 5 ms.
const FADE: usize = 5 * MS as usize;
/// Fade at the edge of silence: 2 ms.
const EDGE: usize = 2 * MS as usize;
const MS: i64 = RATE_HZ as i64 / 1000;

/// Takes frames with times, gives exactly as many frames as the timeline has.
pub struct Aligner {
    total: u64,
    /// Frames given so far (or cut, beyond `total`).
    written: i64,
    /// Taken and not given yet: at least [`EDGE`] frames, so that a hole can fade out.
    queue: Vec<Stereo>,
    /// The last frames given, to repeat a piece of them.
    history: Vec<Stereo>,
    /// Frames to be put in (positive) or taken out (negative) at the next chance.
    debt: i64,
    /// Deviations since the last correction that all lay beyond the tolerance on one side, with their lengths.
    late: Vec<(i64, i64)>,
    /// The next frames are placed exactly: at the start, after a hole, at a new part.
    fresh: bool,
    holes: Vec<(u64, u64)>,
    placed: u64,
    corrections: u64,
}

impl Aligner {
    /// `total` frames will come out.
    pub fn new(total: u64) -> Self {
        Aligner {
            total,
            written: 0,
            queue: Vec::new(),
            history: Vec::new(),
            debt: 0,
            late: Vec::new(),
            fresh: true,
            holes: Vec::new(),
            placed: 0,
            corrections: 0,
        }
    }

    /// What comes next does not continue what came before.
    pub fn cut(&mut self) {
        self.fresh = true;
    }

    /// Frames of sound on the timeline so far, silence that filled holes not counted.
    pub fn placed(&self) -> u64 {
        self.placed
    }

    /// Corrections of drift so far.
    pub fn corrections(&self) -> u64 {
        self.corrections
    }

    /// Silence put in, `(first, end)` in frames of the timeline, in order.
    pub fn holes(&self) -> &[(u64, u64)] {
        &self.holes
    }

    /// `frames` begin at frame `at` of the timeline. Finished frames go to `out`.
    pub fn push(&mut self, at: i64, mut frames: &[Stereo], out: &mut Vec<Stereo>) {
        if frames.is_empty() {
            return;
        }
        let deviation = at - (self.written + self.queue.len() as i64 + self.debt);
        if self.fresh || deviation.abs() >= JUMP {
            self.settle(out);
            let deviation = at - (self.written + self.queue.len() as i64);
            if deviation >= 0 {
                self.silence(deviation as u64, out);
                let first = self.queue.len();
                self.queue.extend_from_slice(frames);
                if deviation > 0 || self.written == 0 {
                    fade_in(&mut self.queue[first..]);
                }
            } else {
                let skip = (-deviation) as usize;
                if skip >= frames.len() {
                    // All of it is told already.
                    return;
                }
                self.splice(&frames[..skip], &frames[skip..]);
                frames = &frames[skip..];
            }
            self.fresh = false;
            self.late.clear();
        } else {
            self.queue.extend_from_slice(frames);
            self.watch(deviation, frames.len() as i64);
        }
        self.placed += frames.len() as u64;
        self.work(out);
    }

    /// Fills up to `total` and ends.
    pub fn finish(mut self, out: &mut Vec<Stereo>) -> Vec<(u64, u64)> {
        self.settle(out);
        let rest = self.total as i64 - self.written - self.queue.len() as i64;
        self.silence(rest.max(0) as u64, out);
        let queue = std::mem::take(&mut self.queue);
        self.give(&queue, out);
        self.holes
    }

    /// Notes a deviation; one that lasts becomes a debt.
    fn watch(&mut self, deviation: i64, length: i64) {
        let one_side = self.late.first().is_none_or(|(d, _)| d.signum() == deviation.signum());
        if deviation.abs() <= TOLERANCE || !one_side {
            self.late.clear();
        }
        if deviation.abs() <= TOLERANCE {
            return;
        }
        self.late.push((deviation, length));
        if self.late.iter().map(|(_, n)| n).sum::<i64>() >= PATIENCE {
            let mut all: Vec<i64> = self.late.iter().map(|(d, _)| *d).collect();
            all.sort_unstable();
            self.debt += all[all.len() / 2];
            self.late.clear();
        }
    }

    /// Pays debts where there is enough to fade with, and gives all but the edge.
    fn work(&mut self, out: &mut Vec<Stereo>) {
        let need = FADE + EDGE + (-self.debt).max(0) as usize;
        if self.debt != 0 && self.queue.len() >= need {
            self.pay();
        }
        if self.debt == 0 {
            self.give_front(self.queue.len().saturating_sub(EDGE), out);
        }
    }

    /// Debts that cannot be paid by a fade any more are dropped: a hole, a part's end or the end sets the place anew.
    fn settle(&mut self, out: &mut Vec<Stereo>) {
        self.debt = 0;
        self.give_front(self.queue.len().saturating_sub(EDGE), out);
    }

    fn pay(&mut self) {
        let debt = std::mem::take(&mut self.debt);
        self.corrections += 1;
        if debt < 0 {
            // Leave out: fade from here to what comes |debt| frames later.
            let skip = (-debt) as usize;
            let mix: Vec<Stereo> = (0..FADE).map(|k| blend(self.queue[k], self.queue[k + skip], k, FADE)).collect();
            self.queue.splice(..skip + FADE, mix);
        } else {
            // Put in: fade from here to what was `debt` frames ago, which leads back to here.
            let back = (debt as usize).min(self.history.len());
            let old = |k: usize| match k < back {
                true => self.history[self.history.len() - back + k],
                false => self.queue[k - back],
            };
            let n = back.max(FADE);
            let mix: Vec<Stereo> = (0..n).map(|k| if k < FADE { blend(self.queue[k], old(k), k, FADE) } else { old(k) }).collect();
            self.queue.splice(..n - back, mix);
        }
    }

    /// Silence behind the queue; nothing happens for 0.
    fn silence(&mut self, n: u64, out: &mut Vec<Stereo>) {
        if n == 0 {
            return;
        }
        let len = self.queue.len();
        for (k, frame) in self.queue.iter_mut().enumerate() {
            *frame = blend(*frame, [0.0; 2], k + 1, len);
        }
        let queue = std::mem::take(&mut self.queue);
        self.give(&queue, out);
        let from = (self.written as u64).min(self.total);
        let n = n.min(self.total - from);
        if n > 0 {
            self.holes.push((from, from + n));
        }
        self.history.clear();
        out.extend(std::iter::repeat_n([0.0; 2], n as usize));
        self.written += n as i64;
    }

    /// Continues with `new`; the end of `before`, which led up to it and is left out, fades in over the end of the queue.
    fn splice(&mut self, before: &[Stereo], new: &[Stereo]) {
        let n = self.queue.len().min(before.len());
        let (mine, theirs) = (self.queue.len() - n, before.len() - n);
        for k in 0..n {
            self.queue[mine + k] = blend(self.queue[mine + k], before[theirs + k], k + 1, n);
        }
        self.queue.extend_from_slice(new);
    }

    fn give_front(&mut self, n: usize, out: &mut Vec<Stereo>) {
        let front: Vec<Stereo> = self.queue.drain(..n).collect();
        self.give(&front, out);
    }

    fn give(&mut self, frames: &[Stereo], out: &mut Vec<Stereo>) {
        let room = (self.total as i64 - self.written).clamp(0, frames.len() as i64) as usize;
        out.extend_from_slice(&frames[..room]);
        self.written += frames.len() as i64;
        let keep = JUMP as usize + FADE;
        self.history.extend_from_slice(&frames[frames.len().saturating_sub(keep)..]);
        let over = self.history.len().saturating_sub(keep);
        self.history.drain(..over);
    }
}

/// From `a` (at 0) to `b` (at `n`).
fn blend(a: Stereo, b: Stereo, k: usize, n: usize) -> Stereo {
    let w = k as f32 / n.max(1) as f32;
    [a[0] + (b[0] - a[0]) * w, a[1] + (b[1] - a[1]) * w]
}

fn fade_in(frames: &mut [Stereo]) {
    for (k, frame) in frames.iter_mut().take(EDGE).enumerate() {
        *frame = blend([0.0; 2], *frame, k, EDGE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Sound whose value is the time it belongs to, so that every frame that comes out tells how far off it is.
    fn clock(from: u64, n: usize) -> Vec<Stereo> {
        (from..from + n as u64).map(|i| [i as f32; 2]).collect()
    }

    fn run(total: u64, chunks: impl IntoIterator<Item = (i64, Vec<Stereo>)>) -> (Vec<Stereo>, Vec<(u64, u64)>) {
        let (mut aligner, mut out) = (Aligner::new(total), Vec::new());
        for (at, frames) in chunks {
            aligner.push(at, &frames, &mut out);
        }
        let holes = aligner.finish(&mut out);
        (out, holes)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        /// A recorder's clock may be off by 600 ppm, its timestamps rounded to milliseconds, its packets of any size: the
        /// sound never strays 10 ms, to the very end.
        #[test]
        fn drift_is_followed(ppm in -600i64..600, packet in 100usize..4800, round_ms in 0i64..3, seconds in 5u64..40) {
            let total = seconds * 48_000;
            let (mut chunks, mut fed) = (Vec::new(), 0u64);
            loop {
                // Frame `fed` of the recorder really sounds at this frame of the timeline.
                let true_time = fed as i64 + fed as i64 * ppm / 1_000_000;
                if true_time as u64 > total + 4800 {
                    break;
                }
                let at = if round_ms == 0 { true_time } else { (true_time + round_ms * 24) / (round_ms * 48) * round_ms * 48 };
                let frames: Vec<Stereo> = clock(fed, packet).iter().map(|f| [(f[0] as f64 * (1.0 + ppm as f64 / 1e6)) as f32; 2]).collect();
                chunks.push((at, frames));
                fed += packet as u64;
            }
            let (out, holes) = run(total, chunks);
            prop_assert_eq!(out.len() as u64, total);
            prop_assert!(holes.is_empty());
            let worst = out.iter().enumerate().skip(EDGE).map(|(i, f)| (f[0] - i as f32).abs()).fold(0.0, f32::max);
            prop_assert!(worst < 480.0, "off by {} ms", worst / 48.0);
        }

        /// Whatever the times say, exactly the total comes out, and nothing but what went in.
        #[test]
        fn the_total_always_holds(total in 0u64..20_000, chunks in prop::collection::vec((-5_000i64..25_000, 1usize..3_000), 0..20)) {
            let (out, _) = run(total, chunks.into_iter().map(|(at, n)| (at, vec![[0.5, -0.5]; n])));
            prop_assert_eq!(out.len() as u64, total);
            prop_assert!(out.iter().all(|f| (0.0..=0.5).contains(&f[0]) && f[1] == -f[0]));
        }

        /// Jitter below the tolerance changes no sample.
        #[test]
        fn jitter_is_left_alone(jitter in prop::collection::vec(-140i64..140, 50)) {
            let chunks = jitter.iter().enumerate().map(|(i, j)| (i as i64 * 1024 + if i == 0 { 0 } else { *j }, clock(i as u64 * 1024, 1024)));
            let (out, _) = run(50 * 1024, chunks);
            prop_assert_eq!(&out[EDGE..], &clock(0, 50 * 1024)[EDGE..]);
        }
    }

    #[test]
    fn a_hole_is_silence_of_its_length_and_is_named() {
        let (out, holes) = run(200_000, [(0, clock(0, 48_000)), (96_000, clock(96_000, 48_000))]);
        assert_eq!(holes, [(48_000, 96_000), (144_000, 200_000)]);
        assert_eq!(out[100_000], [100_000.0; 2]);
        assert!(out[48_000..96_000].iter().all(|f| *f == [0.0; 2]));
        // No click: the edges are faded.
        assert!(out[47_999][0] < 1000.0 && out[96_000][0] == 0.0);
    }

    #[test]
    fn what_overlaps_is_dropped_and_the_rest_keeps_its_place() {
        let (out, holes) = run(96_000, [(0, clock(0, 60_000)), (30_000, clock(30_000, 20_000)), (40_000, clock(40_000, 56_000))]);
        assert!(holes.is_empty());
        assert_eq!(&out[EDGE..], &clock(0, 96_000)[EDGE..]);
    }

    #[test]
    fn a_late_start_is_silence_and_sound_before_zero_is_cut() {
        let (out, holes) = run(2000, [(480, vec![[1.0; 2]; 1520])]);
        assert_eq!((holes, out[479], out[480 + EDGE]), (vec![(0, 480)], [0.0; 2], [1.0; 2]));
        let (out, _) = run(2000, [(-480, clock(0, 2480))]);
        assert_eq!(out[EDGE], [480.0 + EDGE as f32; 2]);
    }

    /// The second of two parts begins where it belongs even if it is only a little off from where the first ended.
    #[test]
    fn a_new_part_is_placed_exactly() {
        let (mut aligner, mut out) = (Aligner::new(4000), Vec::new());
        aligner.push(0, &clock(0, 2000), &mut out);
        aligner.cut();
        aligner.push(2100, &clock(2100, 1900), &mut out);
        assert_eq!(aligner.finish(&mut out), [(2000, 2100)]);
        assert_eq!(out[3000], [3000.0; 2]);
    }
}
