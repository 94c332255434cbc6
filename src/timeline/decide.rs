//! The decision: features in, timeline out. Pure.
//!
//! A zone that changes again and again (a speaker, a video, a blinking cursor) is masked while it does. What is left is
//! compared with the slide that stands: a difference counts once it has come to rest. If much of what stood is gone, it is
//! a new slide; if something was added, a build of the same.

use super::features::{Features, Seen, Thumb, ZONES, ZONES_ACROSS, ZONES_DOWN};
use super::{Kept, Slide, Span, SpanKind, Timeline};

/// Activity is counted in bins of this length.
const BIN_NS: u64 = 500_000_000;
/// A zone moves where it changes in this share of the bins around.
const MOVING: f64 = 0.4;
/// Bins before and after that are looked at: 5 s.
const AROUND: usize = 10;
/// Nothing stands where more of the zones move than this.
const MOTION: f64 = 0.55;
/// A state that holds as long is at rest.
const REST_NS: u64 = 700_000_000;
/// Blocks of a thumb (16 pixels of 720p) that a build changes at least. A mouse pointer covers four, where it was and where it is.
const BUILD_BLOCKS: usize = 10;
/// The share of what stood that a new slide takes away at least.
const REPLACED: f64 = 0.2;
/// Where as much of the picture changes, and so much of that had something on it before, text was exchanged, not added: two
/// slides that have a large figure in common.
const SWAPPED_AREA: f64 = 0.045;
const SWAPPED: f64 = 0.4;
/// The share of the picture that is new on any new slide, even where nothing stood before.
const ANOTHER: f64 = 0.3;
/// Levels by which a thumb's block differs visibly, and by which it stands out from its neighbours.
const VISIBLE: i32 = 8;
const INK: i32 = 10;
/// Levels that a camera's exposure may drift without its being a change.
const DRIFT: i32 = 10;
/// Neighbouring blocks of a drawn background differ by as much at most.
const FLAT: i32 = 1;

type Zones = [u64; 3];

fn has(zones: &Zones, zone: usize) -> bool {
    zones[zone / 64] >> (zone % 64) & 1 == 1
}

fn union(a: &Zones, b: &Zones) -> Zones {
    [a[0] | b[0], a[1] | b[1], a[2] | b[2]]
}

fn share(zones: &Zones) -> f64 {
    zones.iter().map(|z| z.count_ones()).sum::<u32>() as f64 / ZONES as f64
}

/// Understands what was seen between two stream times.
pub fn read(features: &Features, from_ns: u64, to_ns: u64) -> Timeline {
    // What stands when the span begins is the last picture kept before it.
    let first = features.pictures.iter().rposition(|p| p.ns <= from_ns && p.kept()).unwrap_or(0);
    let pictures: Vec<Seen> = features.pictures[first.min(features.pictures.len())..].iter().filter(|p| p.ns < to_ns).copied().collect();
    let first = features.thumbs.iter().rposition(|t| t.ns <= from_ns).unwrap_or(0);
    let thumbs: Vec<&Thumb> = features.thumbs[first.min(features.thumbs.len())..].iter().filter(|t| t.ns < to_ns).collect();
    let bins = Bins::new(&pictures, from_ns, to_ns);
    let looker = Looker { columns: features.columns, rows: features.rows };
    let kept = pictures.iter().filter(|p| p.kept()).map(|p| Kept { ns: p.ns, content: outside(&p.zones, bins.moving_at(p.ns)) }).collect();
    let slides = slides(&thumbs, &bins, &looker, from_ns, to_ns);
    Timeline {
        spans: spans(&slides, &thumbs, &bins, to_ns),
        kept,
        speaker: speaker(&bins),
        slide_share: slide_share(&thumbs, &bins, &looker, to_ns),
        slides,
    }
}

fn outside(zones: &Zones, moving: &Zones) -> bool {
    zones.iter().zip(moving).any(|(z, m)| z & !m != 0)
}

/// Where something happens, and where it never ceases to.
struct Bins {
    from_ns: u64,
    active: Vec<Zones>,
    moving: Vec<Zones>,
}

