//! The floor's CRF: the highest at which slides are still read as in the source. A few slides are coded as the floor would code
//! them, decoded, read with Tesseract and compared with what is read in the source; figures without text, which no reader
//! sees, are scored instead (SSIMULACRA2). Bounded in samples, not in seconds: the same recording gets the same CRF.

use super::decoder::launch;
use super::encoder::{Coded, Encoder, Settings};
use super::lines::{self, Line};
use super::ocr::Ocr;
use super::{still, stills};
use crate::cache::Cache;
use crate::child::{self, Limits, Reporter};
use crate::error::{Error, Kind, Result};
use crate::picture::score::{Matrix, Reference, Rgb};
use crate::picture::{Cascade, Frame, Look, Plane, Turn, View};
use crate::pipeline::Fragments;
use crate::plan::{Plan, RungPlan, Shape};
use crate::progress::Ctx;
use crate::units::{Area, Digest, MediaTime};
use crate::workdir::WorkDir;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video::VideoFrameExt;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The share of letters that may be misread more than in the source.
pub(super) const MISREAD: f64 = 0.02;
/// What text-free figures score on the floor at least.
pub(super) const FIGURES: f64 = 50.0;
/// ... and slides as a whole where nothing can be read: no Tesseract, or no text on them.
const WHOLE: f64 = 30.0;
/// CRF goes down in such steps, and this often at most: further down the floor would cost what the rung above it does.
const STEP: u32 = 3;
const TRIES: u32 = 3;
/// A slide is coded as it will be: with repeats behind it, which make x264 spend more on the first.
const REPEATS: u64 = 6;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    stills: stills::Job,
    floor: RungPlan,
    preset: String,
}

/// What the search found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Found {
    pub crf: u32,
    /// Of the slides that were looked at, the worst: letters misread more than in the source, as a share; absent without text.
    pub misread: Option<f64>,
    /// SSIMULACRA2 of the worst figure without text.
    pub figure_score: Option<f64>,
    /// How many slides were looked at.
    pub samples: usize,
}

/// Which slides stand for all: up to three, one a minute and a half, the fullest of them.
pub fn samples(plan: &Plan) -> Vec<usize> {
    let wanted = ((plan.duration().seconds() / 90.0) as usize).clamp(1, 3);
    let fullness = |i: &usize| {
        let at = plan.slides[*i].start;
        let segment = plan.boundaries.partition_point(|b| *b <= at).min(plan.segments()).saturating_sub(1);
        plan.weights.get(segment).map_or(0.0, |w| w.drawn)
    };
    let mut all: Vec<usize> = (0..plan.slides.len()).filter(|i| !plan.slides[*i].moving).collect();
    all.sort_by(|a, b| fullness(b).total_cmp(&fullness(a)).then(a.cmp(b)));
    all.truncate(wanted);
    all.sort();
    all
}

/// The floor's CRF for this plan; `None` where it is no slide lecture. A search that fails leaves the profile's.
pub async fn search(plan: &Plan, job: impl FnOnce(&[usize]) -> stills::Job, work: &WorkDir, key: &str, ctx: &Ctx) -> Result<Option<Found>> {
    let samples = samples(plan);
    if plan.shape != Shape::Slides || samples.is_empty() {
        return Ok(None);
    }
    let cache = Cache::new(work);
    let floor = plan.rungs[0].clone();
    let chosen: Vec<_> = samples.iter().map(|i| &plan.slides[*i]).collect();
    let key = serde_json::json!([key, plan.profile.digest(), plan.fingerprint, plan.language, plan.colour, floor, chosen]);
    let key = Digest::of(key.to_string().as_bytes()).to_string();
    if let Some(found) = cache.get::<Found>(KIND, &key) {
        return Ok(Some(found));
    }
    let job = Job { stills: job(&samples), floor, preset: plan.profile.video.preset.clone() };
    let limits = Limits::wall(600 + 300 * samples.len() as u64);
    match child::run::<_, Found>("search", &format!("{}, the floor's quality", plan.title), &job, limits, ctx, |_| ()).await {
        Ok(found) => {
            let _ = cache.put(KIND, &key, &found);
            Ok(Some(found))
        }
        // Without memory it is not to be another plan.
        Err(e) if matches!(e.kind(), Kind::Cancelled | Kind::Killed) => Err(e),
        Err(e) => {
            ctx.warn(format!("the floor keeps the profile's CRF: {}", e.what()));
            Ok(None)
        }
    }
}

