//! The voice of a lecture: one mono track over the whole of it, made in one pass (never chunked, so no priming gaps).
//!
//! Two child jobs. `loudness` decodes the sound of all parts, finds the mix and how loud it is, and leaves the samples in a
//! [`spool`]; `voice` brings them to -16 LUFS below the true-peak ceiling, as often as it takes, and encodes Opus and AAC-LC
//! side by side into [`units`] files, which the packager cuts into CMAF. Here are the jobs, the decisions and the arithmetic, all pure; `encode::voice` has the
//! GStreamer.
//!
//! decode -> [`resample`] to 48 kHz -> [`align`] by timestamps -> [`mix`] to mono -> [`spool`] -> gain, [`limit`] -> encoders -> [`units`]

pub mod align;
pub mod course;
pub mod limit;
pub mod mix;
pub mod peak;
pub mod resample;
pub mod spool;
pub mod units;

use crate::child::{self, Limits};
use crate::error::{Error, Result};
use crate::package;
use crate::pipeline::Fragments;
use crate::progress::{Ctx, Event, Unit};
use crate::units::Bitrate;
use crate::workdir::write_whole;
use mix::Mix;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Everything between decoder and encoders runs at this rate.
pub const RATE_HZ: u32 = 48_000;
/// EBU R128 as the studio wants it for mono speech.
pub const TARGET_LUFS: f64 = -16.0;
/// No decoded peak is above this.
pub const PEAK_DBTP: f64 = -1.0;
/// Where the limiter's output ends at first. At these rates Opus and AAC add 0 to 2.8 dB to true peaks (seven recordings,
/// three rates each), so that most are right at once and the others after one more pass.
pub const CEILING_DBTP: f64 = -3.5;
/// The result may miss the target by this much before the pass is done again with another gain.
pub const TOLERANCE_LU: f64 = 0.5;
/// No source is amplified more: what needs it is noise, not a voice.
pub const MAX_GAIN_DB: f64 = 30.0;
/// What is missed is corrected by more than itself: behind a limiter a dB of gain gives 0.4 to 1 dB of loudness. Below 2,
/// or it would swing for ever where nothing is limited.
pub const EAGERNESS: f64 = 1.5;
/// Below this a recording counts as silent and is left as it is.
pub const SILENT_LUFS: f64 = -60.0;

/// One span of one file's sound, and where it belongs on the lecture's timeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    pub path: PathBuf,
    /// Number among the file's audio tracks, from 0; for messages.
    pub track: usize,
    /// Which of the file's streams it is ([`crate::probe::Audio::stream_id`]).
    pub stream_id: String,
    /// Stream time of the span that is used, nanoseconds; the end is exclusive.
    pub start_ns: u64,
    pub end_ns: u64,
    /// Where `start_ns` lies on the lecture's timeline, nanoseconds.
    pub offset_ns: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OpusSettings {
    pub bitrate: Bitrate,
    /// 20, 40 or 60: longer packets cost fewer bytes of container.
    pub frame_ms: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AacSettings {
    pub bitrate: Bitrate,
    /// 24000, 32000, 44100 or 48000.
    pub rate_hz: u32,
}

/// What is to be made. No parts means silence from start to end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VoiceJob {
    /// Whose voice it is, in progress events.
    pub task: String,
    pub parts: Vec<Part>,
    /// Length of the lecture, nanoseconds; the voice is exactly as long.
    pub total_ns: u64,
    pub opus: Option<OpusSettings>,
    pub aac: Option<AacSettings>,
    /// The texts of `pipelines/voice-*.gst`.
    pub fragments: Fragments,
}

/// The first pass's answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    pub mix: Mix,
    /// [`mix::SILENCE_LUFS`] and [`mix::SILENCE_DBTP`] stand for nothing at all.
    pub source_lufs: f64,
    pub source_peak_dbtp: f64,
    /// ... and from moment to moment.
    pub course: course::Course,
    pub warnings: Vec<String>,
    /// More than half a second of the sound that the files hold could not be decoded.
    pub lost: bool,
}

/// What a listener hears of one codec: measured on its decoded packets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Heard {
    pub codec: String,
    pub lufs: f64,
    pub true_peak_dbtp: f64,
}

/// The second pass's answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Made {
    pub heard: Vec<Heard>,
    /// What the limiter was set to in the last pass. A codec that kept its peaks in one before that was not encoded again.
    pub gain_db: f64,
    pub ceiling_dbtp: f64,
    /// How far the limiter reached down, dB (0 or less).
    pub limited_db: f64,
    /// Times that the sound was encoded.
    pub passes: u32,
    pub warnings: Vec<String>,
    /// As [`Measured::lost`].
    pub lost: bool,
}

