//! One fMP4 media segment: its fragments and samples, and the H.264 units in them.

use super::boxes::{Cursor, child, children, walk};
use super::init::{Init, Sidx, parse_sidx};

#[derive(Debug, Clone, Default)]
pub struct Segment {
    pub fragments: Vec<Fragment>,
    pub sidx: Option<Sidx>,
    /// What is broken, for people.
    pub faults: Vec<String>,
}

/// One track's part of one moof.
#[derive(Debug, Clone, Default)]
pub struct Fragment {
    /// From the start of the segment.
    pub at: usize,
    pub track: u32,
    pub tfdt: Option<u64>,
    pub default_base_is_moof: bool,
    pub base_data_offset: bool,
    pub samples: Vec<Sample>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sample {
    pub duration: u32,
    pub size: u32,
    /// sample_is_non_sync_sample is clear.
    pub sync: bool,
    pub composition: i64,
    /// From the start of the segment; may lie outside where the file lies.
    pub at: u64,
}

impl Fragment {
    pub fn ticks(&self) -> u64 {
        self.samples.iter().map(|s| s.duration as u64).sum()
    }
}

/// A fragment's samples are bounded so that a lying count cannot eat the memory: an hour at 60 frames/s is 216 000.
const MOST_SAMPLES: u32 = 500_000;

/// Reads a segment's boxes. `init` gives the defaults of `trex`.
pub fn parse(data: &[u8], init: &Init) -> Segment {
    let mut segment = Segment::default();
    let (top, fault) = walk(data);
    segment.faults.extend(fault);
    let (mut moofs, mut mdats) = (0, 0);
    for b in &top {
        match &b.kind {
            b"moof" => {
                moofs += 1;
                match read_moof(b.at, b.body, init) {
                    Ok(fragments) => segment.fragments.extend(fragments),
                    Err(fault) => segment.faults.push(format!("moof at {}: {fault}", b.at)),
                }
            }
            b"mdat" => mdats += 1,
            b"sidx" if segment.sidx.is_none() => segment.sidx = parse_sidx(b.body),
            _ => {}
        }
    }
    if moofs == 0 || mdats == 0 {
        segment.faults.push(format!("{moofs} moof and {mdats} mdat boxes"));
    }
    // Samples must lie in an mdat.
    for fragment in &segment.fragments {
        let outside = fragment.samples.iter().position(|s| {
            !top.iter().any(|b| {
                let body = (b.at + b.whole - b.body.len()) as u64;
                &b.kind == b"mdat" && s.at >= body && s.at + s.size as u64 <= (b.at + b.whole) as u64
            })
        });
        if let Some(n) = outside {
            segment.faults.push(format!("moof at {}: sample {n} does not lie in an mdat", fragment.at));
        }
    }
    segment
}

/// Reads an I-frame's byte range: a moof and the first of its samples; the mdat may be cut after that.
pub fn parse_iframe(data: &[u8], init: &Init) -> Segment {
    let mut segment = Segment::default();
    let (top, _) = walk(data);
    let Some(moof) = top.iter().find(|b| &b.kind == b"moof") else {
        segment.faults.push("there is no whole moof in the range".into());
        return segment;
    };
    if top.iter().take_while(|b| &b.kind != b"moof").any(|b| !matches!(&b.kind, b"styp" | b"sidx" | b"emsg" | b"prft")) {
        segment.faults.push(format!("the range starts with \"{}\", not with its moof", top[0].name()));
    }
    match read_moof(moof.at, moof.body, init) {
        Ok(fragments) => {
            let fragment = fragments.into_iter().next().unwrap_or_default();
            let end = fragment.samples.first().map_or(0, |s| s.at + s.size as u64);
            if end > data.len() as u64 {
                segment.faults.push(format!("the picture ends at {end}, the range at {}", data.len()));
            }
            segment.fragments.push(fragment);
        }
        Err(fault) => segment.faults.push(fault),
    }
    segment
}

/// The parts of a moof, one for each traf. `next` runs on through them, as the data of runs without an offset does.
fn read_moof(at: usize, moof: &[u8], init: &Init) -> Result<Vec<Fragment>, String> {
    let mut next = at as u64;
    let parts: Vec<Fragment> =
        children(moof, b"traf").into_iter().map(|traf| read_traf(at, traf, &mut next, init)).collect::<Result<_, _>>()?;
    if parts.is_empty() { Err("no traf".into()) } else { Ok(parts) }
}

fn read_traf(at: usize, traf: &[u8], next: &mut u64, init: &Init) -> Result<Fragment, String> {
    let mut fragment = Fragment { at, ..Default::default() };
    let mut tfhd = Cursor(child(traf, b"tfhd").ok_or("no tfhd")?);
    let mut read = || {
        let (_, flags) = tfhd.full()?;
        let track = tfhd.u32()?;
        let base = if flags & 0x1 != 0 { Some(tfhd.u64()?) } else { None };
        if flags & 0x2 != 0 {
            tfhd.u32()?;
        }
        let mut optional = |bit: u32| if flags & bit != 0 { tfhd.u32().map(Some) } else { Some(None) };
        Some((flags, track, base, optional(0x8)?, optional(0x10)?, optional(0x20)?))
    };
    let (flags, track, base, duration, size, sample_flags) = read().ok_or("tfhd is cut short")?;
    fragment.track = track;
    fragment.default_base_is_moof = flags & 0x20000 != 0;
    fragment.base_data_offset = base.is_some();
    let defaults = init.tracks.iter().find(|t| t.id == track).map(|t| t.defaults).unwrap_or_default();
    let defaults = (duration.unwrap_or(defaults.0), size.unwrap_or(defaults.1), sample_flags.unwrap_or(defaults.2));

    fragment.tfdt = child(traf, b"tfdt").map(Cursor).and_then(|mut c| {
        let (version, _) = c.full()?;
        c.sized(version)
    });

    for trun in children(traf, b"trun") {
        read_trun(trun, at as u64, next, defaults, &mut fragment.samples).ok_or("a trun is cut short or too long")?;
    }
    if fragment.samples.is_empty() {
        return Err("no samples".into());
    }
    Ok(fragment)
}

fn read_trun(trun: &[u8], moof: u64, next: &mut u64, defaults: (u32, u32, u32), samples: &mut Vec<Sample>) -> Option<()> {
    let mut c = Cursor(trun);
    let (version, flags) = c.full()?;
    let count = c.u32()?;
    if count as usize + samples.len() > MOST_SAMPLES as usize {
        return None;
    }
    let mut at = match flags & 0x1 {
        0 => *next,
        _ => moof.checked_add_signed(c.i32()? as i64)?,
    };
    let first_flags = if flags & 0x4 != 0 { Some(c.u32()?) } else { None };
    for n in 0..count {
        let mut field = |bit: u32, default: u32| if flags & bit != 0 { c.u32() } else { Some(default) };
        let duration = field(0x100, defaults.0)?;
        let size = field(0x200, defaults.1)?;
        let own = field(0x400, defaults.2)?;
        let composition = field(0x800, 0)?;
        let sample_flags = if n == 0 && flags & 0x400 == 0 { first_flags.unwrap_or(own) } else { own };
        let composition = if version == 0 { composition as i64 } else { composition as i32 as i64 };
        samples.push(Sample { duration, size, sync: sample_flags & 0x1_0000 == 0, composition, at });
        at = at.checked_add(size as u64)?;
    }
    *next = at;
    Some(())
}

/// The types of the H.264 NAL units of a sample; `None` where a length does not fit.
pub fn nal_types(sample: &[u8], length_size: usize) -> Option<Vec<u8>> {
    let (mut c, mut types) = (Cursor(sample), Vec::new());
    while !c.0.is_empty() {
        let length = c.take(length_size)?.iter().fold(0usize, |v, b| v << 8 | *b as usize);
        if let Some(first) = c.take(length)?.first() {
            types.push(first & 0x1f);
        }
    }
    Some(types)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_count_that_lies_eats_no_memory() {
        let mut samples = Vec::new();
        let trun = [0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(read_trun(&trun, 0, &mut 0, (1, 0, 0), &mut samples), None);
        assert!(samples.is_empty());
    }

    #[test]
    fn the_first_samples_flags_and_signed_offsets_are_read() {
        let mut trun = vec![1, 0, 0x0a, 0x05, 0, 0, 0, 2, 0, 0, 0, 100, 0x02, 0, 0, 0];
        for (size, composition) in [(30u32, 0i32), (10, -3000)] {
            trun.extend(size.to_be_bytes());
            trun.extend(composition.to_be_bytes());
        }
        let mut samples = Vec::new();
        read_trun(&trun, 1000, &mut 0, (3000, 0, 0x0101_0000), &mut samples).unwrap();
        assert_eq!(
            samples,
            [
                Sample { duration: 3000, size: 30, sync: true, composition: 0, at: 1100 },
                Sample { duration: 3000, size: 10, sync: false, composition: -3000, at: 1130 }
            ]
        );
    }

    proptest! {
        #[test]
        fn no_bytes_panic(data: Vec<u8>) {
            parse(&data, &Init::default());
            parse_iframe(&data, &Init::default());
            read_moof(0, &data, &Init::default()).ok();
            let mut samples = Vec::new();
            read_trun(&data, 8, &mut 0, (1, 1, 1), &mut samples);
            nal_types(&data, 4);
        }
    }
}
