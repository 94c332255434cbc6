//! Whatever the decoder gives to 8-bit limited-range SDR.
//!
//! 10-bit SDR is rounded to nearest, full range is squeezed into limited range, HDR is tone-mapped ([`super::tone`]).
//! The YCbCr matrix of SDR is left as it is: a picture in BT.601 stays one, and is labelled so. Tables are made once,
//! the pixels see integer arithmetic only.

use super::tone::{Curve, to_sdr};
use super::{Depth, Frame, View, plane_size};

/// What a picture's samples mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
pub struct Colour {
    /// `None` is SDR.
    pub hdr: Option<Curve>,
    /// Luma from 0 instead of 16 (of 8 bits).
    pub full_range: bool,
}

impl Colour {
    /// From [`crate::probe::Video::hdr`] and the range: names other than `pq` and `hlg` are SDR.
    pub fn new(hdr: Option<&str>, full_range: bool) -> Self {
        let hdr = match hdr {
            Some("pq") => Some(Curve::Pq),
            Some("hlg") => Some(Curve::Hlg),
            _ => None,
        };
        Colour { hdr, full_range }
    }
}

/// Converts pictures of one depth and meaning.
pub struct Levels {
    depth: Depth,
    table: Table,
}

enum Table {
    /// Luma and chroma each by themselves.
    Plain {
        luma: Vec<u8>,
        chroma: Vec<u8>,
    },
    Cube(Cube),
}

impl Levels {
    /// `None`: it is 8-bit limited SDR already.
    pub fn new(depth: Depth, colour: Colour) -> Option<Self> {
        let table = match colour {
            Colour { hdr: Some(curve), full_range } => Table::Cube(Cube::new(curve, depth, full_range)),
            Colour { hdr: None, full_range: false } if depth == Depth::Eight => return None,
            Colour { hdr: None, full_range } => {
                let code = |i: usize| Code::new(depth, full_range).sample(i as f64);
                let codes = 0..if depth == Depth::Eight { 256 } else { 1024 };
                Table::Plain {
                    luma: codes.clone().map(|i| to_luma(code(i).0)).collect(),
                    chroma: codes.map(|i| to_chroma(code(i).1)).collect(),
                }
            }
        };
        Some(Levels { depth, table })
    }

    /// The same picture in 8-bit limited-range SDR, same size.
    pub fn apply(&self, view: &View) -> Frame {
        debug_assert_eq!(view.depth(), self.depth);
        let mut frame = Frame::new(view.size());
        match &self.table {
            Table::Plain { luma, chroma } => {
                for i in 0..3 {
                    let table = if i == 0 { luma } else { chroma };
                    let (stride, (w, _)) = (frame.stride(i), plane_size(view.size(), i));
                    for (to, from) in frame.plane_mut(i).chunks_mut(stride).zip(view.rows(i)) {
                        look_up(self.depth, table, from, &mut to[..w]);
                    }
                }
            }
            Table::Cube(cube) => cube.apply(view, &mut frame),
        }
        frame
    }
}

fn look_up(depth: Depth, table: &[u8], from: &[u8], to: &mut [u8]) {
    match depth {
        Depth::Eight => to.iter_mut().zip(from).for_each(|(to, &v)| *to = table[v as usize]),
        Depth::Ten => to.iter_mut().zip(from.as_chunks::<2>().0).for_each(|(to, v)| *to = table[u16::from_le_bytes(*v).min(1023) as usize]),
    }
}

/// What a code stands for: luma 0..1 and chroma -0.5..0.5.
struct Code {
    /// Black, and white above it; middle, and the reach of chroma from end to end.
    luma: (f64, f64),
    chroma: (f64, f64),
}

impl Code {
    fn new(depth: Depth, full_range: bool) -> Self {
        let bits = match depth {
            Depth::Eight => 1.0,
            Depth::Ten => 4.0,
        };
        let top = 256.0 * bits - 1.0;
        if full_range {
            Code { luma: (0.0, top), chroma: (128.0 * bits, top) }
        } else {
            Code { luma: (16.0 * bits, 219.0 * bits), chroma: (128.0 * bits, 224.0 * bits) }
        }
    }
    fn sample(&self, code: f64) -> (f64, f64) {
        ((code - self.luma.0) / self.luma.1, (code - self.chroma.0) / self.chroma.1)
    }
}