/// The job of the child `loudness`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MeasureJob {
    pub job: VoiceJob,
    /// Where [`MIX_FILE`] is left for the child `voice`; nowhere where it is not to follow at once: an hour is 691 MB.
    pub dir: Option<PathBuf>,
}

/// The job of the child `voice`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MakeJob {
    pub job: VoiceJob,
    pub measured: Measured,
    pub dir: PathBuf,
}

#[derive(Debug, Clone, PartialEq)]
pub struct VoiceOutput {
    /// [`units`] files.
    pub opus: Option<PathBuf>,
    pub aac: Option<PathBuf>,
    pub mix: Mix,
    pub loudness: package::Loudness,
    pub warnings: Vec<String>,
    /// Sound is missing where the recording has it: the lecture is a part of itself.
    pub lost: bool,
}

/// File names in the work directory.
pub const OPUS_FILE: &str = "voice-opus.units";
pub const AAC_FILE: &str = "voice-aac.units";
/// The [`spool`] between the two children; the second removes it.
pub const MIX_FILE: &str = "voice-mix.f32";
const MEASURED_FILE: &str = "voice-loudness.json";
const MADE_FILE: &str = "voice.json";

/// Makes the voice into `dir`, or what of it is not there yet. `dir` must belong to this very job (the plan's digest
/// names it): what is found there is taken as it is, if whole. Fails with `BadMedia` where no sound at all decodes.
pub async fn voice(job: &VoiceJob, dir: &Path, ctx: &Ctx) -> Result<VoiceOutput> {
    let total_s = job.total_ns as f64 / 1e9;
    let mut report = reporter(job, 2.0 * total_s, ctx);
    let measured = measured(job, dir, true, ctx, &mut report).await?;
    report(total_s);
    let opus = job.opus.as_ref().map(|_| dir.join(OPUS_FILE));
    let aac = job.aac.as_ref().map(|_| dir.join(AAC_FILE));
    let whole = [&opus, &aac].into_iter().flatten().all(|path| units::Units::open(path).is_ok());
    let made: Made = match read_json(&dir.join(MADE_FILE)).filter(|_| whole) {
        Some(made) => made,
        None => {
            let make = MakeJob { job: job.clone(), measured: measured.clone(), dir: dir.to_path_buf() };
            let made = attempt("voice", job, &make, ctx, &mut |done| report(total_s + done)).await?;
            write_json(&dir.join(MADE_FILE), &made)?;
            made
        }
    };
    // Still there only where somebody pulled the plug between the voice and its answer.
    let _ = std::fs::remove_file(dir.join(MIX_FILE));
    report(2.0 * total_s);
    let (lufs, true_peak_dbtp) = summary(&made.heard);
    let loudness = package::Loudness { source_lufs: measured.source_lufs, lufs, true_peak_dbtp };
    let lost = measured.lost || made.lost;
    let warnings = measured.warnings.into_iter().chain(made.warnings).collect();
    Ok(VoiceOutput { opus, aac, mix: measured.mix, loudness, warnings, lost })
}

/// The first half alone: how loud the voice is. What it notes in `dir` [`voice`] takes from there; the decoded voice is not kept,
/// since nobody knows when that will be, and decoding again costs less than an hour's 691 MB on a studio's disk.
pub async fn loudness(job: &VoiceJob, dir: &Path, ctx: &Ctx) -> Result<Measured> {
    let total_s = job.total_ns as f64 / 1e9;
    let mut report = reporter(job, total_s, ctx);
    let measured = measured(job, dir, false, ctx, &mut report).await?;
    report(total_s);
    Ok(measured)
}

/// What an earlier run measured into `dir`.
pub fn known(dir: &Path) -> Option<Measured> {
    read_json(&dir.join(MEASURED_FILE))
}

/// Tells how much of `total` is done; never goes back.
fn reporter<'a>(job: &'a VoiceJob, total: f64, ctx: &'a Ctx) -> impl FnMut(f64) + Send + 'a {
    let mut reached = 0.0f64;
    move |done| {
        reached = reached.max(done);
        let (task, stage) = (job.task.clone(), "voice".to_string());
        ctx.progress.event(Event::Progress { task, stage, done: reached, earlier: 0.0, total, unit: Unit::MediaSeconds });
    }
}

