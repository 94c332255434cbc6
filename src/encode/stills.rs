//! The slides of a lecture as pictures to read: the child verb `stills` fetches the planned pictures, reads their text and codes
//! them; what it made stays in the work directory, and [`place`] puts it into the package. A slide that cannot be made is
//! missing, and said so: a lecture never fails for its stills.
//!
//! ```text
//! SlidePlan --jobs--> child: Pictures -> upright frame -> words -> WebP --> still-LANGUAGES-NNNN.{webp,json} --place--> package
//! ```

use super::decoder::{Decoded, Decoder, init};
use super::ocr::{NONE, Ocr};
use super::spool::Kept;
use super::still;
use crate::cache::Cache;
use crate::child::{self, Limits, Reporter};
use crate::error::{Error, Kind, Result, ResultExt};
use crate::legible;
use crate::package::Package;
use crate::package::slides::{Slide, chapters, file_name, vtt};
use crate::picture::{Cascade, Colour, Frame, Look, Plane, Turn, View};
use crate::pipeline::Fragments;
use crate::plan::{Picture, Plan};
use crate::probe::{Access, Source, Video};
use crate::progress::Ctx;
use crate::units::Size;
use crate::workdir::{WorkDir, write_whole};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A reader's screen has no more lines; 1080 lines hold the smallest type of a slide.
const MOST_LINES: f64 = 1080.0;
const POSTER_WIDTH: f64 = 640.0;
/// webpenc's scale; a poster is looked at, not read.
const POSTER_QUALITY: u32 = 54;
/// Stills of one child: short enough for every core to have some, long enough that starting costs little.
const SHARE: usize = 16;
/// From one wanted picture to the next, at a further one seeking costs less than decoding on: most recordings have a keyframe
/// every 2 to 10 s.
const JUMP_NS: u64 = 15_000_000_000;
/// A decoded picture counts as the planned one within this; containers round to milliseconds at worst.
const SAME_NS: u64 = 1_000_000;

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
    /// Stream time of the picture.
    pub(super) ns: u64,
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
        .map(|s| Want { ns: s.still_ns, slide: None, region: s.region, slide_stands: true, poster: false })
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
        let want = Want { ns: slide.still_ns, slide: Some(index), region: slide.region, slide_stands: !slide.moving, poster };
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
        if let Some(Picture::At(ns)) = at.map(|s| s.show)
            && wants.last().is_none_or(|w| w.ns < ns)
        {
            wants.push(Want { ns, slide: None, region: None, slide_stands: false, poster: true });
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
            Err(e) if matches!(e.kind(), Kind::Cancelled | Kind::Limit | Kind::Denied) => return Err(e),
            Err(e) => failed.push(format!("stills could not be made: {}", e.what())),
            Ok(()) => {}
        }
    }
    Ok(failed)
}