impl Bins {
    fn new(pictures: &[Seen], from_ns: u64, to_ns: u64) -> Bins {
        let count = (to_ns.saturating_sub(from_ns)).div_ceil(BIN_NS).max(1) as usize;
        let mut active = vec![[0; 3]; count];
        // The first picture is new everywhere, which says nothing.
        for p in pictures.iter().skip(1) {
            let bin = (p.ns.saturating_sub(from_ns) / BIN_NS) as usize;
            active[bin.min(count - 1)] = union(&active[bin.min(count - 1)], &p.zones);
        }
        let mut moving = vec![[0; 3]; count];
        for zone in 0..ZONES {
            let mut sums = Vec::with_capacity(count + 1);
            sums.push(0u32);
            for a in &active {
                sums.push(sums[sums.len() - 1] + has(a, zone) as u32);
            }
            for (bin, m) in moving.iter_mut().enumerate() {
                let (a, b) = (bin.saturating_sub(AROUND), (bin + AROUND + 1).min(count));
                // A short span is not all motion because of one change.
                let bins = (b - a).max(AROUND + 1);
                if (sums[b] - sums[a]) as f64 >= MOVING * bins as f64 {
                    m[zone / 64] |= 1 << (zone % 64);
                }
            }
        }
        Bins { from_ns, active, moving }
    }
    fn bin(&self, ns: u64) -> usize {
        ((ns.saturating_sub(self.from_ns) / BIN_NS) as usize).min(self.active.len() - 1)
    }
    fn moving_at(&self, ns: u64) -> &Zones {
        &self.moving[self.bin(ns)]
    }
    /// No slide stands at this time.
    fn motion_at(&self, ns: u64) -> bool {
        share(self.moving_at(ns)) >= MOTION
    }
}

/// Compares thumbs.
struct Looker {
    columns: usize,
    rows: usize,
}

/// What differs between two thumbs, in blocks outside the masked zones.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
struct Difference {
    blocks: usize,
    changed: usize,
    /// Blocks that stood out before ...
    ink: usize,
    /// ... and are not what they were.
    replaced: usize,
}

impl Difference {
    fn visible(&self) -> bool {
        self.changed >= BUILD_BLOCKS
    }
    fn another(&self) -> bool {
        let (changed, replaced) = (self.changed as f64, self.replaced as f64);
        changed >= ANOTHER * self.blocks as f64
            || replaced >= REPLACED * self.ink.max(1) as f64
            || changed >= SWAPPED_AREA * self.blocks as f64 && replaced >= SWAPPED * changed
    }
}

impl Looker {
    fn zone(&self, i: usize) -> usize {
        let (x, y) = (i % self.columns, i / self.columns);
        (y * ZONES_DOWN / self.rows) * ZONES_ACROSS + x * ZONES_ACROSS / self.columns
    }

    fn compare(&self, before: &Thumb, after: &Thumb, masked: &Zones) -> Difference {
        let mut levels: Vec<(usize, i32)> = Vec::with_capacity(before.luma.len());
        let pairs = before.luma.iter().zip(&after.luma).enumerate();
        levels.extend(pairs.filter(|(i, _)| !has(masked, self.zone(*i))).map(|(i, (a, b))| (i, *b as i32 - *a as i32)));
        let mut sorted: Vec<i32> = levels.iter().map(|(_, d)| *d).collect();
        let middle = sorted.len() / 2;
        let drift = if sorted.is_empty() { 0 } else { (*sorted.select_nth_unstable(middle).1).clamp(-DRIFT, DRIFT) };
        let mut found = Difference { blocks: levels.len(), ..Difference::default() };
        for (i, by) in levels {
            let changed = (by - drift).abs() > VISIBLE;
            let ink = self.contrast(before, i) > INK;
            found.changed += changed as usize;
            found.ink += ink as usize;
            found.replaced += (changed && ink) as usize;
        }
        found
    }

    /// The largest step from a block to one beside it.
    fn contrast(&self, thumb: &Thumb, i: usize) -> i32 {
        let (x, y) = (i % self.columns, i / self.columns);
        let at = |i: usize| thumb.luma[i] as i32;
        let mut most = 0;
        for (there, n) in [
            (x > 0, i.wrapping_sub(1)),
            (x + 1 < self.columns, i + 1),
            (y > 0, i.wrapping_sub(self.columns)),
            (y + 1 < self.rows, i + self.columns),
        ] {
            if there {
                most = most.max((at(i) - at(n)).abs());
            }
        }
        most
    }

    /// The share of blocks in which nothing is drawn: high on slides and screens, low in what a camera sees.
    fn flatness(&self, thumb: &Thumb, masked: &Zones) -> f64 {
        let open: Vec<usize> = (0..thumb.luma.len()).filter(|i| !has(masked, self.zone(*i))).collect();
        let flat = open.iter().filter(|i| self.contrast(thumb, **i) <= FLAT).count();
        flat as f64 / open.len().max(1) as f64
    }

    fn black(&self, thumb: &Thumb) -> bool {
        let sum: u64 = thumb.luma.iter().map(|l| *l as u64).sum();
        sum < 24 * thumb.luma.len() as u64 && thumb.luma.iter().all(|l| *l < 64)
    }
}

/// Whether what shows at thumb `i` stays for a while, but for the zones that always move.
fn at_rest(thumbs: &[&Thumb], i: usize, masked: &Zones, looker: &Looker) -> bool {
    let later = thumbs[i + 1..].iter().take_while(|t| t.ns < thumbs[i].ns + REST_NS);
    later.into_iter().all(|t| !looker.compare(thumbs[i], t, masked).visible())
}