/// What is known of the voice, or is measured now; with `keep` what was decoded stays for the child `voice`.
async fn measured(job: &VoiceJob, dir: &Path, keep: bool, ctx: &Ctx, report: &mut (dyn FnMut(f64) + Send)) -> Result<Measured> {
    if let Some(measured) = known(dir) {
        return Ok(measured);
    }
    let measure = MeasureJob { job: job.clone(), dir: keep.then(|| dir.to_path_buf()) };
    let measured = attempt("loudness", job, &measure, ctx, report).await?;
    write_json(&dir.join(MEASURED_FILE), &measured)?;
    Ok(measured)
}

/// Runs a child, and once more where it crashed or hung: plug-ins do so by chance, and what it would have found is no fact.
async fn attempt<J: Serialize, R: serde::de::DeserializeOwned>(
    verb: &str,
    voice: &VoiceJob,
    job: &J,
    ctx: &Ctx,
    report: &mut (dyn FnMut(f64) + Send),
) -> Result<R> {
    let parts_s: f64 = voice.parts.iter().map(|p| p.end_ns as f64 / 1e9).sum();
    // Twenty times slower than the slowest machine seen; idleness is the real watch.
    let wall = std::time::Duration::from_secs_f64(600.0 + 4.0 * (voice.total_ns as f64 / 1e9 + parts_s));
    let limits = Limits { idle: Limits::IDLE, wall };
    let subject = match voice.parts.as_slice() {
        [one] => format!("the sound of {}", one.path.display()),
        parts => format!("the sound of {} ({} parts)", voice.task, parts.len()),
    };
    match child::run(verb, &subject, job, limits, ctx, &mut *report).await {
        Err(e) if e.kind().retryable() => {
            ctx.warn(format!("{}; trying once more", e.what()));
            child::run(verb, &subject, job, limits, ctx, report).await
        }
        outcome => outcome,
    }
}

/// The gain for a source, and what has to be said about it.
pub fn decide_gain(source_lufs: f64) -> (f64, Option<String>) {
    if source_lufs < SILENT_LUFS {
        let what =
            if source_lufs <= mix::SILENCE_LUFS { "there is no sound in it".into() } else { format!("it is at {source_lufs:.1} LUFS") };
        return (0.0, Some(format!("the voice is silent or nearly so ({what}); it is left as it is, not amplified")));
    }
    let wanted = TARGET_LUFS - source_lufs;
    if wanted > MAX_GAIN_DB {
        let warning = format!(
            "the voice is very quiet ({source_lufs:.1} LUFS): amplified by {MAX_GAIN_DB:.0} dB only, to spare the listener its noise"
        );
        return (MAX_GAIN_DB, Some(warning));
    }
    (wanted, None)
}

/// Loudness in the middle of the codecs' (they differ by half a LU where one keeps less of the band), and the highest peak.
pub fn summary(heard: &[Heard]) -> (f64, f64) {
    let lows = heard.iter().map(|h| h.lufs).fold(f64::INFINITY, f64::min);
    let highs = heard.iter().map(|h| h.lufs).fold(f64::NEG_INFINITY, f64::max);
    let peak = heard.iter().map(|h| h.true_peak_dbtp).fold(mix::SILENCE_DBTP, f64::max);
    if heard.is_empty() { (mix::SILENCE_LUFS, peak) } else { ((lows + highs) / 2.0, peak) }
}

/// How far the gain has to go for a LU, from two trials (gain in dB, loudness in LUFS): 1 where nothing is limited.
pub fn eagerness(before: (f64, f64), now: (f64, f64)) -> f64 {
    let slope = (now.1 - before.1) / (now.0 - before.0);
    if slope.is_finite() { 1.0 / slope.clamp(0.4, 1.0) } else { EAGERNESS }
}

/// The gain for another pass where the result misses its target by more than `tolerance_lu`, because the limiter or a
/// codec took something; `None` where it will do, or no gain can help.
pub fn correct_gain(source_lufs: f64, gain_db: f64, lufs: f64, tolerance_lu: f64) -> Option<f64> {
    correct_gain_by(EAGERNESS, source_lufs, gain_db, lufs, tolerance_lu)
}

/// The same, with what trials showed of [`eagerness`].
pub fn correct_gain_by(eagerness: f64, source_lufs: f64, gain_db: f64, lufs: f64, tolerance_lu: f64) -> Option<f64> {
    if source_lufs < SILENT_LUFS {
        return None;
    }
    let target = TARGET_LUFS.min(source_lufs + MAX_GAIN_DB);
    let next = (gain_db + eagerness * (target - lufs)).min(MAX_GAIN_DB);
    ((target - lufs).abs() > tolerance_lu && (next - gain_db).abs() > 0.05).then_some(next)
}

