//! The slides of a lecture as pictures to read: the child verb `stills` fetches the planned pictures, reads their text and codes
//! them; what it made stays in the work directory, and [`place`] puts it into the package. A slide that cannot be made is
//! missing, and said so: a lecture never fails for its stills.
//!
//! ```text
//! SlidePlan --jobs--> child: Pictures -> upright frame -> words -> WebP --> still-LANGUAGES-NNNN.{webp,json} --place--> package
//! ```

mod make;
mod pictures;

pub use make::make;
pub(super) use pictures::Pictures;

use super::ocr::{NONE, Ocr};
use super::{search, still};
use crate::child::{self, Limits};
use crate::error::{Error, Kind, Result, ResultExt};
use crate::package::Package;
use crate::package::slides::{Slide, chapters, file_name, vtt};
use crate::pipeline::Fragments;
use crate::plan::{Picture, Plan};
use crate::probe::{Access, Source, Video};
use crate::progress::Ctx;
use crate::workdir::{WorkDir, write_whole};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Stills of one child: short enough for every core to have some, long enough that starting costs little.
const SHARE: usize = 16;

/// What one child makes: stills of one file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    /// Where the analysis kept pictures.
    pub(super) kept: Option<PathBuf>,
    pub(super) path: PathBuf,
    /// `None`: the title card is the poster.
    pub(super) video: Option<Video>,
    /// Decode from the file's start instead of seeking.
    pub(super) sequential: bool,
    /// Times of all pictures, for a stream that has none of its own.
    pub(super) times: Option<Vec<u64>>,
    /// Of the title card.
    pub(super) title: String,
    /// `bt709` or `bt601`, the lecture's.
    pub(super) colour: String,
    /// In order of time.
    pub(super) wants: Vec<Want>,
    /// BCP 47, and Tesseract's part of the tool fingerprint.
    pub(super) language: String,
    pub(super) tesseract: String,
    pub(super) fragments: Fragments,
    /// Root of the work directory, for the cache of what was read.
    pub(super) work: PathBuf,
    /// The plan's work directory.
    pub(super) out: PathBuf,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Want {
    /// Stream time of the picture, and of a mean the pictures that it is of.
    pub(super) ns: u64,
    of: Vec<u64>,
    /// Which slide; `None`: a candidate for the poster and no more, of which the first that is not black is made.
    slide: Option<usize>,
    region: Option<[f64; 4]>,
    /// A slide, whose figures are to be true; else a picture of what moves, which may hold words all the same: a case
    /// discussion shows slides among moving faces.
    slide_stands: bool,
    /// Also made as a poster.
    poster: bool,
}

/// What is kept beside a still in the work directory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Record {
    width: u32,
    height: u32,
    bytes: u64,
    quality: u32,
    score: Option<f64>,
    figure_score: Option<f64>,
    title: Option<String>,
    text: String,
    x_height_px: Option<f64>,
    /// Why it could not be read, where that failed.
    unread: Option<String>,
}

/// Names in the plan's work directory. What was read decides on the bytes, and the work directory's digest does not cover the
/// language: it is in the name.
struct Names<'a> {
    out: &'a Path,
    languages: String,
}

impl<'a> Names<'a> {
    fn new(out: &'a Path, tesseract: &str, language: &str) -> Self {
        Names { out, languages: Ocr::open(tesseract, language).map_or(NONE.into(), |o| o.languages) }
    }
    fn still(&self, slide: usize, ending: &str) -> PathBuf {
        self.out.join(format!("still-{}-{:04}{ending}", self.languages, slide + 1))
    }
    fn picture(&self, slide: usize) -> PathBuf {
        self.still(slide, ".webp")
    }
    fn poster_of(&self, slide: usize) -> PathBuf {
        self.still(slide, "-poster.webp")
    }
    /// Of a lecture without slides.
    fn poster(&self) -> PathBuf {
        self.out.join("still-poster.webp")
    }
    /// Of a still that is there whole.
    fn record(&self, slide: usize) -> Option<Record> {
        let record: Record = serde_json::from_slice(&std::fs::read(self.still(slide, ".json")).ok()?).ok()?;
        let whole = std::fs::metadata(self.picture(slide)).is_ok_and(|m| m.len() == record.bytes);
        whole.then_some(record)
    }
}

/// Tesseract's part of the plan's fingerprint.
fn tesseract(plan: &Plan) -> &str {
    plan.fingerprint.get("tesseract").map_or(NONE, String::as_str)
}

#[allow(clippy::too_many_arguments)]
fn job(
    plan: &Plan,
    part: usize,
    wants: Vec<Want>,
    sources: &[Source],
    kept: &[PathBuf],
    fragments: &Fragments,
    out: &Path,
    work: &WorkDir,
) -> Job {
    let (part, source) = (&plan.parts[part], &sources[plan.parts[part].source]);
    Job {
        kept: kept.get(part.source).cloned(),
        path: source.path.clone(),
        video: part.pictures.and(source.video.clone()).map(|v| Video { colorimetry: Some(plan.colour.clone()), ..v }),
        sequential: part.pictures == Some(Access::Sequential),
        times: source.untimed.then(|| source.frames_ns.clone()),
        title: plan.title.clone(),
        colour: plan.colour.clone(),
        wants,
        language: plan.language.clone(),
        tesseract: tesseract(plan).into(),
        fragments: fragments.clone(),
        work: work.path().to_path_buf(),
        out: out.to_path_buf(),
    }
}

