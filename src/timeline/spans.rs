//! What goes on in a recording from span to span, and where its speaker is.

use super::features::{Thumb, ZONES, ZONES_ACROSS, ZONES_DOWN};
use super::zones::{BIN_NS, Bins, MOTION, has, share};
use super::{Slide, Span, SpanKind};

/// Spans shorter than this belong to the one before.
const SPAN_BINS: usize = 4;

pub(super) fn spans(slides: &[Slide], thumbs: &[&Thumb], bins: &Bins, to_ns: u64) -> Vec<Span> {
    let lit = |ns: u64| ns >= to_ns || slides.iter().any(|s| (s.start_ns..s.end_ns).contains(&ns));
    let begins = |bin: usize| bins.from_ns + bin as u64 * BIN_NS;
    let changes = |bin: usize| slides.iter().any(|s| s.start_ns < begins(bin + 1) && s.settled_ns >= begins(bin));
    let kind = |bin: usize| {
        let moving = &bins.moving[bin];
        if !thumbs.is_empty() && !lit(begins(bin) + BIN_NS / 2) && !slides.is_empty() {
            SpanKind::Black
        } else if share(moving) >= MOTION {
            SpanKind::Motion
        } else if share(moving) * ZONES as f64 >= 3.0 {
            SpanKind::Speaker
        } else if bins.active[bin] != [0; 3] && !changes(bin) {
            SpanKind::Pointer
        } else {
            SpanKind::Still
        }
    };
    let mut runs: Vec<(SpanKind, usize)> = Vec::new();
    for bin in 0..bins.active.len() {
        match (runs.last_mut(), kind(bin)) {
            (Some((last, n)), kind) if *last == kind => *n += 1,
            (_, kind) => runs.push((kind, 1)),
        }
    }
    let mut merged: Vec<(SpanKind, usize)> = Vec::new();
    for (kind, n) in runs {
        match merged.last_mut() {
            Some((last, m)) if *last == kind || n < SPAN_BINS && kind != SpanKind::Black => *m += n,
            _ => merged.push((kind, n)),
        }
    }
    let mut at = 0;
    let mut spans = Vec::new();
    for (kind, n) in merged {
        let end = begins(at + n).min(to_ns);
        spans.push(Span { kind, start_ns: begins(at), end_ns: end });
        at += n;
    }
    spans
}

/// The box around the zones that move in at least a third of the time, if they are not most of the picture.
pub(super) fn speaker(bins: &Bins) -> Option<[f64; 4]> {
    let often = |zone: usize| bins.moving.iter().filter(|m| has(m, zone)).count() * 3 >= bins.moving.len();
    let zones: Vec<usize> = (0..ZONES).filter(|z| often(*z)).collect();
    let (x, y) = (zones.iter().map(|z| z % ZONES_ACROSS), zones.iter().map(|z| z / ZONES_ACROSS));
    let (left, right) = (x.clone().min()?, x.max()? + 1);
    let (top, bottom) = (y.clone().min()?, y.max()? + 1);
    let (across, down) = (ZONES_ACROSS as f64, ZONES_DOWN as f64);
    let found = [left as f64 / across, top as f64 / down, (right - left) as f64 / across, (bottom - top) as f64 / down];
    (zones.len() >= 2 && found[2] * found[3] < MOTION).then_some(found)
}
