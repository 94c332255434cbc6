//! The two children that make the voice: [`measure`] (verb `loudness`) and [`make`] (verb `voice`). Decoding gives frames
//! with stream times, the pure parts of `crate::voice` place, mix and limit them, two encoders take the same samples.

mod coder;
mod decode;

use crate::child::Reporter;
use crate::error::{Error, Kind, Result};
use crate::voice::align::{Aligner, Stereo};
use crate::voice::limit::Limiter;
use crate::voice::mix::{Candidates, Loudness, Mix};
use crate::voice::resample::Resampler;
use crate::voice::spool::{self, Spool};
use crate::voice::{
    AAC_FILE, CEILING_DBTP, EAGERNESS, Heard, MIX_FILE, Made, MakeJob, MeasureJob, Measured, OPUS_FILE, PEAK_DBTP, Part, RATE_HZ,
    TOLERANCE_LU, VoiceJob, correct_ceiling, correct_gain, correct_gain_by, decide_gain, eagerness, frames, summary,
};
use coder::Coder;
use std::cell::{Cell, RefCell};
use std::path::Path;

/// Passes with encoders at most: the second nearly always holds.
const PASSES: u32 = 4;
/// Passes without encoders before each of those, at most: the second knows from the first how the limiter answers, and is
/// right to 0.1 LU.
const DRY_RUNS: u32 = 2;
/// Where peaks stand this far above the ceiling, the limiter changes the loudness by more than a codec does.
const DEEP_DB: f64 = 3.0;
/// Opus and AAC lose 0 to 0.5 LU with the band that they leave out; how much is known after the first pass.
const CODECS_TAKE_LU: f64 = 0.2;
const DRY_TOLERANCE_LU: f64 = 0.1;
/// Silence this long where a recording should have sound is worth a warning, and a recording that misses more in sum is a
/// part of itself: 0.5 s.
const WORTH_SAYING: u64 = RATE_HZ as u64 / 2;
/// So many spans are named one by one.
const NAMED: usize = 5;
/// A step in the timestamps of a track, above which the resampler starts anew: 40 ms, as the aligner's.
const STEP_NS: i64 = 40_000_000;

/// The child `loudness`: finds the mix and measures it, in one pass, and keeps the average for the child `voice`.
pub fn measure(measure: MeasureJob, reporter: &mut Reporter) -> Result<Measured> {
    crate::gst::init()?;
    let MeasureJob { job, dir } = measure;
    let mut candidates = Candidates::new()?;
    let mut mono = true;
    let path = dir.map(|dir| dir.join(MIX_FILE));
    let mut listen = |keep: &mut dyn FnMut(&[f32]) -> Result<()>| {
        play(
            &job,
            &mut |frames, channels| {
                // Silence before the first sound is the same in all mixes.
                mono &= channels <= 1;
                keep(candidates.add(frames)?)
            },
            reporter,
        )
    };
    let Told { warnings, lost } = match &path {
        Some(path) => spool::write(path, Mix::Average, |spool| listen(&mut |samples| spool.add(samples)))?,
        None => listen(&mut |_| Ok(()))?,
    };
    let (mix, source_lufs, source_peak_dbtp) = candidates.finish(mono);
    if let Some(path) = path.filter(|_| !matches!(mix, Mix::Mono | Mix::Average)) {
        // Rare: one channel is dead or inverted. It is decoded again rather than kept three times.
        let _ = std::fs::remove_file(path);
    }
    let course = candidates.course(mix);
    Ok(Measured { mix, source_lufs, source_peak_dbtp, course, warnings, lost })
}

