//! Profile x Source -> Plan: one pure decision before any work. A plan says exactly which picture of the recording is shown
//! when, where segments begin, which rungs are made, and what it will cost.

mod cadence;
mod ladder;
mod memory;
mod predict;
mod schedule;
mod slides;

pub use ladder::{Cadence, Effort, RungPlan, colour};
pub use memory::chunk as chunk_memory;
pub use predict::{Weight, from_samples, leave_out, samples};
pub use schedule::{Chunk, Part, Picture, Slot};
pub use slides::SlidePlan;

use crate::error::{Error, Kind, Result};
use crate::probe::Source;
use crate::profile::Profile;
use crate::timeline::{Features, Timeline};
use crate::units::{Digest, MediaTime};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is asked for: everything that a plan depends on.
pub struct Request<'a> {
    /// The recording's files in order.
    pub sources: &'a [Source],
    /// What was seen in each file's pictures; `None` where nothing could be.
    pub features: &'a [Option<Features>],
    pub profile: &'a Profile,
    /// Digest of the pipeline texts.
    pub pipelines: Digest,
    /// Versions of the tools that make bytes.
    pub fingerprint: BTreeMap<String, String>,
    pub title: String,
    /// BCP 47.
    pub language: String,
    /// Seconds of the joined recording that are kept; all where `None`.
    pub trim: Option<(f64, f64)>,
    /// What was found about the floor of a slide lecture; the profile's CRF holds where `None`.
    pub floor: Option<Floor>,
    /// Digest of the author's captions file by language.
    pub captions: BTreeMap<String, Digest>,
}

/// How coarse the floor may be, and the evidence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Floor {
    pub crf: u32,
    /// Of the slides that were looked at, the worst: letters misread more than in the source, as a share; absent without text.
    pub misread: Option<f64>,
    /// SSIMULACRA2 of the worst figure without text.
    pub figure_score: Option<f64>,
    /// How many slides were looked at.
    pub samples: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Same digest, same package, to the byte.
    pub digest: Digest,
    /// Names the work directory: all that coded pictures and voice depend on. A corrected title makes a new package of the
    /// same work.
    pub work: Digest,
    pub title: String,
    pub language: String,
    /// `slides`: every rung can be read, low ones show fewer pictures. `motion`: low rungs lose size. `card`: sound only, over
    /// a title card.
    pub shape: Shape,
    pub profile: Profile,
    pub fingerprint: BTreeMap<String, String>,
    pub parts: Vec<Part>,
    /// Lowest first.
    pub rungs: Vec<RungPlan>,
    /// `bt709` or `bt601`: the colour space of every rung from start to end (Apple 1.21), that of the first pictures.
    pub colour: String,
    /// Start of every segment, and the end of the last.
    pub boundaries: Vec<MediaTime>,
    pub chunks: Vec<Chunk>,
    /// In order of time; none where the recording shows none.
    pub slides: Vec<SlidePlan>,
    pub floor: Option<Floor>,
    /// Whether the recording has a voice.
    pub voice: bool,
    pub predicted_cpu_s: f64,
    /// What makes each segment large.
    pub weights: Vec<Weight>,
    /// What the parts show.
    pub timelines: Vec<Timeline>,
    pub repairs: Vec<String>,
    /// What the package will have to say of the recording's faults.
    pub problems: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    Slides,
    Motion,
    Card,
}

impl Plan {
    pub fn duration(&self) -> MediaTime {
        self.boundaries.last().copied().unwrap_or_default()
    }
    pub fn segments(&self) -> usize {
        self.boundaries.len().saturating_sub(1)
    }
    /// Files and bytes of the package that it is going to be, with so many captions: roughly.
    pub fn package(&self, captions: usize) -> (u64, u64) {
        predict::package(self, captions)
    }
    /// Start and end of segment `i`.
    pub fn segment(&self, i: usize) -> (MediaTime, MediaTime) {
        (self.boundaries[i], self.boundaries[i + 1])
    }
}

/// Decides. Errors: over a stated limit (`Unsupported`), nothing to show or hear (`BadMedia`), bad trim (`Usage`).
pub fn plan(request: &Request) -> Result<Plan> {
    let profile = request.profile;
    within_limits(profile, request.sources)?;
    let mut parts = schedule::parts(request.sources, request.trim)?;
    let timelines: Vec<Timeline> = parts
        .iter()
        .map(|p| request.features[p.source].as_ref().map(|f| crate::timeline::read(f, p.from_ns, p.to_ns)).unwrap_or_default())
        .collect();
    parts.iter_mut().zip(&timelines).for_each(|(part, timeline)| part.take_means(timeline, &request.sources[part.source]));
    let shape = shape(profile, request.sources, &parts, &timelines);
    let mut rungs = ladder::rungs(profile, request.sources, shape);
    if let (Shape::Slides, Some(floor), Some(rung)) = (shape, &request.floor, rungs.first_mut()) {
        rung.crf = floor.crf;
    }
    let layouts = parts.iter().zip(&timelines).map(|(part, timeline)| schedule::Layout {
        profile,
        shape,
        rungs: &rungs,
        source: &request.sources[part.source],
        features: request.features[part.source].as_ref(),
        timeline,
        part,
    });
    let (boundaries, chunks) = schedule::schedule(layouts);
    ladder::settle(&mut rungs, &boundaries, &chunks);
    memory::bound(&mut rungs, request.sources);
    let weights = parts
        .iter()
        .flat_map(|part| {
            let cuts: Vec<_> = boundaries.iter().copied().filter(|b| (part.offset..=part.end()).contains(b)).collect();
            predict::weights(request.features[part.source].as_ref(), part, &cuts)
        })
        .collect();
    let slides = slides::slides(&parts, &timelines);
    let voice = parts.iter().any(|p| p.voice.is_some());
    let mut plan = Plan {
        digest: Digest::of(b""),
        work: Digest::of(b""),
        title: request.title.clone(),
        language: request.language.clone(),
        shape,
        profile: profile.clone(),
        fingerprint: request.fingerprint.clone(),
        parts,
        rungs,
        colour: ladder::colour(request.sources).into(),
        boundaries,
        chunks,
        slides,
        floor: request.floor.clone(),
        voice,
        predicted_cpu_s: 0.0,
        weights,
        timelines,
        repairs: gather(request.sources, |s| &s.repairs),
        problems: gather(request.sources, |s| &s.problems),
    };
    (plan.work, plan.digest) = digests(request, &plan);
    predict::predict(&mut plan, request.sources);
    Ok(plan)
}

