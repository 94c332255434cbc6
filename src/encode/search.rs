//! The floor's CRF: the highest at which slides are still read as in the source. A few slides are coded as the floor would code
//! them, decoded, read with Tesseract and compared with what is read in the source; figures without text, which no reader
//! sees, are scored instead (SSIMULACRA2). Bounded in samples, not in seconds: the same recording gets the same CRF.

mod judge;
mod lines;
mod recode;

use super::ocr::Ocr;
use super::stills;
use crate::cache::Cache;
use crate::child::{self, Limits, Reporter};
use crate::error::{Error, Kind, Result};
use crate::picture::score::Matrix;
use crate::picture::{Cascade, Frame, Look, Turn};
use crate::plan::{Plan, RungPlan, Shape};
use crate::progress::Ctx;
use crate::units::Digest;
use crate::workdir::WorkDir;
pub(super) use judge::{FIGURES, MISREAD};
use judge::{Judge, Try, Verdict};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// CRF goes down in such steps, and this often at most: further down the floor would cost what the rung above it does.
const STEP: u32 = 3;
const TRIES: u32 = 3;
/// A step in CRF costs a sixth more where nothing stops it.
const MORE: f64 = 1.03;

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

#[cfg(test)]
mod tests {
    use super::judge::{Sample, tests::verdict};
    use super::*;
    use crate::pipeline::Fragments;
    use crate::units::{MediaTime, Size};

    /// A plan whose slides are the pictures that `draw` gives, as the analysis left them; nothing else of the recording is there.
    pub(super) fn job(dir: &std::path::Path, crf: u32, draw: &[&dyn Fn(usize, usize) -> u8]) -> Job {
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
    pub(super) fn bold(x: usize, y: usize) -> u8 {
        if (40..440).contains(&x) && (60..200).contains(&y) { 60 } else { 220 }
    }

    /// Fine and faint: gone where the coding is coarse.
    pub(super) fn faint(x: usize, y: usize) -> u8 {
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

    #[test]
    fn of_tries_that_miss_the_coarsest_that_none_beats_is_taken() {
        let chosen = |tries: [(f64, f64); 3]| choose(&tries.map(|(m, a)| verdict(m, a)));
        assert_eq!(chosen([(0.09, 0.0), (0.035, 0.0), (0.10, 0.0)]), 1);
        assert_eq!(chosen([(0.09, 0.0), (0.09, 0.0), (0.03, 0.0)]), 2, "a step that gains nothing does not end it");
        assert_eq!(chosen([(0.09, -2.0), (0.03, -20.0), (0.03, -20.0)]), 0);
        assert_eq!(chosen([(0.09, 0.0), (0.01, 0.0), (0.0, 0.0)]), 1);
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
