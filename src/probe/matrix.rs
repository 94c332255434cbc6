//! Which way is up in MP4 and QuickTime, read from the display matrices of movie and track. GStreamer 1.22's tag is wrong
//! (half a turn) where the movie matrix scales: it multiplies by comparing signs of unequal numbers.

use super::facts::Turn;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// No real `moov` is larger; 10 hours of 60 pictures/s take about 40 MB.
const LARGEST_MOOV: u64 = 256 << 20;

/// The turn of the track with this id; None where the file does not say it readably.
pub fn turn(path: &Path, track_id: u32) -> Option<Turn> {
    let moov = moov(path)?;
    let movie = boxes(&moov).find(|b| b.0 == *b"mvhd").and_then(|b| matrix(b.1, 36, 48))?;
    let tracks = boxes(&moov).filter(|b| b.0 == *b"trak").filter_map(|t| boxes(t.1).find(|b| b.0 == *b"tkhd").map(|b| b.1));
    let id = |tkhd: &[u8]| tkhd.get(if tkhd.first() == Some(&1) { 20..24 } else { 12..16 }).map(be32);
    let track = tracks.into_iter().find(|t| id(t) == Some(track_id)).and_then(|t| matrix(t, 40, 52))?;
    turn_of(multiply(track, movie))
}

/// The turn that a 2x2 display matrix (a b, c d; row vectors, y downwards) makes. Scale does not matter.
fn turn_of([a, b, c, d]: [f64; 4]) -> Option<Turn> {
    let upright = a.abs() + d.abs() > b.abs() + c.abs();
    Some(match (upright, if upright { (a > 0.0, d > 0.0) } else { (b > 0.0, c > 0.0) }) {
        _ if a * d == b * c => return None,
        (true, (true, true)) => (0, false),
        (true, (false, false)) => (180, false),
        (true, (false, true)) => (0, true),
        (true, (true, false)) => (180, true),
        (false, (true, false)) => (90, false),
        (false, (false, true)) => (270, false),
        (false, (true, true)) => (90, true),
        (false, (false, false)) => (270, true),
    })
}

fn multiply(t: [f64; 4], m: [f64; 4]) -> [f64; 4] {
    [t[0] * m[0] + t[1] * m[2], t[0] * m[1] + t[1] * m[3], t[2] * m[0] + t[3] * m[2], t[2] * m[1] + t[3] * m[3]]
}

fn be32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |n, b| n << 8 | u32::from(*b))
}

/// a b c d of the matrix that begins at `v0` or `v1`, by the box's version.
fn matrix(body: &[u8], v0: usize, v1: usize) -> Option<[f64; 4]> {
    let at = if *body.first()? == 1 { v1 } else { v0 };
    let number = |i: usize| Some(f64::from(be32(body.get(at + 4 * i..at + 4 * i + 4)?) as i32) / 65536.0);
    Some([number(0)?, number(1)?, number(3)?, number(4)?])
}

/// The child boxes of a box body, as far as their sizes are sound.
fn boxes(mut body: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    std::iter::from_fn(move || {
        let size = be32(body.get(..4)?) as usize;
        let name = body.get(4..8)?.try_into().ok()?;
        let inside = body.get(8..size)?;
        body = body.get(size..)?;
        Some((name, inside))
    })
}

/// The body of the file's `moov`, found by stepping over the boxes before it.
fn moov(path: &Path) -> Option<Vec<u8>> {
    let mut file = std::fs::File::open(path).ok()?;
    loop {
        let mut head = [0; 8];
        file.read_exact(&mut head).ok()?;
        let (mut size, mut taken) = (u64::from(be32(&head[..4])), 8);
        if size == 1 {
            let mut large = [0; 8];
            file.read_exact(&mut large).ok()?;
            (size, taken) = (u64::from_be_bytes(large), 16);
        }
        let inside = size.checked_sub(taken)?;
        if head[4..] == *b"moov" {
            let mut body = Vec::new();
            file.take(inside.min(LARGEST_MOOV)).read_to_end(&mut body).ok()?;
            return Some(body);
        }
        file.seek(SeekFrom::Current(i64::try_from(inside).ok()?)).ok()?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: [f64; 4] = [1.0, 0.0, 0.0, 1.0];

    fn mp4(movie: [i32; 4], track: [i32; 4]) -> tempfile::NamedTempFile {
        let atom = |name: &[u8], body: &[u8]| [&(body.len() as u32 + 8).to_be_bytes()[..], name, body].concat();
        let matrix =
            |[a, b, c, d]: [i32; 4]| [a, b, 0, c, d, 0, 0, 0, 1 << 30].iter().flat_map(|n: &i32| n.to_be_bytes()).collect::<Vec<u8>>();
        let mvhd = [vec![0; 36], matrix(movie), vec![0; 28]].concat();
        let mut tkhd = [vec![0; 40], matrix(track), vec![0; 8]].concat();
        tkhd[15] = 7;
        let moov = [atom(b"mvhd", &mvhd), atom(b"trak", &atom(b"tkhd", &tkhd))].concat();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file, &[atom(b"ftyp", b"qt  "), atom(b"moov", &moov)].concat()).unwrap();
        file
    }

    // A lecture capture whose movie is shown at 1.65 times its size came out upside down.
    #[test]
    fn a_movie_matrix_that_scales_does_not_turn() {
        let one = 1 << 16;
        assert_eq!(turn(mp4([108_442, 0, 0, 108_407], [one, 0, 0, one]).path(), 7), Some((0, false)));
        assert_eq!(turn(mp4([one, 0, 0, one], [0, one, -one, 0]).path(), 7), Some((90, false)));
        assert_eq!(turn(mp4([one, 0, 0, one], [one, 0, 0, one]).path(), 8), None, "no such track");
    }

    #[test]
    fn turns_and_mirrors_by_their_matrices() {
        for (m, turn) in [
            (PLAIN, (0, false)),
            ([-1.0, 0.0, 0.0, -1.0], (180, false)),
            ([0.0, -1.0, 1.0, 0.0], (270, false)),
            ([0.0, 1.0, 1.0, 0.0], (90, true)),
            ([-1.0, 0.0, 0.0, 1.0], (0, true)),
        ] {
            assert_eq!(turn_of(m), Some(turn), "{m:?}");
        }
        assert_eq!(turn_of([0.0; 4]), None);
    }

    #[test]
    fn garbage_is_no_matrix() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file, &[0xff; 100]).unwrap();
        assert_eq!(turn(file.path(), 1), None);
    }
}