/// The child `voice`: makes the packets, and again with another gain or ceiling where what is heard misses its mark.
pub fn make(make: MakeJob, reporter: &mut Reporter) -> Result<Made> {
    crate::gst::init()?;
    let MakeJob { job, measured, dir } = make;
    let path = dir.join(MIX_FILE);
    let (mut sound, lost) = sound(&job, &measured, &path, reporter)?;
    let (mut gain_db, warning) = decide_gain(measured.source_lufs);
    let mut warnings = Vec::from_iter(warning);
    let mut ceiling_dbtp = CEILING_DBTP;
    let mut codecs_take_lu = CODECS_TAKE_LU;
    let mut passes = 0;
    // What is encoded and need not be again.
    let mut done: Vec<(Coder, Heard)> = Vec::new();
    loop {
        // A limiter that bites deep changes the loudness. Trying that costs a tenth of a pass with encoders.
        let mut before = None;
        for _ in 0..DRY_RUNS {
            if measured.source_peak_dbtp + gain_db <= ceiling_dbtp + DEEP_DB {
                break;
            }
            let lufs = rehearse(&mut sound, gain_db, ceiling_dbtp, reporter)? - codecs_take_lu;
            let eager = before.map_or(EAGERNESS, |before| eagerness(before, (gain_db, lufs)));
            before = Some((gain_db, lufs));
            match correct_gain_by(eager, measured.source_lufs, gain_db, lufs, DRY_TOLERANCE_LU) {
                Some(next) => gain_db = next,
                None => break,
            }
        }
        passes += 1;
        let wanted = |codec| done.iter().all(|(_, heard)| heard.codec != codec);
        let mut coders = Vec::new();
        if let Some(settings) = job.opus.as_ref().filter(|_| wanted("opus")) {
            coders.push(Coder::opus(settings, &job, &dir.join(OPUS_FILE))?);
        }
        if let Some(settings) = job.aac.as_ref().filter(|_| wanted("aac")) {
            coders.push(Coder::aac(settings, &job, &dir.join(AAC_FILE))?);
        }
        let mut encode = |samples: &[f32]| coders.iter_mut().try_for_each(|coder| coder.push(samples));
        let limited_db = process(&mut sound, gain_db, ceiling_dbtp, reporter, &mut encode)?;
        let new = coders.iter_mut().map(Coder::drain).collect::<Result<Vec<_>>>()?;
        let (new_lufs, _) = summary(&new);
        done.extend(coders.into_iter().zip(new));
        // Opus first, whichever came last.
        done.sort_by_key(|(_, heard)| heard.codec != "opus");
        let heard: Vec<Heard> = done.iter().map(|(_, heard)| heard.clone()).collect();
        let (lufs, peak) = summary(&heard);
        let lower = correct_ceiling(ceiling_dbtp, peak, passes);
        let louder = correct_gain(measured.source_lufs, gain_db, lufs, TOLERANCE_LU);
        if (lower.is_some() || louder.is_some()) && passes < PASSES && !heard.is_empty() {
            // A trial run must not take back what the codecs were found to need.
            codecs_take_lu = rehearse(&mut sound, gain_db, ceiling_dbtp, reporter)? - new_lufs;
            ceiling_dbtp = lower.unwrap_or(ceiling_dbtp);
            gain_db = louder.unwrap_or(gain_db);
            // Another gain is for all; a lower ceiling for those that need it.
            done.retain(|(_, heard)| louder.is_none() && heard.true_peak_dbtp <= PEAK_DBTP);
            continue;
        }
        done.into_iter().try_for_each(|(coder, _)| coder.write())?;
        let _ = std::fs::remove_file(&path);
        if louder.is_some() {
            warnings.push(format!("the voice came out at {lufs:.1} LUFS: its peaks stand too far above the rest for more"));
        }
        if lower.is_some() {
            warnings.push(format!("the voice's decoded peaks reach {peak:.1} dBTP"));
        }
        return Ok(Made { heard, gain_db, ceiling_dbtp, limited_db, passes, warnings, lost });
    }
}