/// Seconds of pictures, and lines of each, below which nothing is a slide lecture: what stands for a moment costs a rate that no
/// thin link carries, and letters in so few lines cannot be read.
const LEAST_SLIDES_S: f64 = 4.0;
const LEAST_SLIDES_LINES: f64 = 300.0;

/// Slides, where they stand for most of the time that has pictures, and are large enough to be read.
fn shape(profile: &Profile, sources: &[Source], parts: &[Part], timelines: &[Timeline]) -> Shape {
    let (mut seen, mut slides) = (0.0, 0.0);
    let mut lines: f64 = 0.0;
    for (part, timeline) in parts.iter().zip(timelines).filter(|(p, _)| p.pictures.is_some()) {
        let length = part.end().since(part.offset) as f64;
        seen += length;
        slides += length * timeline.slide_share;
        let (width, height) = sources[part.source].video.as_ref().map_or((0.0, 0.0), |v| v.display_size());
        lines = lines.max(width.min(height));
    }
    let room = seen >= LEAST_SLIDES_S * MediaTime::HZ as f64 && lines >= LEAST_SLIDES_LINES;
    match seen > 0.0 {
        false => Shape::Card,
        true if room && slides >= seen * profile.slides.share => Shape::Slides,
        true => Shape::Motion,
    }
}

/// Refuses (`Unsupported`) what the profile does not want to decode; called before the first picture is looked at, too.
pub fn within_limits(profile: &Profile, sources: &[Source]) -> Result<()> {
    let limits = &profile.video;
    let name = &profile.name;
    let hours: f64 = sources.iter().map(|s| s.duration_s).sum::<f64>() / 3600.0;
    if hours > limits.most_hours {
        return Err(Error::new(
            Kind::Unsupported,
            format!("the recording lasts {hours:.1} h; profile {name} accepts {} h", limits.most_hours),
        )
        .hint("cut the recording, or raise video.most_hours in a profile of your own"));
    }
    for source in sources {
        let Some(video) = &source.video else { continue };
        let rate = video.width as f64 * video.height as f64 * video.frame_rate.fps() / 1e6;
        if rate > limits.most_megapixels_per_second {
            return Err(Error::new(
                Kind::Unsupported,
                format!(
                    "{}: {}x{} at {} pictures/s is {rate:.0} million pixels a second to decode, over the limit of {} of profile {name}",
                    source.path.display(),
                    video.width,
                    video.height,
                    video.frame_rate,
                    limits.most_megapixels_per_second
                ),
            )
            .hint("record at 1080p or 4K30 at most, or raise video.most_megapixels_per_second in a profile of your own"));
        }
    }
    Ok(())
}

fn gather(sources: &[Source], of: impl Fn(&Source) -> &Vec<String>) -> Vec<String> {
    let many = sources.len() > 1;
    let name = |s: &Source| s.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    sources.iter().flat_map(|s| of(s).iter().map(move |line| if many { format!("{}: {line}", name(s)) } else { line.clone() })).collect()
}

/// Version of what plans and chunk files mean; raised when the same request would give other bytes.
const FORMAT: u32 = 1;

/// The digests of the work and of the package. What was decided is covered as well as what was asked for: a probe that finds
/// other pictures or a missing decoder must not meet the chunks of another decision.
fn digests(request: &Request, plan: &Plan) -> (Digest, Digest) {
    let recordings: Vec<_> = request.sources.iter().map(|s| s.sha256).collect();
    let card = plan.parts.iter().any(|p| p.pictures.is_none()).then_some(&request.title);
    let work = serde_json::json!({
        "format": FORMAT,
        "recordings": recordings,
        "profile": request.profile.digest(),
        "pipelines": request.pipelines,
        "fingerprint": request.fingerprint,
        "decided": [
            told(&plan.parts),
            told(&plan.rungs),
            told(&plan.colour),
            told(&plan.boundaries),
            told(&plan.chunks),
            told(&plan.slides),
            told(&plan.voice),
        ],
        "card": card,
    });
    let work = Digest::of(work.to_string().as_bytes());
    let package = serde_json::json!({ "work": work, "title": request.title, "language": request.language, "captions": request.captions });
    (work, Digest::of(package.to_string().as_bytes()))
}

/// The digest of one thing that was decided. Not as a tree of values: that of an hour's pictures takes 90 MB.
fn told(decided: &impl Serialize) -> Digest {
    Digest::of(&serde_json::to_vec(decided).expect("what was decided serialises"))
}

#[cfg(test)]
pub(crate) mod tests;