const KIND: &str = "floor-crf-3";

/// One slide to be judged.
struct Sample {
    picture: Arc<Frame>,
    lines: Vec<Line>,
    figures: Vec<(Area, Reference)>,
    whole: Option<Reference>,
}

/// The child's side.
pub fn run(job: Job, reporter: &mut Reporter) -> Result<Found> {
    super::decoder::init()?;
    let stills = &job.stills;
    let video = stills.video.as_ref().ok_or_else(|| Error::bug("a search without pictures"))?;
    let cache = Cache::new(&WorkDir::open(Some(stills.work.clone()))?);
    let judge = Judge { job: &job, ocr: Ocr::open(&stills.tesseract, &stills.language).ok(), matrix: Matrix::of(&stills.colour) };
    let turn = Turn::new(video.rotation, video.mirrored);
    let mut pictures = stills::Pictures::new(stills, video);
    let mut shown: Vec<Arc<Frame>> = Vec::new();
    for want in &stills.wants {
        let made = pictures.show(want, &mut || reporter.alive(), |view, colour| {
            let look = Look { size: view.size(), depth: view.depth(), colour, turn };
            Cascade::new(look, &[job.floor.size]).make(view)
        })?;
        shown.extend(made.and_then(|frames| frames.into_iter().next()));
    }
    let mut samples = judge.samples(shown, &cache, reporter)?;
    if samples.is_empty() {
        return Err(Error::bad_media("no slide could be decoded to be judged"));
    }
    let mut before: Option<Try> = None;
    for step in 0..TRIES {
        let this = judge.try_at(job.floor.crf.saturating_sub(STEP * step), &mut samples, reporter)?;
        match before {
            _ if this.is_good() => return Ok(this.found),
            // Where a finer picture shows no more, the coarser one is as good.
            Some(coarser) if !this.is_better(&coarser) => return Ok(coarser.found),
            _ => before = Some(this),
        }
    }
    before.map(|last| last.found).ok_or_else(|| Error::bug("a search without tries"))
}

/// What a CRF gave.
struct Try {
    found: Found,
    /// How far the worst figure, or slide without text, is above what it has to score; below where negative.
    above: Option<f64>,
}

impl Try {
    fn is_good(&self) -> bool {
        self.above.is_none_or(|a| a >= 0.0) && self.found.misread.is_none_or(|m| m <= MISREAD)
    }

    /// Whether it is worth its bits: more letters can be read or figures be seen, and of the other not less. Figures get worse
    /// where the cap binds: what the top of a slide takes is missing below.
    fn is_better(&self, coarser: &Try) -> bool {
        let letters = coarser.found.misread.unwrap_or(0.0) - self.found.misread.unwrap_or(0.0);
        let score = self.above.unwrap_or(0.0) - coarser.above.unwrap_or(0.0);
        letters > -LETTERS && score > -SCORE && (letters > LETTERS || score > SCORE)
    }
}

/// Less is noise: of letters, as a share, and of SSIMULACRA2.
const LETTERS: f64 = 0.01;
const SCORE: f64 = 1.0;

/// A coding that nobody can tell from the source: a line that even that has wrong says nothing about CRF.
const NEARLY_LOSSLESS: u32 = 16;

struct Judge<'a> {
    job: &'a Job,
    ocr: Option<Ocr>,
    matrix: Matrix,
}

