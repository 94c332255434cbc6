//! From decoded pictures to features: which differ visibly from the last one kept, and where.

use super::features::{Features, Seen, Thumb, ZONES_ACROSS, ZONES_DOWN};
use crate::picture::Grid;
use std::rc::Rc;

/// Levels by which a block's mean differs visibly, when its neighbours do as well.
const VISIBLE: u8 = 6;
/// ... and when it is alone.
const STRONG: u8 = 14;
/// As many blocks with a visible difference are a change; fewer are a codec's flicker.
const FEW: u16 = 4;
/// Thumbs are at least this far apart.
const THUMB_NS: u64 = 250_000_000;

#[derive(Default)]
pub struct Watcher {
    kept: Option<Rc<Grid>>,
    /// The picture just before, kept or not.
    before: Option<Rc<Grid>>,
    features: Features,
    /// The newest kept picture, which no thumb shows yet.
    pending: Option<Thumb>,
}

impl Watcher {
    /// Looks at the next picture; says whether it is kept.
    pub fn push(&mut self, ns: u64, grid: Grid) -> bool {
        let grid = Rc::new(grid);
        let mut seen = match &self.kept {
            // A first picture, or one of another size: all of it is new.
            None => everything(ns, &grid),
            Some(kept) if (kept.columns, kept.rows) != (grid.columns, grid.rows) => everything(ns, &grid),
            Some(kept) => compare(ns, kept, &grid),
        };
        seen.stirred = self.before.as_ref().map_or([0; 3], |before| stirred(before, &grid));
        self.before = Some(grid.clone());
        let due = |last: Option<&Thumb>| last.is_none_or(|t| ns.saturating_sub(t.ns) >= THUMB_NS);
        // What stood when a quarter of a second had passed is kept before a newer picture replaces it.
        if due(self.features.thumbs.last())
            && let Some(thumb) = self.pending.take()
        {
            self.features.thumbs.push(thumb);
        }
        if seen.kept() {
            if self.features.columns == 0 {
                (self.features.columns, self.features.rows) = (grid.columns.div_ceil(2), grid.rows.div_ceil(2));
            }
            let thumb = Thumb { ns, luma: halve(&grid, self.features.columns, self.features.rows).into() };
            if due(self.features.thumbs.last()) {
                self.features.thumbs.push(thumb);
                self.pending = None;
            } else {
                self.pending = Some(thumb);
            }
            self.kept = Some(grid);
        }
        self.features.pictures.push(seen);
        seen.kept()
    }

    pub fn finish(mut self) -> Features {
        self.features.thumbs.extend(self.pending.take());
        self.features
    }
}

const ALL: [u64; 3] = [u64::MAX, u64::MAX, (1 << 16) - 1];

fn everything(ns: u64, grid: &Grid) -> Seen {
    Seen { ns, changed: (grid.columns * grid.rows).min(u16::MAX as usize) as u16, zones: ALL, stirred: [0; 3] }
}

fn compare(ns: u64, kept: &Grid, grid: &Grid) -> Seen {
    let (mut changed, mut strong, mut zones) = (0u16, false, [0u64; 3]);
    for y in 0..grid.rows {
        let row = y * grid.columns..(y + 1) * grid.columns;
        let largest = |x: usize| (0..3).map(|p| kept.planes[p][row.start + x].abs_diff(grid.planes[p][row.start + x])).max().unwrap_or(0);
        // Most rows of most pictures are the same to the byte.
        if (0..3).all(|p| kept.planes[p][row.clone()] == grid.planes[p][row.clone()]) {
            continue;
        }
        for x in 0..grid.columns {
            let by = largest(x);
            if by > VISIBLE {
                changed = changed.saturating_add(1);
                strong |= by > STRONG;
                let zone = (y * ZONES_DOWN / grid.rows) * ZONES_ACROSS + x * ZONES_ACROSS / grid.columns;
                zones[zone / 64] |= 1 << (zone % 64);
            }
        }
    }
    match strong || changed >= FEW {
        true => Seen { ns, changed, zones, stirred: [0; 3] },
        false => Seen { ns, changed: 0, zones: [0; 3], stirred: [0; 3] },
    }
}

