//! Recording -> package: the effects. Media work runs in children ([`chunk`], [`voice`]); [`queue`] keeps the cores full and
//! leaves finished chunks in the work directory, [`assemble`] turns them into a package that appears whole or not at all.

pub mod analyse;
pub mod assemble;
mod card;
pub mod chunk;
pub mod chunkfile;
mod commit;
mod decoder;
mod encoder;
pub mod fingerprint;
pub mod ocr;
pub mod pipelines;
pub mod queue;
mod reel;
pub mod search;
mod spool;
pub mod still;
pub mod stills;
pub mod voice;

use crate::cache::Cache;
use crate::captions::{Captions, Fitted};
use crate::error::{Error, ErrorLine, Kind, Result, ResultExt};
use crate::package::{Loudness, Package, RecordingRef};
use crate::pipeline::Fragments;
use crate::plan::{Plan, Request};
use crate::probe::Source;
use crate::profile::Profile;
use crate::progress::Ctx;
use crate::units::{Digest, MediaTime};
use crate::voice as sound;
use crate::voice::units::Units;
use crate::workdir::{Claim, WorkDir};
use chunkfile::Part;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What is to be encoded, and with what.
#[derive(Clone)]
pub struct Encode {
    /// The recording's files in order.
    pub recordings: Vec<PathBuf>,
    pub profile: Profile,
    pub fragments: Fragments,
    /// Shown on the card of a recording without pictures, and in package.json.
    pub title: String,
    /// BCP 47.
    pub language: String,
    /// Seconds of the joined recording that are kept.
    pub trim: Option<(f64, f64)>,
    /// On the joined recording's clock, before the trim; a language once.
    pub captions: Vec<Captions>,
    /// Children side by side; as many as cores where `None`.
    pub jobs: Option<usize>,
}

/// A plan and what it was made from.
pub struct Decided {
    pub plan: Plan,
    pub sources: Vec<Source>,
    /// Where each recording's analysis lies.
    pub seen: Vec<PathBuf>,
}

/// What `plan` tells of a recording that is not encoded yet.
pub struct Foretold {
    /// Without the rungs of `left_out`.
    pub plan: Plan,
    /// Sentences: rungs that will come out dearer than the one above them.
    pub left_out: Vec<String>,
    /// How loud its voice is; `None` without one, and where it could not be measured.
    pub heard: Option<sound::Measured>,
}

/// A package that is in place.
pub struct Done {
    pub package: Package,
    pub dir: PathBuf,
    /// A part of the recording was lost; `package.warnings` says which.
    pub partial: bool,
    /// Keeps the work directory, and a package in it, from being freed while this lives.
    pub claim: Claim,
}

impl Encode {
    /// Probes the recording and decides, without encoding.
    pub async fn plan(&self, work: &WorkDir, ctx: &Ctx) -> Result<Decided> {
        let cache = Cache::new(work);
        let mut sources = Vec::new();
        for path in &self.recordings {
            sources.push(crate::probe::known(path, &cache, ctx).await?);
        }
        crate::plan::within_limits(&self.profile, &sources)?;
        let fingerprint = fingerprint::fingerprint(ctx).await?;
        let colour = crate::plan::colour(&sources);
        let (mut features, mut seen) = (Vec::new(), Vec::new());
        for source in &sources {
            let gstreamer = fingerprint.get("gstreamer").map(String::as_str).unwrap_or_default();
            let dir = analyse::directory(work, source, colour, &self.fragments, gstreamer);
            features.push(analyse::features(source, colour, &self.fragments, &dir, ctx).await?);
            seen.push(dir);
        }
        let mut request = Request {
            sources: &sources,
            features: &features,
            profile: &self.profile,
            pipelines: self.fragments.digest(),
            fingerprint,
            title: self.title.clone(),
            language: self.language.clone(),
            trim: self.trim,
            floor: None,
            captions: self.captions.iter().map(|c| (c.language.clone(), c.sha256)).collect(),
        };
        let plan = crate::plan::plan(&request)?;
        // How coarse the floor may be is found on some of the slides that this plan has, then decided in a plan of its own.
        let key = seen.iter().map(|d| d.display().to_string()).collect::<Vec<_>>().join(" ");
        let samples = |slides: &[usize]| stills::sample_job(&plan, slides, &sources, &seen, &self.fragments, work);
        request.floor = search::search(&plan, samples, work, &key, ctx).await?.map(|f| crate::plan::Floor {
            crf: f.crf,
            misread: f.misread,
            figure_score: f.figure_score,
            samples: f.samples,
        });
        let plan = if request.floor.is_some() { crate::plan::plan(&request)? } else { plan };
        Ok(Decided { plan, sources, seen })
    }

