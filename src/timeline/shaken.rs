//! Slides in a picture that never rests as a whole: a camera that shakes before a screen, a photograph that is zoomed slowly. No
//! two pictures are alike, so nothing comes to rest; but the mean of two seconds stays what it is until the slide changes.

use super::features::Thumb;
use super::looker::Looker;
use super::zones::{Bins, share};

/// Two ways to tell. *Shaken*: the means before and after differ, and between changes they do not. *Zoomed*: from one thumb
/// to the next hardly anything changes, but for the cuts. A film is neither: it changes all the time.
pub(super) struct Run {
    /// Thumbs, the end exclusive.
    pub first: usize,
    pub end: usize,
    /// Thumbs with which a slide begins, the first's not among them.
    pub cuts: Vec<usize>,
}

/// What is averaged before and after: longer than a hand's shaking (1 to 2 Hz), shorter than a slide.
const WINDOW_NS: u64 = 2_000_000_000;
/// Thumbs in a window, at least.
const LEAST: usize = 3;
/// Thumbs of a run in which it shakes, at least: 5 s.
const RUN: usize = 20;
/// The picture may be shaken where as large a share of the zones moves ...
const SHAKES: f64 = 0.5;
/// ... and around that, while as large a one does.
const STILL_SHAKES: f64 = 0.25;
/// Levels by which the mean of a block changes visibly ...
const VISIBLE: f32 = 8.0;
/// ... and by as many standard deviations of what it does anyway.
const DEVIATIONS: f32 = 1.5;
/// The share of blocks that a change of slide changes at least.
const CHANGED: f64 = 0.04;
/// Between changes of slide the means change in a smaller share of the blocks, mostly.
const QUIET: f64 = 0.03;
/// The share of blocks without anything drawn that a projected slide has at least.
const DRAWN: f64 = 0.35;
/// Levels by which a block jumps from one thumb to the next.
const JUMP: f32 = 16.0;
/// The share of blocks that a cut of a zoomed picture changes at least, and its multiple of what changes between cuts.
const CUT: f64 = 0.2;
const TIMES: f64 = 25.0;
/// Between cuts of a zoomed picture, less changes from thumb to thumb.
const SMOOTH: f64 = 0.012;

/// The runs of thumbs in which slides are told by their means or cuts, in order.
pub(super) fn find(thumbs: &[&Thumb], bins: &Bins, looker: &Looker) -> Vec<Run> {
    let shares: Vec<f64> = thumbs.iter().map(|t| share(bins.moving_at(t.ns))).collect();
    let mut runs = Vec::new();
    let mut first = 0;
    while first < thumbs.len() {
        let mut end = first + shares[first..].iter().take_while(|s| **s >= STILL_SHAKES).count();
        // The first and last seconds of a recording have less around them to tell by.
        if end > first && thumbs[first].ns - thumbs[0].ns < WINDOW_NS {
            first = 0;
        }
        if end > first && thumbs[thumbs.len() - 1].ns - thumbs[end - 1].ns < WINDOW_NS {
            end = thumbs.len();
        }
        // A speaker who changes sides seems to be at both for a moment.
        if shares[first..end].iter().filter(|s| **s >= SHAKES).count() >= RUN {
            let levels: Vec<Vec<f32>> = thumbs[first..end].iter().map(|t| without_exposure(t)).collect();
            let cuts = zoomed(&levels).or_else(|| shaken(&thumbs[first..end], &levels, looker));
            runs.extend(cuts.map(|cuts| Run { first, end, cuts: cuts.into_iter().map(|c| c + first).collect() }));
        }
        first = end.max(first + 1);
    }
    runs
}

/// Luma less its median: a camera's exposure wanders.
fn without_exposure(thumb: &Thumb) -> Vec<f32> {
    let mut sorted = thumb.luma.to_vec();
    let middle = sorted.len() / 2;
    let median = if sorted.is_empty() { 0 } else { *sorted.select_nth_unstable(middle).1 };
    thumb.luma.iter().map(|l| *l as f32 - median as f32).collect()
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}

