//! One decoded picture to the frames of all rungs.
//!
//! A rung is scaled from the smallest frame already made that is at least twice its size, else from the source. Measured
//! on a 720p lecture (VMAF of the rung scaled back, against the source): 426x240 scores 47.7 straight from 720p, 47.9 by
//! way of 960x540, but 46.3 by way of 640x360, where the ratio is 1.5; 640x360 scores 70.9 straight and 70.5 by way of
//! 540p. So the factor of two costs nothing, and less than that costs quality.

use super::{Colour, Depth, Frame, Levels, Scaler, Turn, View};
use crate::error::{Error, Result};
use crate::units::Size;
use std::sync::Arc;

/// What the decoder's pictures are like, and how they are to be put right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// As decoded: before the turn, pixels of any aspect.
    pub size: Size,
    pub depth: Depth,
    pub colour: Colour,
    pub turn: Turn,
}

/// Makes the frames of all rungs of one recording; keeps its tables and buffers from picture to picture.
pub struct Cascade {
    look: Look,
    levels: Option<Levels>,
    /// In the order of the work: largest first.
    steps: Vec<Step>,
}

struct Step {
    /// Place in the caller's list.
    rung: usize,
    /// The rung to scale from; `None` is the source.
    from: Option<usize>,
    scaler: Scaler,
}

impl Cascade {
    /// `rungs` are upright sizes in any order; a pixel aspect is put right by their being of another shape than the source.
    pub fn new(look: Look, rungs: &[Size]) -> Self {
        let mut order: Vec<usize> = (0..rungs.len()).collect();
        let area = |s: Size| s.width as u64 * s.height as u64;
        order.sort_by_key(|&i| (std::cmp::Reverse(area(rungs[i])), i));
        let mut steps: Vec<Step> = Vec::new();
        for rung in order {
            let to = rungs[rung];
            let big_enough = |from: Size| from == to || from.width >= 2 * to.width && from.height >= 2 * to.height;
            // The last of those made that will do is the smallest.
            let from = steps.iter().rev().map(|s| s.rung).find(|&made| big_enough(rungs[made]));
            let scaler = match from {
                Some(made) => Scaler::new(rungs[made], to),
                None => Scaler::new(look.size, look.turn.before(to)),
            };
            steps.push(Step { rung, from, scaler });
        }
        Cascade { look, levels: Levels::new(look.depth, look.colour), steps }
    }

    /// The frames, in the order of the sizes given to [`Cascade::new`]. Fails when the picture does not look as it was said to.
    pub fn make(&mut self, view: &View) -> Result<Vec<Arc<Frame>>> {
        let made = self.make_some(view, u16::MAX)?;
        Ok(made.into_iter().flatten().collect())
    }

    /// The same for the rungs of which the bit is set in `wanted` (bit `i`: the `i`-th size), and those on the way to them.
    pub fn make_some(&mut self, view: &View, wanted: u16) -> Result<Vec<Option<Arc<Frame>>>> {
        if (view.size(), view.depth()) != (self.look.size, self.look.depth) {
            return Err(Error::bad_media(format!(
                "the picture changes from {} ({:?} bits) to {} ({:?} bits) on the way",
                self.look.size,
                self.look.depth,
                view.size(),
                view.depth()
            )));
        }
        let levelled = self.levels.as_ref().map(|levels| levels.apply(view));
        let source = levelled.as_ref().map_or(*view, Frame::view);
        let mut made: Vec<Option<Arc<Frame>>> = vec![None; self.steps.len()];
        let mut needed = wanted;
        for step in self.steps.iter().rev().filter(|s| s.rung < 16) {
            if needed >> step.rung & 1 == 1
                && let Some(from) = step.from
            {
                needed |= 1 << from;
            }
        }
        for step in self.steps.iter_mut().filter(|s| needed >> s.rung & 1 == 1) {
            let frame = match step.from.map(|from| made[from].as_ref().expect("larger frames are made first")) {
                Some(larger) if larger.size() == step.scaler.to() => larger.clone(),
                Some(larger) => Arc::new(step.scaler.scale(&larger.view())?),
                None => Arc::new(self.look.turn.apply(step.scaler.scale(&source)?)),
            };
            made[step.rung] = Some(frame);
        }
        Ok(made)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Padded, noise};
    use super::super::{Curve, fingerprint};
    use super::*;
    use proptest::prelude::*;

