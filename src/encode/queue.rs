//! Keeps the cores full: the voice and all chunks that are not there yet run side by side in child processes. What is
//! finished stays in the work directory whatever happens to the rest.

use super::chunk::{Job, JobChunk};
use super::chunkfile::{self, Health, Part};
use crate::child::{self, Limits};
use crate::error::{Error, Kind, Result};
use crate::pipeline::Fragments;
use crate::plan::{Picture, Plan, Shape};
use crate::probe::{Access, Source, Video};
use crate::progress::{Ctx, Event, Unit};
use crate::workdir::Claim;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// What is left to do for the pictures of a plan: one job a child. `kept` says where each file's analysis left pictures.
pub fn jobs(plan: &Plan, which: Part, sources: &[Source], kept: &[PathBuf], fragments: &Fragments, claim: &Claim) -> Vec<Job> {
    let there = |i: usize, part: Part| chunkfile::open(&chunkfile::path(claim.dir(), part, i)).is_some();
    let missing: Vec<usize> = (0..plan.chunks.len()).filter(|i| !there(*i, which)).collect();
    let mut jobs: Vec<Job> = Vec::new();
    let mut last: Option<(usize, bool)> = None;
    for index in missing {
        let chunk = &plan.chunks[index];
        let part = &plan.parts[chunk.part];
        let sequential = part.pictures == Some(Access::Sequential);
        let piece = JobChunk {
            index,
            first: chunk.segments.0,
            boundaries: plan.boundaries[chunk.segments.0..=chunk.segments.1].to_vec(),
            slots: chunk.slots.iter().filter(|slot| which == Part::Whole || slot.on(0)).copied().collect(),
        };
        // One pass from the start makes all chunks of a file that cannot be sought in.
        if let (Some((before, true)), Some(job)) = (last, jobs.last_mut())
            && sequential
            && before == chunk.part
        {
            job.means.extend(means(part, std::slice::from_ref(&piece)));
            job.chunks.push(piece);
            continue;
        }
        last = Some((chunk.part, sequential));
        jobs.push(Job { part: which, ..job(plan, sources, kept, fragments, claim, chunk.part, vec![piece]) });
    }
    jobs
}

/// The job of making some chunks of one part.
fn job(plan: &Plan, sources: &[Source], kept: &[PathBuf], fragments: &Fragments, claim: &Claim, part: usize, chunks: Vec<JobChunk>) -> Job {
    let part = &plan.parts[part];
    let source = &sources[part.source];
    Job {
        path: source.path.clone(),
        // The pictures are to come in the lecture's colour space, whatever the file's own.
        video: part.pictures.and(source.video.clone()).map(|v| Video { colorimetry: Some(plan.colour.clone()), ..v }),
        sequential: part.pictures == Some(Access::Sequential),
        times: source.untimed.then(|| source.frames_ns.clone()),
        kept: kept.get(part.source).cloned(),
        title: plan.title.clone(),
        colour: plan.colour.clone(),
        lost: None,
        means: means(part, &chunks),
        chunks,
        rungs: plan.rungs.clone(),
        preset: plan.profile.video.preset.clone(),
        fragments: fragments.clone(),
        out: claim.dir().to_path_buf(),
        samples: false,
        part: Part::Whole,
    }
}

/// The means that some chunks show.
fn means(part: &crate::plan::Part, chunks: &[JobChunk]) -> BTreeMap<u64, Vec<u64>> {
    let shown = chunks.iter().flat_map(|c| &c.slots).filter_map(|s| match s.show {
        Picture::Mean(ns) => Some((ns, part.mean(ns))),
        _ => None,
    });
    shown.collect()
}

/// Jobs that make single segments, one job a part and child; `width` children are to share the work.
pub fn samples(
    plan: &Plan,
    segments: &[usize],
    sources: &[Source],
    kept: &[PathBuf],
    fragments: &Fragments,
    claim: &Claim,
    width: usize,
) -> Vec<Job> {
    let mut jobs = Vec::new();
    for part in 0..plan.parts.len() {
        let pieces: Vec<JobChunk> = segments
            .iter()
            .filter(|s| chunkfile::open(&chunkfile::sample_path(claim.dir(), **s)).is_none())
            .filter_map(|&s| {
                let (index, chunk) =
                    plan.chunks.iter().enumerate().find(|(_, c)| c.part == part && (c.segments.0..c.segments.1).contains(&s))?;
                let (start, end) = plan.segment(s);
                let slots = chunk.slots.iter().filter(|slot| (start..end).contains(&slot.at)).copied().collect();
                Some(JobChunk { index, first: s, boundaries: vec![start, end], slots })
            })
            .collect();
        // One pass cannot be shared.
        let share = if plan.parts[part].pictures == Some(Access::Sequential) { pieces.len() } else { pieces.len().div_ceil(width.max(1)) };
        for some in pieces.chunks(share.max(1)) {
            jobs.push(Job { samples: true, ..job(plan, sources, kept, fragments, claim, part, some.to_vec()) });
        }
    }
    jobs
}

