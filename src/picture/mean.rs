//! The mean of pictures that show the same: what stands in them stays, and the noise of a camera or of the recorder's coding
//! goes, with the root of their number.

use super::{Colour, Depth, Frame, View, plane_size};
use crate::units::Size;

/// As many pictures can be added: a sum of bytes then fits into 16 bits.
pub const MOST: usize = 257;

/// A sum of 8-bit pictures of one size and colour.
#[derive(Default)]
pub struct Mean {
    what: Option<(Size, Colour)>,
    /// Of every sample of Y, U and V, row after row without padding.
    sums: [Vec<u16>; 3],
    count: u16,
}

impl Mean {
    /// Adds a picture; false where it cannot be: it is of another size or colour, of more than 8 bits, or one too many.
    pub fn add(&mut self, view: &View, colour: Colour) -> bool {
        let what = (view.size(), colour);
        if view.depth() != Depth::Eight || self.what.is_some_and(|w| w != what) || self.count as usize == MOST {
            return false;
        }
        if self.what.replace(what).is_none() {
            self.sums = [0, 1, 2].map(|i| view.rows(i).flatten().map(|p| *p as u16).collect());
        } else {
            for (i, sums) in self.sums.iter_mut().enumerate() {
                let (width, _) = plane_size(view.size(), i);
                for (to, from) in sums.chunks_mut(width).zip(view.rows(i)) {
                    to.iter_mut().zip(from).for_each(|(to, from)| *to += *from as u16);
                }
            }
        }
        self.count += 1;
        true
    }

    /// Rounded to the nearest; `None` where nothing was added.
    pub fn frame(&self) -> Option<(Frame, Colour)> {
        let (size, colour) = self.what?;
        let (count, half) = (self.count as u32, self.count as u32 / 2);
        let mut frame = Frame::new(size);
        for (i, sums) in self.sums.iter().enumerate() {
            let (width, _) = plane_size(size, i);
            let stride = frame.stride(i);
            for (to, from) in frame.plane_mut(i).chunks_mut(stride).zip(sums.chunks(width)) {
                to.iter_mut().zip(from).for_each(|(to, sum)| *to = ((*sum as u32 + half) / count) as u8);
            }
        }
        Some((frame, colour))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Padded, noise};
    use super::*;

    const SIZE: Size = Size { width: 35, height: 19 };
    const SDR: Colour = Colour { hdr: None, full_range: false };

    #[test]
    fn one_picture_is_its_own_mean_and_padding_does_not_count() {
        let one = Padded::new(Depth::Eight, SIZE, 7, 255, noise(1));
        let mut mean = Mean::default();
        assert!(mean.frame().is_none());
        assert!(mean.add(&one.view(), SDR));
        let (frame, colour) = mean.frame().unwrap();
        assert!(frame == Frame::copy_of(&one.view()) && colour == SDR);
    }

    #[test]
    fn every_sample_is_rounded_to_the_nearest() {
        let mut mean = Mean::default();
        for level in [10, 11, 11, 255] {
            let picture =
                Padded::new(Depth::Eight, SIZE, 0, 0, |plane, x, _| if x == 3 { level.min(254 - 2 * plane as u16) } else { level });
            assert!(mean.add(&picture.view(), SDR));
        }
        let (frame, _) = mean.frame().unwrap();
        // 287 / 4 = 71.75; in column 3 (32 + 254, 252, 250) / 4 = 71.5, 71, 70.5.
        for (plane, column) in [(0, 72), (1, 71), (2, 71)] {
            assert_eq!(frame.plane(plane)[2..4], [72, column], "plane {plane}");
        }
    }

    #[test]
    fn what_does_not_belong_is_not_added() {
        let mut mean = Mean::default();
        let white = Padded::new(Depth::Eight, SIZE, 0, 0, |_, _, _| 255);
        assert!(mean.add(&white.view(), SDR));
        assert!(!mean.add(&Padded::new(Depth::Eight, Size { width: 36, height: 19 }, 0, 0, |_, _, _| 0).view(), SDR));
        assert!(!mean.add(&Padded::new(Depth::Ten, SIZE, 0, 0, |_, _, _| 0).view(), SDR));
        assert!(!mean.add(&white.view(), Colour::new(None, true)));
        for _ in 1..MOST {
            assert!(mean.add(&white.view(), SDR));
        }
        assert!(!mean.add(&white.view(), SDR));
        assert!(mean.frame().unwrap().0.plane(0)[..35].iter().all(|p| *p == 255));
    }
}