/// The samples of the chosen mix, as the child before left them; decoded again where they are not there or not whole. And
/// whether sound was lost.
fn sound(job: &VoiceJob, measured: &Measured, path: &Path, reporter: &mut Reporter) -> Result<(Spool, bool)> {
    let total = frames(job.total_ns, RATE_HZ);
    if let Some(spool) = Spool::open(path, measured.mix, total) {
        return Ok((spool, measured.lost));
    }
    let mut mono = Vec::new();
    let Told { lost, .. } = spool::write(path, measured.mix, |spool| {
        let mut give = |frames: &[Stereo], _channels: u32| {
            mono.clear();
            mono.extend(frames.iter().map(|f| measured.mix.apply(*f)));
            spool.add(&mono)
        };
        play(job, &mut give, reporter)
    })?;
    let spool = Spool::open(path, measured.mix, total).ok_or_else(|| {
        let error = Error::new(Kind::Corrupt, format!("{} is not what was written there a moment ago", path.display()));
        error.hint("the disk or its file system is at fault: look at its messages, or give another --work-dir")
    })?;
    Ok((spool, lost))
}

/// Loudness in LUFS behind gain and limiter, without encoders.
fn rehearse(sound: &mut Spool, gain_db: f64, ceiling_dbtp: f64, reporter: &mut Reporter) -> Result<f64> {
    let mut meter = Loudness::new(RATE_HZ)?;
    process(sound, gain_db, ceiling_dbtp, reporter, &mut |samples| meter.add(samples))?;
    Ok(meter.lufs())
}

/// Gain and limiter over the whole lecture. Returns how deep the limiter reached, dB (0 or less).
fn process(
    sound: &mut Spool,
    gain_db: f64,
    ceiling_dbtp: f64,
    reporter: &mut Reporter,
    on: &mut dyn FnMut(&[f32]) -> Result<()>,
) -> Result<f64> {
    let mut limiter = Limiter::new(gain_db, ceiling_dbtp);
    let mut limited = Vec::new();
    let mut done = 0;
    sound.read(&mut |samples| {
        limited.clear();
        limiter.push(samples, &mut limited);
        done += samples.len();
        reporter.progress(done as f64 / RATE_HZ as f64);
        on(&limited)
    })?;
    let limited_db = limiter.deepest_db();
    limited.clear();
    limiter.finish(&mut limited);
    on(&limited)?;
    Ok(limited_db)
}

/// Decodes all parts onto the lecture's timeline. `on` is given all of it in order, exactly as long as the lecture, with
/// the channels of the recording being read (0 before there is any). Returns what has to be said.
fn play(job: &VoiceJob, on: &mut dyn FnMut(&[Stereo], u32) -> Result<()>, reporter: &mut Reporter) -> Result<Told> {
    let total = frames(job.total_ns, RATE_HZ);
    let mut aligner = Aligner::new(total);
    let mut ready = Vec::new();
    let (done, reporter) = (Cell::new(0u64), RefCell::new(reporter));
    let alive = || reporter.borrow_mut().progress(done.get() as f64 / RATE_HZ as f64);
    let mut ends = Vec::new();
    let mut channels = 0;
    for part in &job.parts {
        aligner.cut();
        let before = aligner.placed();
        let mut feed = Feed::new(part, total);
        let mut give = |ready: &mut Vec<Stereo>, channels: u32| -> Result<()> {
            done.set(done.get() + ready.len() as u64);
            // In even blocks: a hole of an hour is no reason for a buffer of an hour's size.
            ready.chunks(RATE_HZ as usize / 10).try_for_each(|block| on(block, channels))?;
            ready.clear();
            alive();
            Ok(())
        };
        let mut take = |sound: decode::Sound| {
            channels = channels.max(sound.channels);
            let more = feed.take(&sound, &mut aligner, &mut ready);
            give(&mut ready, channels)?;
            Ok(more)
        };
        let end = decode::decode(&job.fragments, &part.path, &part.stream_id, &mut take, &mut || alive())?;
        feed.flush(&mut aligner, &mut ready);
        give(&mut ready, channels)?;
        ends.push((end, aligner.placed() > before));
    }
    if !job.parts.is_empty() && ends.iter().all(|(_, sound)| !sound) {
        return Err(nothing(job, &ends));
    }
    let holes = aligner.finish(&mut ready);
    ready.chunks(RATE_HZ as usize / 10).try_for_each(|block| {
        done.set(done.get() + block.len() as u64);
        alive();
        on(block, channels)
    })?;
    Ok(tell(&job.parts, &holes, &ends))
}

