//! How loud a voice is from moment to moment, and where nobody speaks: decided on what the first pass over the sound noted.

use super::SILENT_LUFS;
use super::mix::SILENCE_LUFS;
use serde::{Deserialize, Serialize};

/// One value for each 0.4 s: the length of EBU R128's momentary loudness, so that no sound lies between two of them.
pub const STEP_S: f64 = 0.4;
/// So far below the loudness of the whole nothing counts as the programme any more (EBU Tech 3342). A word's end does not fall
/// so far for as long as [`SILENCE_S`]; the noise of a quiet room lies 30 to 40 LU below the words.
const BELOW_LU: f64 = 20.0;
/// A pause for breath or for the next sentence is shorter.
const SILENCE_S: f64 = 2.0;

/// Momentary loudness, LUFS to a tenth, in order from the start; [`SILENCE_LUFS`] where nothing is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Course(Vec<f32>);

impl Course {
    pub fn push(&mut self, lufs: f64) {
        self.0.push(((lufs.max(SILENCE_LUFS) * 10.0).round() / 10.0) as f32);
    }
    pub fn values(&self) -> &[f32] {
        &self.0
    }

    /// Spans of silence, in seconds from the start, of a voice that is `lufs` loud as a whole and lasts `total_s`.
    pub fn silences(&self, lufs: f64, total_s: f64) -> Vec<(f64, f64)> {
        let below = match lufs < SILENT_LUFS {
            true => f64::INFINITY,
            false => (lufs - BELOW_LU).max(SILENT_LUFS),
        };
        let mut spans = Vec::new();
        let mut at = 0;
        while at < self.0.len() {
            let length = self.0[at..].iter().take_while(|l| (**l as f64) < below).count();
            // The last step's rest is as the step before it.
            let last = at + length == self.0.len();
            let (start, end) = (at as f64 * STEP_S, if last { total_s } else { (at + length) as f64 * STEP_S });
            if length > 0 && end - start >= SILENCE_S {
                spans.push((start, end));
            }
            at += length.max(1);
        }
        spans
    }

    /// Loudness between two times: the mean of the energies; `None` where nothing was measured.
    pub fn mean(&self, from_s: f64, to_s: f64) -> Option<f64> {
        let first = ((from_s / STEP_S) as usize).min(self.0.len().saturating_sub(1));
        let end = ((to_s / STEP_S).ceil() as usize).clamp(first + 1, self.0.len().max(first + 1));
        let of = self.0.get(first..end)?;
        let energy = of.iter().map(|l| 10f64.powf(*l as f64 / 10.0)).sum::<f64>() / of.len() as f64;
        Some(10.0 * energy.log10())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn course(parts: &[(f64, f64)]) -> Course {
        let mut course = Course::default();
        for (lufs, seconds) in parts {
            (0..(seconds / STEP_S).round() as usize).for_each(|_| course.push(*lufs));
        }
        course
    }

    #[test]
    fn a_pause_is_silence_when_it_is_long_and_far_below_the_voice() {
        let spoken = course(&[(-23.0, 8.0), (-55.0, 4.0), (-23.0, 8.0), (-55.0, 1.6), (-24.0, 4.0), (-38.0, 8.0), (-70.0, 4.0)]);
        let found = spoken.silences(-24.0, 37.9);
        assert_eq!(found, [(8.0, 12.0), (33.6, 37.9)], "not the breath, not the whisper; to the very end");
    }
    #[test]
    fn a_noisy_room_is_judged_by_its_own_voice_and_a_silent_recording_is_silent_throughout() {
        assert_eq!(course(&[(-20.0, 8.0), (-45.0, 4.0)]).silences(-20.0, 12.0), [(8.0, 12.0)]);
        // The same noise under a quiet voice is not silence.
        assert_eq!(course(&[(-35.0, 8.0), (-45.0, 4.0)]).silences(-35.0, 12.0), []);
        assert_eq!(course(&[(-65.0, 8.0), (-62.0, 4.0)]).silences(-63.0, 12.0), [(0.0, 12.0)]);
        assert_eq!(Course::default().silences(-20.0, 0.3), []);
        // A voice so quiet that 20 LU below it is nothing at all.
        assert_eq!(course(&[(-55.0, 8.0), (-61.0, 4.0)]).silences(-55.0, 12.0), [(8.0, 12.0)]);
    }
    #[test]
    fn the_mean_is_of_energies_and_knows_where_nothing_was_measured() {
        let course = course(&[(-20.0, 0.4), (-70.0, 0.4), (-30.0, 0.8)]);
        assert!((course.mean(0.0, 0.8).unwrap() + 23.0).abs() < 0.05, "half of it silent: 3 dB less");
        assert_eq!(course.mean(0.8, 1.6).unwrap().round(), -30.0);
        assert_eq!(course.mean(1.5, 9.0).unwrap().round(), -30.0, "beyond the end: the last");
        assert_eq!(Course::default().mean(0.0, 1.0), None);
        assert_eq!(course.values().len(), 4);
    }
}
