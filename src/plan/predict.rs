//! Predictions: bytes and CPU seconds; what a learner on each link class meets is told by `replay` from them. First estimates are
//! from the recording's own bit rate and measured constants, then bytes from segments that were really made; the truth is in
//! package.json afterwards.

use super::{Part, Plan, RungPlan, Shape};
use crate::probe::Source;
use crate::rate;
use crate::timeline::Features;
use crate::units::MediaTime;
use serde::{Deserialize, Serialize};

/// CPU seconds per million pixels, measured on one core of a 2-core x86-64 server: H.264 decoding, scaling, x264 medium.
const DECODE: f64 = 0.0022;
const SCALE: f64 = 0.0006;
const ENCODE: f64 = 0.021;
/// CPU seconds per second of voice: three decodes, limiter, Opus and AAC.
const VOICE: f64 = 0.02;

/// What makes a segment large, from the analysis: how much is drawn in its first picture, and how much of the picture changes
/// after it. Both in pictures: 1 is one picture full of edges, or one that changes all over.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Weight {
    pub drawn: f64,
    pub changed: f64,
}

/// The weights of the segments that begin at `cuts` (rising; one part's, its end behind the last), from what was seen.
pub fn weights(features: Option<&Features>, part: &Part, cuts: &[MediaTime]) -> Vec<Weight> {
    let pairs = cuts.windows(2);
    let Some(features) = features.filter(|f| !f.thumbs.is_empty()) else {
        return pairs.map(|_| Weight { drawn: 1.0, changed: 1.0 }).collect();
    };
    let ns = |t: MediaTime| part.from_ns + MediaTime::from_ticks(t.since(part.offset)).to_ns();
    let blocks = (features.columns * features.rows * 4).max(1) as f64;
    pairs
        .map(|w| {
            let (from, to) = (ns(w[0]), ns(w[1]));
            let thumb = &features.thumbs[features.thumbs.partition_point(|t| t.ns <= from).saturating_sub(1)];
            let seen = &features.pictures[features.pictures.partition_point(|p| p.ns <= from)..];
            let changed: u64 = seen.iter().take_while(|p| p.ns < to).map(|p| p.changed as u64).sum();
            Weight { drawn: 0.02 + edges(&thumb.luma, features.columns), changed: changed as f64 / blocks }
        })
        .collect()
}

/// Mean step between neighbours, as a share of the most.
fn edges(luma: &[u8], columns: usize) -> f64 {
    let across = luma.chunks(columns.max(1)).flat_map(|row| row.windows(2).map(|p| p[0].abs_diff(p[1]) as u64)).sum::<u64>();
    let down = luma.iter().zip(luma.iter().skip(columns)).map(|(a, b)| a.abs_diff(*b) as u64).sum::<u64>();
    (across + down) as f64 / (2.0 * 255.0 * luma.len().max(1) as f64)
}

/// Segments to be encoded before the rest, so that the rest can be told from them: three quarters of a short lecture's, half
/// of a longer one's up to 16, a fifth of a long one's up to [`MOST_SAMPLES`]; evenly from the lightest to the heaviest.
pub fn samples(plan: &Plan) -> Vec<usize> {
    let all = plan.segments();
    let wanted = (all * 3).div_ceil(4).min(9).max(all.div_ceil(2).min(16)).max(all.div_ceil(5)).min(MOST_SAMPLES);
    let heaviness = |i: &usize| plan.weights.get(*i).map_or(0.0, |w| w.drawn * 8.0 + w.changed);
    let mut order: Vec<usize> = (0..all).collect();
    order.sort_by(|a, b| heaviness(a).total_cmp(&heaviness(b)).then(a.cmp(b)));
    let mut picked: Vec<usize> = (0..wanted).map(|k| order[(2 * k + 1) * all / (2 * wanted.max(1))]).collect();
    picked.sort();
    picked.dedup();
    picked
}

const MOST_SAMPLES: usize = 48;

/// Predicts from what segments really came to: bytes of coded pictures by segment and rung.
pub fn from_samples(plan: &mut Plan, measured: &[(usize, Vec<u64>)]) {
    if measured.is_empty() {
        return;
    }
    for r in 0..plan.rungs.len() {
        let points: Vec<(Weight, f64)> = measured.iter().filter_map(|(s, bytes)| Some((plan.weights[*s], *bytes.get(r)? as f64))).collect();
        let (drawn, changed) = fit(&points);
        let known = |s: usize| measured.iter().find(|(i, _)| *i == s).and_then(|(_, bytes)| bytes.get(r)).map(|b| *b as f64);
        let pictures: Vec<f64> = (0..plan.segments())
            .map(|s| known(s).unwrap_or_else(|| drawn * plan.weights[s].drawn + changed * plan.weights[s].changed))
            .collect();
        plan.rungs[r].predicted_bytes = (pictures.iter().sum::<f64>() + container(plan, r)).round() as u64;
        plan.rungs[r].predicted_segments = pictures.iter().map(|bytes| bytes.round() as u64).collect();
    }
}