/// No part gave a sound: the first reason that is known.
fn nothing(job: &VoiceJob, ends: &[(decode::End, bool)]) -> Error {
    let name = job.parts[0].path.display();
    if let Some(missing) = ends.iter().find_map(|(end, _)| end.missing.as_ref()) {
        return Error::new(Kind::Unsupported, format!("the sound of {name} cannot be decoded: no decoder for {missing} is installed"));
    }
    let error = Error::bad_media(format!("no sound at all could be decoded from {name}, track {}", job.parts[0].track));
    match ends.iter().find_map(|(end, _)| end.fault.clone()) {
        Some(fault) => error.caused_by(fault),
        None => error,
    }
}

/// What has to be said of a pass.
struct Told {
    warnings: Vec<String>,
    /// Sound that is in the files did not decode.
    lost: bool,
}

/// One readable line for each span that became silence within a part. Lost is what the file has packets for, and all that
/// comes after a fault; a track that ends early or pauses has lost nothing.
fn tell(parts: &[Part], holes: &[(u64, u64)], ends: &[(decode::End, bool)]) -> Told {
    let (mut warnings, mut lost_ns) = (Vec::new(), 0);
    let ns = |frames: u64| (frames as u128 * 1_000_000_000 / RATE_HZ as u128) as u64;
    for (part, (end, _)) in parts.iter().zip(ends) {
        let name = part.path.file_name().unwrap_or_default().to_string_lossy();
        let from = frames(part.offset_ns, RATE_HZ);
        let to = frames(part.offset_ns + part.end_ns.saturating_sub(part.start_ns), RATE_HZ);
        let holes: Vec<(u64, u64)> = holes.iter().map(|(a, b)| (*a.max(&from), *b.min(&to))).filter(|(a, b)| a < b).collect();
        let within = |frame: u64| part.start_ns + ns(frame - from);
        lost_ns += holes
            .iter()
            .map(|(a, b)| if *b == to && end.fault.is_some() { ns(b - a) } else { end.packets.within(within(*a), within(*b)) })
            .sum::<u64>();
        let spans: Vec<(f64, f64)> = holes
            .iter()
            .filter(|(a, b)| a + WORTH_SAYING <= *b)
            .map(|(a, b)| (*a as f64 / RATE_HZ as f64, *b as f64 / RATE_HZ as f64))
            .collect();
        warnings.extend(
            spans.iter().take(NAMED).map(|(a, b)| format!("{name} has no sound from {a:.1} to {b:.1} s of the lecture: silence there")),
        );
        if spans.len() > NAMED {
            let rest: f64 = spans[NAMED..].iter().map(|(a, b)| b - a).sum();
            warnings.push(format!("{name} has no sound in {} more spans, {rest:.1} s in all: silence there", spans.len() - NAMED));
        }
        if let Some(fault) = &end.fault {
            warnings.push(format!("the sound of {name} is damaged ({fault}); what could be decoded is used"));
        }
    }
    Told { warnings, lost: lost_ns > ns(WORTH_SAYING) }
}

/// Two channels that are resampled once for as long as they are alike: nearly all recordings, to their end.
enum Pair {
    One(Resampler<1>),
    Two(Resampler<2>),
}