fn to_luma(y: f64) -> u8 {
    // Footroom and headroom are kept: 0 and 255 alone are forbidden, but decoders give them and encoders take them.
    (16.0 + 219.0 * y).round().clamp(0.0, 255.0) as u8
}
fn to_chroma(c: f64) -> u8 {
    (128.0 + 224.0 * c).round().clamp(0.0, 255.0) as u8
}

/// YCbCr of HDR to YCbCr of SDR, interpolated linearly between 65 nodes in each direction; the greys lie on nodes of chroma.
/// With 33 nodes of chroma a bright pure yellow was off by 18 of 255; with 65, 97 colours of 100 are within 2.
struct Cube {
    /// Codes of 8-bit pictures are taken four times.
    up: u16,
    /// `[cb][cr][y]` of 8-bit values times 64.
    y: Vec<i16>,
    /// `[cb][cr][y]` of Cb, Cr, times 64.
    c: Vec<[i16; 2]>,
}

const Y_STEPS: usize = 64;
const C_STEPS: usize = 64;
const UNIT: f64 = 64.0;

impl Cube {
    fn new(curve: Curve, depth: Depth, full_range: bool) -> Self {
        let code = Code::new(depth, full_range);
        let up = if depth == Depth::Eight { 4 } else { 1 };
        let (mut y, mut c) = (Vec::new(), Vec::new());
        for cb in 0..=C_STEPS {
            for cr in 0..=C_STEPS {
                for luma in 0..=Y_STEPS {
                    let at = |i: usize, steps: usize| code.sample((i * 1024 / steps) as f64 / up as f64);
                    let out = convert(curve, at(luma, Y_STEPS).0, at(cb, C_STEPS).1, at(cr, C_STEPS).1);
                    y.push(((16.0 + 219.0 * out[0]) * UNIT).round() as i16);
                    c.push([out[1], out[2]].map(|c| ((128.0 + 224.0 * c) * UNIT).round() as i16));
                }
            }
        }
        Cube { up, y, c }
    }

    fn apply(&self, view: &View, frame: &mut Frame) {
        let (w, h) = plane_size(view.size(), 0);
        let strides = [frame.stride(0), frame.stride(1)];
        let get = |row: &[u8], x: usize| match view.depth() {
            Depth::Eight => row[x] as u16 * self.up,
            Depth::Ten => u16::from_le_bytes([row[2 * x], row[2 * x + 1]]).min(1023),
        };
        let luma: Vec<&[u8]> = view.rows(0).collect();
        for (cy, (cb, cr)) in view.rows(1).zip(view.rows(2)).enumerate() {
            for cx in 0..w.div_ceil(2) {
                let corner = Corner::new(get(cb, cx), get(cr, cx));
                let (mut sum, mut count) = (0, 0);
                for y in [2 * cy, 2 * cy + 1] {
                    for x in [2 * cx, 2 * cx + 1] {
                        if x < w && y < h {
                            let code = get(luma[y], x);
                            sum += code;
                            count += 1;
                            frame.plane_mut(0)[y * strides[0] + x] = corner.luma(&self.y, code);
                        }
                    }
                }
                let [u, v] = corner.chroma(&self.c, (sum + count / 2) / count);
                frame.plane_mut(1)[cy * strides[1] + cx] = u;
                frame.plane_mut(2)[cy * strides[1] + cx] = v;
            }
        }
    }
}

/// HDR Y'CbCr of BT.2020 (non-constant luminance) to SDR Y'CbCr of BT.709.
fn convert(curve: Curve, y: f64, cb: f64, cr: f64) -> [f64; 3] {
    let (r, b) = (y + 1.4746 * cr, y + 1.8814 * cb);
    let g = (y - 0.2627 * r - 0.0593 * b) / 0.6780;
    let [r, g, b] = to_sdr(curve, [r, g, b]);
    let y = 0.2126 * r + 0.7152 * g + 0.0722 * b;
    [y, (b - y) / 1.8556, (r - y) / 1.5748]
}

