//! Predictions: bytes, CPU seconds, and what a learner on each link class meets. Estimates from the recording's own bit rate
//! and measured constants; the truth is in package.json afterwards.

use super::{Plan, Shape};
use crate::link::{Class, class};
use crate::probe::Source;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassPrediction {
    pub class: String,
    /// The rung that the link carries.
    pub rung: String,
    pub start_s: f64,
    pub stall_s: f64,
    /// Voice and pictures of the whole lecture.
    pub bytes: u64,
}

/// Kilobytes of page, script and playlists before the first segment.
const OVERHEAD_BYTES: f64 = 130_000.0;
/// Round trips before media flows: name 1, TCP 1, TLS 1.3 1, page 1, script 1, master 1, media playlists 1, first segments 1.
const START_ROUND_TRIPS: f64 = 8.0;
/// The share of a link that one stream of segments gets.
const USABLE: f64 = 0.85;

/// CPU seconds per million pixels, measured on one core of a 2-core x86-64 server: H.264 decoding, scaling, x264 medium.
const DECODE: f64 = 0.0022;
const SCALE: f64 = 0.0006;
const ENCODE: f64 = 0.021;
/// CPU seconds per second of voice: three decodes, limiter, Opus and AAC.
const VOICE: f64 = 0.02;

pub fn predict(plan: &mut Plan, sources: &[Source]) {
    let seconds = plan.duration().seconds();
    let slots: usize = plan.chunks.iter().map(|c| c.slots.len()).sum();
    let voice_bps = if plan.voice { plan.profile.voice.opus.bitrate.bps() as f64 * 1.06 } else { 0.0 };

    let source_bytes: u64 = sources.iter().map(|s| s.bytes).sum();
    let source_s: f64 = sources.iter().map(|s| s.duration_s).sum();
    let audio_bps = if plan.voice { 96_000.0 } else { 0.0 };
    let source_bps = (source_bytes as f64 * 8.0 / source_s.max(0.1) - audio_bps).max(20_000.0);
    let source_pixels = sources.iter().filter_map(|s| s.video.as_ref()).map(|v| v.width as f64 * v.height as f64).fold(0.0, f64::max);
    let mut cpu = seconds * if plan.voice { VOICE } else { 0.0 };
    for rung in &mut plan.rungs {
        let pixels = rung.size.width as f64 * rung.size.height as f64;
        let bps = match plan.shape {
            // One key picture a segment and next to nothing between.
            Shape::Card => pixels * 0.05 * 8.0 / plan.profile.segments.target_s,
            // Capped CRF: about the source's own rate for the pixels that are left, six steps of CRF halve it; half to
            // the cap is usual where the source was coded well above it.
            Shape::Motion | Shape::Slides => {
                let wished = source_bps * (pixels / source_pixels.max(1.0)).powf(0.8) * 2f64.powf((23.0 - rung.crf as f64) / 6.0);
                let cap = rung.max_bps as f64;
                wished * cap / (wished + cap) + pixels * 0.02
            }
        };
        rung.predicted_bytes = (bps * seconds / 8.0) as u64;
        cpu += pixels / 1e6 * (rung.frame_rate * seconds * ENCODE + slots as f64 * SCALE);
    }
    if plan.shape != Shape::Card {
        cpu += sources.iter().map(|s| s.frames_ns.len() as f64).sum::<f64>() * source_pixels / 1e6 * DECODE;
    }
    plan.predicted_cpu_s = (cpu * 10.0).round() / 10.0;

    let segment_s = seconds / plan.segments().max(1) as f64;
    let rates: Vec<(String, f64)> =
        plan.rungs.iter().map(|r| (r.name.clone(), r.predicted_bytes as f64 * 8.0 / seconds.max(0.1) + voice_bps)).collect();
    plan.classes =
        plan.profile.classes.iter().filter_map(|name| class(name)).map(|c| predict_class(c, &rates, seconds, segment_s)).collect();
}

fn predict_class(class: &Class, rates: &[(String, f64)], seconds: f64, segment_s: f64) -> ClassPrediction {
    let usable = class.down_kbps * 1000.0 * USABLE * (1.0 - class.loss_percent / 100.0 * 5.0);
    let floor = &rates[0];
    let carried = rates.iter().rev().find(|(_, bps)| *bps <= usable).unwrap_or(floor);
    let start_s = START_ROUND_TRIPS * class.rtt_ms / 1000.0 + (OVERHEAD_BYTES * 8.0 + floor.1 * segment_s) / usable;
    let stall_s = (seconds * (carried.1 / usable - 1.0)).max(0.0);
    let tenth = |x: f64| (x * 10.0).round() / 10.0;
    ClassPrediction {
        class: class.name.into(),
        rung: carried.0.clone(),
        start_s: tenth(start_s),
        stall_s: tenth(stall_s),
        bytes: (carried.1 * seconds / 8.0) as u64,
    }
}
