//! The package that a plan is going to be, as far as replay asks: the same page, voice and rungs in predicted bytes.

use super::lecture::{Lecture, of_package, start_of};
use crate::error::Result;
use crate::package::{FileEntry, Package, Rung, Segment, Voice, slides};
use crate::plan::Plan;
use crate::units::Digest;
use std::collections::BTreeMap;

/// Opus has 48,000 ticks a second, video tracks 90,000.
const VOICE_HZ: u32 = 48_000;
const VIDEO_HZ: f64 = 90_000.0;
/// Bytes of boxes: around each segment of a voice, before its first segment (with 12 for each in its index), before a rung's.
const VOICE_BOXES: u64 = 180;
const VOICE_INIT: u64 = 700;
const RUNG_INIT: u64 = 800;
const RUNG_BOXES: u64 = 116;
/// A still of a slide: most have 10 to 45 kB.
const STILL: u64 = 30_000;

/// What replay knows of a lecture before it is encoded. Fails (`Unsupported`) where the plan has no voice.
pub fn of_plan(plan: &Plan) -> Result<Lecture> {
    let package = package(plan);
    let length = start_of(&package).map_or(0, |(_, length)| length);
    of_package(&package, &noise(length))
}

/// Bytes that compress as badly as a voice.
fn noise(length: u64) -> Vec<u8> {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..length).map(|_| next()).collect()
}

fn package(plan: &Plan) -> Package {
    let seconds: Vec<f64> = plan.boundaries.windows(2).map(|w| w[1].seconds() - w[0].seconds()).collect();
    let rungs: Vec<Rung> = plan.rungs.iter().map(|r| rung(r, &seconds)).collect();
    let voices: Vec<Voice> = plan.voice.then(|| voice(plan, &seconds)).into_iter().collect();
    let shown = plan.slides.iter().enumerate().map(|(i, s)| slides::Slide {
        file: slides::file_name(i),
        start_s: s.start.seconds(),
        end_s: s.end.seconds(),
        steps_s: Vec::new(),
        title: None,
        text: String::new(),
        width: plan.rungs.last().map_or(0, |r| r.size.width),
        height: plan.rungs.last().map_or(0, |r| r.size.height),
        bytes: STILL,
        score: None,
        figure_score: None,
        x_height_px: None,
    });
    let shown: Vec<slides::Slide> = shown.collect();
    // Names as long as they will be, each with a digest of its own.
    let names = (voices.iter().map(|v| format!("a-{}.mp4", v.name)))
        .chain(rungs.iter().map(|r| format!("v-{}.mp4", r.name)))
        .chain(shown.iter().map(|s| s.file.clone()))
        .chain(["video.m3u8".to_string(), "package.json".to_string()]);
    let files = names.map(|n| (n.clone(), FileEntry { sha256: Digest::of(n.as_bytes()), bytes: STILL })).collect();
    Package {
        format: 1,
        tool: String::new(),
        plan: plan.digest,
        title: plan.title.clone(),
        duration_s: plan.duration().seconds(),
        recordings: Vec::new(),
        profile: plan.profile.name.clone(),
        preset: plan.profile.video.preset.clone(),
        fingerprint: BTreeMap::new(),
        shape: String::new(),
        target_duration_s: seconds.iter().fold(1.0f64, |a, b| a.max(*b)).round() as u32,
        boundaries_s: plan.boundaries.iter().map(|b| b.seconds()).collect(),
        rungs,
        voices,
        captions: Vec::new(),
        loudness: None,
        slides: shown,
        chapters: Vec::new(),
        files,
        left_out: Vec::new(),
        deviations: Vec::new(),
        repairs: Vec::new(),
        warnings: Vec::new(),
        partial: false,
    }
}

/// Segments one behind the other, from `first` on.
fn segments(first: u64, sizes: impl Iterator<Item = (u64, u64)>) -> Vec<Segment> {
    let mut offset = first;
    let one = |(bytes, duration)| {
        let segment = Segment { offset, bytes, duration, sha256: Digest::of(b""), iframe_bytes: None };
        offset += bytes;
        segment
    };
    sizes.map(one).collect()
}

fn voice(plan: &Plan, seconds: &[f64]) -> Voice {
    let bps = plan.profile.voice.opus.bitrate.bps();
    let size = |s: &f64| ((s * bps as f64 / 8.0) as u64 + VOICE_BOXES, (s * VOICE_HZ as f64) as u64);
    let segments = segments(VOICE_INIT + 12 * seconds.len() as u64, seconds.iter().map(size));
    Voice {
        name: "opus".into(),
        codec: "opus".into(),
        language: plan.language.clone(),
        rate_hz: VOICE_HZ,
        bytes: segments.last().map_or(0, |s| s.offset + s.bytes),
        average_bps: bps,
        peak_bps: bps,
        init_bytes: VOICE_INIT,
        segments,
    }
}

fn rung(plan: &crate::plan::RungPlan, seconds: &[f64]) -> Rung {
    let all: f64 = seconds.iter().sum();
    // Evenly, where no segment was encoded to tell.
    let even = |i: usize| (plan.predicted_bytes as f64 * seconds[i] / all.max(1e-9)) as u64;
    let size = |i: usize| (plan.predicted_segments.get(i).map_or_else(|| even(i), |b| b + RUNG_BOXES), (seconds[i] * VIDEO_HZ) as u64);
    let segments = segments(RUNG_INIT, (0..seconds.len()).map(size));
    let bytes: u64 = segments.iter().map(|s| s.bytes).sum();
    let rate = |bytes: u64, s: f64| (bytes as f64 * 8.0 / s.max(1e-9)) as u64;
    Rung {
        name: plan.name.clone(),
        codec: "avc1.64001f".into(),
        width: plan.size.width,
        height: plan.size.height,
        frame_rate: plan.frame_rate,
        crf: plan.crf,
        max_bps: plan.max_bps,
        bytes,
        average_bps: rate(bytes, all),
        peak_bps: segments.iter().zip(seconds).map(|(s, l)| rate(s.bytes, *l)).max().unwrap_or(0),
        iframe_average_bps: 0,
        iframe_peak_bps: 0,
        init_bytes: RUNG_INIT,
        segments,
    }
}