    /// The plan, how loud the voice is, and bytes predicted from segments that are really made: what these cost is saved
    /// when the lecture is encoded. `quick`: nothing is made or measured, and of the voice is told what is known already.
    pub async fn foretold(&self, quick: bool, work: &WorkDir, ctx: &Ctx) -> Result<Foretold> {
        let Decided { mut plan, sources, seen } = self.plan(work, ctx).await?;
        if quick {
            let heard = sound::known(&work.plan(&plan.work)).filter(|_| plan.voice);
            return Ok(Foretold { plan, left_out: Vec::new(), heard });
        }
        let claim = work.claim(&plan.work, ctx).await?;
        let record =
            serde_json::to_vec_pretty(&summary(&plan, &sources)).map_err(|e| Error::bug("a plan does not serialise").caused_by(e))?;
        crate::workdir::write_whole(&claim.dir().join("plan.json"), |out| out.write_all(&record))?;
        let heard = match plan.voice {
            true => self.heard(&plan, &sources, claim.dir(), ctx).await?,
            false => None,
        };
        let segments = crate::plan::samples(&plan);
        let (width, why) = queue::width(&plan, &sources, self.jobs);
        why.into_iter().for_each(|w| ctx.note(w));
        let jobs = queue::samples(&plan, &segments, &sources, &seen, &self.fragments, &claim, width);
        let measured = queue::measure(jobs, &segments, &claim, width, ctx).await?;
        crate::plan::from_samples(&mut plan, &measured);
        let left_out = crate::plan::leave_out(&mut plan);
        Ok(Foretold { plan, left_out, heard })
    }

    /// The plan, and where its package lies complete in the work directory.
    pub async fn expected(&self, work: &WorkDir, ctx: &Ctx) -> Result<(Plan, Option<PathBuf>)> {
        let plan = self.plan(work, ctx).await?.plan;
        let dir = work.plan(&plan.work).join(place(Part::Whole));
        crate::offload::blocking(move || {
            let there = commit::already_there(&dir, &plan)?.is_some();
            Ok((plan, there.then_some(dir)))
        })
        .await
    }

    /// The whole way to a package at `out`, or in the plan's work directory. What an earlier run finished is used.
    pub async fn run(&self, work: &WorkDir, out: Option<&Path>, ctx: &Ctx) -> Result<Done> {
        out.map(|out| commit::refuse_foreign(out, &self.recordings)).transpose()?;
        let decided = self.plan(work, ctx).await?;
        let claim = work.claim(&decided.plan.work, ctx).await?;
        self.make(decided, Part::Whole, work, claim, out, ctx).await
    }

    /// A package of the lowest rung alone, with voice, slides and `floor.mp4`, in the plan's work directory; [`Encode::run`]
    /// then takes its pictures from there. `None` where the whole is there already, has no other rung, or lasts less than
    /// `least_s` seconds.
    pub async fn floor(&self, work: &WorkDir, least_s: f64, ctx: &Ctx) -> Result<Option<Done>> {
        let mut decided = self.plan(work, ctx).await?;
        let claim = work.claim(&decided.plan.work, ctx).await?;
        let short = decided.plan.duration().seconds() < least_s || decided.plan.rungs.len() < 2;
        if short || commit::already_there(&claim.dir().join(place(Part::Whole)), &decided.plan)?.is_some() {
            return Ok(None);
        }
        decided.plan.rungs.truncate(1);
        decided.plan.digest = Digest::of(format!("the floor of {}", decided.plan.digest).as_bytes());
        self.make(decided, Part::Floor, work, claim, None, ctx).await.map(Some)
    }

