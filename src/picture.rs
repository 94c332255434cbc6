//! Pixel work between the decoder and the encoders: plain structs, no GStreamer.
//!
//! A [`View`] looks at a decoder's buffer where it lies; a [`Frame`] is what an encoder gets. [`Cascade`] goes from one to
//! the other: 10-bit, HDR and full range become 8-bit limited-range SDR ([`levels`]), the largest rung is scaled from that,
//! turned upright ([`turn`]), and the smaller rungs are scaled from frames already made. GStreamer's own scaler takes
//! 2.4 times the CPU of swscale, this takes 1.3 to 1.5 times it (benches/picture.rs), and GStreamer 1.22 has no tone mapping.
//!
//! Pixels see integer arithmetic on tables made once, the same with and without SIMD, so the same input gives the same
//! bytes. The tone mapping table alone comes from powers in f64, whose last bit is up to the machine's libm.

pub mod cascade;
pub mod grid;
pub mod levels;
pub mod mean;
pub mod scale;
pub mod score;
pub mod tone;
mod transpose;
pub mod turn;

pub use cascade::{Cascade, Look};
pub use grid::Grid;
pub use levels::{Colour, Levels};
pub use mean::Mean;
pub use scale::Scaler;
pub use tone::Curve;
pub use turn::Turn;

use crate::error::{Error, Result};
use crate::units::Size;

/// How samples lie in a [`View`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Depth {
    /// One byte a sample (`I420`).
    Eight,
    /// Ten bits in two bytes, little endian (`I420_10LE`).
    Ten,
}

impl Depth {
    /// Bytes of one sample.
    pub fn bytes(self) -> usize {
        match self {
            Depth::Eight => 1,
            Depth::Ten => 2,
        }
    }
}

/// One plane in somebody else's memory.
#[derive(Debug, Clone, Copy)]
pub struct Plane<'a> {
    pub data: &'a [u8],
    /// Bytes from one row to the next.
    pub stride: usize,
}

impl<'a> Plane<'a> {
    /// Row `y`, `bytes` long. The bounds were checked by [`View::new`].
    fn row(&self, y: usize, bytes: usize) -> &'a [u8] {
        &self.data[y * self.stride..][..bytes]
    }
}

/// A 4:2:0 picture in somebody else's memory: Y, U, V. Odd sizes have chroma of half the size, rounded up.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    depth: Depth,
    size: Size,
    planes: [Plane<'a>; 3],
}

impl<'a> View<'a> {
    /// Fails when a plane is shorter than its size and stride say: a decoder's buffer is not to be trusted.
    pub fn new(depth: Depth, size: Size, planes: [Plane<'a>; 3]) -> Result<Self> {
        if size.width == 0 || size.height == 0 {
            return Err(Error::bad_media(format!("a picture of {size} has no pixels")));
        }
        for (i, plane) in planes.iter().enumerate() {
            let (w, h) = plane_size(size, i);
            let row = w * depth.bytes();
            if plane.stride < row || plane.data.len() < plane.stride * (h - 1) + row {
                return Err(Error::bad_media(format!(
                    "a decoded picture of {size} is too small in memory: plane {i} has {} bytes in rows of {}",
                    plane.data.len(),
                    plane.stride
                )));
            }
        }
        Ok(View { depth, size, planes })
    }
    pub fn depth(&self) -> Depth {
        self.depth
    }
    pub fn size(&self) -> Size {
        self.size
    }
    pub fn plane(&self, i: usize) -> Plane<'a> {
        self.planes[i]
    }
    /// The visible rows of plane `i`, without padding.
    pub fn rows(&self, i: usize) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let ((w, h), plane) = (plane_size(self.size, i), self.planes[i]);
        let bytes = w * self.depth.bytes();
        (0..h).map(move |y| plane.row(y, bytes))
    }
}

/// Width and height of plane `i` (0 is luma) of a 4:2:0 picture.
pub fn plane_size(size: Size, i: usize) -> (usize, usize) {
    let (w, h) = (size.width as usize, size.height as usize);
    if i == 0 { (w, h) } else { (w.div_ceil(2), h.div_ceil(2)) }
}

