//! Facts about one recording file: what it is, what is wrong with it, what will be repaired. Unknown stays `Option`,
//! never an invented default.

pub(crate) mod container;
mod facts;
mod flow;
mod look;
mod matrix;
mod nal;
mod names;
mod verdict;
mod work;

pub use names::container as container_name;
pub use work::{Job, TimesFrom, work};

use crate::cache::Cache;
use crate::child::{self, Limits};
use crate::error::{Error, Kind, Result, ResultExt};
use crate::progress::Ctx;
use crate::units::{Digest, FrameRate};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// One file as it was found. The `--json` line `{"type":"source",...}` of `rivulet probe` is this without `frames_ns`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Source {
    pub path: PathBuf,
    pub sha256: Digest,
    pub bytes: u64,
    /// As GStreamer's typefinder names it: `video/quicktime`, `video/mpegts`, ...
    pub container: String,
    /// What the header claims; may be a lie.
    pub header_duration_s: Option<f64>,
    /// From the first to the end of the last picture or sound that is really there.
    pub duration_s: f64,
    pub video: Option<Video>,
    /// All audio tracks, in the order of their ids.
    pub audio: Vec<Audio>,
    /// Index into `audio` of the track that is taken as the voice.
    pub voice: Option<usize>,
    /// How pictures are reached: see [`Access`].
    pub access: Access,
    /// What encode will put right, one readable line each ("rotated by 90 degrees: turned upright").
    pub repairs: Vec<String>,
    /// What is wrong and stays wrong, one readable line each ("cut short: the header says 231.0 s, 1.5 s are there").
    pub problems: Vec<String>,
    /// Presentation time of every picture that decodes, in stream time (edit lists applied), nanoseconds, rising.
    /// Exact: the decoder gives these very times.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub frames_ns: Vec<u64>,
    /// A part of what the file should hold is lost; `problems` says which.
    #[serde(default)]
    pub partial: bool,
    /// The stream has no times of its own: its k-th decoded picture is that of `frames_ns[k]`.
    #[serde(default)]
    pub untimed: bool,
    /// Stream time of the end of the last picture.
    pub video_end_ns: u64,
    /// Stream time of the end of the last sound of the voice track; 0 without one.
    pub audio_end_ns: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Video {
    /// Which of the file's video tracks, counting from 0 in the order of their ids; for people.
    pub track: usize,
    /// Which of the file's streams: what its demuxer calls it, the same under every path. Empty for a bare stream.
    pub stream_id: String,
    /// `h264`, `hevc`, `mpeg2`, ...
    pub codec: String,
    /// As coded, before rotation and pixel aspect.
    pub width: u32,
    pub height: u32,
    /// Average over the frames that are there.
    pub frame_rate: FrameRate,
    /// The gaps between pictures differ by more than a tenth of the usual gap.
    pub variable: bool,
    /// Clockwise degrees to turn the picture so that it stands upright: 0, 90, 180, 270.
    pub rotation: u16,
    /// To be mirrored left-right after the turn.
    pub mirrored: bool,
    pub interlaced: bool,
    /// Of interlaced pictures: the lower field is the earlier one (DV).
    #[serde(default)]
    pub bottom_first: bool,
    /// Pixel aspect, width to height.
    pub par: (u32, u32),
    pub bit_depth: u32,
    /// `pq` or `hlg`.
    pub hdr: Option<String>,
    /// GStreamer's name (`bt709`, `bt601`, `2:4:7:1`), where the stream says.
    pub colorimetry: Option<String>,
}

impl Source {
    /// Stream time at which the last picture and sound have ended.
    pub fn end_ns(&self) -> u64 {
        self.video_end_ns.max(self.audio_end_ns)
    }
    /// Stream time of the first picture or sound: transport streams and cut Matroska files do not begin at zero.
    pub fn start_ns(&self) -> u64 {
        let lasts = (self.duration_s * 1e9).round() as u64;
        // Seconds are floating point: what is within a millisecond of zero is zero.
        Some(self.end_ns().saturating_sub(lasts)).filter(|ns| *ns > 1_000_000).unwrap_or(0)
    }
}

