//! Turning a picture upright: by quarters clockwise, then mirrored.
//!
//! # Issues
//! Chroma sited on the left comes to lie on the top, right or bottom, and is treated as left again: colour is off by at
//! most one luma pixel of the largest rung. Every tool that turns subsampled pictures does the same.

use super::{Frame, plane_size};
use crate::units::Size;

/// What makes a picture upright.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Turn {
    quarters: u8,
    mirrored: bool,
}

impl Turn {
    /// Clockwise degrees (nearest multiple of 90), and whether left and right are exchanged after that.
    pub fn new(degrees: u16, mirrored: bool) -> Self {
        Turn { quarters: ((degrees as u32 + 45) / 90 % 4) as u8, mirrored }
    }
    pub fn is_none(self) -> bool {
        self == Turn::default()
    }
    /// The size after the turn.
    pub fn size(self, size: Size) -> Size {
        if self.quarters % 2 == 1 { Size { width: size.height, height: size.width } } else { size }
    }
    /// The size that becomes `size` by the turn: a turn by quarters swaps the same way back.
    pub fn before(self, size: Size) -> Size {
        self.size(size)
    }
    pub fn apply(self, frame: Frame) -> Frame {
        if self.is_none() {
            return frame;
        }
        let mut out = Frame::new(self.size(frame.size()));
        for i in 0..3 {
            let to = (out.stride(i), plane_size(out.size(), i));
            self.plane(frame.plane(i), frame.stride(i), out.plane_mut(i), to);
        }
        out
    }

    fn plane(self, from: &[u8], stride: usize, to: &mut [u8], (to_stride, (w, h)): (usize, (usize, usize))) {
        if w == 0 || h == 0 {
            return;
        }
        // Where target (0, 0) comes from, and how far to go in the source for a step right and a step down in the target.
        // Signed, as most of them go backwards.
        let s = stride as isize;
        let (w_, h_) = (w as isize - 1, h as isize - 1);
        let (mut start, mut right, down) = match self.quarters {
            0 => (0, 1, s),
            1 => (w_ * s, -s, 1),
            2 => (h_ * s + w_, -1, -s),
            _ => (h_, s, -1),
        };
        if self.mirrored {
            start += right * w_;
            right = -right;
        }
        // Blocks, so that the rows and columns that a quarter turn touches stay in the first cache: 32 of each do.
        const BLOCK: usize = 32;
        for top in (0..h).step_by(BLOCK) {
            for left in (0..w).step_by(BLOCK) {
                for y in top..h.min(top + BLOCK) {
                    let at = start + down * y as isize + right * left as isize;
                    let row = &mut to[y * to_stride..][left..w.min(left + BLOCK)];
                    for (x, pixel) in row.iter_mut().enumerate() {
                        *pixel = from[(at + right * x as isize) as usize];
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Padded, noise, sizes};
    use super::super::{Depth, fingerprint};
    use super::*;
    use proptest::prelude::*;

    fn grid(frame: &Frame, i: usize) -> Vec<Vec<u8>> {
        frame.view().rows(i).map(<[u8]>::to_vec).collect()
    }
    /// The reference: one quarter clockwise puts column x, read upwards, into row x.
    fn quarter(g: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        (0..g[0].len()).map(|x| g.iter().rev().map(|row| row[x]).collect()).collect()
    }

    proptest! {
        #[test]
        fn a_turn_is_so_many_quarters_and_a_mirror(size in sizes(100), seed: u64, quarters in 0u16..4, mirrored: bool) {
            let frame = Frame::copy_of(&Padded::new(Depth::Eight, size, 0, 0, noise(seed)).view());
            let turned = Turn::new(quarters * 90, mirrored).apply(frame.clone());
            for i in 0..3 {
                let mut expected = (0..quarters).fold(grid(&frame, i), |g, _| quarter(g));
                if mirrored {
                    expected.iter_mut().for_each(|row| row.reverse());
                }
                prop_assert_eq!(grid(&turned, i), expected);
            }
        }
    }

    #[test]
    fn no_turn_is_the_same_frame_and_four_quarters_come_back() {
        let frame = Frame::copy_of(&Padded::new(Depth::Eight, Size { width: 64, height: 36 }, 0, 0, noise(1)).view());
        let quarter = Turn::new(90, false);
        assert_ne!(fingerprint(&quarter.apply(frame.clone()).view()), fingerprint(&frame.view()));
        assert_eq!((0..4).fold(frame.clone(), |f, _| quarter.apply(f)), frame);
        assert_eq!(Turn::default().apply(frame.clone()), frame);
    }
}