/// How many children run side by side: as many as asked, or cores, unless memory is short; then why.
pub fn width(plan: &Plan, sources: &[Source], wanted: Option<usize>) -> (usize, Option<String>) {
    let cores = std::thread::available_parallelism().map(|n| n.get()).unwrap_or(1);
    let wanted = wanted.unwrap_or(cores).max(1);
    match available_memory() {
        Some(free) => fitting(free, crate::plan::chunk_memory(&plan.rungs, sources), wanted),
        None => (wanted, None),
    }
}

/// How many chunks of `each` bytes fit into `free` ones, of those wanted; why, where it is fewer.
fn fitting(free: u64, each: u64, wanted: usize) -> (usize, Option<String>) {
    let fitting = (free / each.max(1)).max(1) as usize;
    if fitting >= wanted {
        return (wanted, None);
    }
    let (free, each) = (crate::units::Bytes(free), crate::units::Bytes(each));
    (fitting, Some(format!("{free} of memory are free and a chunk takes {each}: {fitting} instead of {wanted} at once")))
}

/// MemAvailable of /proc/meminfo (proc(5)), bytes.
fn available_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|l| l.starts_with("MemAvailable:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}

/// Shared by the running children: media seconds done, by job.
struct Tally {
    task: String,
    total_s: f64,
    began: Instant,
    done: Mutex<HashMap<usize, f64>>,
}

impl Tally {
    fn at(&self, job: usize, done_s: f64, ctx: &Ctx) {
        let mut done = self.done.lock().expect("no tallying thread panics");
        done.insert(job, done_s);
        let sum: f64 = done.values().sum();
        drop(done);
        let (task, stage) = (self.task.clone(), "video".into());
        let event = Event::Progress { task, stage, done: sum, earlier: 0.0, total: self.total_s, unit: Unit::MediaSeconds };
        ctx.progress.event(event);
    }
}

/// Runs all jobs, `permits` at a time. A job that crashes is tried once more; one whose file gives no picture at all gets a
/// title card instead, if another gave some. Errors are reported after the others have finished.
pub async fn run(plan: &Plan, jobs: Vec<Job>, permits: Arc<tokio::sync::Semaphore>, ctx: &Ctx) -> Result<()> {
    if jobs.is_empty() {
        return Ok(());
    }
    let seconds = |job: &Job| job.chunks.iter().map(|c| span(&c.boundaries)).sum::<f64>();
    let tally = Arc::new(Tally {
        task: plan.title.clone(),
        total_s: jobs.iter().map(seconds).sum(),
        began: Instant::now(),
        done: Mutex::default(),
    });
    let mut set = tokio::task::JoinSet::new();
    for (number, job) in jobs.into_iter().enumerate() {
        let (permits, ctx, tally) = (permits.clone(), ctx.clone(), tally.clone());
        set.spawn(async move {
            let Ok(_permit) = permits.acquire().await else { return (job, Err(Error::bug("not begun: another part failed"))) };
            if let Err(e) = ctx.check() {
                return (job, Err(e));
            }
            let mut outcome = attempt(&job, number, &tally, &ctx).await;
            if let Err(e) = &outcome
                && e.kind().retryable()
            {
                ctx.warn(format!("{}; trying once more", e.what()));
                outcome = attempt(&job, number, &tally, &ctx).await;
            }
            (job, outcome)
        });
    }
    let mut without_picture = Vec::new();
    let mut first_error: Option<Error> = None;
    while let Some(ended) = set.join_next().await {
        match ended {
            Ok((_, Ok(()))) => {}
            Ok((job, Err(e))) if matches!(e.kind(), Kind::BadMedia | Kind::Crashed) => without_picture.push((job, e)),
            Ok((_, Err(e))) => {
                // A full disk, no memory or a stop is not cured by the other chunks.
                if matches!(e.kind(), Kind::Cancelled | Kind::Limit | Kind::Killed | Kind::Denied | Kind::Usage) {
                    permits.close();
                }
                let outranks = first_error.as_ref().is_none_or(|f| f.kind() == Kind::Bug && e.kind() != Kind::Bug);
                if outranks {
                    first_error = Some(e);
                }
            }
            Err(e) => first_error = first_error.or(Some(Error::bug("a task broke").caused_by(e))),
        }
    }
    if let Some(e) = first_error {
        return Err(e);
    }
    stand_in(plan, without_picture, &tally, ctx).await?;
    ctx.progress.event(Event::Done { task: plan.title.clone(), stage: "video".into(), seconds: tally.began.elapsed().as_secs_f64() });
    Ok(())
}

fn span(boundaries: &[crate::units::MediaTime]) -> f64 {
    boundaries.last().map(|end| end.seconds() - boundaries[0].seconds()).unwrap_or(0.0)
}

/// Makes sample segments, `width` children at a time, and says what each of `segments` came to on every rung: bytes of coded
/// pictures. What fails is left out: the encoder meets it again and tells it better.
pub async fn measure(jobs: Vec<Job>, segments: &[usize], claim: &Claim, width: usize, ctx: &Ctx) -> Result<Vec<(usize, Vec<u64>)>> {
    let permits = Arc::new(tokio::sync::Semaphore::new(width));
    let mut set = tokio::task::JoinSet::new();
    for job in jobs {
        let (permits, ctx) = (permits.clone(), ctx.clone());
        set.spawn(async move {
            let _permit = permits.acquire().await.map_err(|e| Error::bug("the queue is closed").caused_by(e))?;
            let name = job.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let seconds: f64 = job.chunks.iter().map(|c| span(&c.boundaries)).sum();
            let limits = Limits::wall(1200 + 60 * seconds as u64);
            child::run::<_, f64>("chunk", &format!("samples of {name}"), &job, limits, &ctx, |_| ()).await.map(drop)
        });
    }
    while set.join_next().await.is_some() {}
    ctx.check()?;
    let made = |s: &usize| {
        let (file, _) = chunkfile::read(&chunkfile::sample_path(claim.dir(), *s))?;
        let bytes = |r: &chunkfile::RungUnits| r.segments.iter().flatten().map(|(bytes, _)| *bytes as u64).sum();
        Some((*s, file.header.rungs.iter().map(bytes).collect()))
    };
    Ok(segments.iter().filter_map(made).collect())
}

async fn attempt(job: &Job, number: usize, tally: &Tally, ctx: &Ctx) -> Result<()> {
    let name = job.path.file_name().unwrap_or_default().to_string_lossy();
    let (from, to) = (job.chunks[0].boundaries[0], job.chunks[job.chunks.len() - 1].boundaries.last().copied().unwrap_or_default());
    let subject = format!("{name}, {from} to {to}");
    // A slow machine makes a tenth of real time; past that something is wrong.
    let limits = Limits::wall(600 + 60 * (to.seconds() - from.seconds()) as u64);
    let made = child::run::<_, f64>("chunk", &subject, job, limits, ctx, |done| tally.at(number, done, ctx)).await;
    // An encoder knows its rung, and not what it is fed with.
    let made = made.map_err(|e| if e.kind() == Kind::Failed { e.of(&subject) } else { e })?;
    tally.at(number, made, ctx);
    Ok(())
}

/// Chunks whose file gave no picture: cards, unless nothing at all was made.
async fn stand_in(plan: &Plan, jobs: Vec<(Job, Error)>, tally: &Tally, ctx: &Ctx) -> Result<()> {
    let made = |job: &Job| (0..plan.chunks.len()).any(|i| chunkfile::path(&job.out, job.part, i).exists());
    for (mut job, error) in jobs {
        if plan.shape == Shape::Card || !made(&job) {
            let what = format!("no picture of {} can be used", job.path.display());
            return Err(if error.kind() == Kind::Crashed { Error::bad_media(what).caused_by(error) } else { error });
        }
        (job.video, job.lost) = (None, Some(error.what().to_string()));
        job.chunks.retain(|c| !chunkfile::path(&job.out, job.part, c.index).exists());
        for c in &job.chunks {
            ctx.warn(format!("{} to {}: {}; a title card stands in", c.boundaries[0], c.boundaries[c.boundaries.len() - 1], error.what()));
        }
        if !job.chunks.is_empty() {
            attempt(&job, usize::MAX, tally, ctx).await?;
        }
    }
    Ok(())
}

/// The health of all chunks together.
pub fn health(plan: &Plan, part: Part, claim: &Claim) -> Health {
    let mut all = Health::default();
    for i in 0..plan.chunks.len() {
        let Some((file, _)) = chunkfile::read(&chunkfile::path(claim.dir(), part, i)) else { continue };
        let h = file.header.health;
        all.wanted += h.wanted;
        all.missing += h.missing;
        all.damaged += h.damaged;
        all.first_fault_s = all.first_fault_s.or(h.first_fault_s);
        all.fault = all.fault.or(h.fault);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_chunks_run_where_memory_is_short_and_it_is_said() {
        let chunk = 600_000_000;
        assert_eq!(fitting(1_300_000_000, chunk, 2), (2, None));
        let (width, why) = fitting(1_100_000_000, chunk, 2);
        assert_eq!((width, why.as_deref()), (1, Some("1.10 GB of memory are free and a chunk takes 600.00 MB: 1 instead of 2 at once")));
        // One always runs: the kernel may find more than it says.
        assert_eq!(fitting(1_000_000, chunk, 4).0, 1);
    }
}
