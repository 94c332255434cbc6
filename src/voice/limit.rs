//! A look-ahead limiter on true peaks: no sample and no peak between samples leaves above the ceiling, and speech below
//! it passes untouched. The gain is known [`AHEAD`] frames before it is needed and glides there, so nothing distorts.

use super::peak::{Between, TAPS};

/// Look-ahead: 5 ms at 48 kHz; shorter is heard as distortion, longer as ducking before a cough.
const AHEAD: usize = 240;
/// The gain returns by half its way to 1 in about 70 ms.
const RELEASE: f32 = 1.0 / 4800.0;
/// The grid on which peaks between samples are found misses up to 0.2 dB near Nyquist.
const MARGIN_DB: f32 = 0.2;

/// Limits one channel at 48 kHz; what comes out is as long as what went in, and not delayed.
pub struct Limiter {
    gain: f32,
    ceiling: f32,
    between: Between,
    /// Frames for which one that is high enough to hide a peak above the ceiling stays among the taps.
    near: usize,
    /// Input with gain, the latest `TAPS` frames first needed by the peak search, then by the delay.
    line: Vec<f32>,
    /// Gain wanted at each frame, for the sliding minimum: (frame, gain), rising gains.
    lows: std::collections::VecDeque<(u64, f32)>,
    released: f32,
    /// The last [`AHEAD`] minima, whose mean is the gain that is applied.
    glide: Vec<f32>,
    sum: f64,
    seen: u64,
    skip: usize,
    reduced: f32,
}

impl Limiter {
    /// `gain_db` is applied first; then nothing exceeds `ceiling_dbtp`.
    pub fn new(gain_db: f64, ceiling_dbtp: f64) -> Self {
        Limiter {
            gain: 10f64.powf(gain_db / 20.0) as f32,
            ceiling: 10f32.powf((ceiling_dbtp as f32 - MARGIN_DB) / 20.0),
            between: Between::new(),
            near: 0,
            line: vec![0.0; TAPS],
            lows: Default::default(),
            released: 1.0,
            glide: vec![1.0; AHEAD],
            sum: AHEAD as f64,
            seen: 0,
            skip: AHEAD + TAPS / 2,
            reduced: 1.0,
        }
    }

    /// The deepest reduction so far, in dB (0 or less).
    pub fn deepest_db(&self) -> f64 {
        20.0 * (self.reduced as f64).log10()
    }

    /// Takes samples, appends what is finished.
    pub fn push(&mut self, samples: &[f32], out: &mut Vec<f32>) {
        for x in samples {
            // A broken decoder may hand out anything; a NaN would stay in the line for ever.
            let x = if x.is_finite() { (x * self.gain).clamp(-1e4, 1e4) } else { 0.0 };
            let y = self.step(x);
            match self.skip {
                0 => out.push(y),
                _ => self.skip -= 1,
            }
        }
        let spent = self.line.len().saturating_sub(AHEAD + TAPS);
        self.line.drain(..spent);
    }

    /// Appends the tail.
    pub fn finish(mut self, out: &mut Vec<f32>) {
        self.push(&[0.0; AHEAD + TAPS / 2], out);
    }