fn slides(thumbs: &[&Thumb], bins: &Bins, looker: &Looker, from_ns: u64, to_ns: u64) -> Vec<Slide> {
    let mut slides: Vec<Slide> = Vec::new();
    // The thumb of the slide that stands, and the zones that ever moved since it came.
    let mut standing: Option<(usize, Zones)> = None;
    // The first thumb that no longer shows it.
    let mut departed: Option<usize> = None;
    for (i, thumb) in thumbs.iter().enumerate() {
        let moving = *bins.moving_at(thumb.ns);
        if share(&moving) >= MOTION {
            if slides.last().is_none_or(|s| !s.moving) {
                begin(&mut slides, thumbs[departed.unwrap_or(i)].ns, thumb.ns, true);
            }
            (standing, departed) = (None, None);
            continue;
        }
        if looker.black(thumb) {
            // Black shows nothing: the slide before ends where it begins, and what comes after is new.
            if let Some(slide) = slides.last_mut().filter(|s| s.end_ns == u64::MAX) {
                slide.end_ns = thumbs[departed.unwrap_or(i)].ns;
            }
            (standing, departed) = (None, None);
            continue;
        }
        if let Some((slide, dirty)) = &mut standing {
            *dirty = union(dirty, &moving);
            if !looker.compare(thumbs[*slide], thumb, dirty).visible() {
                departed = None;
                continue;
            }
        }
        let first = *departed.get_or_insert(i);
        let masked = standing.map_or(moving, |(_, dirty)| union(&dirty, &moving));
        if !at_rest(thumbs, i, &moving, looker) {
            continue;
        }
        match &mut standing {
            Some((slide, _)) if !looker.compare(thumbs[*slide], thumb, &masked).another() => {
                let current = slides.last_mut().expect("a standing slide is in the list");
                current.steps_ns.push(thumbs[first].ns);
                current.still_ns = thumb.ns;
                *slide = i;
            }
            _ => {
                begin(&mut slides, thumbs[first].ns, thumb.ns, false);
                standing = Some((i, moving));
            }
        }
        departed = None;
    }
    if let Some(first) = slides.first_mut() {
        first.start_ns = first.start_ns.max(from_ns);
    }
    let starts: Vec<u64> = slides.iter().map(|s| s.start_ns).collect();
    for (i, slide) in slides.iter_mut().enumerate() {
        slide.end_ns = slide.end_ns.min(starts.get(i + 1).copied().unwrap_or(to_ns));
        slide.settled_ns = slide.settled_ns.clamp(slide.start_ns, slide.end_ns);
        slide.steps_ns.retain(|s| (slide.start_ns..slide.end_ns).contains(s));
    }
    slides.retain(|s| s.end_ns > s.start_ns);
    slides
}

fn begin(slides: &mut Vec<Slide>, start_ns: u64, settled_ns: u64, moving: bool) {
    slides.push(Slide { start_ns, settled_ns, end_ns: u64::MAX, still_ns: settled_ns, steps_ns: Vec::new(), moving });
}

/// Spans shorter than this belong to the one before.
const SPAN_BINS: usize = 4;

fn spans(slides: &[Slide], thumbs: &[&Thumb], bins: &Bins, to_ns: u64) -> Vec<Span> {
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
fn speaker(bins: &Bins) -> Option<[f64; 4]> {
    let often = |zone: usize| bins.moving.iter().filter(|m| has(m, zone)).count() * 3 >= bins.moving.len();
    let zones: Vec<usize> = (0..ZONES).filter(|z| often(*z)).collect();
    let (x, y) = (zones.iter().map(|z| z % ZONES_ACROSS), zones.iter().map(|z| z / ZONES_ACROSS));
    let (left, right) = (x.clone().min()?, x.max()? + 1);
    let (top, bottom) = (y.clone().min()?, y.max()? + 1);
    let (across, down) = (ZONES_ACROSS as f64, ZONES_DOWN as f64);
    let found = [left as f64 / across, top as f64 / down, (right - left) as f64 / across, (bottom - top) as f64 / down];
    (zones.len() >= 2 && found[2] * found[3] < MOTION).then_some(found)
}

/// A picture with a moving part is a slide with a speaker where the rest is drawn, not filmed.
const DRAWN: f64 = 0.35;
/// Zones that move at most where anything that stands counts as a slide.
const STILL: f64 = 0.08;

fn slide_share(thumbs: &[&Thumb], bins: &Bins, looker: &Looker, to_ns: u64) -> f64 {
    let (mut slide, mut all) = (0u64, 0u64);
    for (i, thumb) in thumbs.iter().enumerate() {
        let end = thumbs.get(i + 1).map_or(to_ns, |t| t.ns).max(thumb.ns);
        let moving = bins.moving_at(thumb.ns);
        let share = share(moving);
        let stands = share < STILL || share < MOTION && looker.flatness(thumb, moving) >= DRAWN;
        all += end - thumb.ns;
        slide += if stands && !bins.motion_at(thumb.ns) { end - thumb.ns } else { 0 };
    }
    if all == 0 { 0.0 } else { slide as f64 / all as f64 }
}