/// The ceiling for another pass where decoded peaks exceed what was promised. What a codec adds is near to chance from pass
/// to pass, so half a dB more than what was too much is taken, and with every pass another half.
pub fn correct_ceiling(ceiling_dbtp: f64, true_peak_dbtp: f64, passes: u32) -> Option<f64> {
    (true_peak_dbtp > PEAK_DBTP).then_some(ceiling_dbtp - (true_peak_dbtp - PEAK_DBTP) - 0.5 * passes as f64)
}

/// Frames at `rate_hz` in `ns`, nearest.
pub fn frames(ns: u64, rate_hz: u32) -> u64 {
    ((ns as u128 * rate_hz as u128 + 500_000_000) / 1_000_000_000) as u64
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Option<T> {
    // A file that does not parse is one of another version or a torn one: it is made again.
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_vec(value).map_err(|e| Error::bug("a result does not serialise").caused_by(e))?;
    write_whole(path, |out| out.write_all(&text))
}

/// What all tests of sound need.
#[cfg(test)]
pub(crate) mod testing {
    /// White noise in -1..1, the same for the same seed.
    pub fn noise(seed: u32) -> impl FnMut() -> f32 {
        let mut state = seed.wrapping_mul(2_654_435_761).max(1);
        move || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state as f32 / u32::MAX as f32 * 2.0 - 1.0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_usual_voice_is_brought_to_the_target() {
        assert_eq!(decide_gain(-23.0), (7.0, None));
        assert_eq!(decide_gain(-10.0), (-6.0, None));
    }
    #[test]
    fn noise_is_never_amplified_without_bound() {
        let (gain, warning) = decide_gain(-55.0);
        assert_eq!(gain, MAX_GAIN_DB);
        assert!(warning.unwrap().contains("-55.0"));
        // Nothing is gained by trying again.
        assert_eq!(correct_gain(-55.0, MAX_GAIN_DB, -27.0, TOLERANCE_LU), None);
    }
    #[test]
    fn silence_is_left_alone_and_said() {
        for lufs in [mix::SILENCE_LUFS, -61.0] {
            let (gain, warning) = decide_gain(lufs);
            assert_eq!(gain, 0.0);
            assert!(warning.is_some());
            assert_eq!(correct_gain(lufs, 0.0, lufs, TOLERANCE_LU), None);
        }
    }
    #[test]
    fn what_the_limiter_took_is_given_back() {
        assert_eq!(correct_gain(-30.0, 14.0, -17.0, TOLERANCE_LU), Some(15.5));
        assert_eq!(correct_gain(-30.0, 14.0, -16.4, TOLERANCE_LU), None);
    }
    /// Behind a limiter that gives 0.5 dB for each of gain the second trial tells the right one; nonsense is bounded.
    #[test]
    fn two_trials_tell_the_gain() {
        let loudness = |gain: f64| -19.0 + 0.5 * gain;
        let eager = eagerness((2.0, loudness(2.0)), (5.0, loudness(5.0)));
        let gain = correct_gain_by(eager, -22.0, 5.0, loudness(5.0), 0.1).unwrap();
        assert!((loudness(gain) - TARGET_LUFS).abs() < 1e-9, "{gain}");
        assert_eq!(eagerness((2.0, -20.0), (2.0, -20.0)), EAGERNESS);
        assert_eq!(eagerness((2.0, -20.0), (3.0, -21.0)), 2.5);
        assert_eq!(eagerness((2.0, -20.0), (3.0, -10.0)), 1.0);
    }
    #[test]
    fn a_codec_that_overshoots_gets_a_lower_ceiling() {
        assert!(correct_ceiling(-3.5, -0.4, 1).unwrap() < -4.1);
        assert!(correct_ceiling(-3.5, -0.4, 2) < correct_ceiling(-3.5, -0.4, 1));
        assert_eq!(correct_ceiling(-3.5, -1.0, 1), None);
    }
    #[test]
    fn the_loudness_that_is_named_is_the_middle_and_the_peak_the_worst() {
        let heard = |lufs, true_peak_dbtp| Heard { codec: "x".into(), lufs, true_peak_dbtp };
        assert_eq!(summary(&[heard(-16.5, -1.5), heard(-16.0, -1.2)]), (-16.25, -1.2));
    }
    #[test]
    fn frames_are_rounded_not_cut() {
        assert_eq!(frames(1_000_000_000, 48_000), 48_000);
        assert_eq!(frames(33_366_667, 48_000), 1602);
    }
}