    async fn make(&self, decided: Decided, part: Part, work: &WorkDir, claim: Claim, out: Option<&Path>, ctx: &Ctx) -> Result<Done> {
        let Decided { plan, sources, seen } = decided;
        let inside = claim.dir().join(place(part));
        let out = out.unwrap_or(&inside);
        if let Some(package) = commit::already_there(out, &plan)? {
            ctx.note(format!("{} is complete already", out.display()));
            let dir = out.to_path_buf();
            return Ok(Done { partial: package.partial, package, dir, claim });
        }
        free_disk(&plan, &claim, out)?;
        let record =
            serde_json::to_vec_pretty(&summary(&plan, &sources)).map_err(|e| Error::bug("a plan does not serialise").caused_by(e))?;
        crate::workdir::write_whole(&claim.dir().join("plan.json"), |out| out.write_all(&record))?;
        for line in plan.repairs.iter().map(|r| format!("repairing: {r}")) {
            ctx.note(line);
        }
        for (_, fitted) in self.fitted(&plan) {
            fitted.repairs.iter().for_each(|r| ctx.note(format!("repaired {r}")));
        }

        let (width, why) = queue::width(&plan, &sources, self.jobs);
        why.into_iter().for_each(|w| ctx.note(w));
        let permits = Arc::new(tokio::sync::Semaphore::new(width));
        // The voice goes first: it is one long job, and nothing can be heard without it.
        let first = permits.clone().acquire_owned().await.map_err(|e| Error::bug("the queue is closed").caused_by(e))?;
        let jobs = queue::jobs(&plan, part, &sources, &seen, &self.fragments, &claim);
        let pictures = queue::run(&plan, jobs, permits.clone(), ctx);
        // Beside the chunks: a slide is read by one thread while they fill the other cores.
        let stills = stills::run(stills::jobs(&plan, &sources, &seen, &self.fragments, claim.dir(), work), permits.clone(), ctx);
        let voice = async {
            let made = self.voice(&plan, &sources, claim.dir(), ctx).await;
            drop(first);
            if made.is_err() {
                // Without its voice the lecture is not worth hours of pictures; those in flight are kept.
                permits.close();
            }
            made
        };
        let (pictures, voice, stills) = tokio::join!(pictures, voice, stills);
        let voices = voice?;
        pictures?;
        let stills = stills?;

        let health = queue::health(&plan, part, &claim);
        let mut warnings = plan.problems.clone();
        warnings.extend(voices.warnings);
        warnings.extend(health.warning());
        warnings.extend(stills);
        let partial = health.warning().is_some() || voices.lost || sources.iter().any(|s| s.partial);
        let package = Package {
            format: 1,
            tool: format!("rivulet {}", env!("CARGO_PKG_VERSION")),
            plan: plan.digest,
            title: plan.title.clone(),
            duration_s: plan.duration().seconds(),
            recordings: sources.iter().map(reference).collect(),
            profile: plan.profile.name.clone(),
            preset: plan.profile.video.preset.clone(),
            fingerprint: plan.fingerprint.clone(),
            shape: serde_json::to_value(plan.shape).ok().and_then(|s| s.as_str().map(str::to_string)).unwrap_or_default(),
            target_duration_s: 0,
            boundaries_s: plan.boundaries.iter().map(|b| b.seconds()).collect(),
            rungs: Vec::new(),
            voices: Vec::new(),
            captions: Vec::new(),
            loudness: None,
            slides: Vec::new(),
            chapters: Vec::new(),
            files: Default::default(),
            left_out: Vec::new(),
            deviations: Vec::new(),
            repairs: plan.repairs.clone(),
            warnings,
            partial,
        };
        let dir = claim.dir().to_path_buf();
        let out = out.to_path_buf();
        let cancelled = ctx.cancel.clone();
        let captions = self.fitted(&plan);
        let package = tokio::task::spawn_blocking({
            let out = out.clone();
            move || {
                if cancelled.is_cancelled() {
                    return Err(Error::new(Kind::Cancelled, "stopped").hint("run the same command again: it goes on from what is finished"));
                }
                commit::build(&out, &plan.digest, |stage| {
                    assemble::assemble(&plan, part, &dir, voices.units, voices.loudness, &captions, package, stage)
                })
            }
        })
        .await
        .map_err(|e| Error::bug("assembling broke").caused_by(e))??;
        package.warnings.iter().for_each(|w| ctx.warn(w.clone()));
        Ok(Done { partial: package.partial, package, dir: out, claim })
    }

    /// The captions on the plan's clock, each with what it was made of.
    fn fitted(&self, plan: &Plan) -> Vec<(Captions, Fitted)> {
        let from_ms = (self.trim.map_or(0.0, |t| t.0).max(0.0) * 1000.0).round() as u64;
        let length_ms = plan.duration().to_ns() / 1_000_000;
        self.captions.iter().map(|c| (c.clone(), c.fit(from_ms, length_ms))).collect()
    }

    /// How loud the voice is; only what was cancelled fails.
    async fn heard(&self, plan: &Plan, sources: &[Source], dir: &Path, ctx: &Ctx) -> Result<Option<sound::Measured>> {
        match sound::loudness(&self.voice_job(plan, sources), dir, ctx).await {
            Ok(measured) => Ok(Some(measured)),
            Err(e) if e.kind() == Kind::Cancelled => Err(e),
            // The plan holds without; `encode` meets the same fault, and does not.
            Err(e) => {
                ctx.warn(format!("how loud the voice of {} is could not be measured: {}", plan.title, ErrorLine::from(&e).in_a_line()));
                Ok(None)
            }
        }
    }

