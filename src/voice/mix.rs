//! From two channels to one: which mix of them is the voice, and how loud each candidate is, found in one pass.

use super::RATE_HZ;
use super::align::Stereo;
use super::course::{Course, STEP_S};
use super::peak::TruePeak;
use crate::error::{Error, Result};
use ebur128::{EbuR128, Mode};
use serde::{Deserialize, Serialize};

/// One channel this much quieter than the other carries no voice, only its noise: 20 dB.
const DEAD_DB: f64 = 20.0;
/// Below this correlation the channels cancel each other rather than add up: a cable with swapped pins.
const INVERTED: f64 = -0.7;
/// What no signal at all is written as; BS.1770's absolute gate.
pub const SILENCE_LUFS: f64 = -70.0;
/// What a peak of zero is written as.
pub const SILENCE_DBTP: f64 = -120.0;

/// How the one channel is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mix {
    /// The recording has one channel.
    Mono,
    /// Half the sum.
    Average,
    /// The right channel is dead, or the two cancel out.
    Left,
    /// The left channel is dead.
    Right,
}

impl Mix {
    pub fn apply(self, frame: Stereo) -> f32 {
        match self {
            Mix::Left => frame[0],
            Mix::Right => frame[1],
            Mix::Mono | Mix::Average => 0.5 * (frame[0] + frame[1]),
        }
    }
}

/// What a decision about the mix rests on: sums over all frames.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Energy {
    pub left: f64,
    pub right: f64,
    /// Of left times right.
    pub cross: f64,
}

impl Energy {
    pub fn add(&mut self, frames: &[Stereo]) {
        for [l, r] in frames {
            let (l, r) = (*l as f64, *r as f64);
            self.left += l * l;
            self.right += r * r;
            self.cross += l * r;
        }
    }
}

/// `mono`: every recording has a single channel.
pub fn decide(energy: &Energy, mono: bool) -> Mix {
    let dead = 10f64.powf(DEAD_DB / 10.0);
    let both = (energy.left * energy.right).sqrt();
    match () {
        () if mono => Mix::Mono,
        () if energy.left + energy.right == 0.0 => Mix::Average,
        () if energy.left >= dead * energy.right => Mix::Left,
        () if energy.right >= dead * energy.left => Mix::Right,
        () if energy.cross < INVERTED * both => Mix::Left,
        () => Mix::Average,
    }
}

/// BS.1770 over one channel, in constant memory.
pub struct Meter {
    loudness: Loudness,
    peak: TruePeak,
    frames: usize,
}

impl Meter {
    pub fn new(rate_hz: u32) -> Result<Self> {
        Ok(Meter { loudness: Loudness::new(rate_hz)?, peak: TruePeak::new(), frames: 0 })
    }
    pub fn add(&mut self, samples: &[f32]) -> Result<()> {
        self.peak.add(samples);
        self.frames += samples.len();
        self.loudness.add(samples)
    }
    /// Integrated loudness; [`SILENCE_LUFS`] where everything is below the gate.
    pub fn lufs(&self) -> f64 {
        self.loudness.lufs()
    }
    /// True peak; [`SILENCE_DBTP`] where nothing was.
    pub fn dbtp(&self) -> f64 {
        (20.0 * self.peak.peak().log10()).max(SILENCE_DBTP)
    }
}

/// The half of [`Meter`] that knows no peaks.
pub struct Loudness(EbuR128);

impl Loudness {
    pub fn new(rate_hz: u32) -> Result<Self> {
        // The histogram quantises to 0.1 LU, far inside the tolerance of half a LU, and does not grow with time.
        EbuR128::new(1, rate_hz, Mode::I | Mode::HISTOGRAM)
            .map(Loudness)
            .map_err(|e| Error::bug(format!("the loudness meter refuses {rate_hz} Hz")).caused_by(e))
    }
    pub fn add(&mut self, samples: &[f32]) -> Result<()> {
        self.0.add_frames_f32(samples).map_err(|e| Error::bug("the loudness meter refuses samples").caused_by(e))
    }
    pub fn lufs(&self) -> f64 {
        Self::joint([self])
    }
    /// Of the last 0.4 s.
    fn momentary(&self) -> f64 {
        self.0.loudness_momentary().ok().filter(|l| l.is_finite()).unwrap_or(SILENCE_LUFS)
    }
    /// Of sounds one after another.
    fn joint<'a>(all: impl IntoIterator<Item = &'a Self>) -> f64 {
        let lufs = EbuR128::loudness_global_multiple(all.into_iter().map(|l| &l.0)).ok();
        lufs.filter(|l| l.is_finite()).unwrap_or(SILENCE_LUFS).max(SILENCE_LUFS)
    }
}

