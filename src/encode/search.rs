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

const KIND: &str = "floor-crf-5";

/// One slide to be judged.
struct Sample {
    picture: Arc<Frame>,
    lines: Vec<Line>,
    figures: Vec<(Area, Reference)>,
    whole: Option<Reference>,
}

impl Sample {
    /// Whether it is judged as a whole: nothing on it can be read, and no figure is.
    fn is_whole(&self) -> bool {
        self.figures.is_empty() && lines::letters(&self.lines) == 0.0
    }
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
    let mut tries: Vec<Try> = Vec::new();
    for step in 0..TRIES {
        let coded = judge.code_all(job.floor.crf.saturating_sub(STEP * step), &samples, reporter)?;
        // The cap binds on all of them: there are no more bits to be had, and nothing is read to learn that.
        if tries.last().is_some_and(|coarser| (coded.bytes as f64) < MORE * coarser.coded.bytes as f64) {
            break;
        }
        let this = judge.try_of(coded, &mut samples, reporter)?;
        let verdict = judge.verdict(&this, &samples)?;
        if verdict.is_good() {
            return Ok(verdict.found);
        }
        tries.push(this);
    }
    // What was learned of lines on the way counts for all tries.
    let mut verdicts = tries.iter().map(|t| judge.verdict(t, &samples)).collect::<Result<Vec<_>>>()?;
    Ok(verdicts.swap_remove(choose(&verdicts)).found)
}

/// Of verdicts, coarsest first, none empty: the first that is good, else the first than which no finer one is better.
fn choose(verdicts: &[Verdict]) -> usize {
    let unbeaten = |i: &usize| verdicts[i + 1..].iter().all(|finer| !finer.is_better(&verdicts[*i]));
    verdicts.iter().position(Verdict::is_good).or_else(|| (0..verdicts.len()).find(unbeaten)).unwrap_or(0)
}

/// The slides at one CRF, an entry for each sample.
struct Try {
    coded: Slides,
    /// Of each line.
    read: Vec<Vec<String>>,
    /// SSIMULACRA2 of the worst figure.
    figures: Vec<Option<f64>>,
}

/// The slides as they are seen at one CRF.
struct Slides {
    crf: u32,
    pictures: Vec<Arc<Frame>>,
    /// Of all of them.
    bytes: u64,
}

struct Verdict {
    found: Found,
    /// How far the worst figure, or slide without text, is above what it has to score; below where negative.
    above: Option<f64>,
}

impl Verdict {
    fn is_good(&self) -> bool {
        self.missing() == (0.0, 0.0)
    }

    /// What is missing of the aims: letters, as a share, and SSIMULACRA2.
    fn missing(&self) -> (f64, f64) {
        ((self.found.misread.unwrap_or(0.0) - MISREAD).max(0.0), (-self.above.unwrap_or(0.0)).max(0.0))
    }

    /// Whether it is worth its bits: less is missing of letters or figures, and of the other not more. Figures get worse
    /// where the cap binds: what the top of a slide takes is missing below.
    fn is_better(&self, coarser: &Verdict) -> bool {
        let (mine, its) = (self.missing(), coarser.missing());
        let (letters, score) = (its.0 - mine.0, its.1 - mine.1);
        letters > -LETTERS && score > -SCORE && (letters > LETTERS || score > SCORE)
    }
}

/// Less is noise: of letters, as a share, and of SSIMULACRA2.
const LETTERS: f64 = 0.01;
const SCORE: f64 = 1.0;

/// A step in CRF costs a sixth more where nothing stops it.
const MORE: f64 = 1.03;