/// An 8-bit 4:2:0 picture of our own, in one piece of memory.
///
/// It lies as GStreamer lays out `I420` of that size by default (rows padded to 4 bytes), so that it goes into a buffer
/// without a copy and without a video meta. `AsRef<[u8]>` is all of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    size: Size,
    data: Vec<u8>,
}

impl Frame {
    /// A frame of zeros: not black (that is 16, 128, 128), to be filled.
    ///
    /// Odd sizes are legal between the steps of a cascade; encoders want even ones.
    pub fn new(size: Size) -> Self {
        let [_, _, _, end] = Self::offsets(size);
        Frame { size, data: vec![0; end] }
    }
    /// From the bytes of `as_ref`; `None` where they are not as many as the size needs.
    pub fn from_bytes(size: Size, data: Vec<u8>) -> Option<Self> {
        (size.width > 0 && size.height > 0 && data.len() == Self::offsets(size)[3]).then_some(Frame { size, data })
    }
    /// Copies the visible pixels of an 8-bit view.
    pub fn copy_of(view: &View) -> Self {
        debug_assert_eq!(view.depth, Depth::Eight);
        let mut frame = Frame::new(view.size);
        for i in 0..3 {
            let (w, _) = plane_size(view.size, i);
            let stride = frame.stride(i);
            for (to, from) in frame.plane_mut(i).chunks_mut(stride).zip(view.rows(i)) {
                to[..w].copy_from_slice(from);
            }
        }
        frame
    }
    pub fn size(&self) -> Size {
        self.size
    }
    /// Bytes from one row of plane `i` to the next.
    pub fn stride(&self, i: usize) -> usize {
        stride(self.size, i)
    }
    /// Plane `i` with its padding.
    pub fn plane(&self, i: usize) -> &[u8] {
        let at = Self::offsets(self.size);
        &self.data[at[i]..at[i + 1]]
    }
    /// Plane `i` with its padding, to be written.
    pub fn plane_mut(&mut self, i: usize) -> &mut [u8] {
        let at = Self::offsets(self.size);
        &mut self.data[at[i]..at[i + 1]]
    }
    pub fn view(&self) -> View<'_> {
        let plane = |i| Plane { data: self.plane(i), stride: self.stride(i) };
        View { depth: Depth::Eight, size: self.size, planes: [plane(0), plane(1), plane(2)] }
    }
    /// Where Y, U and V begin, and the end.
    fn offsets(size: Size) -> [usize; 4] {
        let mut at = [0; 4];
        for i in 0..3 {
            // GStreamer rounds the rows of luma up to even, and gives chroma half of that.
            let rows = (size.height as usize).next_multiple_of(2) >> (i.min(1));
            at[i + 1] = at[i] + stride(size, i) * rows;
        }
        at
    }
}

fn stride(size: Size, i: usize) -> usize {
    plane_size(size, i).0.next_multiple_of(4)
}

impl AsRef<[u8]> for Frame {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Frame {} {:016x}", self.size, fingerprint(&self.view()))
    }
}