/// The child's side.
pub fn make(job: Job, reporter: &mut Reporter) -> Result<()> {
    init()?;
    let names = Names::new(&job.out, &job.tesseract, &job.language);
    let Some(video) = &job.video else {
        let size = Size { width: POSTER_WIDTH as u32, height: 360 };
        let card = super::card::draw(&job.fragments, &job.title, &job.colour, &[size])?;
        let bytes = still::webp(&job.fragments, &card[0], &job.colour, POSTER_QUALITY)?;
        return write_whole(&names.poster(), |out| out.write_all(&bytes));
    };
    let (full, small) = sizes(video);
    let turn = Turn::new(video.rotation, video.mirrored);
    let ocr = Ocr::open(&job.tesseract, &job.language).ok();
    let cache = WorkDir::open(Some(job.work.clone())).ok().map(|w| Cache::new(&w));
    let mut pictures = Pictures::new(&job, video);
    let mut cascade: Option<(Look, Cascade)> = None;
    for (done, want) in job.wants.iter().enumerate() {
        let frames = pictures.show(want.ns, &mut || reporter.alive(), |view, colour| {
            let look = Look { size: view.size(), depth: view.depth(), colour, turn };
            if cascade.as_ref().is_none_or(|(made_for, _)| *made_for != look) {
                cascade = Some((look, Cascade::new(look, &[full, small])));
            }
            cascade.as_mut().expect("made above").1.make(view)
        })?;
        reporter.progress(done as f64 + 1.0);
        let Some(frames) = frames else { continue };
        let (picture, poster) = (&frames[0], &frames[1]);
        if want.poster {
            let path = want.slide.map_or(names.poster(), |slide| names.poster_of(slide));
            let bytes = still::webp(&job.fragments, poster, &job.colour, POSTER_QUALITY)?;
            write_whole(&path, |out| out.write_all(&bytes))?;
        }
        let Some(slide) = want.slide else {
            if is_black(poster) {
                continue;
            }
            break;
        };
        let picture = cut(picture, want.region)?;
        let read = ocr.as_ref().map(|o| o.read(&picture, cache.as_ref(), &mut || reporter.alive()));
        let (words, unread) = match read {
            Some(Ok(words)) => (words, None),
            Some(Err(e)) => (Vec::new(), Some(e.report())),
            None => (Vec::new(), None),
        };
        let coded = match want.slide_stands {
            true => still::code(&job.fragments, &picture, &job.colour, &words, &mut || reporter.alive())?,
            false => still::plain(&job.fragments, &picture, &job.colour, &mut || reporter.alive())?,
        };
        let rounded = |score: f64| (score * 100.0).round() / 100.0;
        let record = Record {
            width: picture.size().width,
            height: picture.size().height,
            bytes: coded.bytes.len() as u64,
            quality: coded.quality,
            score: coded.score.map(rounded),
            figure_score: coded.figure_score.map(rounded),
            title: legible::title(&words, picture.size()),
            text: legible::text(&words),
            x_height_px: legible::smallest_x_height(&words).map(rounded),
            unread,
        };
        let record = serde_json::to_vec(&record).map_err(|e| Error::bug("a still's record does not serialise").caused_by(e))?;
        write_whole(&names.picture(slide), |out| out.write_all(&coded.bytes))?;
        write_whole(&names.still(slide, ".json"), |out| out.write_all(&record))?;
    }
    Ok(())
}

/// Sizes of stills and poster: the picture's own display size, at most 1080 lines, and never enlarged.
fn sizes(video: &Video) -> (Size, Size) {
    let (width, height) = video.display_size();
    let even = |v: f64| ((v / 2.0).round() as u32 * 2).max(2);
    let by = |scale: f64| Size { width: even(width * scale), height: even(height * scale) };
    (by((MOST_LINES / height).min(1.0)), by((POSTER_WIDTH / width).min(1.0)))
}

/// The slide's part of a picture, on even pixels; all of it where there is no region, or none that can be.
fn cut(picture: &Arc<Frame>, region: Option<[f64; 4]>) -> Result<Arc<Frame>> {
    let Some([x, y, width, height]) = region.filter(|r| r.iter().all(|v| v.is_finite())) else { return Ok(picture.clone()) };
    let size = picture.size();
    let even = |v: f64, all: u32| (((v.clamp(0.0, 1.0) * all as f64 / 2.0).round() as u32) * 2).min(all / 2 * 2);
    let (left, top) = (even(x, size.width), even(y, size.height));
    let (right, bottom) = (even(x + width, size.width), even(y + height, size.height));
    /// Less is no slide.
    const LEAST: u32 = 32;
    if right < left + LEAST || bottom < top + LEAST {
        return Ok(picture.clone());
    }
    let plane = |i: usize| {
        let (half, stride) = (u32::from(i > 0), picture.stride(i));
        Plane { data: &picture.plane(i)[(top >> half) as usize * stride + (left >> half) as usize..], stride }
    };
    let view = View::new(crate::picture::Depth::Eight, Size { width: right - left, height: bottom - top }, [plane(0), plane(1), plane(2)])?;
    Ok(Arc::new(Frame::copy_of(&view)))
}

/// Whether hardly anything is to be seen: less than 1 % of the pixels are brighter than a dark grey.
fn is_black(picture: &Frame) -> bool {
    let size = picture.size();
    let bright = picture.view().rows(0).flatten().filter(|y| **y > 48).count();
    bright * 100 < size.width as usize * size.height as usize
}

