//! Where the speaker is, and when the layout changes: his place moves to another corner, or he leaves the picture to the slide.
//!
//! What moves in the twenty seconds before a moment and in those after it is boxed. Where the boxes have little in common, the
//! layout changes; the change goes to the nearest slide, since both are made at once. A layout outlives a slide: who moves before a
//! new slide comes moves after it. What does not is a film in a slide.

use super::features::{Thumb, ZONES, ZONES_ACROSS, ZONES_DOWN};
use super::looker::Looker;
use super::zones::{BIN_NS, Bins, MOTION, has, share};
use super::{Slide, Speaker};

/// Bins before and after a moment that tell its layouts: 20 s.
const WINDOW: usize = 40;
/// Boxes that share less of what both cover together are two places.
const SAME: f64 = 0.5;
/// ... unless the smaller lies within the larger for as much of itself.
const WITHIN: f64 = 0.7;
/// A zone is the speaker's where it moves for this share of the time.
const OFTEN: f64 = 1.0 / 3.0;
/// Zones that are counted as moving lag behind by up to 5 s: a change of layout is sought so near to that of a slide.
const NEAR_NS: u64 = 6_000_000_000;
/// Bins before and after a slide's begin in which who is beside it moves: 5 s.
const AROUND: usize = 10;
/// The share of a box that is as it was where its speaker sits still. A slide in his place differs in more.
const ALIKE: f64 = 0.5;

type Box4 = [f64; 4];

pub(super) fn speakers(bins: &Bins, slides: &[Slide], thumbs: &[&Thumb], looker: &Looker, to_ns: u64) -> Vec<Speaker> {
    let count = bins.moving.len();
    let counts = Counts::new(bins);
    let mut cuts = vec![0];
    cuts.extend(changes(&counts, count));
    cuts.push(count);
    let at = |bin: usize| if bin >= count { to_ns } else { bins.from_ns + bin as u64 * BIN_NS };
    let edge = |bin: usize| {
        let near = slides.iter().map(|s| s.start_ns).min_by_key(|s| s.abs_diff(at(bin))).filter(|s| s.abs_diff(at(bin)) <= NEAR_NS);
        if bin == 0 || bin == count { at(bin) } else { near.unwrap_or(at(bin)) }
    };
    let mut layouts: Vec<(u64, u64, Option<Box4>)> = cuts
        .windows(2)
        .map(|w| {
            let (start, end) = (edge(w[0]), edge(w[1]));
            let begun = || slides.iter().filter(|s| !s.moving && s.start_ns > start && s.start_ns < end);
            // One slide for a third of the recording has nothing to outlive.
            let alone = begun().next().is_none() && (w[1] - w[0]) as f64 >= OFTEN * count as f64;
            let holds = |region: &Box4| alone || begun().any(|s| outlives(region, bins, s.start_ns));
            (start, end, counts.region(w[0], w[1]).filter(holds))
        })
        .filter(|(start, end, _)| start < end)
        .collect();
    settle(&mut layouts, thumbs, looker);
    layouts.into_iter().filter_map(|(start_ns, end_ns, region)| Some(Speaker { start_ns, end_ns, region: region? })).collect()
}

/// Something moves in the box right before and right after a slide's begin.
fn outlives(region: &Box4, bins: &Bins, start_ns: u64) -> bool {
    let zones: Vec<usize> = (0..ZONES).filter(|z| inside(region, *z)).collect();
    let moves = |bins: &[[u64; 3]]| {
        let some = bins.iter().filter(|active| zones.iter().filter(|z| has(active, **z)).count() >= 2).count();
        bins.len() == AROUND && some as f64 >= OFTEN * AROUND as f64
    };
    let at = bins.bin(start_ns);
    // The change itself may take a bin before and one after.
    let before = &bins.active[at.saturating_sub(AROUND + 1)..at.saturating_sub(1)];
    let after = &bins.active[(at + 2).min(bins.active.len())..(at + 2 + AROUND).min(bins.active.len())];
    moves(before) && moves(after)
}

fn inside([x, y, w, h]: &Box4, zone: usize) -> bool {
    let (zx, zy) = ((zone % ZONES_ACROSS) as f64 / ZONES_ACROSS as f64, (zone / ZONES_ACROSS) as f64 / ZONES_DOWN as f64);
    zx >= *x && zx < x + w && zy >= *y && zy < y + h
}