impl Judge<'_> {
    fn samples(&self, shown: Vec<Arc<Frame>>, cache: &Cache, reporter: &mut Reporter) -> Result<Vec<Sample>> {
        let frames: Vec<&Frame> = shown.iter().map(Arc::as_ref).collect();
        let read = match &self.ocr {
            Some(ocr) => ocr.read_all(&frames, Some(cache), &mut || reporter.alive()),
            None => frames.iter().map(|_| Ok(Vec::new())).collect(),
        };
        let mut samples = Vec::new();
        for (picture, words) in shown.into_iter().zip(read) {
            let words = words.unwrap_or_default();
            let areas = still::figure_areas(&picture, &words);
            let figures = match areas.is_empty() {
                true => Vec::new(),
                false => {
                    let source = self.rgb(&picture)?;
                    areas.into_iter().map(|a| Ok((a, Reference::new(&source.part(a)?)?))).collect::<Result<_>>()?
                }
            };
            let lines = lines::of(&words, picture.size());
            samples.push(Sample { picture, lines, figures, whole: None });
            reporter.alive();
        }
        Ok(samples)
    }

    fn try_at(&self, crf: u32, samples: &mut [Sample], reporter: &mut Reporter) -> Result<Try> {
        let mut coded = Vec::new();
        for sample in samples.iter() {
            coded.push(self.code(&sample.picture, crf)?);
            reporter.alive();
        }
        let mut this = Try { found: Found { crf, misread: None, figure_score: None, samples: samples.len() }, above: None };
        for rate in self.letters(samples, &coded, reporter)?.into_iter().flatten() {
            this.found.misread = Some(this.found.misread.map_or(rate, |m: f64| m.max(rate)));
        }
        for (sample, coded) in samples.iter_mut().zip(&coded) {
            let mut see = |above: f64| this.above = Some(this.above.map_or(above, |a| a.min(above)));
            for (area, reference) in &sample.figures {
                let score = reference.score(&self.rgb(coded)?.part(*area)?)?;
                this.found.figure_score = Some(this.found.figure_score.map_or(score, |s: f64| s.min(score)));
                see(score - FIGURES);
            }
            // Where nothing is left by which it could be judged, the slide as a whole.
            if sample.figures.is_empty() && sample.lines.is_empty() {
                if sample.whole.is_none() {
                    sample.whole = Some(Reference::new(&self.rgb(&sample.picture)?)?);
                }
                if let Some(whole) = &sample.whole {
                    see(whole.score(&self.rgb(coded)?)? - WHOLE);
                }
            }
            reporter.alive();
        }
        Ok(this)
    }

    /// The share of letters that is misread, of every sample; `None` of one without text. Where it is too much, the lines in question
    /// have to prove that they can be read at all: what the source and a coding that looks the same do not say alike is forgotten.
    fn letters(&self, samples: &mut [Sample], coded: &[Arc<Frame>], reporter: &mut Reporter) -> Result<Vec<Option<f64>>> {
        let Some(ocr) = &self.ocr else { return Ok(vec![None; samples.len()]) };
        let asked: Vec<(&Frame, Area)> =
            samples.iter().zip(coded).flat_map(|(s, c)| s.lines.iter().map(|l| (c.as_ref(), l.area))).collect();
        let mut answers = ocr.read_lines(&asked, &mut || reporter.alive())?.into_iter();
        let mut read: Vec<Vec<String>> = samples.iter().map(|s| answers.by_ref().take(s.lines.len()).collect()).collect();
        // Sample and line.
        let mut doubtful: Vec<(usize, usize)> = Vec::new();
        for (i, (sample, read)) in samples.iter().zip(&read).enumerate() {
            if lines::misread(&sample.lines, read).is_some_and(|rate| rate > MISREAD) {
                let differs = |n: &usize| !sample.lines[*n].proven && sample.lines[*n].text != read[*n];
                doubtful.extend((0..sample.lines.len()).filter(differs).map(|n| (i, n)));
            }
        }
        let mut fine: Vec<Option<Arc<Frame>>> = vec![None; samples.len()];
        for (i, _) in &doubtful {
            if fine[*i].is_none() {
                fine[*i] = Some(self.code(&samples[*i].picture, NEARLY_LOSSLESS)?);
                reporter.alive();
            }
        }
        let mut asked: Vec<(&Frame, Area)> = Vec::new();
        for (i, n) in &doubtful {
            let area = samples[*i].lines[*n].area;
            asked.push((&samples[*i].picture, area));
            asked.extend(fine[*i].as_deref().map(|fine| (fine, area)));
        }
        let answers = ocr.read_lines(&asked, &mut || reporter.alive())?;
        // From behind, so that those before keep their places.
        for ((i, n), answer) in doubtful.iter().zip(answers.chunks_exact(2)).rev() {
            match answer[0] == answer[1] && !answer[0].is_empty() {
                true => samples[*i].lines[*n] = Line { text: answer[0].clone(), proven: true, ..samples[*i].lines[*n] },
                false => {
                    samples[*i].lines.remove(*n);
                    read[*i].remove(*n);
                }
            }
        }
        Ok(samples.iter().zip(&read).map(|(sample, read)| lines::misread(&sample.lines, read)).collect())
    }

    fn code(&self, picture: &Arc<Frame>, crf: u32) -> Result<Arc<Frame>> {
        recode(&self.job.stills.fragments, &self.job.floor, &self.job.preset, &self.job.stills.colour, picture, crf)
    }

    fn rgb(&self, picture: &Frame) -> Result<Rgb> {
        Rgb::of(&picture.view(), self.matrix, Area::whole(picture.size()))
    }
}