/// Where the pictures come from: each wanted one is decoded once, in order of time.
pub(super) struct Pictures<'a> {
    job: &'a Job,
    video: &'a Video,
    /// Pictures that the analysis kept need no decoding.
    kept: Option<Kept>,
    decoder: Option<Decoder>,
    /// The next picture that the decoder gave and nobody has used.
    ahead: Option<Decoded>,
    /// Stream time that decoding has come to.
    at: u64,
}

impl<'a> Pictures<'a> {
    pub(super) fn new(job: &'a Job, video: &'a Video) -> Self {
        Pictures { job, video, kept: job.kept.as_deref().and_then(Kept::open), decoder: None, ahead: None, at: 0 }
    }

    /// Hands the picture of stream time `wanted` to `then`; `None` where it cannot be had.
    pub(super) fn show<T>(
        &mut self,
        wanted: u64,
        alive: &mut dyn FnMut(),
        then: impl FnOnce(&View, Colour) -> Result<T>,
    ) -> Result<Option<T>> {
        if let Some((frame, colour)) = self.kept.as_mut().and_then(|kept| kept.get(wanted)) {
            return then(&frame.view(), colour).map(Some);
        }
        let far = wanted > self.at.saturating_add(JUMP_NS) && !self.job.sequential;
        if far || self.decoder.is_none() {
            // The one before lets go of its memory first.
            (self.decoder, self.ahead) = (None, None);
            let from = (!self.job.sequential).then_some(wanted);
            let times = self.job.times.clone();
            self.decoder = Some(Decoder::open(&self.job.fragments, &self.job.path, self.video, from, times, false, alive)?);
        }
        let decoder = self.decoder.as_mut().ok_or_else(|| Error::bug("a decoder vanished"))?;
        loop {
            if self.ahead.is_none() {
                self.ahead = decoder.next(alive)?;
                alive();
            }
            match &self.ahead {
                Some(picture) if picture.stream_ns + SAME_NS < wanted => self.ahead = None,
                _ => break,
            }
        }
        self.at = wanted;
        match self.ahead.as_ref().filter(|p| p.stream_ns <= wanted + SAME_NS && !p.damaged) {
            Some(picture) => picture.view(|view, colour| then(view, colour)).map(Some),
            None => Ok(None),
        }
    }
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
    if let Some((first, why)) = unread.first() {
        package.warnings.push(format!("{} slides could not be read, the first at {first}: {why}", unread.len()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::decoder::launch;
    use gstreamer as gst;
    use gstreamer::prelude::*;

    fn video(width: u32, height: u32, rotation: u16, par: (u32, u32)) -> Video {
        Video {
            track: 0,
            stream_id: "001".into(),
            codec: "mjpeg".into(),
            width,
            height,
            frame_rate: crate::units::FrameRate::new(5, 1).unwrap(),
            variable: false,
            rotation,
            mirrored: false,
            interlaced: false,
            bottom_first: false,
            par,
            bit_depth: 8,
            hdr: None,
            colorimetry: Some("bt709".into()),
        }
    }

    fn size(width: u32, height: u32) -> Size {
        Size { width, height }
    }

    #[test]
    fn stills_have_the_display_size_and_are_never_enlarged() {
        assert_eq!(sizes(&video(1280, 720, 0, (1, 1))), (size(1280, 720), size(640, 360)));
        assert_eq!(sizes(&video(3840, 2160, 0, (1, 1))), (size(1920, 1080), size(640, 360)));
        assert_eq!(sizes(&video(1440, 1080, 0, (4, 3))), (size(1920, 1080), size(640, 360)));
        assert_eq!(sizes(&video(1920, 1080, 90, (1, 1))), (size(608, 1080), size(640, 1138)));
        assert_eq!(sizes(&video(160, 120, 0, (1, 1))), (size(160, 120), size(160, 120)));
    }

    #[test]
    fn a_region_is_cut_on_even_pixels_and_nonsense_is_the_whole() {
        let mut frame = Frame::new(size(200, 100));
        let stride = frame.stride(0);
        frame.plane_mut(0).iter_mut().enumerate().for_each(|(i, v)| *v = (i % stride) as u8);
        let frame = Arc::new(frame);
        let part = cut(&frame, Some([0.25, 0.1, 0.5, 0.8])).unwrap();
        assert_eq!((part.size(), part.plane(0)[0], part.plane(0)[99]), (size(100, 80), 50, 149));
        for region in [[f64::NAN; 4], [2.0, 2.0, 1.0, 1.0], [0.0, 0.0, 0.01, 1.0], [0.9, 0.9, -1.0, -1.0]] {
            assert_eq!(cut(&frame, Some(region)).unwrap().size(), frame.size(), "{region:?}");
        }
    }

    /// Four seconds black, then four of a slide with a title, five pictures a second.
    fn film(dir: &Path) -> PathBuf {
        init().unwrap();
        let path = dir.join("film.mov");
        let source = "num-buffers=20 ! video/x-raw,format=I420,width=640,height=360,framerate=5/1,colorimetry=bt709";
        let graph = launch(&format!(
            "concat name=c ! jpegenc quality=95 ! qtmux ! filesink location={} videotestsrc pattern=black {source} ! c. \
             videotestsrc pattern=white {source} ! textoverlay text=\"Insulin\" font-desc=\"DejaVu Sans 40\" color=0xff000000 \
             draw-outline=false draw-shadow=false valignment=top ! c.",
            path.display()
        ))
        .unwrap();
        graph.set_state(gst::State::Playing).unwrap();
        let ended = graph.bus().unwrap().timed_pop_filtered(gst::ClockTime::from_seconds(60), &[gst::MessageType::Eos]);
        assert!(ended.is_some());
        graph.set_state(gst::State::Null).unwrap();
        path
    }

    fn job(dir: &Path, path: &Path, wants: Vec<Want>) -> Job {
        Job {
            kept: None,
            path: path.into(),
            video: Some(video(640, 360, 0, (1, 1))),
            sequential: true,
            times: None,
            title: "t".into(),
            colour: "bt709".into(),
            wants,
            language: "en".into(),
            tesseract: super::super::ocr::look(),
            fragments: Fragments::built_in(),
            work: dir.join("work"),
            out: dir.into(),
        }
    }

    #[test]
    fn a_planned_slide_becomes_a_still_that_was_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = film(dir.path());
        let slide = |slide, ns| Want { ns, slide: Some(slide), region: None, slide_stands: true, poster: slide == 0 };
        // The last is after the end: it is missing, and the others are there.
        let job = job(dir.path(), &path, vec![slide(0, 5_000_000_000), slide(1, 6_000_000_000), slide(2, 99_000_000_000)]);
        let names = Names::new(&job.out, &job.tesseract, &job.language);
        make(job.clone(), &mut Reporter::of_test()).unwrap();
        let record = names.record(0).unwrap();
        assert_eq!((record.width, record.height), (640, 360));
        assert!(record.score.is_none_or(|s| s >= 60.0), "{record:?}");
        if job.tesseract != NONE {
            assert_eq!(record.title.as_deref(), Some("Insulin"));
            assert_eq!(record.text, "Insulin");
        }
        assert!(names.poster_of(0).exists() && !names.poster_of(1).exists());
        assert!(names.record(1).is_some() && names.record(2).is_none());
        // The same bytes again.
        let before = std::fs::read(names.picture(0)).unwrap();
        make(job.clone(), &mut Reporter::of_test()).unwrap();
        assert_eq!(std::fs::read(names.picture(0)).unwrap(), before);
    }

    #[test]
    fn a_poster_is_not_black_where_that_can_be() {
        let dir = tempfile::tempdir().unwrap();
        let path = film(dir.path());
        let want = |ns| Want { ns, slide: None, region: None, slide_stands: false, poster: true };
        let job = job(dir.path(), &path, vec![want(0), want(1_000_000_000), want(7_000_000_000)]);
        make(job.clone(), &mut Reporter::of_test()).unwrap();
        let bytes = std::fs::read(job.out.join("still-poster.webp")).unwrap();
        let mut decoder = image_webp::WebPDecoder::new(std::io::Cursor::new(bytes)).unwrap();
        let mut data = vec![0; decoder.output_buffer_size().unwrap()];
        decoder.read_image(&mut data).unwrap();
        assert!(data[data.len() - 1] > 200);
    }
}