/// Who sits still is still there: a layout without a box takes that of its neighbour where the picture in it is the same.
/// Neighbours with one box are one.
fn settle(layouts: &mut Vec<(u64, u64, Option<Box4>)>, thumbs: &[&Thumb], looker: &Looker) {
    let middle =
        |(start, end, _): &(u64, u64, Option<Box4>)| thumbs[..thumbs.partition_point(|t| t.ns <= start + (end - start) / 2)].last();
    for i in 0..layouts.len() {
        if layouts[i].2.is_some() {
            continue;
        }
        let neighbours = [i.checked_sub(1), Some(i + 1)].into_iter().flatten().filter_map(|n| layouts.get(n));
        let same = neighbours
            .filter_map(|n| Some((n.2?, middle(n)?, middle(&layouts[i])?)))
            .find(|(b, there, here)| alike(b, there, here, looker));
        layouts[i].2 = same.map(|(b, ..)| b);
    }
    layouts.dedup_by(|later, earlier| {
        let one = match (earlier.2, later.2) {
            (Some(a), Some(b)) if common(&a, &b) >= SAME => true,
            // Now the head alone moves, now the hands do too: one speaker, if what the larger box shows stays.
            (Some(a), Some(b)) if overlap(&a, &b) >= WITHIN * area(&a).min(area(&b)) => {
                middle(earlier).zip(middle(later)).is_some_and(|(x, y)| alike(&larger(a, b), x, y, looker))
            }
            (a, b) => a == b,
        };
        if one {
            earlier.2 = earlier.2.zip(later.2).map(|(a, b)| larger(a, b));
            earlier.1 = later.1;
        }
        one
    });
}

fn alike(region: &Box4, a: &Thumb, b: &Thumb, looker: &Looker) -> bool {
    let masked = (0..ZONES).filter(|z| !inside(region, *z)).fold([0u64; 3], |mut m, z| {
        m[z / 64] |= 1 << (z % 64);
        m
    });
    let found = looker.compare(a, b, &masked);
    found.changed as f64 <= (1.0 - ALIKE) * found.blocks as f64
}

/// The bins at which the layout changes, in order.
fn changes(counts: &Counts, count: usize) -> Vec<usize> {
    let differs = |bin: &usize| {
        let (before, after) = (counts.region(bin - WINDOW, *bin), counts.region(*bin, bin + WINDOW));
        match (before, after) {
            (Some(a), Some(b)) => common(&a, &b) < SAME,
            (a, b) => a.is_some() != b.is_some(),
        }
    };
    if count < 2 * WINDOW {
        return Vec::new();
    }
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for bin in (WINDOW..=count - WINDOW).filter(differs) {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == bin => *last = bin,
            _ => runs.push((bin, bin)),
        }
    }
    // Where what moves before and what moves after differ most.
    runs.into_iter().filter_map(|(first, last)| (first..=last).max_by_key(|bin| (counts.difference(*bin), last - bin))).collect()
}

/// How often each zone moves up to each bin.
struct Counts(Vec<[u32; ZONES]>);

impl Counts {
    fn new(bins: &Bins) -> Counts {
        let mut sums = vec![[0u32; ZONES]];
        for (i, moving) in bins.moving.iter().enumerate() {
            // Where all moves nobody is beside anything.
            let all = share(moving) >= MOTION;
            sums.push(std::array::from_fn(|zone| sums[i][zone] + (!all && has(moving, zone)) as u32));
        }
        Counts(sums)
    }

    /// By how many bins the zones before a bin and after it differ in moving, all together.
    fn difference(&self, bin: usize) -> u32 {
        let moved = |zone: usize, from: usize, to: usize| self.0[to][zone] - self.0[from][zone];
        (0..ZONES).map(|z| moved(z, bin - WINDOW, bin).abs_diff(moved(z, bin, bin + WINDOW))).sum()
    }

    /// The box around the zones that move often from one bin to another, if they are not most of the picture.
    fn region(&self, from: usize, to: usize) -> Option<Box4> {
        let least = OFTEN * (to - from) as f64;
        let zones: Vec<usize> = (0..ZONES).filter(|z| (self.0[to][*z] - self.0[from][*z]) as f64 >= least).collect();
        let (x, y) = (zones.iter().map(|z| z % ZONES_ACROSS), zones.iter().map(|z| z / ZONES_ACROSS));
        let (left, right) = (x.clone().min()?, x.max()? + 1);
        let (top, bottom) = (y.clone().min()?, y.max()? + 1);
        let (across, down) = (ZONES_ACROSS as f64, ZONES_DOWN as f64);
        let found = [left as f64 / across, top as f64 / down, (right - left) as f64 / across, (bottom - top) as f64 / down];
        (zones.len() >= 2 && found[2] * found[3] < MOTION).then_some(found)
    }
}

fn area(b: &Box4) -> f64 {
    b[2] * b[3]
}

fn larger(a: Box4, b: Box4) -> Box4 {
    if area(&a) >= area(&b) { a } else { b }
}

fn overlap(a: &Box4, b: &Box4) -> f64 {
    let along = |i: usize| ((a[i] + a[i + 2]).min(b[i] + b[i + 2]) - a[i].max(b[i])).max(0.0);
    along(0) * along(1)
}

/// What two boxes share of what both cover together.
fn common(a: &Box4, b: &Box4) -> f64 {
    overlap(a, b) / (area(a) + area(b) - overlap(a, b))
}
