//! What goes on in a recording from span to span.

use super::features::{Thumb, ZONES};
use super::zones::{BIN_NS, Bins, share};
use super::{Slide, Span, SpanKind};

/// Spans shorter than this belong to the one before.
const SPAN_BINS: usize = 4;

pub(super) fn spans(slides: &[Slide], thumbs: &[&Thumb], frozen: &[(u64, u64)], bins: &Bins, to_ns: u64) -> Vec<Span> {
    let lit = |ns: u64| ns >= to_ns || slides.iter().any(|s| (s.start_ns..s.end_ns).contains(&ns));
    let stuck = |ns: u64| frozen.iter().any(|(start, end)| (*start..*end).contains(&ns));
    let begins = |bin: usize| bins.from_ns + bin as u64 * BIN_NS;
    let changes = |bin: usize| slides.iter().any(|s| s.start_ns < begins(bin + 1) && s.settled_ns >= begins(bin));
    let kind = |bin: usize| {
        let moving = &bins.moving[bin];
        if !thumbs.is_empty() && !lit(begins(bin) + BIN_NS / 2) && !slides.is_empty() {
            SpanKind::Black
        } else if stuck(begins(bin) + BIN_NS / 2) {
            SpanKind::Frozen
        } else if bins.motion[bin] {
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