/// A picture as a player shows it when it has stood for a while on the floor at this CRF.
fn recode(fragments: &Fragments, floor: &RungPlan, preset: &str, colour: &str, picture: &Arc<Frame>, crf: u32) -> Result<Arc<Frame>> {
    let settings = Settings::new(fragments, &RungPlan { crf, ..floor.clone() }, preset, colour)?;
    let mut encoder = Encoder::start(&settings)?;
    for i in 0..REPEATS {
        encoder.push(picture, MediaTime::from_ticks(i * MediaTime::HZ))?;
    }
    encoder.end()?;
    decode(fragments, encoder.finish(|| ())?, picture.size())
}

/// The last picture of a coded segment.
fn decode(fragments: &Fragments, coded: Coded, size: crate::units::Size) -> Result<Arc<Frame>> {
    let broken = |what: &str| Error::failed(format!("a slide that was coded to be judged {what}"));
    let pipeline = launch(&fragments.bind("reread-h264", &[])?)?;
    let input = pipeline.by_name("units").and_then(|e| e.downcast::<gst_app::AppSrc>().ok()).ok_or_else(|| broken("finds no decoder"))?;
    let output = pipeline.by_name("frames").and_then(|e| e.downcast::<gst_app::AppSink>().ok()).ok_or_else(|| broken("finds no sink"))?;
    input.set_caps(Some(
        &gst::Caps::builder("video/x-h264")
            .field("stream-format", "avc")
            .field("alignment", "au")
            .field("codec_data", gst::Buffer::from_slice(coded.avcc))
            .field("width", size.width as i32)
            .field("height", size.height as i32)
            .build(),
    ));
    let outcome = (|| {
        pipeline.set_state(gst::State::Playing).map_err(|_| broken("cannot be decoded"))?;
        for (i, unit) in coded.units.into_iter().enumerate() {
            let mut buffer = gst::Buffer::from_slice(unit.data);
            buffer.get_mut().expect("the buffer is new").set_pts(gst::ClockTime::from_seconds(i as u64));
            input.push_buffer(buffer).map_err(|_| broken("cannot be decoded"))?;
        }
        input.end_of_stream().map_err(|_| broken("does not end"))?;
        let mut last = None;
        while let Some(sample) = output.try_pull_sample(gst::ClockTime::from_seconds(20)) {
            last = Some(sample);
        }
        let sample = last.ok_or_else(|| broken("gives no picture"))?;
        let info = sample.caps().and_then(|c| gstreamer_video::VideoInfo::from_caps(c).ok()).ok_or_else(|| broken("has no size"))?;
        let buffer = sample.buffer().ok_or_else(|| broken("is empty"))?;
        let frame = gstreamer_video::VideoFrameRef::from_buffer_ref_readable(buffer, &info).map_err(|_| broken("cannot be read"))?;
        let plane = |i: u32| {
            frame
                .plane_data(i)
                .map(|data| Plane { data, stride: frame.plane_stride()[i as usize] as usize })
                .map_err(|_| broken("lacks a plane"))
        };
        let view = View::new(crate::picture::Depth::Eight, size, [plane(0)?, plane(1)?, plane(2)?])?;
        Ok(Arc::new(Frame::copy_of(&view)))
    })();
    let _ = pipeline.set_state(gst::State::Null);
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Size;

    #[test]
    fn a_slide_comes_back_as_a_player_shows_it() {
        super::super::decoder::init().unwrap();
        let size = Size { width: 320, height: 180 };
        let mut frame = Frame::new(size);
        let stride = frame.stride(0);
        frame
            .plane_mut(0)
            .iter_mut()
            .enumerate()
            .for_each(|(i, p)| *p = if (i / stride / 9 + i % stride / 16).is_multiple_of(2) { 40 } else { 210 });
        (1..3).for_each(|i| frame.plane_mut(i).fill(128));
        let picture = Arc::new(frame);
        let floor = RungPlan {
            name: "floor".into(),
            codec: crate::profile::Codec::H264,
            size,
            crf: 40,
            max_bps: 100_000,
            buffer_ms: 8000,
            buffer_full: 0.9,
            b_pictures: 0,
            references: 1,
            effort: crate::plan::Effort::of("veryfast", Shape::Slides),
            lookahead: 40,
            frame_rate: 1.0,
            cadence: crate::plan::Cadence { frame_rate: 1.0, motion_frame_rate: 1.0 },
            level: 13,
            predicted_bytes: 0,
            predicted_segments: Vec::new(),
        };
        let distance = |crf| {
            let shown = recode(&Fragments::built_in(), &floor, "medium", "bt709", &picture, crf).unwrap();
            picture.plane(0).iter().zip(shown.plane(0)).map(|(a, b)| a.abs_diff(*b) as u64).sum::<u64>() as f64
                / picture.plane(0).len() as f64
        };
        let (fine, coarse) = (distance(16), distance(46));
        assert!(fine < 2.0 && coarse > fine, "{fine} {coarse}");
    }

    /// A plan whose slides are the pictures that `draw` gives, as the analysis left them; nothing else of the recording is there.
    fn job(dir: &std::path::Path, crf: u32, draw: &[&dyn Fn(usize, usize) -> u8]) -> Job {
        let size = Size { width: 480, height: 270 };
        let sources = [crate::plan::tests::source(size.width, size.height, (0..1000).map(|i| i * 40_000_000).collect(), 0.0)];
        let mut plan = crate::plan::tests::make(&sources, "rural-3g").unwrap();
        // What is decided must not hang on a program that may be there or not.
        plan.fingerprint.insert("tesseract".into(), super::super::ocr::NONE.into());
        let work = WorkDir::open(Some(dir.join("work"))).unwrap();
        let kept = dir.join("kept");
        std::fs::create_dir_all(&kept).unwrap();
        std::fs::File::create(kept.join("lock")).unwrap();
        let mut spool = super::super::spool::Spool::create(&kept).unwrap();
        for (i, level) in draw.iter().enumerate() {
            let mut frame = Frame::new(size);
            let stride = frame.stride(0);
            frame.plane_mut(0).iter_mut().enumerate().for_each(|(i, p)| *p = level(i % stride, i / stride));
            (1..3).for_each(|i| frame.plane_mut(i).fill(128));
            let ns = i as u64 * 10_000_000_000;
            let one = crate::timeline::Likeness { ns, of: Vec::new() };
            spool.put(&one, || Some((frame, crate::picture::Colour::default()))).unwrap();
            plan.slides.push(slide(&plan, ns, false));
        }
        spool.finish().unwrap();
        let slides: Vec<usize> = (0..draw.len()).collect();
        let stills = stills::sample_job(&plan, &slides, &sources, &[kept], &Fragments::built_in(), &work);
        let floor = RungPlan { crf, max_bps: 2_000_000, ..plan.rungs[0].clone() };
        Job { stills, floor, preset: "veryfast".into() }
    }

    fn slide(plan: &Plan, ns: u64, moving: bool) -> crate::plan::SlidePlan {
        let start = plan.parts[0].at(ns);
        crate::plan::SlidePlan {
            start,
            end: start.plus(MediaTime::HZ * 10),
            part: 0,
            still_ns: ns,
            moving,
            steps: Vec::new(),
            region: None,
        }
    }

    fn found(job: &Job) -> Result<Found> {
        run(job.clone(), &mut Reporter::of_test())
    }

    /// Large shapes survive any coding: the profile's CRF is taken as it is.
    fn bold(x: usize, y: usize) -> u8 {
        if (40..440).contains(&x) && (60..200).contains(&y) { 60 } else { 220 }
    }

    /// Fine and faint: gone where the coding is coarse.
    fn faint(x: usize, y: usize) -> u8 {
        let n = (x as u32).wrapping_mul(0x9e37_79b9) ^ (y as u32).wrapping_mul(0x85eb_ca6b);
        118 + ((n ^ n >> 15).wrapping_mul(0x2c1b_3c6d) >> 27) as u8
    }

    #[test]
    fn a_slide_that_is_seen_well_keeps_the_profiles_crf() {
        let dir = tempfile::tempdir().unwrap();
        let job = job(dir.path(), 39, &[&bold]);
        let first = found(&job).unwrap();
        assert_eq!((first.crf, first.misread, first.samples), (39, None, 1));
        assert_eq!(found(&job).unwrap(), first, "the same pictures, the same answer");
    }

    fn a_try(misread: f64, above: f64) -> Try {
        Try { found: Found { crf: 39, misread: Some(misread), figure_score: None, samples: 1 }, above: Some(above) }
    }

    #[test]
    fn finer_is_better_where_more_is_seen_and_nothing_is_lost() {
        let coarser = a_try(0.05, -10.0);
        for (misread, above, better) in
            [(0.05, -10.0, false), (0.03, -10.0, true), (0.05, -8.0, true), (0.03, -12.0, false), (0.07, -8.0, false), (0.055, -8.0, true)]
        {
            assert_eq!(a_try(misread, above).is_better(&coarser), better, "{misread} {above}");
        }
        assert!(a_try(0.02, 0.0).is_good() && !a_try(0.03, 0.0).is_good() && !a_try(0.0, -1.0).is_good());
        assert!(Try { above: None, ..a_try(0.0, 0.0) }.is_good());
    }

    /// Of three lines two come out otherwise. Then the source and a nearly lossless coding are asked: they agree on the first, which is
    /// misread then, and not on the second, which is forgotten.
    #[test]
    fn a_line_that_the_source_does_not_say_alike_twice_is_no_judge() {
        super::super::decoder::init().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let job = job(&dir.path().join("job"), 39, &[&bold]);
        // What is answered to each run of the reader: file 1, file 2 and so on.
        let answer = |run: usize, rows: &[(usize, &str)]| {
            let rows: Vec<String> = rows.iter().map(|(page, text)| format!("5\t{page}\t1\t1\t1\t1\t0\t0\t9\t9\t90\t{text}\n")).collect();
            std::fs::write(dir.path().join(run.to_string()), rows.concat()).unwrap();
        };
        answer(1, &[(1, "suy"), (2, "hâ"), (3, "hap")]);
        answer(2, &[(1, "hô"), (2, "hô"), (3, "hấp"), (4, "hep")]);
        answer(3, &[(1, "suy"), (2, "ho")]);
        let script = format!("cat >/dev/null; cd '{}'; n=$(($(cat n 2>/dev/null)+1)); echo $n >n; cat $n", dir.path().display());
        let judge = Judge { job: &job, ocr: Some(super::super::ocr::tests::ocr(&format!("sh|-c|{script}"))), matrix: Matrix::of("bt709") };
        let picture = Arc::new(Frame::new(Size { width: 480, height: 270 }));
        let line = |text: &str, y: u32| Line { area: Area { x: 0, y, width: 64, height: 16 }, text: text.into(), proven: false };
        let lines = vec![line("suy", 0), line("hò", 32), line("hấp", 64)];
        let mut samples = [Sample { picture: picture.clone(), lines, figures: Vec::new(), whole: None }];
        let mut letters = || judge.letters(&mut samples, std::slice::from_ref(&picture), &mut Reporter::of_test()).unwrap();
        // suy hô, read as suy hâ: one letter of five.
        assert_eq!(letters(), [Some(0.2)]);
        // What has proven itself is not asked again: two runs before, one now.
        assert_eq!(letters(), [Some(0.2)]);
        assert_eq!(std::fs::read_to_string(dir.path().join("n")).unwrap().trim(), "3");
        assert_eq!(samples[0].lines.iter().map(|l| l.text.as_str()).collect::<Vec<_>>(), ["suy", "hô"]);
    }

    /// The worst slide decides, and the search ends where the floor would cost what the rung above it does.
    #[test]
    fn a_slide_that_is_lost_is_coded_finer_but_not_without_end() {
        let dir = tempfile::tempdir().unwrap();
        let lost = found(&job(&dir.path().join("lost"), 50, &[&bold, &faint])).unwrap();
        assert_eq!((lost.crf, lost.misread, lost.samples), (50 - STEP * (TRIES - 1), None, 2));
        let saved = found(&job(&dir.path().join("saved"), 27, &[&bold, &faint])).unwrap();
        assert!((22..=27).contains(&saved.crf) && saved.samples == 2, "{saved:?}");
    }

    #[test]
    fn slides_that_cannot_be_had_are_no_sample() {
        let dir = tempfile::tempdir().unwrap();
        let mut job = job(dir.path(), 39, &[]);
        assert_eq!(found(&job).unwrap_err().kind(), Kind::BadMedia);
        job.stills.video = None;
        assert_eq!(found(&job).unwrap_err().kind(), Kind::Bug);
    }

    /// One for every minute and a half, three at most, the fullest, in order of time; none in which all moves.
    #[test]
    fn the_fullest_slides_stand_for_all() {
        let plan = |seconds: u64| {
            let sources = [crate::plan::tests::source(480, 270, (0..seconds * 25).map(|i| i * 40_000_000).collect(), 0.0)];
            let mut plan = crate::plan::tests::make(&sources, "rural-3g").unwrap();
            let count = plan.segments();
            plan.weights.resize(count, Default::default());
            for (i, drawn) in [3.0, 9.0, 1.0, 8.0, 7.0].into_iter().enumerate() {
                let ns = seconds * 200_000_000 * i as u64;
                plan.slides.push(slide(&plan, ns, i == 1));
                let at = plan.slides[i].start;
                let segment = plan.boundaries.partition_point(|b| *b <= at) - 1;
                plan.weights[segment].drawn = drawn;
            }
            plan
        };
        assert_eq!(samples(&plan(60)), [3]);
        assert_eq!(samples(&plan(200)), [3, 4]);
        assert_eq!(samples(&plan(1000)), [0, 3, 4]);
    }
}
