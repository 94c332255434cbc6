//! Compares the small pictures of a recording.

use super::features::{Thumb, ZONES_ACROSS, ZONES_DOWN};
use super::zones::{Zones, has};

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
/// Less of the picture than this is something small on it.
const LITTLE: f64 = 0.015;
/// Levels by which a thumb's block differs visibly, and by which it stands out from its neighbours.
const VISIBLE: i32 = 8;
const INK: i32 = 10;
/// Levels that a camera's exposure may drift without its being a change.
const DRIFT: i32 = 10;
/// Neighbouring blocks of a drawn background differ by as much at most.
const FLAT: i32 = 1;

/// Compares thumbs.
pub(super) struct Looker {
    pub(super) columns: usize,
    pub(super) rows: usize,
}

/// What differs between two thumbs, in blocks outside the masked zones.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(super) struct Difference {
    pub(super) blocks: usize,
    pub(super) changed: usize,
    /// Blocks that stood out before ...
    pub(super) ink: usize,
    /// ... and are not what they were.
    pub(super) replaced: usize,
}

impl Difference {
    /// Something small shows or goes: a bar for scrolling, a hint.
    pub(super) fn little(&self) -> bool {
        (self.changed as f64) < LITTLE * self.blocks as f64
    }
    pub(super) fn visible(&self) -> bool {
        self.changed >= BUILD_BLOCKS
    }
    pub(super) fn another(&self) -> bool {
        let (changed, replaced) = (self.changed as f64, self.replaced as f64);
        changed >= ANOTHER * self.blocks as f64
            || replaced >= REPLACED * self.ink.max(1) as f64
            || changed >= SWAPPED_AREA * self.blocks as f64 && replaced >= SWAPPED * changed
    }
}

impl Looker {
    pub(super) fn zone(&self, i: usize) -> usize {
        let (x, y) = (i % self.columns, i / self.columns);
        (y * ZONES_DOWN / self.rows) * ZONES_ACROSS + x * ZONES_ACROSS / self.columns
    }

    pub(super) fn compare(&self, before: &Thumb, after: &Thumb, masked: &Zones) -> Difference {
        let mut levels: Vec<(usize, i32)> = Vec::with_capacity(before.luma.len());
        let pairs = before.luma.iter().zip(after.luma.iter()).enumerate();
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
    pub(super) fn contrast(&self, thumb: &Thumb, i: usize) -> i32 {
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
    pub(super) fn flatness(&self, thumb: &Thumb, masked: &Zones) -> f64 {
        let open: Vec<usize> = (0..thumb.luma.len()).filter(|i| !has(masked, self.zone(*i))).collect();
        let flat = open.iter().filter(|i| self.contrast(thumb, **i) <= FLAT).count();
        flat as f64 / open.len().max(1) as f64
    }

    pub(super) fn black(&self, thumb: &Thumb) -> bool {
        let sum: u64 = thumb.luma.iter().map(|l| *l as u64).sum();
        sum < 24 * thumb.luma.len() as u64 && thumb.luma.iter().all(|l| *l < 64)
    }
}