/// The pictures of some slides, to be looked at before the plan is final. All are of the part of the first.
pub fn sample_job(plan: &Plan, slides: &[usize], sources: &[Source], kept: &[PathBuf], fragments: &Fragments, work: &WorkDir) -> Job {
    let part = slides.first().map_or(0, |i| plan.slides[*i].part);
    let mut wants: Vec<Want> = slides
        .iter()
        .map(|i| &plan.slides[*i])
        .filter(|s| s.part == part)
        .map(|s| Want {
            ns: s.still_ns,
            of: plan.parts[part].mean(s.still_ns),
            slide: None,
            region: s.region,
            slide_stands: true,
            poster: false,
        })
        .collect();
    wants.sort_by_key(|w| w.ns);
    job(plan, part, wants, sources, kept, fragments, work.path(), work)
}

/// What is left to do for the stills of a plan.
pub fn jobs(plan: &Plan, sources: &[Source], kept: &[PathBuf], fragments: &Fragments, out: &Path, work: &WorkDir) -> Vec<Job> {
    let names = Names::new(out, tesseract(plan), &plan.language);
    let job = |part: usize, wants: Vec<Want>| job(plan, part, wants, sources, kept, fragments, out, work);
    if plan.slides.is_empty() {
        let wants = poster_wants(plan);
        let first = plan.parts.iter().position(|p| p.pictures.is_some()).unwrap_or(0);
        return if names.poster().exists() { Vec::new() } else { vec![job(first, wants)] };
    }
    let early = early(plan);
    let mut jobs: Vec<(usize, Vec<Want>)> = Vec::new();
    for (index, slide) in plan.slides.iter().enumerate() {
        let poster = index < early;
        let there = names.record(index).is_some() && (!poster || names.poster_of(index).exists());
        if there || plan.parts.get(slide.part).is_none_or(|p| p.pictures.is_none()) {
            continue;
        }
        let of = plan.parts[slide.part].mean(slide.still_ns);
        let want = Want { ns: slide.still_ns, of, slide: Some(index), region: slide.region, slide_stands: !slide.moving, poster };
        let sequential = plan.parts[slide.part].pictures == Some(Access::Sequential);
        match jobs.last_mut() {
            Some((part, wants)) if *part == slide.part && (sequential || wants.len() < SHARE) => wants.push(want),
            _ => jobs.push((slide.part, vec![want])),
        }
    }
    jobs.into_iter()
        .map(|(part, mut wants)| {
            wants.sort_by_key(|w| w.ns);
            job(part, wants)
        })
        .collect()
}

/// How many of the first slides may become the poster: those of the first tenth, three at least and eight at most.
fn early(plan: &Plan) -> usize {
    let tenth = plan.duration().seconds() / 10.0;
    plan.slides.iter().take_while(|s| s.start.seconds() <= tenth).count().clamp(3, 8)
}

/// Pictures of a lecture without slides that may be its poster: the first, then ever later ones.
fn poster_wants(plan: &Plan) -> Vec<Want> {
    let first = plan.parts.iter().position(|p| p.pictures.is_some());
    let slots: Vec<_> = plan.chunks.iter().filter(|c| Some(c.part) == first).flat_map(|c| &c.slots).collect();
    let start = slots.first().map_or(0.0, |s| s.at.seconds());
    let mut wants: Vec<Want> = Vec::new();
    for after in [0.0, 1.0, 3.0, 7.0, 15.0, 31.0, 63.0] {
        let at = slots.iter().find(|s| s.at.seconds() >= start + after);
        let (ns, of) = match at.map(|s| s.show) {
            Some(Picture::At(ns)) => (ns, Vec::new()),
            Some(Picture::Mean(ns)) => (ns, first.map_or(Vec::new(), |p| plan.parts[p].mean(ns))),
            Some(Picture::Card) | None => continue,
        };
        if wants.last().is_none_or(|w| w.ns < ns) {
            wants.push(Want { ns, of, slide: None, region: None, slide_stands: false, poster: true });
        }
    }
    wants
}