    fn step(&mut self, x: f32) -> f32 {
        self.line.push(x);
        if x.abs() * self.between.bound() > self.ceiling {
            self.near = TAPS;
        }
        let mut want = 1.0;
        // Only where one of the taps is near the ceiling can there be a peak above it.
        if self.near > 0
            && let Some(recent) = self.line.last_chunk::<TAPS>()
        {
            self.near -= 1;
            // The frame in the middle of the taps, and the way to the next.
            let peak = recent[TAPS / 2 - 1].abs().max(recent[TAPS / 2].abs()).max(self.between.highest(recent));
            if peak > self.ceiling {
                want = self.ceiling / peak;
            }
        }
        while self.lows.back().is_some_and(|(_, g)| *g >= want) {
            self.lows.pop_back();
        }
        self.lows.push_back((self.seen, want));
        // One frame more than the glide, so that both neighbours of a peak between samples are held.
        while self.lows.front().is_some_and(|(at, _)| at + (AHEAD as u64) + 1 < self.seen) {
            self.lows.pop_front();
        }
        let low = self.lows.front().map_or(1.0, |(_, g)| *g);
        self.released = low.min(self.released + (1.0 - self.released) * RELEASE);
        let slot = (self.seen % AHEAD as u64) as usize;
        self.sum += self.released as f64 - self.glide[slot] as f64;
        self.glide[slot] = self.released;
        self.seen += 1;
        let gain = (self.sum / AHEAD as f64) as f32;
        self.reduced = self.reduced.min(gain);
        let at = self.line.len().checked_sub(AHEAD + TAPS / 2 + 1).map_or(0.0, |i| self.line[i]);
        at * gain.min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::noise;
    use super::*;
    use crate::voice::mix::Meter;

    fn limit(gain_db: f64, samples: &[f32], block: usize) -> Vec<f32> {
        let (mut limiter, mut out) = (Limiter::new(gain_db, -2.0), Vec::new());
        samples.chunks(block).for_each(|c| limiter.push(c, &mut out));
        limiter.finish(&mut out);
        assert_eq!(out.len(), samples.len());
        out
    }
    fn dbtp(samples: &[f32]) -> f64 {
        let mut meter = Meter::new(48_000).unwrap();
        meter.add(samples).unwrap();
        meter.dbtp()
    }
    fn nasty() -> Vec<(&'static str, Vec<f32>)> {
        let n = 48_000;
        let mut white = noise(1);
        let mut rare = noise(2);
        let tone = |hz: f32, phase: f32| (0..n).map(move |i| (std::f32::consts::TAU * hz * i as f32 / 48_000.0 + phase).sin());
        vec![
            ("white noise", (0..n).map(|_| white()).collect()),
            // Samples at 45 degrees of a quarter of the rate: the true peak is 3 dB above the samples.
            ("quarter rate", tone(12_000.0, std::f32::consts::FRAC_PI_4).collect()),
            ("third rate", tone(16_000.0, 0.5).collect()),
            ("square", (0..n).map(|i| if i / 50 % 2 == 0 { 1.0 } else { -1.0 }).collect()),
            ("clicks", (0..n).map(|i| if i % 5_000 == 0 { 1.0 } else { 0.0 }).collect()),
            ("bursts", tone(700.0, 0.0).enumerate().map(|(i, x)| if i / 3_000 % 2 == 0 { x } else { 0.01 * x }).collect()),
            (
                "rare spikes",
                (0..n)
                    .map(|_| {
                        let x = rare();
                        if x > 0.999 { 1.0 } else { 0.05 * x }
                    })
                    .collect(),
            ),
            ("a step at the end", (0..n).map(|i| if i > n - 100 { 1.0 } else { 0.0 }).collect()),
        ]
    }

    #[test]
    fn no_true_peak_leaves_above_the_ceiling() {
        for (name, samples) in nasty() {
            for gain in [0.0, 6.0, 30.0] {
                let peak = dbtp(&limit(gain, &samples, 480));
                assert!(peak <= -2.0, "{name} at {gain} dB: {peak:.2} dBTP");
            }
        }
    }

    /// It limits no more than it must: the loudest moment comes close to the ceiling.
    #[test]
    fn the_ceiling_is_used() {
        for (name, samples) in nasty().into_iter().filter(|(name, _)| ["quarter rate", "bursts"].contains(name)) {
            let peak = dbtp(&limit(12.0, &samples, 480));
            assert!(peak > -3.0, "{name}: {peak:.2} dBTP");
        }
    }

    #[test]
    fn what_is_below_the_ceiling_passes_untouched_and_undelayed() {
        let mut quiet = noise(3);
        let samples: Vec<f32> = (0..10_000).map(|_| 0.2 * quiet()).collect();
        let out = limit(0.0, &samples, 333);
        assert!(out.iter().zip(&samples).all(|(a, b)| (a - b).abs() < 1e-6));
    }

    #[test]
    fn blocks_do_not_matter_and_garbage_does_no_harm() {
        let mut samples = nasty()[0].1.clone();
        (samples[500], samples[900], samples[901]) = (f32::NAN, f32::INFINITY, -1e30);
        let out = limit(6.0, &samples, 1);
        assert_eq!(out, limit(6.0, &samples, 48_000));
        assert!(out.iter().all(|x| x.is_finite()));
    }
}
