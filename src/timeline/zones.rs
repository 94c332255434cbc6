//! Where something happens in the picture, and where it never ceases to.

use super::features::{Seen, ZONES, ZONES_ACROSS, ZONES_DOWN};

/// Activity is counted in bins of this length.
pub(super) const BIN_NS: u64 = 500_000_000;
/// A zone moves where it changes in this share of the bins around.
const MOVING: f64 = 0.4;
/// Bins before and after that are looked at: 5 s.
const AROUND: usize = 10;
/// Bins before and after that tell a restless zone: 30 s.
const AGES: usize = 60;
/// A zone is restless where it changes in this share of them ...
const RESTLESS: f64 = 0.2;
/// ... and so many times as often as three quarters of all zones.
const THAN_OTHERS: f64 = 2.5;
/// A zone that is restless for this share of the recording is so always: a speaker's place.
const ALWAYS: f64 = 0.15;
/// As many restless zones are a speaker's picture, whose edges are restless with it; fewer are a clock or a cursor.
const PICTURE: usize = 2;
/// Nothing stands where more of the zones move than this.
pub(super) const MOTION: f64 = 0.55;

/// Bins that a change of sides takes at most: 4 s.
const SWAP: usize = 8;
/// What moves before and after one has less in common than this share of both.
const SWAPPED: f64 = 0.5;

pub(super) type Zones = [u64; 3];

pub(super) fn has(zones: &Zones, zone: usize) -> bool {
    zones[zone / 64] >> (zone % 64) & 1 == 1
}

fn with(mut zones: Zones, zone: usize) -> Zones {
    zones[zone / 64] |= 1 << (zone % 64);
    zones
}

pub(super) fn union(a: &Zones, b: &Zones) -> Zones {
    [a[0] | b[0], a[1] | b[1], a[2] | b[2]]
}

pub(super) fn share(zones: &Zones) -> f64 {
    zones.iter().map(|z| z.count_ones()).sum::<u32>() as f64 / ZONES as f64
}

/// Where something happens, and where it never ceases to.
pub(super) struct Bins {
    pub(super) from_ns: u64,
    pub(super) active: Vec<Zones>,
    pub(super) moving: Vec<Zones>,
    /// Bins in which no slide stands.
    pub(super) motion: Vec<bool>,
    restless: Vec<Zones>,
}

impl Bins {
    pub(super) fn new(pictures: &[Seen], from_ns: u64, to_ns: u64) -> Bins {
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
        let restless = restless(&active);
        let motion = motion(&moving);
        Bins { from_ns, active, moving, motion, restless }
    }
    pub(super) fn bin(&self, ns: u64) -> usize {
        ((ns.saturating_sub(self.from_ns) / BIN_NS) as usize).min(self.active.len() - 1)
    }
    pub(super) fn moving_at(&self, ns: u64) -> &Zones {
        &self.moving[self.bin(ns)]
    }
    /// Zones in which no difference counts: those that move, and those that are restless.
    pub(super) fn masked_at(&self, ns: u64) -> Zones {
        union(self.moving_at(ns), &self.restless[self.bin(ns)])
    }
    /// No slide stands at this time.
    pub(super) fn motion_at(&self, ns: u64) -> bool {
        self.motion[self.bin(ns)]
    }
}

/// Where most zones move. A speaker who goes to the other side seems to be at both for a moment: what moves before and what moves
/// after is not the same, and it is over sooner than what a film leaves behind in the bins around it (6 s).
fn motion(moving: &[Zones]) -> Vec<bool> {
    let mut motion: Vec<bool> = moving.iter().map(|m| share(m) >= MOTION).collect();
    let mut at = 0;
    while at < motion.len() {
        let length = motion[at..].iter().take_while(|m| **m).count();
        if let (1..=SWAP, Some(before), Some(after)) = (length, at.checked_sub(1).map(|b| moving[b]), moving.get(at + length)) {
            let both: Zones = std::array::from_fn(|i| before[i] & after[i]);
            if share(&both) < SWAPPED * share(&union(&before, after)) {
                motion[at..at + length].fill(false);
            }
        }
        at += length.max(1);
    }
    motion
}

/// Zones that change again and again with pauses: a speaker in a corner who mostly sits still, and is no build when he does not.
fn restless(active: &[Zones]) -> Vec<Zones> {
    let mut sums = vec![[0u32; ZONES]];
    for (i, bin) in active.iter().enumerate() {
        sums.push(std::array::from_fn(|zone| sums[i][zone] + has(bin, zone) as u32));
    }
    let around = |bin: usize| {
        let (a, b) = (bin.saturating_sub(AGES), (bin + AGES + 1).min(active.len()));
        if b - a < AGES {
            return [0; 3];
        }
        let rates: [f64; ZONES] = std::array::from_fn(|zone| (sums[b][zone] - sums[a][zone]) as f64 / (b - a) as f64);
        let mut sorted = rates;
        sorted.sort_by(f64::total_cmp);
        let others = sorted[ZONES * 3 / 4];
        let found: Vec<usize> = (0..ZONES).filter(|z| rates[*z] >= RESTLESS && rates[*z] >= THAN_OTHERS * others).collect();
        let mut zones = [0; 3];
        for zone in &found {
            let (x, y) = (zone % ZONES_ACROSS, zone / ZONES_ACROSS);
            let reach = (found.len() >= PICTURE) as usize;
            for y in y.saturating_sub(reach)..(y + reach + 1).min(ZONES_DOWN) {
                for x in x.saturating_sub(reach)..(x + reach + 1).min(ZONES_ACROSS) {
                    zones = with(zones, y * ZONES_ACROSS + x);
                }
            }
        }
        zones
    };
    let mut found: Vec<Zones> = (0..active.len()).map(around).collect();
    let often = |zone: &usize| found.iter().filter(|f| has(f, *zone)).count() as f64 >= ALWAYS * found.len() as f64;
    let always = (0..ZONES).filter(often).fold([0; 3], with);
    found.iter_mut().for_each(|f| *f = union(f, &always));
    found
}
