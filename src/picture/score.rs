//! How near a coded picture is to its source: SSIMULACRA2 (100 is the same, 90 hardly seen, 70 good, 50 fair, below 30 bad;
//! <https://github.com/cloudinary/ssimulacra2>). It wants RGB, so 4:2:0 pictures go through [`Rgb`] first; both sides in the
//! same way, chroma interpolated as WebP decoders do it, so that only what the codec did is counted.

use super::{Depth, View, plane_size};
use crate::error::{Error, Result};
use crate::units::{Area, Size};
use fast_ssim2::{PixelDescriptor, PixelSlice, Ssimulacra2Reference};

/// Which numbers make colours of Y, U and V; always limited range, as [`super::Cascade`] makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matrix {
    Bt601,
    Bt709,
}

impl Matrix {
    /// `bt601` as plans have it; anything else is BT.709.
    pub fn of(colour: &str) -> Self {
        if colour == "bt601" { Matrix::Bt601 } else { Matrix::Bt709 }
    }
    /// Red of V, green of U and V, blue of U, per unit of limited-range chroma, in 1/65536 (ITU-R BT.601 and BT.709).
    fn factors(self) -> [i32; 4] {
        match self {
            Matrix::Bt601 => [104_597, -25_675, -53_279, 132_201],
            Matrix::Bt709 => [117_489, -13_975, -34_925, 138_438],
        }
    }
}

/// Eight bits of red, green and blue a pixel, rows without padding.
#[derive(Clone, PartialEq, Eq)]
pub struct Rgb {
    pub size: Size,
    pub data: Vec<u8>,
}

impl Rgb {
    /// The part `area` of an 8-bit limited-range picture; an area that leaves the picture is cut to it. Fails where nothing of it
    /// is left, or at ten bits.
    pub fn of(view: &View, matrix: Matrix, area: Area) -> Result<Rgb> {
        let size = view.size();
        let area = cut(area, size)?;
        if view.depth() != Depth::Eight {
            return Err(Error::bug("a score is asked of a ten-bit picture"));
        }
        let [red, green_u, green_v, blue] = matrix.factors();
        let (cw, ch) = plane_size(size, 1);
        let (luma, planes) = (view.plane(0), [view.plane(1), view.plane(2)]);
        let mut data = Vec::with_capacity(area.width as usize * area.height as usize * 3);
        let mut rows = [vec![0i32; cw], vec![0i32; cw]];
        for y in area.y as usize..area.bottom() as usize {
            // Three quarters of the nearer chroma row and a quarter of the other, then the same sideways: sixteenths.
            let near = y / 2;
            let far = if y % 2 == 0 { near.saturating_sub(1) } else { (near + 1).min(ch - 1) };
            for (row, plane) in rows.iter_mut().zip(planes) {
                let (a, b) = (plane.row(near, cw), plane.row(far, cw));
                row.iter_mut().zip(a.iter().zip(b)).for_each(|(to, (a, b))| *to = 3 * *a as i32 + *b as i32);
            }
            let line = luma.row(y, size.width as usize);
            for (x, light) in line.iter().enumerate().take(area.right() as usize).skip(area.x as usize) {
                let near = x / 2;
                let far = if x % 2 == 0 { near.saturating_sub(1) } else { (near + 1).min(cw - 1) };
                let chroma = |row: &[i32]| 3 * row[near] + row[far] - 128 * 16;
                let (u, v) = (chroma(&rows[0]), chroma(&rows[1]));
                // 255/219 in 1/65536; the chroma factors hold 255/224.
                let light = (*light as i32 - 16) * 76_309;
                let byte = |c: i32| ((light + c / 16 + 32_768) >> 16).clamp(0, 255) as u8;
                data.extend([byte(red * v), byte(green_u * u + green_v * v), byte(blue * u)]);
            }
        }
        Ok(Rgb { size: Size { width: area.width, height: area.height }, data })
    }

    /// A part of it, cut to what there is.
    pub fn part(&self, area: Area) -> Result<Rgb> {
        let area = cut(area, self.size)?;
        let stride = self.size.width as usize * 3;
        let rows = self.data.chunks_exact(stride).skip(area.y as usize).take(area.height as usize);
        let data = rows.flat_map(|row| &row[area.x as usize * 3..area.right() as usize * 3]).copied().collect();
        Ok(Rgb { size: Size { width: area.width, height: area.height }, data })
    }

    fn slice(&self) -> Result<PixelSlice<'_>> {
        let Size { width, height } = self.size;
        PixelSlice::new(&self.data, width, height, width as usize * 3, PixelDescriptor::RGB8_SRGB)
            .map_err(|e| Error::bug(format!("a picture of {} cannot be scored: {e}", self.size)))
    }
}

fn cut(area: Area, size: Size) -> Result<Area> {
    let (x, y) = (area.x.min(size.width), area.y.min(size.height));
    let area = Area { x, y, width: area.width.min(size.width - x), height: area.height.min(size.height - y) };
    match area.width > 0 && area.height > 0 {
        true => Ok(area),
        false => Err(Error::bug(format!("no pixel of a picture of {size} is in the part asked for"))),
    }
}

/// A source that several tries are held against: its half of the work is done once.
pub struct Reference {
    inner: Ssimulacra2Reference,
    size: Size,
}

