//! A picture as the means of small square blocks: what the analysis compares. A mean over 64 pixels holds nothing of a
//! camera's noise and little of a codec's, but a single word that appears moves it by tens of levels.

use super::{Depth, View, plane_size};

/// Blocks along the longer side, about.
const ACROSS: usize = 160;
/// Pixels along a block's side at least: smaller ones would see noise.
const LEAST: usize = 4;

/// Block means of luma and both chroma planes, 8-bit levels, row by row.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grid {
    pub columns: usize,
    pub rows: usize,
    /// Y, U, V, each `columns * rows`.
    pub planes: [Vec<u8>; 3],
}

impl Grid {
    /// Reads every visible pixel once; edges that fill no block are left out.
    pub fn of(view: &View) -> Grid {
        let (w, h) = plane_size(view.size(), 0);
        let block = w.max(h).div_ceil(ACROSS).max(LEAST).next_multiple_of(2);
        let (columns, rows) = ((w / block).max(1), (h / block).max(1));
        let plane = |i: usize| {
            let (w, h) = plane_size(view.size(), i);
            let side = if i == 0 { block } else { block / 2 };
            means(view, i, columns, rows, side.min(w / columns).max(1), side.min(h / rows).max(1))
        };
        Grid { columns, rows, planes: [plane(0), plane(1), plane(2)] }
    }
}

fn means(view: &View, plane: usize, columns: usize, rows: usize, across: usize, down: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(columns * rows);
    let mut sums = vec![0u16; columns * across];
    let area = (across * down) as u32;
    let mut lines = view.rows(plane);
    for _ in 0..rows {
        sums.fill(0);
        for _ in 0..down {
            let Some(line) = lines.next() else { break };
            match view.depth() {
                Depth::Eight => sums.iter_mut().zip(line).for_each(|(sum, p)| *sum += *p as u16),
                // The upper eight of ten bits.
                Depth::Ten => {
                    sums.iter_mut().zip(line.chunks_exact(2)).for_each(|(sum, p)| *sum += u16::from_le_bytes([p[0], p[1]]) >> 2);
                }
            }
        }
        out.extend(sums.chunks_exact(across).map(|block| (block.iter().map(|s| *s as u32).sum::<u32>() / area).min(255) as u8));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::Frame;
    use crate::units::Size;

    #[test]
    fn blocks_hold_the_mean_of_their_pixels() {
        let mut frame = Frame::new(Size { width: 1280, height: 720 });
        // One word of 24x8 pixels at full contrast in the third block.
        frame.plane_mut(0).fill(235);
        let stride = frame.plane_mut(0).len() / 720;
        for y in 0..8 {
            frame.plane_mut(0)[y * stride + 16..y * stride + 20].fill(15);
        }
        let grid = Grid::of(&frame.view());
        assert_eq!((grid.columns, grid.rows), (160, 90));
        assert_eq!(&grid.planes[0][..4], &[235, 235, 125, 235]);
    }

    #[test]
    fn odd_and_tiny_pictures_have_a_grid() {
        for (w, h) in [(1, 1), (2, 2), (3, 5), (161, 121), (320, 2), (4096, 64)] {
            let grid = Grid::of(&Frame::new(Size { width: w, height: h }).view());
            assert!(grid.planes.iter().all(|p| p.len() == grid.columns * grid.rows), "{w}x{h}");
        }
    }
}
