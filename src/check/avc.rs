//! What an H.264 sequence parameter set says (ITU-T H.264 7.3.2.1), and the least level that a stream needs (table A-1).

/// The facts of a sequence parameter set that rules ask for.
#[derive(Debug, Clone, PartialEq)]
pub struct Sps {
    pub profile: u8,
    /// constraint_set flags, as in CODECS.
    pub constraints: u8,
    /// 31 is level 3.1.
    pub level: u8,
    pub references: u32,
    /// After cropping, before pixel aspect.
    pub width: u32,
    pub height: u32,
    pub macroblocks: u32,
    pub progressive: bool,
    pub pixel_aspect: (u32, u32),
    /// colour_primaries, transfer_characteristics, matrix_coefficients; `None` where not said.
    pub colour: Option<(u8, u8, u8)>,
}

/// Bits of a raw byte sequence payload, emulation prevention taken out.
struct Bits {
    data: Vec<u8>,
    at: usize,
}

impl Bits {
    fn new(nal: &[u8]) -> Self {
        let mut data = Vec::with_capacity(nal.len());
        let mut zeros = 0;
        for &b in nal {
            if zeros >= 2 && b == 3 {
                zeros = 0;
                continue;
            }
            zeros = if b == 0 { zeros + 1 } else { 0 };
            data.push(b);
        }
        Bits { data, at: 0 }
    }
    fn bit(&mut self) -> Option<u32> {
        let byte = *self.data.get(self.at / 8)?;
        let bit = byte >> (7 - self.at % 8) & 1;
        self.at += 1;
        Some(bit as u32)
    }
    fn flag(&mut self) -> Option<bool> {
        self.bit().map(|b| b == 1)
    }
    fn bits(&mut self, n: u32) -> Option<u32> {
        (0..n).try_fold(0u32, |v, _| Some(v << 1 | self.bit()?))
    }
    /// Exp-Golomb.
    fn ue(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        Some(((1u64 << zeros) - 1 + self.bits(zeros)? as u64).min(u32::MAX as u64) as u32)
    }
    fn se(&mut self) -> Option<i64> {
        let v = self.ue()? as i64;
        Some(if v % 2 == 0 { -(v / 2) } else { (v + 1) / 2 })
    }
}

/// Table E-1, sample aspect ratios 1 to 16.
const ASPECTS: [(u32, u32); 16] = [
    (1, 1),
    (12, 11),
    (10, 11),
    (16, 11),
    (40, 33),
    (24, 11),
    (20, 11),
    (32, 11),
    (80, 33),
    (18, 11),
    (15, 11),
    (64, 33),
    (160, 99),
    (4, 3),
    (3, 2),
    (2, 1),
];

/// Reads a NAL unit of type 7, header byte included; `None` where it is broken.
pub fn parse_sps(nal: &[u8]) -> Option<Sps> {
    if nal.first()? & 0x1f != 7 {
        return None;
    }
    let (profile, constraints, level) = (*nal.get(1)?, *nal.get(2)?, *nal.get(3)?);
    let mut b = Bits::new(&nal[4..]);
    b.ue()?;
    let mut chroma = 1;
    if [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135].contains(&profile) {
        chroma = b.ue()?;
        if chroma == 3 {
            b.flag()?;
        }
        b.ue()?;
        b.ue()?;
        b.flag()?;
        if b.flag()? {
            for i in 0..if chroma == 3 { 12 } else { 8 } {
                if b.flag()? {
                    let (mut last, mut next) = (8i64, 8i64);
                    for _ in 0..if i < 6 { 16 } else { 64 } {
                        if next != 0 {
                            next = (last + b.se()?).rem_euclid(256);
                        }
                        last = if next == 0 { last } else { next };
                    }
                }
            }
        }
    }
    b.ue()?;
    match b.ue()? {
        0 => drop(b.ue()?),
        1 => {
            b.flag()?;
            b.se()?;
            b.se()?;
            for _ in 0..b.ue()?.min(255) {
                b.se()?;
            }
        }
        _ => {}
    }
    let references = b.ue()?;
    b.flag()?;
    let width_mbs = b.ue()?.checked_add(1).filter(|w| *w <= 4096)?;
    let map_units = b.ue()?.checked_add(1).filter(|h| *h <= 4096)?;
    let progressive = b.flag()?;
    let height_mbs = map_units * if progressive { 1 } else { 2 };
    if !progressive {
        b.flag()?;
    }
    b.flag()?;
    let mut crop = (0, 0);
    if b.flag()? {
        let (l, r, t, bottom) = (b.ue()?, b.ue()?, b.ue()?, b.ue()?);
        let (cx, cy) = match chroma {
            1 => (2, 2),
            2 => (2, 1),
            _ => (1, 1),
        };
        let cy = cy * if progressive { 1 } else { 2 };
        crop = (l.saturating_add(r).saturating_mul(cx), t.saturating_add(bottom).saturating_mul(cy));
    }
    let mut sps = Sps {
        profile,
        constraints,
        level,
        references,
        width: (width_mbs * 16).checked_sub(crop.0)?,
        height: (height_mbs * 16).checked_sub(crop.1)?,
        macroblocks: width_mbs * height_mbs,
        progressive,
        pixel_aspect: (1, 1),
        colour: None,
    };
    // A broken VUI leaves the rest usable.
    if b.flag() == Some(true) {
        read_vui(&mut b, &mut sps);
    }
    Some(sps)
}