/// Takes out the rungs that `encode` will leave out of the package, by what they are predicted to cost; says so of each.
pub fn leave_out(plan: &mut Plan) -> Vec<String> {
    let lengths: Vec<u64> = plan.boundaries.windows(2).map(|w| rate::micros(w[1].since(w[0]), MediaTime::HZ as u32)).collect();
    let target_s = (lengths.iter().copied().max().unwrap_or(0) as f64 / 1e6).round().max(1.0) as u64;
    let cost = |r: &RungPlan| {
        let pieces: Vec<rate::Piece> =
            r.predicted_segments.iter().zip(&lengths).map(|(bytes, micros)| rate::Piece { bytes: *bytes, micros: *micros }).collect();
        (rate::peak_bps(&pieces, target_s) as u64, rate::average_bps(&pieces) as u64)
    };
    // Nothing was measured: nothing is known.
    if plan.rungs.iter().any(|r| r.predicted_segments.is_empty()) {
        return Vec::new();
    }
    let costs: Vec<(u64, u64)> = plan.rungs.iter().map(cost).collect();
    let name = |i: usize| (plan.rungs[i].name.as_str(), costs[i].1);
    let gone = rate::dearer_than_above(&costs);
    let said = gone.iter().map(|(below, above)| rate::left_out(name(*below), name(*above))).collect();
    for (below, _) in gone {
        plan.rungs.remove(below);
        for slot in plan.chunks.iter_mut().flat_map(|c| &mut c.slots) {
            slot.rungs = slot.rungs & ((1 << below) - 1) | slot.rungs >> (below + 1) << below;
        }
    }
    said
}

/// Bytes a unit of drawn and a unit of changed come to: least squares, neither below zero, and the sum of the measured exact.
fn fit(points: &[(Weight, f64)]) -> (f64, f64) {
    let sum = |f: &dyn Fn(&Weight, f64) -> f64| points.iter().map(|(w, y)| f(w, *y)).sum::<f64>();
    let (dd, dc, cc) = (sum(&|w, _| w.drawn * w.drawn), sum(&|w, _| w.drawn * w.changed), sum(&|w, _| w.changed * w.changed));
    let (dy, cy) = (sum(&|w, y| w.drawn * y), sum(&|w, y| w.changed * y));
    let det = dd * cc - dc * dc;
    let (mut a, mut b) =
        if det > 1e-9 * dd * cc { ((dy * cc - cy * dc) / det, (cy * dd - dy * dc) / det) } else { (dy / dd.max(1e-12), 0.0) };
    if b < 0.0 {
        (a, b) = (dy / dd.max(1e-12), 0.0);
    } else if a < 0.0 {
        (a, b) = (0.0, cy / cc.max(1e-12));
    }
    let told = sum(&|w, _| a * w.drawn + b * w.changed);
    let scale = if told > 0.0 { sum(&|_, y| y) / told } else { 1.0 };
    (a * scale, b * scale)
}

/// Bytes of boxes around the pictures of a rung (`package::fragment`): fixed ones a segment, and a table entry a picture.
fn container(plan: &Plan, rung: usize) -> f64 {
    let decided = &plan.rungs[rung];
    let pictures = decided.frame_rate * plan.duration().seconds();
    // Size, and either a composition offset (dense pictures) or a duration (sparse ones).
    let entry = 8.0;
    800.0 + 116.0 * plan.segments() as f64 + entry * pictures
}

pub fn predict(plan: &mut Plan, sources: &[Source]) {
    let seconds = plan.duration().seconds();
    let slots: usize = plan.chunks.iter().map(|c| c.slots.len()).sum();
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
}

/// A still of a slide: most have 10 to 45 kB.
const STILL: u64 = 30_000;
/// What playlists and package.json say of a segment of one rendition.
const SAID: u64 = 300;

/// Files and bytes of a package: rungs and voices with their playlists, `floor.mp4`, stills, texts.
pub(super) fn package(plan: &Plan, captions: usize) -> (u64, u64) {
    let (rungs, slides, captions) = (plan.rungs.len() as u64, plan.slides.len() as u64, captions as u64);
    let sound = |rate: crate::units::Bitrate| (plan.duration().seconds() * rate.bps() as f64 / 8.0) as u64;
    let (opus, aac) = match plan.voice {
        true => (sound(plan.profile.voice.opus.bitrate), sound(plan.profile.voice.aac.bitrate)),
        false => (0, 0),
    };
    let floor = plan.rungs.first().map_or(0, |r| r.predicted_bytes) + aac;
    let pictures: u64 = plan.rungs.iter().map(|r| r.predicted_bytes).sum();
    let voices = if plan.voice { 2 } else { 0 };
    // Of a rung its film and two playlists, of the others a file and a playlist; the master, the floor's, package.json.
    let files = 3 * rungs + 2 * (voices + captions) + slides + 4;
    let texts = SAID * plan.segments() as u64 * (rungs + voices);
    (files, pictures + opus + aac + floor + slides * STILL + texts)
}