/// The zones in which two pictures are not the same to the level.
fn stirred(before: &Grid, grid: &Grid) -> [u64; 3] {
    if (before.columns, before.rows) != (grid.columns, grid.rows) {
        return ALL;
    }
    let mut zones = [0u64; 3];
    for y in 0..grid.rows {
        let row = y * grid.columns;
        let down = y * ZONES_DOWN / grid.rows;
        for across in 0..ZONES_ACROSS {
            let first = |zone: usize| row + (zone * grid.columns).div_ceil(ZONES_ACROSS);
            let blocks = first(across)..first(across + 1);
            if (0..3).any(|p| before.planes[p][blocks.clone()] != grid.planes[p][blocks.clone()]) {
                let zone = down * ZONES_ACROSS + across;
                zones[zone / 64] |= 1 << (zone % 64);
            }
        }
    }
    zones
}

/// The luma grid at half its size.
fn halve(grid: &Grid, columns: usize, rows: usize) -> Vec<u8> {
    let luma = &grid.planes[0];
    let mut out = Vec::with_capacity(columns * rows);
    for y in 0..rows {
        for x in 0..columns {
            let (mut sum, mut n) = (0u32, 0);
            for (yy, xx) in [(2 * y, 2 * x), (2 * y, 2 * x + 1), (2 * y + 1, 2 * x), (2 * y + 1, 2 * x + 1)] {
                if yy < grid.rows && xx < grid.columns {
                    sum += luma[yy * grid.columns + xx] as u32;
                    n += 1;
                }
            }
            out.push(sum.checked_div(n).unwrap_or(0) as u8);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(level: impl Fn(usize, usize) -> u8) -> Grid {
        let luma = (0..90).flat_map(|y| (0..160).map(move |x| (x, y))).map(|(x, y)| level(x, y)).collect();
        Grid { columns: 160, rows: 90, planes: [luma, vec![128; 14400], vec![128; 14400]] }
    }

    const FRAME: u64 = 33_333_333;

    #[test]
    fn noise_is_dropped_a_word_is_kept_and_a_fade_adds_up() {
        let mut w = Watcher::default();
        assert!(w.push(0, grid(|_, _| 200)));
        // Two levels of noise everywhere, for a second.
        for i in 1..30u64 {
            assert!(!w.push(i * FRAME, grid(|x, y| 199 + ((x * 7 + y * 13 + i as usize) % 3) as u8)), "{i}");
        }
        // One word: three blocks in a row.
        assert!(w.push(30 * FRAME, grid(|x, y| if y == 40 && (50..53).contains(&x) { 170 } else { 200 })));
        // A fade by one level a picture: every seventh is kept.
        let kept = (0..70).filter(|i| w.push((31 + i) * FRAME, grid(|_, _| 199 - *i as u8))).count();
        assert!((8..=12).contains(&kept), "{kept}");
    }

    #[test]
    fn zones_say_where() {
        let mut w = Watcher::default();
        w.push(0, grid(|_, _| 0));
        w.push(FRAME, grid(|x, y| if x >= 155 && y >= 85 { 255 } else { 0 }));
        let seen = w.finish().pictures[1];
        assert_eq!((0..super::super::ZONES).filter(|z| seen.in_zone(*z)).collect::<Vec<_>>(), [143]);
        assert_eq!(seen.changed, 25);
    }

    /// What stood last before a still span is always among the thumbs.
    #[test]
    fn the_thumb_of_a_still_span_is_its_last_picture() {
        let mut w = Watcher::default();
        w.push(0, grid(|_, _| 0));
        for i in 1..=5 {
            w.push(i * FRAME, grid(|_, _| 40 * i as u8));
        }
        for i in 6..40 {
            assert!(!w.push(i * FRAME, grid(|_, _| 200)));
        }
        let features = w.finish();
        let last = features.thumbs.last().unwrap();
        assert_eq!((last.ns, last.luma[0]), (5 * FRAME, 200));
        assert_eq!((features.columns, features.rows), (80, 45));
    }
}