/// A coding that nobody can tell from the source: CRF, and a cap that never binds, bit/s.
const NEARLY_LOSSLESS: (u32, u64) = (16, 50_000_000);

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
            let words = words?;
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

    fn code_all(&self, crf: u32, samples: &[Sample], reporter: &mut Reporter) -> Result<Slides> {
        let mut slides = Slides { crf, pictures: Vec::new(), bytes: 0 };
        for sample in samples {
            let (picture, bytes) = self.code(&sample.picture, crf, self.job.floor.max_bps)?;
            slides.pictures.push(picture);
            slides.bytes += bytes;
            reporter.alive();
        }
        Ok(slides)
    }

    fn try_of(&self, coded: Slides, samples: &mut [Sample], reporter: &mut Reporter) -> Result<Try> {
        let mut figures = Vec::new();
        for (sample, shown) in samples.iter().zip(&coded.pictures) {
            let mut worst = None;
            if !sample.figures.is_empty() {
                let rgb = self.rgb(shown)?;
                for (area, reference) in &sample.figures {
                    let score = reference.score(&rgb.part(*area)?)?;
                    worst = Some(worst.map_or(score, |w: f64| w.min(score)));
                }
            }
            figures.push(worst);
            reporter.alive();
        }
        let read = self.read(samples, &coded.pictures, reporter)?;
        self.prove(samples, &read, reporter)?;
        for sample in samples.iter_mut().filter(|s| s.is_whole() && s.whole.is_none()) {
            sample.whole = Some(Reference::new(&self.rgb(&sample.picture)?)?);
        }
        Ok(Try { coded, read, figures })
    }

    /// By what is known of the lines now.
    fn verdict(&self, of: &Try, samples: &[Sample]) -> Result<Verdict> {
        let worst = |a: Option<f64>, b: f64| Some(a.map_or(b, |a| a.min(b)));
        let mut verdict =
            Verdict { found: Found { crf: of.coded.crf, misread: None, figure_score: None, samples: samples.len() }, above: None };
        for (i, sample) in samples.iter().enumerate() {
            if let Some(rate) = lines::misread(&sample.lines, &of.read[i]) {
                verdict.found.misread = Some(verdict.found.misread.map_or(rate, |m| m.max(rate)));
            }
            if let Some(score) = of.figures[i] {
                verdict.found.figure_score = worst(verdict.found.figure_score, score);
                verdict.above = worst(verdict.above, score - FIGURES);
            }
            if let Some(whole) = sample.whole.as_ref().filter(|_| sample.is_whole()) {
                verdict.above = worst(verdict.above, whole.score(&self.rgb(&of.coded.pictures[i])?)? - WHOLE);
            }
        }
        Ok(verdict)
    }

    /// What the lines of each sample say in these pictures of them.
    fn read(&self, samples: &[Sample], pictures: &[Arc<Frame>], reporter: &mut Reporter) -> Result<Vec<Vec<String>>> {
        let Some(ocr) = &self.ocr else { return Ok(vec![Vec::new(); samples.len()]) };
        let asked: Vec<(&Frame, Area)> =
            samples.iter().zip(pictures).flat_map(|(s, p)| s.lines.iter().map(|l| (p.as_ref(), l.area))).collect();
        let mut answers = ocr.read_lines(&asked, &mut || reporter.alive())?.into_iter();
        Ok(samples.iter().map(|s| answers.by_ref().take(s.lines.len()).collect()).collect())
    }

    /// Where too much of a sample is misread, the lines that came out otherwise are read alone in the source, which is their text then,
    /// and in a coding that looks the same: what differs there is Tesseract's doing.
    fn prove(&self, samples: &mut [Sample], read: &[Vec<String>], reporter: &mut Reporter) -> Result<()> {
        let Some(ocr) = &self.ocr else { return Ok(()) };
        // Sample and line.
        let mut doubtful: Vec<(usize, usize)> = Vec::new();
        for (i, (sample, read)) in samples.iter().zip(read).enumerate() {
            if lines::misread(&sample.lines, read).is_some_and(|rate| rate > MISREAD) {
                let differs = |n: &usize| sample.lines[*n].own.is_none() && sample.lines[*n].text != read[*n];
                doubtful.extend((0..sample.lines.len()).filter(differs).map(|n| (i, n)));
            }
        }
        let mut asked: Vec<(Arc<Frame>, Area)> = Vec::new();
        let mut fine: Option<(usize, Arc<Frame>)> = None;
        for (i, n) in &doubtful {
            let same = match fine.take().filter(|(of, _)| of == i) {
                Some((_, same)) => same,
                None => self.code(&samples[*i].picture, NEARLY_LOSSLESS.0, NEARLY_LOSSLESS.1)?.0,
            };
            let area = samples[*i].lines[*n].area;
            asked.extend([(samples[*i].picture.clone(), area), (same.clone(), area)]);
            fine = Some((*i, same));
            reporter.alive();
        }
        let asked: Vec<(&Frame, Area)> = asked.iter().map(|(picture, area)| (picture.as_ref(), *area)).collect();
        let answers = ocr.read_lines(&asked, &mut || reporter.alive())?;
        for ((i, n), answer) in doubtful.iter().zip(answers.chunks_exact(2)) {
            samples[*i].lines[*n].prove(&answer[0], &answer[1]);
        }
        Ok(())
    }

    /// How it is seen, and what it costs in bytes.
    fn code(&self, picture: &Arc<Frame>, crf: u32, max_bps: u64) -> Result<(Arc<Frame>, u64)> {
        let stills = &self.job.stills;
        let rung = RungPlan { max_bps, ..self.job.floor.clone() };
        recode(&stills.fragments, &rung, &self.job.preset, &stills.colour, picture, crf)
    }

    fn rgb(&self, picture: &Frame) -> Result<Rgb> {
        Rgb::of(&picture.view(), self.matrix, Area::whole(picture.size()))
    }
}

