//! The package: the finished HLS of one lecture (design section 5). [`Package`] is `package.json`; playlists are a pure
//! function of it and of a naming rule.

mod boxes;
pub mod fragment;
pub mod init;
pub mod playlist;
pub mod progressive;
pub mod slides;

use crate::units::Digest;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `package.json`. Written last into a package directory: a directory without it is not a package.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Package {
    /// Format of this file; 1.
    pub format: u32,
    pub tool: String,
    /// The plan's digest: same digest, same bytes.
    pub plan: Digest,
    pub title: String,
    pub duration_s: f64,
    pub recordings: Vec<RecordingRef>,
    pub profile: String,
    /// x264's speed preset.
    pub preset: String,
    /// Versions the plan's digest covers (rivulet, gstreamer, x264, tesseract).
    pub fingerprint: BTreeMap<String, String>,
    /// The plan's ladder shape: `slides`, `motion` or `card`.
    #[serde(default)]
    pub shape: String,
    /// EXT-X-TARGETDURATION of every media playlist.
    pub target_duration_s: u32,
    /// Start of every segment and the end of the last, seconds on the video timeline.
    pub boundaries_s: Vec<f64>,
    /// Lowest first, as the master playlist lists them.
    pub rungs: Vec<Rung>,
    pub voices: Vec<Voice>,
    /// By language.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub captions: Vec<Captions>,
    pub loudness: Option<Loudness>,
    /// In order of time.
    #[serde(default)]
    pub slides: Vec<slides::Slide>,
    #[serde(default)]
    pub chapters: Vec<slides::Chapter>,
    /// Every file of the package but this one, with its digest and exact bytes.
    pub files: BTreeMap<String, FileEntry>,
    /// Rungs of the profile that this recording has no use for, and why.
    #[serde(default)]
    pub left_out: Vec<String>,
    pub deviations: Vec<Deviation>,
    pub repairs: Vec<String>,
    pub warnings: Vec<String>,
    /// A part of the recording was lost; `warnings` says which.
    #[serde(default)]
    pub partial: bool,
}

impl Package {
    /// Whether this is a lecture of slides, whose floor has a bar of its own (design 4.7).
    pub fn is_slides(&self) -> bool {
        self.shape.starts_with("slide")
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecordingRef {
    pub name: String,
    pub sha256: Digest,
    pub bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FileEntry {
    pub sha256: Digest,
    pub bytes: u64,
}

/// One video rung: `v-<name>.mp4`, `v-<name>.m3u8`, `i-<name>.m3u8`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rung {
    /// `720p`
    pub name: String,
    /// RFC 6381, from the real stream: `avc1.64001f`.
    pub codec: String,
    pub width: u32,
    pub height: u32,
    /// FRAME-RATE: the highest of any segment.
    pub frame_rate: f64,
    /// The constant rate factor and the cap that it was made with.
    pub crf: u32,
    pub max_bps: u64,
    pub bytes: u64,
    pub average_bps: u64,
    pub peak_bps: u64,
    pub iframe_average_bps: u64,
    pub iframe_peak_bps: u64,
    /// Length of ftyp + moov: EXT-X-MAP's byte range from 0.
    pub init_bytes: u64,
    pub segments: Vec<Segment>,
}

/// One voice rendition: `a-<name>.mp4`, `a-<name>.m3u8`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Voice {
    /// `opus` or `aac`; also the HLS group id.
    pub name: String,
    /// `opus`, `mp4a.40.2`
    pub codec: String,
    pub language: String,
    pub rate_hz: u32,
    pub bytes: u64,
    pub average_bps: u64,
    pub peak_bps: u64,
    pub init_bytes: u64,
    pub segments: Vec<Segment>,
}

/// One captions rendition: `c-<language>.vtt`, one segment that spans the lecture, and `c-<language>.m3u8`. The file holds
/// X-TIMESTAMP-MAP and is a plain WebVTT file too: for a page's `<track>`, and for who downloads it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Captions {
    /// BCP 47.
    pub language: String,
    pub cues: usize,
    pub bytes: u64,
    /// Peak and average: there is one segment.
    pub average_bps: u64,
    /// Of the author's file.
    pub source_sha256: Digest,
}

/// A byte range of a rendition's media file that a client fetches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    pub offset: u64,
    pub bytes: u64,
    /// In ticks of the track's timescale: 90000 for video, the sample rate (48000 for Opus) for audio.
    pub duration: u64,
    pub sha256: Digest,
    /// Video: from `offset`, the bytes that hold moof and the whole first picture, an IDR.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iframe_bytes: Option<u64>,
}

/// BS.1770 / EBU R128.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Loudness {
    pub source_lufs: f64,
    pub lufs: f64,
    pub true_peak_dbtp: f64,
}

/// A rule of RFC 8216bis or of Apple's specification that this package breaks on purpose.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deviation {
    /// The checker's rule id.
    pub rule: String,
    pub reason: String,
    /// What keeping the rule would cost, measured.
    pub cost: String,
}
