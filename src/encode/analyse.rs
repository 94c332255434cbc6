//! The recording's pictures looked at once, before the plan: features for the timeline, and the pictures that slides and screens
//! consist of kept aside, so that nothing is decoded twice for them.

use super::decoder::{Decoded, Decoder, init};
use super::spool::Spool;
use crate::child::{self, Limits, Reporter};
use crate::error::Result;
use crate::picture::{Depth, Frame, Grid, Mean};
use crate::pipeline::Fragments;
use crate::probe::{Source, Video};
use crate::progress::{Ctx, Event, Unit};
use crate::timeline::{Added, Chosen, Features, Likeness, Likenesses, Watcher};
use crate::units::Digest;
use crate::workdir::WorkDir;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    pub path: PathBuf,
    pub video: Video,
    /// Times of all pictures, for a stream that has none of its own.
    pub times: Option<Vec<u64>>,
    /// Pictures that nothing refers to are not decoded.
    pub skip: bool,
    pub fragments: Fragments,
    /// Where features and pictures go.
    pub out: PathBuf,
}

/// Version of what features mean; raised when the same pictures would give others.
const FORMAT: u32 = 6;

/// Pictures are at most this far apart when those are skipped that nothing refers to; else none is.
const DENSE_NS: u64 = 220_000_000;

/// Where the analysis of a recording lies: it depends on its bytes, the way to its pictures, and the tools.
pub fn directory(work: &WorkDir, source: &Source, colour: &str, fragments: &Fragments, gstreamer: &str) -> PathBuf {
    let key = serde_json::json!([FORMAT, source.sha256, source.video, source.untimed, colour, fragments.digest(), gstreamer]);
    work.path().join("analysis").join(Digest::of(key.to_string().as_bytes()).to_string())
}

/// The features of one recording, from the work directory where an earlier run left them. `None`: it has no pictures, or
/// none that decode, which the encoder will tell.
pub async fn features(source: &Source, colour: &str, fragments: &Fragments, out: &Path, ctx: &Ctx) -> Result<Option<Features>> {
    let Some(video) = &source.video else { return Ok(None) };
    let file = out.join("features");
    if let Some(features) = Features::open(&file) {
        return Ok(Some(features));
    }
    // Two runs look at a recording once: the second waits, and finds what the first saw.
    let _claim = crate::workdir::claim(out, ctx).await?;
    if let Some(features) = Features::open(&file) {
        return Ok(Some(features));
    }
    let task = source.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let fps = source.frames_ns.len() as f64 / source.duration_s.max(0.1);
    let mut job = Job {
        path: source.path.clone(),
        video: Video { colorimetry: Some(colour.to_string()), ..video.clone() },
        times: source.untimed.then(|| source.frames_ns.clone()),
        skip: video.codec == "h264" && !video.interlaced && !source.untimed && fps > 18.0,
        fragments: fragments.clone(),
        out: out.to_path_buf(),
    };
    let limits = Limits::wall(600 + 30 * source.duration_s as u64);
    let watch = |done: f64| {
        let (task, stage) = (task.clone(), "analysis".to_string());
        ctx.progress.event(Event::Progress { task, stage, done, earlier: 0.0, total: source.duration_s, unit: Unit::MediaSeconds });
    };
    let began = std::time::Instant::now();
    let mut widest: Result<u64> = child::run("analyse", &task, &job, limits, ctx, watch).await;
    // Sparse references, packets without times, or a crash in a decoder that does not like the gaps: all pictures, then.
    if job.skip && !matches!(&widest, Ok(ns) if *ns <= DENSE_NS) {
        ctx.check()?;
        job.skip = false;
        widest = child::run("analyse", &task, &job, limits, ctx, watch).await;
    }
    match widest {
        Ok(_) => {}
        // The encoder meets the same fault and tells it better: with the span, and with what could be saved.
        Err(e) if matches!(e.kind(), crate::error::Kind::Crashed | crate::error::Kind::BadMedia) => return Ok(None),
        Err(e) => return Err(e),
    }
    ctx.progress.event(Event::Done { task, stage: "analysis".into(), seconds: began.elapsed().as_secs_f64() });
    Ok(Features::open(&file))
}

/// The child's side; the widest gap between pictures that were looked at, nanoseconds. All too wide where pictures were left
/// out of a stream whose decoder must count them: raw H.264, AVI.
pub fn run(job: Job, reporter: &mut Reporter) -> Result<u64> {
    init()?;
    let complaints = crate::gst::count_complaints();
    let mut decoder = Decoder::open(&job.fragments, &job.path, &job.video, None, job.times.clone(), job.skip, &mut || reporter.alive())?;
    let mut watcher = Watcher::default();
    let mut spool = if job.video.plain() { Some(Spool::create(&job.out)?) } else { None };
    // Of the pictures since one differed the spool takes what shows them best.
    let mut span: Option<Likenesses<Decoded>> = None;
    let (mut last, mut widest) = (None, 0);
    while let Some(picture) = decoder.next(&mut || reporter.alive())? {
        let ns = picture.stream_ns;
        // Times that go back are met in damaged files; the plan knows none such.
        if last.is_some_and(|last| ns <= last) {
            continue;
        }
        let mut kept = false;
        picture.view(|view, _| {
            kept = watcher.push(ns, Grid::of(view));
            Ok(())
        })?;
        widest = widest.max(last.map_or(0, |last| ns - last));
        last = Some(ns);
        match &mut span {
            Some(span) if !kept => keep(&mut spool, span.push(ns, picture))?,
            _ => keep(&mut spool, span.replace(Likenesses::new(ns, picture)).and_then(|s| s.end(ns)))?,
        }
        reporter.progress(ns as f64 / 1e9);
        if job.skip && decoder.counted() {
            return Ok(u64::MAX);
        }
        if job.skip && widest > DENSE_NS {
            return Ok(widest);
        }
    }
    keep(&mut spool, span.and_then(|s| s.end(last.unwrap_or(0))))?;
    // What damage is concealed with, in a picture and in all that refer to it, depends on which pictures are decoded: with some left
    // out it is not what the encoder would see.
    match spool {
        Some(spool) if complaints.load(Ordering::Relaxed) > 0 => spool.discard(),
        Some(spool) => spool.finish()?,
        None => {}
    }
    watcher.finish().write(&job.out.join("features"))?;
    Ok(widest)
}

/// What is summed up for a mean; nothing more once a picture came that cannot be in it: the encoder then looks for itself.
#[derive(Default)]
pub struct Sum {
    mean: Mean,
    spoiled: bool,
}

impl Added for Decoded {
    type Sum = Sum;
    fn add(&self, sum: &mut Sum) {
        let added = !self.damaged && !sum.spoiled && self.view(|view, colour| Ok(sum.mean.add(view, colour))).unwrap_or(false);
        sum.spoiled |= !added;
    }
}

/// Puts what was chosen into the spool, if it is whole and of 8 bits.
fn keep(spool: &mut Option<Spool>, chosen: Option<(Likeness, Chosen<Decoded>)>) -> Result<()> {
    let (Some(spool), Some((likeness, chosen))) = (spool, chosen) else { return Ok(()) };
    match chosen {
        Chosen::One(picture) if !picture.damaged => picture.view(|view, colour| match view.depth() {
            Depth::Eight => spool.put(&likeness, || Some((Frame::copy_of(view), colour))),
            _ => Ok(()),
        }),
        Chosen::Mean(sum) if !sum.spoiled => spool.put(&likeness, || sum.mean.frame()),
        _ => Ok(()),
    }
}