fn read_vui(b: &mut Bits, sps: &mut Sps) -> Option<()> {
    if b.flag()? {
        sps.pixel_aspect = match b.bits(8)? {
            255 => (b.bits(16)?, b.bits(16)?),
            n @ 1..=16 => ASPECTS[n as usize - 1],
            _ => (1, 1),
        };
    }
    if b.flag()? {
        b.flag()?;
    }
    if b.flag()? {
        b.bits(4)?;
        if b.flag()? {
            sps.colour = Some((b.bits(8)? as u8, b.bits(8)? as u8, b.bits(8)? as u8));
        }
    }
    Some(())
}

/// Table A-1: level, MaxMBPS, MaxFS, MaxDpbMbs, MaxBR in kbit/s for Baseline and Main (High: 1.25 times).
const LEVELS: [(u8, u32, u32, u32, u32); 19] = [
    (10, 1_485, 99, 396, 64),
    (11, 3_000, 396, 900, 192),
    (12, 6_000, 396, 2_376, 384),
    (13, 11_880, 396, 2_376, 768),
    (20, 11_880, 396, 2_376, 2_000),
    (21, 19_800, 792, 4_752, 4_000),
    (22, 20_250, 1_620, 8_100, 4_000),
    (30, 40_500, 1_620, 8_100, 10_000),
    (31, 108_000, 3_600, 18_000, 14_000),
    (32, 216_000, 5_120, 20_480, 20_000),
    (40, 245_760, 8_192, 32_768, 20_000),
    (41, 245_760, 8_192, 32_768, 50_000),
    (42, 522_240, 8_704, 34_816, 50_000),
    (50, 589_824, 22_080, 110_400, 135_000),
    (51, 983_040, 36_864, 184_320, 240_000),
    (52, 2_073_600, 36_864, 184_320, 240_000),
    (60, 4_177_920, 139_264, 696_320, 240_000),
    (61, 8_355_840, 139_264, 696_320, 480_000),
    (62, 16_711_680, 139_264, 696_320, 800_000),
];

/// The least level that allows the picture size, its references, the frame rate and the measured peak rate.
pub fn least_level(sps: &Sps, frames_per_second: f64, peak_bps: f64) -> Option<u8> {
    let factor = if sps.profile >= 100 { 1_250.0 } else { 1_000.0 };
    LEVELS
        .iter()
        .find(|(_, rate, size, buffer, bits)| {
            sps.macroblocks as f64 * frames_per_second <= *rate as f64
                && sps.macroblocks <= *size
                && sps.macroblocks as u64 * sps.references as u64 <= *buffer as u64
                && peak_bps <= *bits as f64 * factor
        })
        .map(|l| l.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// x264, 1280x720, High@3.1, 4:2:0, from a real file.
    const SPS_720P: &str = "6764001facd9405005bb016a02020280000003008000001e478c18cb";

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()).collect()
    }

    #[test]
    fn a_real_sps_reads_as_what_it_is() {
        let sps = parse_sps(&bytes(SPS_720P)).unwrap();
        assert_eq!((sps.profile, sps.level, sps.width, sps.height), (100, 31, 1280, 720));
        assert!(sps.progressive && sps.macroblocks == 3600);
    }

    #[test]
    fn the_least_level_follows_size_rate_and_references() {
        let sps = parse_sps(&bytes(SPS_720P)).unwrap();
        assert_eq!(least_level(&Sps { references: 1, ..sps.clone() }, 30.0, 1e6), Some(31));
        assert_eq!(least_level(&Sps { references: 5, ..sps.clone() }, 30.0, 1e6), Some(31));
        assert_eq!(least_level(&Sps { references: 6, ..sps.clone() }, 30.0, 1e6), Some(40), "six references do not fit 3.1 or 3.2");
        assert_eq!(least_level(&Sps { references: 1, ..sps }, 60.0, 1e6), Some(32));
    }

    proptest! {
        #[test]
        fn no_sps_panics(mut nal: Vec<u8>) {
            if let Some(first) = nal.first_mut() { *first = 0x67 }
            parse_sps(&nal);
        }
        #[test]
        fn no_damage_to_a_real_sps_panics(at in 1usize..27, value: u8) {
            let mut nal = bytes(SPS_720P);
            nal[at] = value;
            parse_sps(&nal);
        }
    }
}