impl Video {
    /// Pictures of 8 bits and standard range: those can be kept and summed up as they are.
    pub fn plain(&self) -> bool {
        self.bit_depth <= 8 && self.hdr.is_none()
    }
    /// Width and height on a screen with square pixels, upright, before rounding to even.
    pub fn display_size(&self) -> (f64, f64) {
        let (w, h) = (self.width as f64 * self.par.0 as f64 / self.par.1.max(1) as f64, self.height as f64);
        if self.rotation % 180 == 90 { (h, w) } else { (w, h) }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Audio {
    /// Which of the file's streams, as [`Video::stream_id`].
    pub stream_id: String,
    pub codec: String,
    pub channels: u32,
    pub rate_hz: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
}

/// Encode seeks to this much before the picture that it wants, and drops what comes before that: exact for every file that
/// is [`Access::Seek`], which probing has tried with this very margin (docs/pipeline.md). Nanoseconds.
pub const SEEK_MARGIN_NS: u64 = 2_000_000_000;

/// How the pictures of a chunk are reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// A seek to 2 s before the chunk gives the very frames of one pass.
    Seek,
    /// It does not (MPEG-TS and PS, no index, intra refresh, very long GOPs): one pass from the start.
    Sequential,
}

/// Finds out what a recording is. Unusable ones are `BadMedia` or `Unsupported` errors that name the reason.
pub async fn probe(path: &Path, ctx: &Ctx) -> Result<Source> {
    look::look(path)?;
    let (file, cancel) = (path.to_path_buf(), ctx.cancel.clone());
    let digest = tokio::task::spawn_blocking(move || std::fs::File::open(&file).and_then(Digest::of_reader));
    let (sha256, bytes) = tokio::select! {
        biased;
        () = cancel.cancelled() => return ctx.check().and(Err(Error::new(Kind::Cancelled, "stopped"))),
        digest = digest => digest.map_err(|e| Error::bug("the digest's thread died").caused_by(e))?.doing(|| format!("cannot read {}", path.display()))?,
    };
    probe_known(path, sha256, bytes, TimesFrom::Auto, ctx).await
}

/// The same with what the cache knows: neither digest nor facts are found out twice.
pub async fn known(path: &Path, cache: &Cache, ctx: &Ctx) -> Result<Source> {
    look::look(path)?;
    let (sha256, bytes) = {
        let (cache, path, ctx) = (cache.clone(), path.to_path_buf(), ctx.clone());
        tokio::task::spawn_blocking(move || cache.digest(&path, &ctx))
            .await
            .map_err(|e| Error::bug("the digest's thread died").caused_by(e))??
    };
    let key = format!("{sha256} {}", env!("CARGO_PKG_VERSION"));
    if let Some(source) = cache.get::<Source>(SOURCES, &key) {
        return Ok(Source { path: path.to_path_buf(), ..source });
    }
    let source = probe_known(path, sha256, bytes, TimesFrom::Auto, ctx).await?;
    // A cache that cannot be written costs time, nothing else.
    // What a missing plug-in hides is looked for again.
    if !source.problems.iter().any(|p| p.contains("no decoder")) {
        let _ = cache.put(SOURCES, &key, &source);
    }
    Ok(source)
}

const SOURCES: &str = "sources";

/// The same for a file whose digest is known already.
pub async fn probe_known(path: &Path, sha256: Digest, bytes: u64, times: TimesFrom, ctx: &Ctx) -> Result<Source> {
    look::look(path)?;
    if path.to_str().is_none() {
        return Err(Error::usage(format!("{} has a name that is no UTF-8: rename it", path.display())));
    }
    let job = Job { path: path.to_path_buf(), sha256, bytes, times };
    let subject = path.display().to_string();
    // Ten minutes, and more for more: 500 kB/s is a fifth of what a full decode of a busy 1080i stream takes here.
    let limits = Limits::wall(600 + bytes / 500_000);
    let began = Instant::now();
    let mut outcome = child::run("probe", &subject, &job, limits, ctx, |_| ()).await;
    // Crashes are races at times: one more try, but not after a hang, which would only be waited for again.
    if matches!(&outcome, Err(e) if e.kind() == Kind::Crashed) && began.elapsed() < Duration::from_secs(30) {
        outcome = child::run("probe", &subject, &job, limits, ctx, |_| ()).await;
    }
    outcome.map_err(|e| match e.kind() {
        Kind::Crashed => Error::bad_media(format!("{subject}: a GStreamer plug-in crashed or hung on this file, it is probably damaged"))
            .hint("copy it again from the recorder; if that copy is the same, try to repair it by remuxing")
            .caused_by(e),
        _ => e,
    })
}