/// Measures all candidates while the sound goes by.
pub struct Candidates {
    energy: Energy,
    /// Of the sound up to where the channels first differ: until then all mixes are the same. Most recordings never get there.
    alike: Meter,
    /// Of the rest.
    apart: Option<[(Mix, Meter); 3]>,
    average: Vec<f32>,
    scratch: Vec<f32>,
    frames: usize,
    /// Of each mix in `apart`'s order.
    courses: [Course; 3],
}

/// Frames of a step of the course.
const STEP: usize = (RATE_HZ as f64 * STEP_S) as usize;

impl Candidates {
    pub fn new() -> Result<Self> {
        let alike = Meter::new(RATE_HZ)?;
        Ok(Candidates {
            energy: Energy::default(),
            alike,
            apart: None,
            average: Vec::new(),
            scratch: Vec::new(),
            frames: 0,
            courses: Default::default(),
        })
    }
    /// Gives the frames back as their average ([`Mix::Average`]), for whoever keeps it.
    pub fn add(&mut self, frames: &[Stereo]) -> Result<&[f32]> {
        self.energy.add(frames);
        self.average.clear();
        self.average.extend(frames.iter().map(|f| Mix::Average.apply(*f)));
        if self.apart.is_none() && frames.iter().any(|[l, r]| l != r) {
            let meter = || Meter::new(RATE_HZ);
            self.apart = Some([(Mix::Average, meter()?), (Mix::Left, meter()?), (Mix::Right, meter()?)]);
        }
        let mut at = 0;
        while at < frames.len() {
            let end = (at + STEP - self.frames % STEP).min(frames.len());
            match &mut self.apart {
                None => self.alike.add(&self.average[at..end])?,
                Some(apart) => {
                    for (mix, meter) in apart {
                        self.scratch.clear();
                        self.scratch.extend(frames[at..end].iter().map(|f| mix.apply(*f)));
                        meter.add(&self.scratch)?;
                    }
                }
            }
            self.frames += end - at;
            at = end;
            if self.frames.is_multiple_of(STEP) {
                self.note();
            }
        }
        Ok(&self.average)
    }
    /// A step of the course is over.
    fn note(&mut self) {
        let alike = self.alike.loudness.momentary();
        for (i, course) in self.courses.iter_mut().enumerate() {
            // Where the channels have just parted, their own meters have heard less than a whole step.
            let parted = self.apart.as_ref().map(|apart| (apart[i].1.frames, apart[i].1.loudness.momentary()));
            course.push(match parted {
                None => alike,
                Some((heard, lufs)) if heard < STEP => lufs.max(alike),
                Some((_, lufs)) => lufs,
            });
        }
    }
    /// How loud the chosen mix is from moment to moment.
    pub fn course(self, mix: Mix) -> Course {
        let [average, left, right] = self.courses;
        match mix {
            Mix::Mono | Mix::Average => average,
            Mix::Left => left,
            Mix::Right => right,
        }
    }
    /// The mix, its loudness in LUFS and its true peak in dBTP. `mono`: every recording has a single channel.
    pub fn finish(&self, mono: bool) -> (Mix, f64, f64) {
        let mix = decide(&self.energy, mono);
        let like = if mix == Mix::Mono { Mix::Average } else { mix };
        let rest = self.apart.as_ref().and_then(|meters| meters.iter().find(|(m, _)| *m == like)).map(|(_, meter)| meter);
        let lufs = Loudness::joint([Some(&self.alike), rest].into_iter().flatten().map(|m| &m.loudness));
        (mix, lufs, rest.map_or(SILENCE_DBTP, Meter::dbtp).max(self.alike.dbtp()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn energy(make: impl Fn(f32, f32) -> Stereo) -> Energy {
        let mut energy = Energy::default();
        let mut noise = super::super::testing::noise(7);
        let frames: Vec<Stereo> = (0..48_000).map(|_| make(noise(), noise())).collect();
        energy.add(&frames);
        energy
    }

    #[test]
    fn one_channel_stays_as_it_is() {
        assert_eq!(decide(&energy(|a, _| [a, a]), true), Mix::Mono);
    }
    #[test]
    fn a_dead_channel_is_left_out_even_if_it_hisses() {
        assert_eq!(decide(&energy(|a, b| [a, 0.05 * b]), false), Mix::Left);
        assert_eq!(decide(&energy(|a, b| [0.05 * b, a]), false), Mix::Right);
        assert_eq!(decide(&energy(|a, _| [0.0, a]), false), Mix::Right);
    }
    #[test]
    fn two_talkers_of_unlike_level_are_both_kept() {
        assert_eq!(decide(&energy(|a, b| [a, 0.2 * b]), false), Mix::Average);
        assert_eq!(decide(&energy(|a, _| [a, a]), false), Mix::Average);
    }
    /// Summed, the voice of an inverted channel would vanish.
    #[test]
    fn swapped_pins_do_not_cancel_the_voice() {
        assert_eq!(decide(&energy(|a, b| [a + 0.2 * b, -a]), false), Mix::Left);
    }
    #[test]
    fn silence_is_no_reason_to_fail() {
        let mut candidates = Candidates::new().unwrap();
        candidates.add(&[[0.0; 2]; 48_000]).unwrap();
        assert_eq!(candidates.finish(false), (Mix::Average, SILENCE_LUFS, SILENCE_DBTP));
    }
    /// BS.1770: a full-scale 997 Hz sine in one channel reads -3.01 LKFS.
    #[test]
    fn the_mix_that_is_taken_is_the_one_that_is_measured() {
        let tone = |i: usize, db: f32| 10f32.powf(db / 20.0) * (std::f32::consts::TAU * 997.0 * i as f32 / 48_000.0).sin();
        let frames: Vec<Stereo> = (0..48_000 * 5).map(|i| [0.0, tone(i % 48_000, -20.0)]).collect();
        let mut candidates = Candidates::new().unwrap();
        candidates.add(&frames).unwrap();
        let (mix, lufs, dbtp) = candidates.finish(false);
        assert_eq!(mix, Mix::Right);
        assert!((lufs + 23.0).abs() < 0.15 && (dbtp + 20.0).abs() < 0.1, "{lufs} {dbtp}");
    }
    /// Silence, a tone in the right channel alone, silence: the course is of the mix that was taken, step by step, however the
    /// sound comes in.
    #[test]
    fn the_course_follows_the_mix_that_is_taken() {
        let tone = |i: usize| 0.1 * (std::f32::consts::TAU * 997.0 * (i % 48_000) as f32 / 48_000.0).sin();
        let frames: Vec<Stereo> = (0..48_000 * 6).map(|i| [0.0, if (96_000..192_000).contains(&i) { tone(i) } else { 0.0 }]).collect();
        let mut whole: Option<Course> = None;
        for block in [4800, 1023, 96_000] {
            let mut candidates = Candidates::new().unwrap();
            for frames in frames.chunks(block) {
                candidates.add(frames).unwrap();
            }
            let (mix, ..) = candidates.finish(false);
            let course = candidates.course(mix);
            assert_eq!((mix, course.values().len()), (Mix::Right, 15));
            for (step, lufs) in course.values().iter().enumerate() {
                let right = if (5..10).contains(&step) { (lufs + 23.0).abs() < 0.3 } else { *lufs < -40.0 };
                assert!(right, "{lufs} LUFS at step {step} of blocks of {block}");
            }
            assert_eq!(*whole.get_or_insert(course.clone()), course, "blocks of {block}");
        }
    }
    /// A recording whose channels are alike for its first half: the loudness is of both halves, and so is the peak.
    #[test]
    fn channels_that_part_halfway_are_measured_as_one_sound() {
        let mut noise = super::super::testing::noise(3);
        let frames: Vec<Stereo> = (0..48_000 * 8)
            .map(|i| {
                let (x, y) = (0.2 * noise(), 0.2 * noise());
                if i < 48_000 * 4 { [2.0 * x, 2.0 * x] } else { [x, y] }
            })
            .collect();
        let mut candidates = Candidates::new().unwrap();
        for block in frames.chunks(1024) {
            candidates.add(block).unwrap();
        }
        let mut whole = Meter::new(RATE_HZ).unwrap();
        let average: Vec<f32> = frames.iter().map(|f| Mix::Average.apply(*f)).collect();
        whole.add(&average).unwrap();
        let (mix, lufs, dbtp) = candidates.finish(false);
        assert_eq!(mix, Mix::Average);
        assert!((lufs - whole.lufs()).abs() < 0.2 && (dbtp - whole.dbtp()).abs() < 0.1, "{lufs} {dbtp}, {} {}", whole.lufs(), whole.dbtp());
    }
}