impl Pair {
    fn lead(&self) -> f64 {
        match self {
            Pair::One(one) => one.lead(),
            Pair::Two(two) => two.lead(),
        }
    }
    fn push(&mut self, frames: &[Stereo], single: &mut Vec<[f32; 1]>, out: &mut Vec<Stereo>) {
        if let Pair::One(one) = self {
            if frames.iter().all(|[l, r]| l == r) {
                let input: Vec<[f32; 1]> = frames.iter().map(|[l, _]| [*l]).collect();
                single.clear();
                one.push(&input, single);
                return out.extend(single.iter().map(|[x]| [*x, *x]));
            }
            let one = std::mem::replace(one, Resampler::new(RATE_HZ, RATE_HZ));
            *self = Pair::Two(one.widen());
        }
        if let Pair::Two(two) = self {
            two.push(frames, out);
        }
    }
    fn flush(&mut self, single: &mut Vec<[f32; 1]>, out: &mut Vec<Stereo>) {
        match self {
            Pair::One(one) => {
                single.clear();
                one.flush(single);
                out.extend(single.iter().map(|[x]| [*x, *x]));
            }
            Pair::Two(two) => two.flush(out),
        }
    }
}

/// From a track's own rate and stream time to 48 kHz frames on the lecture's timeline.
struct Feed<'a> {
    part: &'a Part,
    /// Frames of the timeline that this part may fill.
    from: i64,
    to: i64,
    resampler: Option<(u32, Pair)>,
    /// Stream time at which the next frame is expected, nanoseconds.
    next_ns: f64,
    /// Timeline frame of the first frame that the resampler gives next.
    out: Vec<Stereo>,
    single: Vec<[f32; 1]>,
}

impl<'a> Feed<'a> {
    fn new(part: &'a Part, total: u64) -> Self {
        let from = frames(part.offset_ns, RATE_HZ).min(total) as i64;
        let to = frames(part.offset_ns + part.end_ns.saturating_sub(part.start_ns), RATE_HZ).min(total) as i64;
        Feed { part, from, to, resampler: None, next_ns: 0.0, out: Vec::new(), single: Vec::new() }
    }

    /// False when the part is over.
    fn take(&mut self, sound: &decode::Sound, aligner: &mut Aligner, ready: &mut Vec<Stereo>) -> bool {
        let at_ns = sound.at_ns.map_or(self.next_ns, |ns| ns as f64);
        let other = self.resampler.as_ref().is_none_or(|(rate, _)| *rate != sound.rate_hz);
        if other || (at_ns - self.next_ns).abs() > STEP_NS as f64 {
            self.flush(aligner, ready);
            self.resampler = Some((sound.rate_hz, Pair::One(Resampler::new(sound.rate_hz, RATE_HZ))));
        }
        let Some((rate, resampler)) = &mut self.resampler else { return true };
        let first_ns = at_ns + resampler.lead() * 1e9 / *rate as f64;
        self.next_ns = at_ns + sound.frames.len() as f64 * 1e9 / *rate as f64;
        self.out.clear();
        resampler.push(sound.frames, &mut self.single, &mut self.out);
        self.place(first_ns, aligner, ready);
        self.next_ns < self.part.end_ns as f64
    }

    /// Gives what the resampler still holds.
    fn flush(&mut self, aligner: &mut Aligner, ready: &mut Vec<Stereo>) {
        if let Some((rate, mut resampler)) = self.resampler.take() {
            let first_ns = self.next_ns + resampler.lead() * 1e9 / rate as f64;
            self.out.clear();
            resampler.flush(&mut self.single, &mut self.out);
            self.place(first_ns, aligner, ready);
        }
    }

    /// Cuts to the part and hands on.
    fn place(&mut self, first_ns: f64, aligner: &mut Aligner, ready: &mut Vec<Stereo>) {
        let seconds = (first_ns - self.part.start_ns as f64 + self.part.offset_ns as f64) / 1e9;
        let at = (seconds * RATE_HZ as f64).round() as i64;
        let head = (self.from - at).clamp(0, self.out.len() as i64);
        let tail = (self.to - at).clamp(head, self.out.len() as i64);
        aligner.push(at + head, &self.out[head as usize..tail as usize], ready);
    }
}