/// One chroma pair's place in the cube: the four columns of luma around it, and their weights, 256 in all.
struct Corner {
    columns: [usize; 4],
    weights: [i32; 4],
}

const Y_CELL: u16 = 1024 / Y_STEPS as u16;
const C_CELL: u16 = 1024 / C_STEPS as u16;
/// Weights of chroma (256), of luma (16), and the table's unit (64).
const SHIFT: u32 = 8 + 4 + 6;

impl Corner {
    fn new(cb: u16, cr: u16) -> Self {
        let column = |cb: u16, cr: u16| (cb as usize * (C_STEPS + 1) + cr as usize) * (Y_STEPS + 1);
        let (b, r) = (cb / C_CELL, cr / C_CELL);
        let (fb, fr) = ((cb % C_CELL) as i32, (cr % C_CELL) as i32);
        let (gb, gr) = (C_CELL as i32 - fb, C_CELL as i32 - fr);
        Corner {
            columns: [column(b, r), column(b, r + 1), column(b + 1, r), column(b + 1, r + 1)],
            weights: [gb * gr, gb * fr, fb * gr, fb * fr],
        }
    }
    fn luma(&self, table: &[i16], code: u16) -> u8 {
        let (i, f) = ((code / Y_CELL) as usize, (code % Y_CELL) as i32);
        let mut sum = 1 << (SHIFT - 1);
        for (column, weight) in self.columns.iter().zip(self.weights) {
            let pair = &table[column + i..][..2];
            sum += weight * (pair[0] as i32 * (Y_CELL as i32 - f) + pair[1] as i32 * f);
        }
        (sum >> SHIFT) as u8
    }
    fn chroma(&self, table: &[[i16; 2]], code: u16) -> [u8; 2] {
        let (i, f) = ((code / Y_CELL) as usize, (code % Y_CELL) as i32);
        let mut sum = [1 << (SHIFT - 1); 2];
        for (column, weight) in self.columns.iter().zip(self.weights) {
            let pair = &table[column + i..][..2];
            for k in 0..2 {
                sum[k] += weight * (pair[0][k] as i32 * (Y_CELL as i32 - f) + pair[1][k] as i32 * f);
            }
        }
        sum.map(|s| (s >> SHIFT) as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Padded, noise, sizes};
    use super::*;
    use crate::units::Size;
    use proptest::prelude::*;

    fn one(depth: Depth, colour: Colour, y: u16, cb: u16, cr: u16) -> [u8; 3] {
        let size = Size { width: 3, height: 3 };
        let picture = Padded::new(depth, size, 2, 0, |i, _, _| [y, cb, cr][i]);
        let frame = Levels::new(depth, colour).expect("there is work").apply(&picture.view());
        [0, 1, 2].map(|i| {
            let row = frame.view().rows(i).last().unwrap().to_vec();
            assert!(row.iter().all(|&v| v == row[0]), "a flat picture stays flat");
            row[0]
        })
    }

    #[test]
    fn eight_bit_sdr_is_left_alone() {
        assert!(Levels::new(Depth::Eight, Colour::default()).is_none());
        assert!(Levels::new(Depth::Eight, Colour::new(Some("bt709"), false)).is_none());
    }

    #[test]
    fn ten_bit_sdr_is_rounded_to_nearest() {
        let sdr = Colour::default();
        assert_eq!(one(Depth::Ten, sdr, 64, 512, 960), [16, 128, 240]);
        assert_eq!(one(Depth::Ten, sdr, 65, 513, 511), [16, 128, 128]);
        assert_eq!(one(Depth::Ten, sdr, 67, 515, 509), [17, 129, 127]);
        // A code beyond ten bits (a broken stream) is the largest one.
        assert_eq!(one(Depth::Ten, sdr, 1023, 65535, 0), [255, 255, 0]);
    }

    #[test]
    fn full_range_becomes_limited() {
        let full = Colour::new(None, true);
        assert_eq!(one(Depth::Eight, full, 0, 128, 128), [16, 128, 128]);
        assert_eq!(one(Depth::Eight, full, 255, 255, 0), [235, 240, 16]);
        assert_eq!(one(Depth::Ten, full, 0, 512, 512), [16, 128, 128]);
        assert_eq!(one(Depth::Ten, full, 1023, 1023, 0), [235, 240, 16]);
    }

    #[test]
    fn the_table_follows_the_maths() {
        for curve in [Curve::Pq, Curve::Hlg] {
            let colour = Colour { hdr: Some(curve), full_range: false };
            let levels = Levels::new(Depth::Ten, colour).unwrap();
            let code = Code::new(Depth::Ten, false);
            let mut errors = Vec::new();
            // Colours that exist: from R'G'B' of BT.2020, off the nodes of the table.
            for i in 0..17 * 17 * 17u32 {
                let [r, g, b] = [i / 289, i / 17 % 17, i % 17].map(|c| c as f64 / 16.0 * 0.73);
                let y = 0.2627 * r + 0.6780 * g + 0.0593 * b;
                let codes =
                    [y * 876.0 + 64.0, (b - y) / 1.8814 * 896.0 + 512.0, (r - y) / 1.4746 * 896.0 + 512.0].map(|c| c.round() as u16);
                let picture = Padded::new(Depth::Ten, Size { width: 2, height: 2 }, 0, 0, |i, _, _| codes[i]);
                let frame = levels.apply(&picture.view());
                let (luma, (cb, cr)) = (code.sample(codes[0] as f64).0, (code.sample(codes[1] as f64).1, code.sample(codes[2] as f64).1));
                let exact = convert(curve, luma, cb, cr);
                let exact = [to_luma(exact[0]), to_chroma(exact[1]), to_chroma(exact[2])];
                errors.extend(exact.iter().enumerate().map(|(k, exact)| frame.plane(k)[0].abs_diff(*exact)));
            }
            errors.sort();
            // The rest are bright and pure, where the largest of R, G, B changes within one cell.
            assert!(errors[errors.len() * 97 / 100] <= 2, "{curve:?}");
            assert!(errors[errors.len() - 1] <= 12, "{curve:?}: {}", errors[errors.len() - 1]);
        }
    }

    #[test]
    fn greys_stay_grey_and_follow_the_maths() {
        for (curve, depth) in [(Curve::Pq, Depth::Ten), (Curve::Hlg, Depth::Ten), (Curve::Hlg, Depth::Eight)] {
            let bits = if depth == Depth::Ten { 4 } else { 1 };
            let colour = Colour { hdr: Some(curve), full_range: false };
            let levels = Levels::new(depth, colour).unwrap();
            for y in (16 * bits..=235 * bits).step_by(3) {
                let picture = Padded::new(depth, Size { width: 2, height: 2 }, 0, 0, |i, _, _| if i == 0 { y } else { 128 * bits });
                let frame = levels.apply(&picture.view());
                let exact = to_luma(convert(curve, (y / bits - 16) as f64 / 219.0 + (y % bits) as f64 / 876.0, 0.0, 0.0)[0]);
                assert!(frame.plane(0)[0].abs_diff(exact) <= 1, "{curve:?} {y}: {} for {exact}", frame.plane(0)[0]);
                assert_eq!([frame.plane(1)[0], frame.plane(2)[0]], [128, 128]);
            }
        }
    }

    proptest! {
        // Each case makes a table of 65³ nodes.
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn any_samples_of_any_size_become_legal_ones(size in sizes(40), seed: u64, pad in 0usize..9, hlg: bool, full_range: bool) {
            let colour = Colour { hdr: Some(if hlg { Curve::Hlg } else { Curve::Pq }), full_range };
            let picture = Padded::new(Depth::Ten, size, pad, 0xff, noise(seed));
            let frame = Levels::new(Depth::Ten, colour).unwrap().apply(&picture.view());
            for i in 0..3 {
                let top = if i == 0 { 235 } else { 240 };
                prop_assert!(frame.view().rows(i).flatten().all(|&v| (16..=top).contains(&v)));
            }
        }
    }
}