/// A picture as a player shows it when it has stood for a while on the floor at this CRF, and the bytes of that while.
fn recode(
    fragments: &Fragments,
    floor: &RungPlan,
    preset: &str,
    colour: &str,
    picture: &Arc<Frame>,
    crf: u32,
) -> Result<(Arc<Frame>, u64)> {
    let settings = Settings::new(fragments, &RungPlan { crf, ..floor.clone() }, preset, colour)?;
    let mut encoder = Encoder::start(&settings)?;
    for i in 0..REPEATS {
        encoder.push(picture, MediaTime::from_ticks(i * MediaTime::HZ))?;
    }
    encoder.end()?;
    let coded = encoder.finish(|| ())?;
    let bytes = coded.units.iter().map(|u| u.data.len() as u64).sum();
    Ok((decode(fragments, coded, picture.size())?, bytes))
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
            let (shown, _) = recode(&Fragments::built_in(), &floor, "medium", "bt709", &picture, crf).unwrap();
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

    fn verdict(misread: f64, above: f64) -> Verdict {
        Verdict { found: Found { crf: 39, misread: Some(misread), figure_score: None, samples: 1 }, above: Some(above) }
    }

    #[test]
    fn finer_is_better_where_more_is_seen_and_nothing_is_missed() {
        let better = |finer: (f64, f64), coarser: (f64, f64)| verdict(finer.0, finer.1).is_better(&verdict(coarser.0, coarser.1));
        assert!(!better((0.05, -10.0), (0.05, -10.0)));
        assert!(better((0.03, -10.0), (0.05, -10.0)) && better((0.05, -8.0), (0.05, -10.0)) && better((0.055, -8.0), (0.05, -10.0)));
        assert!(!better((0.03, -12.0), (0.05, -10.0)) && !better((0.07, -8.0), (0.05, -10.0)));
        // What is lost above the aim is not missed.
        assert!(better((0.05, 23.5), (0.30, 25.0)) && better((0.012, -5.0), (0.0, -20.0)));
        assert!(verdict(0.02, 0.0).is_good() && !verdict(0.03, 0.0).is_good() && !verdict(0.0, -1.0).is_good());
        assert!(Verdict { above: None, ..verdict(0.0, 0.0) }.is_good());
    }

    #[test]
    fn of_tries_that_miss_the_coarsest_that_none_beats_is_taken() {
        let chosen = |tries: [(f64, f64); 3]| choose(&tries.map(|(m, a)| verdict(m, a)));
        assert_eq!(chosen([(0.09, 0.0), (0.035, 0.0), (0.10, 0.0)]), 1);
        assert_eq!(chosen([(0.09, 0.0), (0.09, 0.0), (0.03, 0.0)]), 2, "a step that gains nothing does not end it");
        assert_eq!(chosen([(0.09, -2.0), (0.03, -20.0), (0.03, -20.0)]), 0);
        assert_eq!(chosen([(0.09, 0.0), (0.01, 0.0), (0.0, 0.0)]), 1);
    }

    /// Two slides, of whose lines some come out otherwise. Those are asked for in the source and in a nearly lossless coding.
    #[test]
    fn a_line_that_is_not_read_alike_twice_counts_for_less() {
        super::super::decoder::init().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let job = job(&dir.path().join("job"), 39, &[&bold]);
        // What is answered to each run of the reader: file 1, file 2 and so on.
        let answer = |run: usize, texts: &[&str]| {
            let row = |(i, text): (usize, &&str)| format!("5\t{}\t1\t1\t1\t1\t0\t0\t9\t9\t90\t{text}\n", i + 1);
            std::fs::write(dir.path().join(run.to_string()), texts.iter().enumerate().map(row).collect::<String>()).unwrap();
        };
        answer(1, &["hap", "suy", "hâ", "thở"]);
        // hấp is read as hap and as hep: the source says nothing sure. hô is.
        answer(2, &["hap", "xyz", "hô", "hô"]);
        answer(3, &["hấp", "suy", "ho", "thở"]);
        let script = format!("cat >/dev/null; cd '{}'; n=$(($(cat n 2>/dev/null)+1)); echo $n >n; cat $n", dir.path().display());
        let judge = Judge { job: &job, ocr: Some(super::super::ocr::tests::ocr(&format!("sh|-c|{script}"))), matrix: Matrix::of("bt709") };
        let picture = Arc::new(Frame::new(Size { width: 480, height: 270 }));
        let line = |text: &str, y: u32| Line { area: Area { x: 0, y, width: 64, height: 16 }, text: text.into(), own: None };
        let sample = |lines: Vec<Line>| Sample { picture: picture.clone(), lines, figures: Vec::new(), whole: None };
        let mut samples = [sample(vec![line("hấp", 0), line("suy", 32), line("hò", 64)]), sample(vec![line("thở", 0)])];
        let mut rates = || {
            let pictures = [picture.clone(), picture.clone()];
            let read = judge.read(&samples, &pictures, &mut Reporter::of_test()).unwrap();
            judge.prove(&mut samples, &read, &mut Reporter::of_test()).unwrap();
            samples.iter().zip(&read).map(|(s, r)| lines::misread(&s.lines, r)).collect::<Vec<_>>()
        };
        // suy hô, read as suy hâ: one letter of five; what hấp is nobody knows.
        assert_eq!(rates(), [Some(0.2), Some(0.0)]);
        // What was asked is not asked again: two runs before, one now.
        assert_eq!(rates(), [Some(0.2), Some(0.0)]);
        assert_eq!(std::fs::read_to_string(dir.path().join("n")).unwrap().trim(), "3");
        // A slide of which nothing is sure is judged as a whole.
        assert!(!samples[0].is_whole());
        samples[0].lines.truncate(1);
        assert!(samples[0].is_whole());
    }

    /// The floor's cap is not the nearly lossless coding's: of a slide that the floor cannot hold it is still true.
    #[test]
    fn nearly_lossless_is_near_whatever_the_floor_may_cost() {
        super::super::decoder::init().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let mut job = job(&dir.path().join("job"), 39, &[&faint]);
        job.floor = RungPlan { max_bps: 44_000, buffer_ms: 6000, ..job.floor };
        let judge = Judge { job: &job, ocr: None, matrix: Matrix::of("bt709") };
        let mut frame = Frame::new(Size { width: 480, height: 270 });
        let stride = frame.stride(0);
        // Noise of full contrast.
        frame.plane_mut(0).iter_mut().enumerate().for_each(|(i, p)| *p = 16 + (faint(i % stride, i / stride) - 118) * 7);
        (1..3).for_each(|i| frame.plane_mut(i).fill(128));
        let picture = Arc::new(frame);
        let distance = |(crf, max_bps)| {
            let (shown, _) = judge.code(&picture, crf, max_bps).unwrap();
            let sum: u64 = picture.plane(0).iter().zip(shown.plane(0)).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
            sum as f64 / picture.plane(0).len() as f64
        };
        let (near, capped) = (distance(NEARLY_LOSSLESS), distance((NEARLY_LOSSLESS.0, job.floor.max_bps)));
        assert!(near < 4.0 && capped > 4.0 * near, "{near} {capped}");
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

    /// A finer try that costs the same shows the same: the cap has all of it.
    #[test]
    fn a_capped_slide_is_not_tried_in_vain() {
        let dir = tempfile::tempdir().unwrap();
        let mut capped = job(dir.path(), 42, &[&faint]);
        capped.floor = RungPlan { max_bps: 4_000, buffer_ms: 1000, ..capped.floor };
        assert_eq!(found(&capped).unwrap().crf, 42);
        // That is how it is told.
        let picture = Arc::new({
            let mut frame = Frame::new(Size { width: 480, height: 270 });
            let stride = frame.stride(0);
            frame.plane_mut(0).iter_mut().enumerate().for_each(|(i, p)| *p = faint(i % stride, i / stride));
            (1..3).for_each(|i| frame.plane_mut(i).fill(128));
            frame
        });
        let samples = [Sample { picture, lines: Vec::new(), figures: Vec::new(), whole: None }];
        let grows = |job: &Job| {
            let judge = Judge { job, ocr: None, matrix: Matrix::of("bt709") };
            let bytes = |crf| judge.code_all(crf, &samples, &mut Reporter::of_test()).unwrap().bytes as f64;
            bytes(39) / bytes(42)
        };
        let free = Job { floor: RungPlan { max_bps: 2_000_000, ..capped.floor.clone() }, ..capped.clone() };
        assert!(grows(&capped) < MORE && grows(&free) > MORE, "{} {}", grows(&capped), grows(&free));
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
