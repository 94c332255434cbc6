//! One size to another, plane by plane, with the SIMD convolution of fast_image_resize.
//!
//! The kernel is the bicubic that swscale uses (B = 0, C = 0.6), widened when it shrinks, so that rungs look as those of
//! ffmpeg do and the encoder's settings mean the same. Chroma of 4:2:0 is sited on the left luma sample of each pair
//! (MPEG-2, which is what H.264 assumes): scaling the plane edge to edge, as most scalers do, would shift colour left
//! by (s-1)/4 of a source chroma pixel, a quarter of a target luma pixel at half size. The kernel is moved to correct it.
//!
//! The convolution is fast in height only (across a row it does one pixel at a time), so the width is scaled as the
//! height of the transposed plane. Measured on 1280x720 to 960x540: 3.2 CPU ms a frame as it comes, 2.0 this way (swscale 1.2).

use super::transpose::{Rows, transpose};
use super::{Depth, Frame, Plane, View, plane_size};
use crate::error::{Error, Result};
use crate::units::Size;
use fast_image_resize::images::{TypedCroppedImage, TypedCroppedImageMut, TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8;
use fast_image_resize::{Filter, FilterType, ResizeAlg, ResizeOptions, Resizer};

/// Scales 8-bit pictures of one size to another; keeps its buffers from call to call.
pub struct Scaler {
    from: Size,
    to: Size,
    resizer: Resizer,
    /// A plane scaled in height; and transposed; and scaled in width.
    low: Vec<u8>,
    turned: Vec<u8>,
    narrow: Vec<u8>,
    /// A source plane whose last row has no padding, made whole.
    whole: Vec<u8>,
}

type Fallible = std::result::Result<(), Box<dyn std::error::Error + Send + Sync>>;

impl Scaler {
    /// `to` may be smaller or larger in each direction; the same size copies.
    pub fn new(from: Size, to: Size) -> Self {
        Scaler { from, to, resizer: Resizer::new(), low: Vec::new(), turned: Vec::new(), narrow: Vec::new(), whole: Vec::new() }
    }
    pub fn to(&self) -> Size {
        self.to
    }
    /// The picture at the new size. Fails when it is not 8-bit or not of the size this scaler was made for.
    pub fn scale(&mut self, view: &View) -> Result<Frame> {
        if view.depth() != Depth::Eight || view.size() != self.from {
            return Err(Error::bug(format!("a scaler for 8-bit {} was given {:?} {}", self.from, view.depth(), view.size())));
        }
        if self.from == self.to {
            return Ok(Frame::copy_of(view));
        }
        let mut frame = Frame::new(self.to);
        for i in 0..3 {
            self.plane(i, view.plane(i), &mut frame).map_err(|e| Error::bug(format!("cannot scale {} to {}: {e}", self.from, self.to)))?;
        }
        Ok(frame)
    }

    fn plane(&mut self, i: usize, plane: Plane, frame: &mut Frame) -> Fallible {
        let ((w, h), (to_w, to_h)) = (plane_size(self.from, i), plane_size(self.to, i));
        let height = Axis { luma: (self.from.height, self.to.height), chroma: i > 0, left_sited: false };
        let width = Axis { luma: (self.from.width, self.to.width), chroma: i > 0, left_sited: i > 0 };
        let whole = plane.data.len() >= plane.stride * h;
        if !whole {
            self.whole.clear();
            self.whole.extend_from_slice(plane.data);
            self.whole.resize(plane.stride * h, 0);
        }
        let source = Rows { data: if whole { plane.data } else { &self.whole }, stride: plane.stride };
        let stride = frame.stride(i);
        if self.from.width == self.to.width {
            return height.scale(&mut self.resizer, source, (w, h), Rows { data: frame.plane_mut(i), stride }, to_h);
        }
        let low = if self.from.height == self.to.height {
            source
        } else {
            self.low.resize(w * to_h, 0);
            height.scale(&mut self.resizer, source, (w, h), Rows { data: &mut self.low, stride: w }, to_h)?;
            Rows { data: &self.low[..], stride: w }
        };
        self.turned.resize(to_h * w, 0);
        transpose(low, w, to_h, Rows { data: &mut self.turned, stride: to_h });
        self.narrow.resize(to_h * to_w, 0);
        let turned = Rows { data: &self.turned[..], stride: to_h };
        width.scale(&mut self.resizer, turned, (to_h, w), Rows { data: &mut self.narrow, stride: to_h }, to_w)?;
        transpose(Rows { data: &self.narrow, stride: to_h }, to_h, to_w, Rows { data: frame.plane_mut(i), stride });
        Ok(())
    }
}

/// One direction of one plane.
struct Axis {
    /// Luma samples before and after, also for chroma: half of an odd size is not a whole number of samples.
    luma: (u32, u32),
    chroma: bool,
    left_sited: bool,
}

impl Axis {
    /// Scales `from`, of `width` by `height` bytes, in height.
    fn scale(
        &self,
        resizer: &mut Resizer,
        from: Rows<&[u8]>,
        (width, height): (usize, usize),
        to: Rows<&mut [u8]>,
        to_height: usize,
    ) -> Fallible {
        let source = TypedImageRef::<U8>::from_buffer(from.stride as u32, height as u32, from.data)?;
        let source = TypedCroppedImage::from_ref(&source, 0, 0, width as u32, height as u32)?;
        let mut target = TypedImage::<U8>::from_buffer(to.stride as u32, to_height as u32, to.data)?;
        let mut target = TypedCroppedImageMut::from_ref(&mut target, 0, 0, width as u32, to_height as u32)?;
        let covered = self.luma.0 as f64 / if self.chroma { 2.0 } else { 1.0 };
        // The same of an odd target, as seen from the source.
        let covered = match (self.chroma, self.luma.1 % 2) {
            (true, 1) => (covered * (self.luma.1 + 1) as f64 / self.luma.1 as f64).min(height as f64),
            _ => covered,
        };
        let options = ResizeOptions::new().resize_alg(self.kernel()).crop(0.0, 0.0, width as f64, covered);
        Ok(resizer.resize_typed(&source, &mut target, &options)?)
    }

    /// The bicubic, moved for left-sited chroma.
    ///
    /// Target sample j lies at luma (2j + 0.5)·s of the source (pixel centres are at halves), and source sample i at
    /// 2i + 0.5: so i = j·s + (s - 1)/4. Edge to edge it would be i = j·s + (s - 1)/2: (s - 1)/4 too far to the right.
    fn kernel(&self) -> ResizeAlg {
        let s = self.luma.0 as f64 / self.luma.1 as f64;
        let move_by = if self.left_sited { (s - 1.0) / 4.0 / s.max(1.0) } else { 0.0 };
        let step = (move_by * STEPS).round();
        // The resizer takes a plain function, which cannot know the ratio: so there is one for each step of the move.
        macro_rules! table {
            ($($step:literal)*) => { match step as i32 { $($step => moved::<$step>,)* _ => bicubic } };
        }
        let kernel: fn(f64) -> f64 = table!(-16 -15 -14 -13 -12 -11 -10 -9 -8 -7 -6 -5 -4 -3 -2 -1 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16);
        let filter = Filter::new("bicubic", kernel, 2.0 + step.abs() / STEPS).expect("the support is positive");
        ResizeAlg::Convolution(FilterType::Custom(filter))
    }
}

/// Steps of the kernel's move. The rest, at most 1/128 of a kernel unit, is 1/64 of a target luma pixel.
const STEPS: f64 = 64.0;

fn moved<const STEP: i32>(x: f64) -> f64 {
    bicubic(x + STEP as f64 / STEPS)
}

/// swscale's default bicubic: B = 0, C = 0.6.
fn bicubic(x: f64) -> f64 {
    let x = x.abs();
    if x < 1.0 {
        (1.4 * x - 2.4) * x * x + 1.0
    } else if x < 2.0 {
        ((-0.6 * x + 3.0) * x - 4.8) * x + 2.4
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::super::fingerprint;
    use super::super::tests::{Padded, noise, sizes};
    use super::*;
    use proptest::prelude::*;

    const fn size(width: u32, height: u32) -> Size {
        Size { width, height }
    }

    /// One row of samples at `places` of a row scaled from `from` to `to` luma pixels, in f64, at any siting.
    fn reference(row: &dyn Fn(f64) -> f64, from: u32, to: u32, j: usize, chroma: bool) -> f64 {
        let s = from as f64 / to as f64;
        // Luma position, whose pixel centres are at halves, of target sample j; left-sited.
        row(if chroma { (2.0 * j as f64 + 0.5) * s } else { (j as f64 + 0.5) * s })
    }

    #[test]
    fn a_ramp_stays_where_it_was_in_luma_and_chroma() {
        // Position is value, sampled where 4:2:0 with left-sited chroma has its samples; the slope is such that rounding evens out.
        let ramp = |x: f64| 30.0 + x * 1.319;
        for (from, to) in
            [(size(160, 64), size(80, 32)), (size(160, 60), size(120, 30)), (size(161, 61), size(54, 40)), (size(80, 30), size(160, 64))]
        {
            let picture = Padded::new(Depth::Eight, from, 5, 0, |i, x, _| {
                ramp(if i == 0 { x as f64 + 0.5 } else { 2.0 * x as f64 + 0.5 }).round() as u16
            });
            let frame = Scaler::new(from, to).scale(&picture.view()).unwrap();
            for i in 0..2 {
                let (w, h) = plane_size(to, i);
                let row = &frame.plane(i)[h / 2 * frame.stride(i)..][..w];
                // Off the edges, where the kernel is cut.
                let mut sum = 0.0;
                for (j, &value) in row.iter().enumerate().take(w * 7 / 8).skip(w / 8) {
                    let error = value as f64 - reference(&ramp, from.width, to.width, j, i > 0);
                    assert!(error.abs() <= 1.0, "{from} to {to}, plane {i}, sample {j}: off by {error}");
                    sum += error;
                }
                // In source luma pixels. Edge to edge, chroma would be off by half of one at half size and a quarter at
                // twice; this bicubic itself bends a ramp a little between two samples.
                let shift = sum / (w * 7 / 8 - w / 8) as f64 / 1.319;
                assert!(shift.abs() < 0.15, "{from} to {to}, plane {i}: shifted by {shift}");
            }
        }
    }

    #[test]
    fn the_kernel_is_the_bicubic_of_the_definition() {
        // A grating near the target's limit is carried, one beyond it is not: no aliasing, no blur.
        let wave = |period: f64| {
            move |i: usize, x: usize, _: usize| {
                if i == 0 { (128.0 + 80.0 * (x as f64 * std::f64::consts::TAU / period).sin()).round() as u16 } else { 128 }
            }
        };
        let swing = |period: f64| {
            let picture = Padded::new(Depth::Eight, size(400, 20), 0, 0, wave(period));
            let frame = Scaler::new(picture.size, size(200, 10)).scale(&picture.view()).unwrap();
            let row = &frame.plane(0)[5 * frame.stride(0)..][20..180];
            (*row.iter().max().unwrap() as i32 - *row.iter().min().unwrap() as i32) as f64 / 160.0
        };
        assert!(swing(16.0) > 0.95, "{}", swing(16.0));
        assert!(swing(8.0) > 0.8, "{}", swing(8.0));
        assert!(swing(2.5) < 0.12, "{}", swing(2.5));
    }

    proptest! {
        #[test]
        fn a_flat_picture_stays_flat_at_any_size(from in sizes(200), to in sizes(200), pad in 0usize..9, y: u8, u: u8, v: u8) {
            let picture = Padded::new(Depth::Eight, from, pad, !y, |i, _, _| [y, u, v][i] as u16);
            let frame = Scaler::new(from, to).scale(&picture.view()).unwrap();
            prop_assert_eq!(frame.size(), to);
            for (i, value) in [y, u, v].into_iter().enumerate() {
                prop_assert!(frame.view().rows(i).flatten().all(|&p| p == value));
            }
        }

        #[test]
        fn padding_is_never_seen(from in sizes(120), to in sizes(120), pad in 0usize..20, seed: u64) {
            let scale = |pad: usize, value: u8| {
                Scaler::new(from, to).scale(&Padded::new(Depth::Eight, from, pad, value, noise(seed)).view()).unwrap()
            };
            prop_assert_eq!(fingerprint(&scale(0, 0).view()), fingerprint(&scale(pad, 255).view()));
        }

        #[test]
        fn the_same_size_is_the_same_picture(from in sizes(100), seed: u64) {
            let picture = Padded::new(Depth::Eight, from, 3, 0, noise(seed));
            let frame = Scaler::new(from, from).scale(&picture.view()).unwrap();
            prop_assert_eq!(fingerprint(&frame.view()), fingerprint(&picture.view()));
        }
    }

    #[test]
    fn another_picture_than_promised_is_refused() {
        let picture = Padded::new(Depth::Eight, size(8, 8), 0, 0, noise(1));
        assert!(Scaler::new(size(8, 6), size(4, 4)).scale(&picture.view()).is_err());
    }
}
