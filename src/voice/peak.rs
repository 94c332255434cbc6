//! Peaks between samples, on a four times finer grid (BS.1770 annex 2): for the limiter, which must not let them through,
//! and for the meters, which say what a listener's converter will see.

const FINER: usize = 4;
/// Twice as many per phase as BS.1770's own filter has: it reads no less than that one (a test holds it).
pub const TAPS: usize = 24;
/// Samples that are looked at together: most such runs are too low to hide a new peak and are passed over whole.
const RUN: usize = 64;

/// The interpolator: what lies between the two samples in the middle of [`TAPS`].
pub struct Between {
    rows: [[f32; TAPS]; FINER - 1],
    bound: f32,
}

impl Between {
    #[allow(clippy::new_without_default, reason = "a table that is worked out is not a default")]
    pub fn new() -> Self {
        let mut rows = [[0.0; TAPS]; FINER - 1];
        for (p, row) in rows.iter_mut().enumerate() {
            let at = (p + 1) as f64 / FINER as f64;
            let weight = |i: usize| {
                let x = i as f64 - (TAPS / 2 - 1) as f64 - at;
                let angle = std::f64::consts::PI * x;
                angle.sin() / angle * (angle / (TAPS / 2) as f64 / 2.0).cos().powi(2)
            };
            let sum: f64 = (0..TAPS).map(weight).sum();
            (0..TAPS).for_each(|i| row[i] = (weight(i) / sum) as f32);
        }
        let most = rows.iter().map(|row| row.iter().map(|w| w.abs()).sum::<f32>()).fold(1.0, f32::max);
        // A thousandth more than the arithmetic can err by.
        Between { rows, bound: most * 1.001 }
    }

    /// No value between samples is more than this many times the highest of its [`TAPS`] neighbours.
    pub fn bound(&self) -> f32 {
        self.bound
    }

    /// The highest magnitude on the grid between the two samples in the middle.
    pub fn highest(&self, around: &[f32; TAPS]) -> f32 {
        self.rows.iter().map(|row| dot(row, around).abs()).fold(0.0, f32::max)
    }
}

/// Eight sums side by side, which the compiler turns into vectors.
fn dot(row: &[f32; TAPS], around: &[f32; TAPS]) -> f32 {
    let mut lanes = [0.0f32; 8];
    for (taps, samples) in row.chunks_exact(8).zip(around.chunks_exact(8)) {
        for (lane, (tap, sample)) in lanes.iter_mut().zip(taps.iter().zip(samples)) {
            *lane += tap * sample;
        }
    }
    lanes.iter().sum()
}

/// The true peak of all that went by.
pub struct TruePeak {
    between: Between,
    /// The latest samples; between calls `TAPS - 1` of them.
    line: Vec<f32>,
    peak: f32,
}

impl TruePeak {
    #[allow(clippy::new_without_default, reason = "as of Between")]
    pub fn new() -> Self {
        TruePeak { between: Between::new(), line: vec![0.0; TAPS - 1], peak: 0.0 }
    }

    pub fn add(&mut self, samples: &[f32]) {
        self.line.extend_from_slice(samples);
        self.peak = highest(&self.between, &self.line, self.peak);
        self.line.drain(..samples.len());
    }

    /// As a factor of full scale.
    pub fn peak(&self) -> f64 {
        // What lies between the last samples is heard as well.
        let tail: Vec<f32> = self.line.iter().copied().chain([0.0; TAPS / 2]).collect();
        highest(&self.between, &tail, self.peak) as f64
    }
}

/// `peak`, or what is above it among the samples of `line` and between those that have all their neighbours in it.
fn highest(between: &Between, line: &[f32], mut peak: f32) -> f32 {
    let places = (line.len() + 1).saturating_sub(TAPS);
    for from in (0..places).step_by(RUN) {
        let run = &line[from..(from + RUN).min(places) + TAPS - 1];
        let high = run.iter().fold(0.0f32, |high, x| high.max(x.abs()));
        peak = peak.max(high);
        if high * between.bound() > peak {
            let windows = run.windows(TAPS).filter_map(|w| w.first_chunk::<TAPS>());
            peak = windows.fold(peak, |peak, around| peak.max(between.highest(around)));
        }
    }
    peak
}

#[cfg(test)]
mod tests {
    use super::super::testing::noise;
    use super::*;
    use ebur128::{EbuR128, Mode};

    fn db(x: f64) -> f64 {
        20.0 * x.log10()
    }
    fn measured(samples: &[f32], block: usize) -> f64 {
        let mut peak = TruePeak::new();
        samples.chunks(block).for_each(|c| peak.add(c));
        peak.peak()
    }
    fn tone(hz: f32, phase: f32) -> Vec<f32> {
        (0..48_000).map(|i| (std::f32::consts::TAU * hz * i as f32 / 48_000.0 + phase).sin()).collect()
    }

    /// The peak of a tone lies between its samples and is 1, whatever they are.
    #[test]
    fn tones_reach_full_scale() {
        for (hz, phase) in [(997.0, 0.0), (12_000.0, std::f32::consts::FRAC_PI_4), (8_000.0, 0.5), (15_000.0, 0.1)] {
            let mut tone = tone(hz, phase);
            // Without a click at the ends.
            let n = tone.len();
            tone.iter_mut().enumerate().for_each(|(i, x)| *x *= (i.min(n - 1 - i) as f32 / 4800.0).min(1.0));
            let peak = db(measured(&tone, 480));
            assert!((-0.2..0.05).contains(&peak), "{hz} Hz: {peak:.3}");
        }
    }

    /// It never reads less than the reference meter by more than the grid explains.
    #[test]
    fn it_is_no_milder_than_the_reference() {
        let mut white = noise(5);
        let mut low = 0.0f32;
        let sounds: Vec<Vec<f32>> = vec![
            (0..48_000).map(|_| white()).collect(),
            (0..48_000)
                .map(|_| {
                    low += 0.2 * (white() - low);
                    low
                })
                .collect(),
            (0..48_000).map(|i| if i / 50 % 2 == 0 { 0.9 } else { -0.9 }).collect(),
            tone(7_000.0, 0.3),
        ];
        for samples in sounds {
            let mut reference = EbuR128::new(1, 48_000, Mode::TRUE_PEAK).unwrap();
            reference.add_frames_f32(&samples).unwrap();
            let (mine, other) = (db(measured(&samples, 1000)), db(reference.true_peak(0).unwrap()));
            assert!(mine > other - 0.1, "{mine:.3} dBTP, the reference {other:.3}");
        }
    }

    /// What is passed over hides nothing: looking everywhere finds the same, in blocks of any size.
    #[test]
    fn passing_over_changes_nothing() {
        let mut white = noise(9);
        let samples: Vec<f32> = (0..20_000).map(|i| white() * (i % 3_000) as f32 / 3_000.0).collect();
        let between = Between::new();
        let line: Vec<f32> = std::iter::repeat_n(0.0, TAPS - 1).chain(samples.iter().copied()).chain([0.0; TAPS / 2]).collect();
        let all = line.windows(TAPS).map(|w| between.highest(w.first_chunk().unwrap())).fold(0.0, f32::max);
        let all = samples.iter().fold(all, |high, x| high.max(x.abs())) as f64;
        for block in [1, 7, 480, 20_000] {
            assert_eq!(measured(&samples, block), all, "blocks of {block}");
        }
    }

    #[test]
    fn the_last_sample_and_nothing_at_all_are_measured() {
        assert_eq!(measured(&[], 1), 0.0);
        assert_eq!(measured(&[0.1, -0.75], 2), 0.75);
    }
}