/// Runs all jobs, `permits` at a time, and gives sentences on what failed. `Err` where the user stopped it, or the disk is full.
pub async fn run(jobs: Vec<Job>, permits: Arc<tokio::sync::Semaphore>, ctx: &Ctx) -> Result<Vec<String>> {
    let mut set = tokio::task::JoinSet::new();
    for job in jobs {
        let (permits, ctx) = (permits.clone(), ctx.clone());
        set.spawn(async move {
            let Ok(_permit) = permits.acquire().await else { return Ok(()) };
            ctx.check()?;
            let name = job.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            // A still takes 2 s; from one to the next a whole file may have to be decoded.
            let limits = Limits::wall(1800 + 120 * job.wants.len() as u64);
            let subject = format!("{name}, its stills");
            let attempt = || child::run::<_, ()>("stills", &subject, &job, limits, &ctx, |_| {});
            match attempt().await {
                Err(e) if e.kind().retryable() => attempt().await,
                outcome => outcome,
            }
        });
    }
    let mut failed = Vec::new();
    while let Some(ended) = set.join_next().await {
        match ended.map_err(|e| Error::bug("a task broke").caused_by(e))? {
            Err(e) if matches!(e.kind(), Kind::Cancelled | Kind::Limit | Kind::Killed | Kind::Denied) => return Err(e),
            Err(e) => failed.push(format!("stills could not be made: {}", e.what())),
            Ok(()) => {}
        }
    }
    Ok(failed)
}

/// What is worse than it should be although more bytes were given: figures of stills, letters and figures on the floor.
fn weak(plan: &Plan, slides: &[Slide]) -> Vec<String> {
    let mut out = Vec::new();
    let coarse = |s: &&Slide| s.figure_score.is_some_and(|score| score < still::FIGURES);
    if let Some(worst) = slides.iter().filter(coarse).min_by(|a, b| a.figure_score.unwrap_or(0.0).total_cmp(&b.figure_score.unwrap_or(0.0)))
    {
        let (count, score) = (slides.iter().filter(coarse).count(), worst.figure_score.unwrap_or(0.0));
        out.push(format!(
            "{count} slides have figures coarser than they should be (SSIMULACRA2 of {:.0} is the aim); the worst is at {:.1} s with {score:.0}: give it as a handout",
            still::FIGURES,
            worst.start_s
        ));
    }
    if let Some(floor) = &plan.floor {
        if let Some(misread) = floor.misread.filter(|m| *m > search::MISREAD) {
            out.push(format!("on the floor {:.1} % of the letters of a slide are misread that can be read in the source", misread * 100.0));
        }
        if let Some(score) = floor.figure_score.filter(|s| *s < search::FIGURES) {
            out.push(format!("on the floor a figure without text scores {score:.0} (SSIMULACRA2), {:.0} is the aim", search::FIGURES));
        }
    }
    out
}

/// Puts stills, `slides.vtt` and the poster into the package directory `dir`, and what is known of them into `package`. `work` is
/// the plan's work directory.
pub fn place(plan: &Plan, work: &Path, package: &mut Package, dir: &Path) -> Result<()> {
    let names = Names::new(work, tesseract(plan), &plan.language);
    let copy = |from: &Path, to: &str| {
        let to = dir.join(to);
        let bytes = std::fs::read(from).doing(|| format!("cannot read {}", from.display()))?;
        write_whole(&to, |out| out.write_all(&bytes))
    };
    let mut missing = Vec::new();
    let mut unread = Vec::new();
    let mut poster: Option<(usize, usize)> = None;
    for (index, slide) in plan.slides.iter().enumerate() {
        let Some(record) = names.record(index) else {
            missing.push(slide.start);
            continue;
        };
        if let Some(why) = record.unread {
            unread.push((slide.start, why));
        }
        // The most text, and of two alike the first.
        if names.poster_of(index).exists() && poster.is_none_or(|(_, most)| record.text.len() > most) {
            poster = Some((index, record.text.len()));
        }
        let file = file_name(package.slides.len());
        std::fs::create_dir_all(dir.join("slides")).doing(|| format!("cannot make a directory in {}", dir.display()))?;
        copy(&names.picture(index), &file)?;
        // Whole milliseconds: they come back from text as they went in. None is past the lecture's end.
        let seconds = |t: &crate::units::MediaTime| (t.seconds() * 1000.0).floor() / 1000.0;
        package.slides.push(Slide {
            file,
            start_s: seconds(&slide.start),
            end_s: seconds(&slide.end),
            steps_s: slide.steps.iter().map(seconds).collect(),
            title: record.title,
            text: record.text,
            width: record.width,
            height: record.height,
            bytes: record.bytes,
            score: record.score,
            figure_score: record.figure_score,
            x_height_px: record.x_height_px,
        });
    }
    package.chapters = chapters(&package.slides);
    if !package.slides.is_empty() {
        let text = vtt(&package.slides, str::to_string);
        write_whole(&dir.join("slides.vtt"), |out| out.write_all(text.as_bytes()))?;
    }
    let poster = poster.map_or(names.poster(), |(index, _)| names.poster_of(index));
    if poster.exists() {
        copy(&poster, "poster.webp")?;
    }
    if !plan.slides.is_empty() {
        package.warnings.extend(Ocr::open(tesseract(plan), &plan.language).err());
    }
    if let Some(first) = missing.first() {
        package.warnings.push(format!("{} of {} slides have no still, the first at {first}", missing.len(), plan.slides.len()));
    }
    package.warnings.extend(weak(plan, &package.slides));
    if let Some((first, why)) = unread.first() {
        package.warnings.push(format!("{} slides could not be read, the first at {first}: {why}", unread.len()));
    }
    Ok(())
}
