//! Profiles: ladders as data. `profiles/*.toml` are built in; a path names a user's own. Every bound is checked here, and
//! an error names file, line, field, value and legal range.

use crate::error::{Error, Kind, Result};
use crate::units::{Bitrate, Digest};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The file's stem; set by [`load`].
    #[serde(skip_deserializing)]
    pub name: String,
    pub description: String,
    pub classes: Vec<String>,
    /// What learners on some of them are promised of every lecture. No part of the digest: a promise changes no byte.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub promises: Vec<Promise>,
    pub segments: Segments,
    pub chunks: Chunks,
    pub video: Video,
    /// Lowest first.
    pub rungs: Vec<Rung>,
    /// The ladder of lectures whose pictures are slides.
    pub slides: Slides,
    pub voice: Voice,
}

/// What a learner of voice and slides on a link of this class is promised; `replay` tells whether a lecture keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Promise {
    /// One of the profile's classes.
    pub class: String,
    /// Seconds from opening the link to the first sound, at most.
    pub start_s: f64,
    /// Seconds of stall in the whole lecture, at most.
    #[serde(default)]
    pub stall_s: f64,
}

/// Slide lectures: every rung can be read, low ones show fewer pictures at a higher CRF.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slides {
    /// Slide changes that follow faster share a segment.
    pub least_s: f64,
    /// The share of the time in which slides stand, from which on a recording is a slide lecture.
    pub share: f64,
    /// Lowest first: the floor.
    pub rungs: Vec<Rung>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Segments {
    pub target_s: f64,
    pub least_s: f64,
    pub most_s: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chunks {
    pub target_s: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Video {
    pub preset: String,
    pub max_frame_rate: f64,
    pub least_frame_rate: f64,
    pub most_megapixels_per_second: f64,
    pub most_hours: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rung {
    pub name: String,
    #[serde(default = "h264")]
    pub codec: Codec,
    pub height: u32,
    pub crf: u32,
    pub max: Bitrate,
    pub buffer_s: f64,
    /// The share of the buffer that the first picture of a segment may use.
    #[serde(default = "half")]
    pub buffer_full: f64,
    /// Pictures a second at most; the recording's where it is not given.
    #[serde(default)]
    pub frame_rate: Option<f64>,
    /// The same where only a speaker, a video or a camera moves.
    #[serde(default)]
    pub motion_frame_rate: Option<f64>,
}

fn half() -> f64 {
    0.5
}

/// A rung names its codec, so that another can be added beside it: a fragment `pipelines/rung-<codec>.gst` and a sample entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    H264,
}

fn h264() -> Codec {
    Codec::H264
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Voice {
    pub opus: Opus,
    pub aac: Aac,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opus {
    pub bitrate: Bitrate,
    pub packet_ms: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Aac {
    pub bitrate: Bitrate,
    pub rate_hz: u32,
}

pub const DEFAULT: &str = "rural-3g";

/// The built-in profiles: name and text.
pub const BUILT_IN: &[(&str, &str)] = &[
    ("rural-3g", include_str!("../profiles/rural-3g.toml")),
    ("edge", include_str!("../profiles/edge.toml")),
    ("campus", include_str!("../profiles/campus.toml")),
];

/// Reads a built-in profile by name, or a file by path (anything with a `/` or ending in `.toml`).
pub fn load(name_or_path: &str) -> Result<Profile> {
    if let Some((name, text)) = BUILT_IN.iter().find(|(name, _)| *name == name_or_path) {
        return parse(name, text, name);
    }
    if !name_or_path.contains('/') && !name_or_path.ends_with(".toml") {
        let names: Vec<_> = BUILT_IN.iter().map(|(n, _)| *n).collect();
        return Err(Error::usage(format!("there is no profile \"{name_or_path}\""))
            .hint(format!("built in are {}; a file of your own is named by its path", names.join(", "))));
    }
    let text = std::fs::read_to_string(name_or_path)
        .map_err(|e| Error::new(Kind::Usage, format!("cannot read profile {name_or_path}")).caused_by(e))?;
    let stem = std::path::Path::new(name_or_path).file_stem().and_then(|s| s.to_str()).unwrap_or("profile");
    parse(stem, &text, name_or_path)
}

fn parse(name: &str, text: &str, file: &str) -> Result<Profile> {
    let mut profile: Profile = toml::from_str(text).map_err(|e: toml::de::Error| {
        let line = e.span().map(|s| text[..s.start.min(text.len())].matches('\n').count() + 1);
        let at = line.map(|l| format!("{file}:{l}")).unwrap_or(file.to_string());
        Error::usage(format!("{at}: {}", e.message()))
    })?;
    profile.name = name.to_string();
    let faults = profile.faults();
    match faults.is_empty() {
        true => Ok(profile),
        false => {
            let lines: Vec<_> = faults.iter().map(|(field, what)| format!("{file}:{}: {field} {what}", line_of(text, field))).collect();
            Err(Error::usage(lines.join("\n")))
        }
    }
}

/// The line of a dotted field, found by its last name below its table; 1 where it cannot be told.
fn line_of(text: &str, field: &str) -> usize {
    let (table, key) = field.rsplit_once('.').unwrap_or(("", field));
    let (table, nth) = match table.split_once('[') {
        Some((t, n)) => (t, n.trim_end_matches(']').parse::<usize>().unwrap_or(0)),
        None => (table, 0),
    };
    let mut seen = 0;
    let mut inside = table.is_empty();
    for (i, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('[') {
            let here = line.trim_matches(['[', ']']) == table;
            inside = here && seen == nth;
            seen += here as usize;
        } else if inside && line.split('=').next().map(str::trim) == Some(key) {
            return i + 1;
        }
    }
    1
}

/// x264's presets, fastest first.
const PRESETS: &[&str] = &["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo"];

impl Profile {
    /// Every value outside its legal range: field and what is wrong.
    fn faults(&self) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        let mut range = |field: String, value: f64, low: f64, high: f64| {
            if !(low..=high).contains(&value) {
                faults.push((field, format!("is {value}, expected {low} to {high}")));
            }
        };
        range("segments.least_s".into(), self.segments.least_s, 0.5, 10.0);
        range("segments.target_s".into(), self.segments.target_s, self.segments.least_s, 20.0);
        range("segments.most_s".into(), self.segments.most_s, self.segments.target_s, 30.0);
        range("chunks.target_s".into(), self.chunks.target_s, self.segments.most_s, 300.0);
        range("video.max_frame_rate".into(), self.video.max_frame_rate, 1.0, 60.0);
        range("video.least_frame_rate".into(), self.video.least_frame_rate, 0.2, self.video.max_frame_rate);
        range("video.most_megapixels_per_second".into(), self.video.most_megapixels_per_second, 1.0, 1e5);
        range("video.most_hours".into(), self.video.most_hours, 0.01, 48.0);
        range("voice.opus.bitrate".into(), self.voice.opus.bitrate.bps() as f64, 6_000.0, 128_000.0);
        range("voice.aac.bitrate".into(), self.voice.aac.bitrate.bps() as f64, 16_000.0, 192_000.0);
        range("slides.least_s".into(), self.slides.least_s, self.segments.least_s, self.segments.most_s);
        range("slides.share".into(), self.slides.share, 0.0, 1.0);
        for (i, promise) in self.promises.iter().enumerate() {
            range(format!("promises[{i}].start_s"), promise.start_s, 0.5, 300.0);
            range(format!("promises[{i}].stall_s"), promise.stall_s, 0.0, 3600.0);
        }
        let most = self.video.max_frame_rate;
        for (table, list) in [("rungs", &self.rungs), ("slides.rungs", &self.slides.rungs)] {
            for (i, rung) in list.iter().enumerate() {
                range(format!("{table}[{i}].height"), rung.height as f64, 64.0, 2160.0);
                range(format!("{table}[{i}].crf"), rung.crf as f64, 1.0, 50.0);
                range(format!("{table}[{i}].max"), rung.max.bps() as f64, 10_000.0, 50e6);
                range(format!("{table}[{i}].buffer_s"), rung.buffer_s, 0.2, 30.0);
                range(format!("{table}[{i}].buffer_full"), rung.buffer_full, 0.1, 1.0);
                range(format!("{table}[{i}].frame_rate"), rung.frame_rate.unwrap_or(most), 0.2, most);
                range(format!("{table}[{i}].motion_frame_rate"), rung.motion_frame_rate.unwrap_or(most), 0.1, most);
            }
        }
        if !PRESETS.contains(&self.video.preset.as_str()) {
            faults.push(("video.preset".into(), format!("is \"{}\", expected one of {}", self.video.preset, PRESETS.join(", "))));
        }
        if ![20, 40, 60].contains(&self.voice.opus.packet_ms) {
            faults.push(("voice.opus.packet_ms".into(), format!("is {}, expected 20, 40 or 60", self.voice.opus.packet_ms)));
        }
        if ![16_000, 22_050, 24_000, 32_000, 44_100, 48_000].contains(&self.voice.aac.rate_hz) {
            faults.push((
                "voice.aac.rate_hz".into(),
                format!("is {}, expected 16000, 22050, 24000, 32000, 44100 or 48000", self.voice.aac.rate_hz),
            ));
        }
        for class in &self.classes {
            if crate::link::class(class).is_none() {
                let known: Vec<_> = crate::link::CLASSES.iter().map(|c| c.name).collect();
                faults.push(("classes".into(), format!("names \"{class}\", expected some of {}", known.join(", "))));
            }
        }
        for (i, promise) in self.promises.iter().enumerate() {
            let class = &promise.class;
            if !self.classes.contains(class) {
                let classes = self.classes.join(", ");
                faults.push((format!("promises[{i}].class"), format!("is \"{class}\", expected one of the profile's classes: {classes}")));
            }
            if self.promises[..i].iter().any(|p| p.class == *class) {
                faults.push((format!("promises[{i}].class"), format!("is \"{class}\" a second time, expected one promise a class")));
            }
        }
        faults.extend(order_faults(
            "rungs",
            &self.rungs,
            |low, high| high.height > low.height && high.max > low.max,
            "height and max must both be",
        ));
        // What players sort by: height, pictures a second, rate (hls.js). No rung may be dearer and come earlier.
        let rises = |low: &Rung, high: &Rung| {
            high.height >= low.height
                && high.frame_rate.unwrap_or(most) >= low.frame_rate.unwrap_or(most)
                && high.max > low.max
                && (high.height > low.height || high.crf < low.crf)
        };
        faults.extend(order_faults(
            "slides.rungs",
            &self.slides.rungs,
            rises,
            "max must be above, height and frame_rate not below, and of equal height crf below",
        ));
        faults
    }

    /// Covers every value that decides a byte; part of the plan's digest. A promise is kept or broken by the same package.
    pub fn digest(&self) -> Digest {
        let bytes = Profile { promises: Vec::new(), ..self.clone() };
        Digest::of(serde_json::to_string(&bytes).expect("a profile serialises").as_bytes())
    }
}

/// A ladder has rungs with names of their own, and each rises above the one before.
fn order_faults(table: &str, rungs: &[Rung], rises: impl Fn(&Rung, &Rung) -> bool, rule: &str) -> Vec<(String, String)> {
    let mut faults = Vec::new();
    if rungs.is_empty() {
        faults.push((table.into(), format!("has no entry, expected at least one [[{table}]] table")));
    }
    if rungs.len() > 12 {
        faults.push((table.into(), format!("has {} entries, expected 12 at most", rungs.len())));
    }
    for (i, pair) in rungs.windows(2).enumerate() {
        if !rises(&pair[0], &pair[1]) {
            faults.push((format!("{table}[{}].height", i + 1), format!("{rule} those of the rung before (lowest first)")));
        }
    }
    let mut names: Vec<_> = rungs.iter().map(|r| &r.name).collect();
    names.sort();
    names.dedup();
    let plain = |n: &str| !n.is_empty() && n.len() <= 20 && n.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if names.len() != rungs.len() || !rungs.iter().all(|r| plain(&r.name)) {
        faults.push((format!("{table}[0].name"), "and all others must differ and hold only a-z, 0-9 and -".into()));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_profile_is_valid() {
        for (name, _) in BUILT_IN {
            assert_eq!(&load(name).unwrap().name, name);
        }
    }

    #[test]
    fn a_bad_value_is_named_with_file_line_field_and_range() {
        let text = BUILT_IN[0].1.replacen("crf = 26", "crf = 99", 1);
        let line = text.lines().position(|l| l == "crf = 99").unwrap() + 1;
        let error = parse("x", &text, "mine.toml").unwrap_err();
        assert_eq!(error.what(), format!("mine.toml:{line}: rungs[1].crf is 99, expected 1 to 50"));
        assert_eq!(error.kind(), Kind::Usage);
    }

    #[test]
    fn a_promise_is_of_one_of_the_profiles_classes_and_within_reason() {
        let own = "[[promises]]\nclass = \"2g\"\nstart_s = 900.0\n";
        let text = BUILT_IN[0].1.replacen("[segments]", &format!("{own}\n[segments]"), 1);
        let nth = BUILT_IN[0].1.matches("[[promises]]").count();
        let line = text.lines().position(|l| l == "start_s = 900.0").unwrap() + 1;
        let error = parse("x", &text, "mine.toml").unwrap_err();
        let lines: Vec<&str> = error.what().lines().collect();
        assert_eq!(lines[0], format!("mine.toml:{line}: promises[{nth}].start_s is 900, expected 0.5 to 300"));
        assert!(lines[1].starts_with(&format!("mine.toml:{}: promises[{nth}].class is \"2g\"", line - 1)), "{}", lines[1]);
        let twice = BUILT_IN[0].1.replacen("[segments]", "[[promises]]\nclass = \"edge\"\nstart_s = 8.0\n[segments]", 1);
        assert!(parse("x", &twice, "mine.toml").unwrap_err().what().contains("a second time"));
    }

    // Else a changed promise would have every lecture encoded and sent again.
    #[test]
    fn a_promise_is_no_part_of_the_digest() {
        let with = load(DEFAULT).unwrap();
        let without = Profile { promises: Vec::new(), ..with.clone() };
        assert!(!with.promises.is_empty());
        assert_eq!(with.digest(), without.digest());
    }

    #[test]
    fn an_unknown_field_is_an_error_with_its_line() {
        let text = BUILT_IN[0].1.replacen("[chunks]", "[chunks]\nfoo = 1", 1);
        let error = parse("x", &text, "mine.toml").unwrap_err();
        assert!(error.what().starts_with("mine.toml:") && error.what().contains("foo"), "{}", error.what());
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        assert!(load("rural").unwrap_err().report().contains("rural-3g, edge, campus"));
    }
}