    const fn size(width: u32, height: u32) -> Size {
        Size { width, height }
    }
    fn look(size: Size) -> Look {
        Look { size, depth: Depth::Eight, colour: Colour::default(), turn: Turn::default() }
    }
    fn sources(look: Look, rungs: &[Size]) -> Vec<Option<usize>> {
        let mut from = vec![None; rungs.len()];
        Cascade::new(look, rungs).steps.iter().for_each(|s| from[s.rung] = s.from);
        from
    }

    #[test]
    fn a_rung_comes_from_the_smallest_frame_of_twice_its_size() {
        let rungs = [size(426, 240), size(640, 360), size(960, 540), size(1280, 720)];
        assert_eq!(sources(look(size(1920, 1080)), &rungs), [Some(2), Some(3), None, None]);
        assert_eq!(sources(look(size(1280, 720)), &rungs[..3]), [Some(2), None, None]);
    }

    proptest! {
        // Some make a table of 65³ nodes.
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn every_rung_has_its_size_whatever_the_source(
            w in 2u32..200, h in 2u32..200, seed: u64, pad in 0usize..9, ten: bool, hdr in 0u8..8, full_range: bool, quarters in 0u16..4, mirrored: bool,
            rungs in prop::collection::vec((1u32..90, 1u32..90), 1..4),
        ) {
            let depth = if ten { Depth::Ten } else { Depth::Eight };
            let colour = Colour { hdr: (hdr == 0).then_some(Curve::Hlg), full_range };
            let look = Look { size: size(w, h), depth, colour, turn: Turn::new(quarters * 90, mirrored) };
            let rungs: Vec<Size> = rungs.into_iter().map(|(w, h)| size(2 * w, 2 * h)).collect();
            let picture = Padded::new(depth, look.size, pad, 0, noise(seed));
            let mut cascade = Cascade::new(look, &rungs);
            let frames = cascade.make(&picture.view()).unwrap();
            prop_assert_eq!(frames.iter().map(|f| f.size()).collect::<Vec<_>>(), rungs.clone());
            // The buffers kept from the first picture leave no trace in the second.
            cascade.make(&Padded::new(depth, look.size, pad, 9, noise(!seed)).view()).unwrap();
            prop_assert_eq!(cascade.make(&picture.view()).unwrap(), frames);
        }
    }

    proptest! {
        #[test]
        fn a_picture_already_right_goes_through_untouched(w in 1u32..100, h in 1u32..100, seed: u64) {
            let picture = Padded::new(Depth::Eight, size(2 * w, 2 * h), 3, 0, noise(seed));
            let frames = Cascade::new(look(picture.size), &[picture.size]).make(&picture.view()).unwrap();
            prop_assert_eq!(fingerprint(&frames[0].view()), fingerprint(&picture.view()));
        }
    }

    #[test]
    fn a_turned_picture_is_turned_in_every_rung() {
        // Dark, but for a bright upper left quarter: a quarter turn clockwise takes it to the upper right.
        let picture = Padded::new(Depth::Eight, size(160, 80), 0, 0, |i, x, y| match i {
            0 if x < 80 && y < 40 => 200,
            0 => 20,
            _ => 128,
        });
        let look = Look { turn: Turn::new(90, false), ..look(picture.size) };
        let rungs = [size(80, 160), size(60, 120), size(20, 40)];
        for frame in Cascade::new(look, &rungs).make(&picture.view()).unwrap() {
            let (w, h) = (frame.size().width as usize, frame.size().height as usize);
            let at = |x: usize, y: usize| frame.plane(0)[y * frame.stride(0) + x];
            assert_eq!([at(w * 3 / 4, h / 4), at(w / 4, h / 4), at(w / 4, h * 3 / 4), at(w * 3 / 4, h * 3 / 4)], [200, 20, 20, 20]);
        }
    }

    #[test]
    fn a_picture_of_another_size_is_refused() {
        let picture = Padded::new(Depth::Eight, size(32, 32), 0, 0, noise(1));
        assert!(Cascade::new(look(size(64, 32)), &[size(32, 16)]).make(&picture.view()).is_err());
    }
}