/// A 64-bit hash of the visible pixels and the size: equal pictures have equal ones whatever their strides and padding.
/// For comparing passes and chunk joints; not against somebody who looks for a collision.
pub fn fingerprint(view: &View) -> u64 {
    // Multiply and rotate, eight bytes a step.
    const K: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |h: u64, word: u64| (h ^ word).wrapping_mul(K).rotate_left(29);
    let mut h = mix(mix(K, view.size.width as u64), (view.size.height as u64) << 8 | view.depth.bytes() as u64);
    for i in 0..3 {
        for row in view.rows(i) {
            let (words, rest) = row.as_chunks::<8>();
            for word in words {
                h = mix(h, u64::from_le_bytes(*word));
            }
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            h = mix(h, u64::from_le_bytes(last));
        }
    }
    mix(h, h >> 32)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A picture with its own strides, whose padding is `pad`.
    pub struct Padded {
        pub size: Size,
        pub depth: Depth,
        pub data: [Vec<u8>; 3],
        pub stride: [usize; 3],
    }
    impl Padded {
        /// `pixel(plane, x, y)` gives samples.
        pub fn new(depth: Depth, size: Size, extra: usize, pad: u8, pixel: impl Fn(usize, usize, usize) -> u16) -> Self {
            let mut data = [vec![], vec![], vec![]];
            let mut strides = [0; 3];
            for i in 0..3 {
                let (w, h) = plane_size(size, i);
                strides[i] = w * depth.bytes() + extra;
                for y in 0..h {
                    for x in 0..w {
                        let v = pixel(i, x, y);
                        match depth {
                            Depth::Eight => data[i].push(v as u8),
                            Depth::Ten => data[i].extend(v.to_le_bytes()),
                        }
                    }
                    // The last row ends where its pixels end: some decoders do that.
                    if y + 1 < h {
                        data[i].extend(std::iter::repeat_n(pad, extra));
                    }
                }
            }
            Padded { size, depth, data, stride: strides }
        }
        pub fn view(&self) -> View<'_> {
            let plane = |i: usize| Plane { data: &self.data[i], stride: self.stride[i] };
            View::new(self.depth, self.size, [plane(0), plane(1), plane(2)]).unwrap()
        }
    }

    /// A cheap noise that depends on all its inputs.
    pub fn noise(seed: u64) -> impl Fn(usize, usize, usize) -> u16 {
        move |i, x, y| {
            let v = (seed ^ (i as u64) << 40 ^ (x as u64) << 20 ^ y as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            ((v ^ v >> 31).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 54) as u16
        }
    }

    pub fn sizes(limit: u32) -> impl Strategy<Value = Size> {
        (2..limit, 2..limit).prop_map(|(width, height)| Size { width, height })
    }

    proptest! {
        #[test]
        fn fingerprints_see_pixels_and_not_padding(size in sizes(200), seed: u64, a in 0usize..9, b in 0usize..9, at: prop::sample::Index) {
            let (one, two) = (Padded::new(Depth::Eight, size, a, 1, noise(seed)), Padded::new(Depth::Eight, size, b, 2, noise(seed)));
            prop_assert_eq!(fingerprint(&one.view()), fingerprint(&two.view()));
            let copy = Frame::copy_of(&one.view());
            prop_assert_eq!(fingerprint(&one.view()), fingerprint(&copy.view()));
            // One bit of one pixel is enough to tell.
            let (x, y) = (at.index(size.width as usize), at.index(size.height as usize));
            let flipped = Padded::new(Depth::Eight, size, a, 1, |i, px, py| noise(seed)(i, px, py) ^ u16::from((i, px, py) == (0, x, y)));
            prop_assert_ne!(fingerprint(&one.view()), fingerprint(&flipped.view()));
        }
    }

    #[test]
    fn a_frame_lies_as_gstreamer_lays_out_i420() {
        // gst_video_info_set_format (I420, 426, 240): stride 428, 216, 216; offsets 0, 102720, 128640; size 154560.
        let frame = Frame::new(Size { width: 426, height: 240 });
        assert_eq!([frame.stride(0), frame.stride(1), frame.stride(2)], [428, 216, 216]);
        assert_eq!(Frame::offsets(frame.size), [0, 102_720, 128_640, 154_560]);
    }

    #[test]
    fn a_buffer_that_is_too_small_is_bad_media_and_not_a_panic() {
        let data = [0; 100];
        let plane = Plane { data: &data, stride: 10 };
        let make = |width, height| View::new(Depth::Eight, Size { width, height }, [plane; 3]);
        assert!(make(10, 10).is_ok());
        assert!(make(11, 10).is_err());
        assert!(make(10, 11).is_err());
        assert!(make(0, 4).is_err());
        assert!(View::new(Depth::Ten, Size { width: 10, height: 2 }, [plane; 3]).is_err());
    }
}