    fn voice_job(&self, plan: &Plan, sources: &[Source]) -> sound::VoiceJob {
        let part = |p: &crate::plan::Part| {
            Some(sound::Part {
                path: sources[p.source].path.clone(),
                track: p.voice?,
                stream_id: sources[p.source].audio[p.voice?].stream_id.clone(),
                start_ns: p.from_ns,
                end_ns: p.to_ns,
                offset_ns: p.offset.to_ns(),
            })
        };
        let settings = &plan.profile.voice;
        sound::VoiceJob {
            task: plan.title.clone(),
            parts: plan.parts.iter().filter_map(part).collect(),
            total_ns: plan.duration().to_ns(),
            opus: Some(sound::OpusSettings { bitrate: settings.opus.bitrate, frame_ms: settings.opus.packet_ms }),
            aac: Some(sound::AacSettings { bitrate: settings.aac.bitrate, rate_hz: settings.aac.rate_hz }),
            fragments: self.fragments.clone(),
        }
    }

    async fn voice(&self, plan: &Plan, sources: &[Source], dir: &Path, ctx: &Ctx) -> Result<Voices> {
        if !plan.voice {
            return Ok(Voices::default());
        }
        let made = sound::voice(&self.voice_job(plan, sources), dir, ctx).await?;
        let units = [made.opus, made.aac].into_iter().flatten().map(|p| Units::open(&p)).collect::<Result<Vec<_>>>()?;
        Ok(Voices { units, loudness: Some(made.loudness), warnings: made.warnings, lost: made.lost })
    }
}

/// Where a package lies in its plan's work directory.
fn place(part: Part) -> &'static str {
    match part {
        Part::Whole => "package",
        Part::Floor => "floor",
    }
}

/// Reads an author's captions file whole.
pub fn read_captions(language: &str, path: &Path) -> Result<Captions> {
    use std::io::Read;
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).doing(|| format!("cannot read {}", path.display()))?;
    file.take(crate::captions::MOST_BYTES as u64 + 1).read_to_end(&mut bytes).doing(|| format!("cannot read {}", path.display()))?;
    crate::captions::read(language, &file_name(path), &bytes)
}

/// The voice of a lecture in every codec; nothing where the recording is silent.
#[derive(Default)]
struct Voices {
    units: Vec<Units>,
    loudness: Option<Loudness>,
    warnings: Vec<String>,
    /// Sound that the recording should have is missing.
    lost: bool,
}

fn reference(source: &Source) -> RecordingRef {
    RecordingRef { name: file_name(&source.path), sha256: source.sha256, bytes: source.bytes }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// What `clean` shows of a work directory.
fn summary(plan: &Plan, sources: &[Source]) -> serde_json::Value {
    serde_json::json!({
        "title": plan.title,
        "recordings": sources.iter().map(|s| file_name(&s.path)).collect::<Vec<_>>(),
        "profile": plan.profile.name,
        "duration_s": plan.duration().seconds(),
        "chunks": plan.chunks.len(),
    })
}

/// Chunks and package are about what was predicted; twice that and something to spare must be free, less what is there.
fn free_disk(plan: &Plan, claim: &Claim, out: &Path) -> Result<()> {
    let predicted: u64 = plan.rungs.iter().map(|r| r.predicted_bytes).sum::<u64>() + (plan.duration().seconds() * 10_000.0) as u64;
    let there: u64 =
        std::fs::read_dir(claim.dir()).into_iter().flatten().flatten().filter_map(|e| e.metadata().ok()).map(|m| m.len()).sum();
    let need = (predicted * 2).saturating_sub(there) + (64 << 20);
    let existing = out.ancestors().find(|p| p.exists() && !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    for path in [claim.dir(), existing] {
        let free = crate::workdir::free_bytes(path)?;
        if free < need {
            let bytes = crate::units::Bytes;
            return Err(Error::new(
                Kind::Limit,
                format!("{} are free at {}, about {} are needed", bytes(free), path.display(), bytes(need)),
            )
            .hint("`rivulet clean` shows and frees what the work directory holds"));
        }
    }
    Ok(())
}

impl chunkfile::Health {
    /// One line on what of the pictures was lost; `None` where nothing was.
    fn warning(&self) -> Option<String> {
        (self.missing + self.damaged > 0).then(|| {
            let from = self.first_fault_s.map(|s| format!(", the first at {}", MediaTime::from_seconds(s))).unwrap_or_default();
            let why = self.fault.as_ref().map(|f| format!(" ({f})")).unwrap_or_default();
            format!(
                "pictures were lost: of {} planned, {} could not be decoded and {} are damaged{from}; the one before stands in{why}",
                self.wanted, self.missing, self.damaged
            )
        })
    }
}