/// Cuts of pictures that glide: `None` where more than gliding goes on.
fn zoomed(levels: &[Vec<f32>]) -> Option<Vec<usize>> {
    let jump = |pair: &[Vec<f32>]| {
        let jumped = pair[0].iter().zip(&pair[1]).filter(|(a, b)| (*a - *b).abs() > JUMP).count();
        jumped as f64 / pair[0].len().max(1) as f64
    };
    let jumps: Vec<f64> = levels.windows(2).map(jump).collect();
    let usual = median(&jumps);
    if usual > SMOOTH {
        return None;
    }
    let least = CUT.max(TIMES * usual);
    // A fade is several jumps: its first counts.
    let cuts: Vec<usize> =
        (0..jumps.len()).filter(|i| jumps[*i] >= least && (*i == 0 || jumps[*i - 1] < least / 2.0)).map(|i| i + 1).collect();
    Some(cuts)
}

/// Changes of a picture whose mean stands: `None` where it does not, or too little is drawn for a slide.
fn shaken(thumbs: &[&Thumb], levels: &[Vec<f32>], looker: &Looker) -> Option<Vec<usize>> {
    let flat: Vec<f64> = thumbs.iter().step_by(4).map(|t| looker.flatness(t, &[0; 3])).collect();
    if median(&flat) < DRAWN {
        return None;
    }
    let changes: Vec<f64> = (0..thumbs.len()).map(|i| change_at(thumbs, levels, i)).collect();
    let near = |i: usize, j: usize| thumbs[i].ns.abs_diff(thumbs[j].ns) < WINDOW_NS * 3 / 4;
    let peak = |i: &usize| {
        changes[*i] >= CHANGED
            && (0..thumbs.len()).filter(|j| near(*i, *j)).all(|j| changes[j] < changes[*i] || changes[j] == changes[*i] && j >= *i)
    };
    let cuts: Vec<usize> = (0..thumbs.len()).filter(peak).collect();
    let apart = |i: &usize| cuts.iter().all(|c| thumbs[*i].ns.abs_diff(thumbs[*c].ns) > WINDOW_NS * 5 / 4);
    let between: Vec<f64> = (0..thumbs.len()).filter(apart).map(|i| changes[i]).collect();
    (between.len() * 4 >= thumbs.len() && median(&between) <= QUIET).then_some(cuts)
}

/// The share of blocks whose mean over the window before a thumb differs from that over the window from it on.
fn change_at(thumbs: &[&Thumb], levels: &[Vec<f32>], i: usize) -> f64 {
    let before = i - thumbs[..i].iter().rev().take_while(|t| t.ns + WINDOW_NS >= thumbs[i].ns).count();
    let after = i + thumbs[i..].iter().take_while(|t| t.ns < thumbs[i].ns + WINDOW_NS).count();
    // Less than a second averages nothing out.
    let short = |a: usize, b: usize| b - a < LEAST || thumbs[b - 1].ns - thumbs[a].ns < WINDOW_NS / 2;
    if short(before, i) || short(i, after) {
        return 0.0;
    }
    let moments = |of: &[Vec<f32>], block: usize| {
        let n = of.len() as f32;
        let mean = of.iter().map(|l| l[block]).sum::<f32>() / n;
        let variance = of.iter().map(|l| (l[block] - mean).powi(2)).sum::<f32>() / n;
        (mean, variance)
    };
    let blocks = levels[i].len();
    let changed = |block: &usize| {
        let (a, b) = (moments(&levels[before..i], *block), moments(&levels[i..after], *block));
        let by = (a.0 - b.0).abs();
        by > VISIBLE && by > DEVIATIONS * (a.1 + b.1).sqrt() / 2.0
    };
    (0..blocks).filter(changed).count() as f64 / blocks.max(1) as f64
}