impl Reference {
    pub fn new(source: &Rgb) -> Result<Reference> {
        let inner = Ssimulacra2Reference::new(&source.slice()?)
            .map_err(|e| Error::bug(format!("a picture of {} cannot be scored: {e}", source.size)))?;
        Ok(Reference { inner, size: source.size })
    }
    /// At most 100; very bad pictures score below 0. Fails where the sizes differ.
    pub fn score(&self, coded: &Rgb) -> Result<f64> {
        if coded.size != self.size {
            return Err(Error::bug(format!("a picture of {} is held against one of {}", coded.size, self.size)));
        }
        self.inner.compare(&coded.slice()?).map_err(|e| Error::bug(format!("a picture of {} cannot be scored: {e}", self.size)))
    }
}

/// The score of one picture against its source, both 8-bit and of the same colour space; of a part of them, or all.
pub fn score(source: &View, coded: &View, matrix: Matrix, part: Option<Area>) -> Result<f64> {
    let area = part.unwrap_or(Area::whole(source.size()));
    Reference::new(&Rgb::of(source, matrix, area)?)?.score(&Rgb::of(coded, matrix, area)?)
}

#[cfg(test)]
mod tests {
    use super::super::tests::Padded;
    use super::*;

    const SIZE: Size = Size { width: 160, height: 96 };

    fn flat(y: u16, u: u16, v: u16) -> Padded {
        Padded::new(Depth::Eight, Size { width: 9, height: 7 }, 3, 0, |i, _, _| [y, u, v][i])
    }
    fn colour(y: u16, u: u16, v: u16, matrix: Matrix) -> [u8; 3] {
        let rgb = Rgb::of(&flat(y, u, v).view(), matrix, Area { x: 3, y: 2, width: 99, height: 2 }).unwrap();
        assert_eq!((rgb.size, rgb.data.len()), (Size { width: 6, height: 2 }, 36));
        assert!(rgb.data.chunks(3).all(|p| p == &rgb.data[..3]));
        [rgb.data[0], rgb.data[1], rgb.data[2]]
    }

    /// Colour bars, ITU-R BT.601 and BT.709 at 8 bits; rounding may be off by one or two.
    #[test]
    fn colours_are_those_of_the_standards() {
        let near = |a: [u8; 3], b: [u8; 3]| assert!(a.iter().zip(b).all(|(a, b)| a.abs_diff(b) <= 2), "{a:?} {b:?}");
        assert_eq!(colour(16, 128, 128, Matrix::Bt601), [0, 0, 0]);
        assert_eq!(colour(235, 128, 128, Matrix::Bt709), [255, 255, 255]);
        near(colour(81, 90, 240, Matrix::Bt601), [255, 0, 0]);
        near(colour(63, 102, 240, Matrix::Bt709), [255, 0, 0]);
        near(colour(145, 54, 34, Matrix::Bt601), [0, 255, 0]);
        near(colour(173, 42, 26, Matrix::Bt709), [0, 255, 0]);
        near(colour(41, 240, 110, Matrix::Bt601), [0, 0, 255]);
        near(colour(32, 240, 118, Matrix::Bt709), [0, 0, 255]);
    }

    fn picture(error: u16) -> Padded {
        Padded::new(Depth::Eight, SIZE, 0, 0, move |i, x, y| match i {
            // A busy left half; the error is in the right half.
            0 if x < 80 => 60 + ((x * 7 + y * 13) % 120) as u16,
            0 => 90 + ((x / 4 + y / 4) % 2) as u16 * 60 + error * ((x * 31 + y * 17) % 7) as u16,
            _ => 128,
        })
    }

    #[test]
    fn the_same_scores_100_and_worse_scores_less() {
        let whole = |error| score(&picture(0).view(), &picture(error).view(), Matrix::Bt709, None).unwrap();
        assert_eq!(whole(0), 100.0);
        assert!(whole(1) > whole(4) && whole(4) > whole(10), "{} {} {}", whole(1), whole(4), whole(10));
    }

    #[test]
    fn a_part_is_scored_by_itself() {
        let of = |x| {
            let part = Area { x, y: 0, width: 64, height: 96 };
            score(&picture(0).view(), &picture(10).view(), Matrix::Bt601, Some(part)).unwrap()
        };
        assert_eq!(of(0), 100.0);
        assert!(of(90) < 50.0, "{}", of(90));
    }

    #[test]
    fn what_cannot_be_compared_is_an_error() {
        let (a, b) = (picture(0), flat(16, 128, 128));
        assert!(score(&a.view(), &b.view(), Matrix::Bt709, None).is_err());
        assert!(score(&a.view(), &a.view(), Matrix::Bt709, Some(Area { x: 160, y: 0, width: 5, height: 5 })).is_err());
        let ten = Padded::new(Depth::Ten, SIZE, 0, 0, |_, _, _| 512);
        assert!(score(&ten.view(), &ten.view(), Matrix::Bt709, None).is_err());
        // Fewer pixels than the score's own window.
        assert_eq!(score(&b.view(), &b.view(), Matrix::Bt709, Some(Area { x: 0, y: 0, width: 1, height: 1 })).unwrap(), 100.0);
    }
}
