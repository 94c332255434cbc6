//! The pictures that slides and screens consist of, kept from the analysis for the encoders: one file of compressed 8-bit
//! pictures and an index. A saving, never a need: what is not in it is decoded again.

use crate::error::{Error, Result, ResultExt};
use crate::picture::{Colour, Frame};
use crate::timeline::Likeness;
use crate::units::{Digest, Hasher, Size};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

const PICTURES: &str = "pictures";
const INDEX: &str = "pictures.json";

/// Bytes that are kept of a second of recording in the long run: half a dozen screens of text that somebody types into. What
/// needs more, a camera's pictures, is decoded again.
const PER_SECOND: f64 = 1e6;
/// As many are kept in a burst.
const BURST: f64 = 64e6;
/// What all of them may take on disk.
const MOST_BYTES: u64 = 3 << 30;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Entry {
    /// How many pictures it is the mean of; 0: it is one.
    of: usize,
    at: u64,
    bytes: u64,
    size: Size,
    colour: Colour,
    /// SHA-256 of the compressed picture.
    digest: Digest,
}

#[derive(Serialize, Deserialize, Default)]
struct Index(BTreeMap<u64, Entry>);

pub struct Spool<'a> {
    dir: &'a Path,
    out: BufWriter<File>,
    at: u64,
    index: Index,
    tokens: f64,
    last_ns: u64,
}

impl Spool<'_> {
    /// Begins anew in `dir`.
    pub fn create(dir: &Path) -> Result<Spool<'_>> {
        let _ = std::fs::remove_file(dir.join(INDEX));
        let out = File::create(dir.join(PICTURES)).doing(|| format!("cannot write in {}", dir.display()))?;
        Ok(Spool { dir, out: BufWriter::with_capacity(1 << 20, out), at: 0, index: Index::default(), tokens: BURST, last_ns: 0 })
    }

    /// Keeps one picture or mean, unless too many came of late.
    pub fn put(&mut self, likeness: &Likeness, frame: impl FnOnce() -> Option<(Frame, Colour)>) -> Result<()> {
        let ns = likeness.ns;
        self.tokens = (self.tokens + ns.saturating_sub(self.last_ns) as f64 / 1e9 * PER_SECOND).min(BURST);
        self.last_ns = ns;
        if self.tokens <= 0.0 || self.at > MOST_BYTES {
            return Ok(());
        }
        let Some((frame, colour)) = frame() else { return Ok(()) };
        let packed = lz4_flex::block::compress_prepend_size(frame.as_ref());
        self.out.write_all(&packed).doing(|| format!("cannot write in {}", self.dir.display()))?;
        let bytes = packed.len() as u64;
        self.tokens -= bytes as f64;
        self.index.0.insert(ns, Entry { of: likeness.of.len(), at: self.at, bytes, size: frame.size(), colour, digest: digest(&packed) });
        self.at += bytes;
        Ok(())
    }

    /// None of them is to be used.
    pub fn discard(self) {
        let _ = std::fs::remove_file(self.dir.join(PICTURES));
    }

    pub fn finish(mut self) -> Result<()> {
        self.out.flush().doing(|| format!("cannot write in {}", self.dir.display()))?;
        let text = serde_json::to_vec(&self.index).map_err(|e| Error::bug("an index does not serialise").caused_by(e))?;
        crate::workdir::write_whole(&self.dir.join(INDEX), |out| out.write_all(&text))
    }
}

fn digest(bytes: &[u8]) -> Digest {
    let mut hasher = Hasher::default();
    hasher.update(bytes);
    hasher.finish().0
}

/// The pictures of a finished analysis.
pub struct Kept {
    file: File,
    index: Index,
    /// Nobody frees them, or writes them anew, meanwhile.
    _lock: File,
}

impl Kept {
    /// `None` where there are none, or they are being written.
    pub fn open(dir: &Path) -> Option<Kept> {
        let lock = crate::workdir::share(dir)?;
        let index: Index = serde_json::from_slice(&std::fs::read(dir.join(INDEX)).ok()?).ok()?;
        Some(Kept { file: File::open(dir.join(PICTURES)).ok()?, index, _lock: lock })
    }

    /// Whether there is the picture of this stream time, or the mean that is called by it, of so many.
    pub fn has(&self, ns: u64, of: usize) -> bool {
        self.index.0.get(&ns).is_some_and(|e| e.of == of)
    }

    /// The picture as the decoder gave it, or the mean; `None` where it is not kept or no longer whole.
    pub fn get(&mut self, ns: u64, of: usize) -> Option<(Frame, Colour)> {
        let entry = self.index.0.get(&ns).filter(|e| e.of == of)?;
        let mut packed = vec![0; entry.bytes as usize];
        self.file.seek(SeekFrom::Start(entry.at)).ok()?;
        self.file.read_exact(&mut packed).ok()?;
        if digest(&packed) != entry.digest {
            return None;
        }
        let pixels = lz4_flex::block::decompress_size_prepended(&packed).ok()?;
        Some((Frame::from_bytes(entry.size, pixels)?, entry.colour))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(ns: u64) -> Likeness {
        Likeness { ns, of: Vec::new() }
    }

    #[test]
    fn pictures_come_back_and_damage_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        File::create(dir.path().join("lock")).unwrap();
        let size = Size { width: 33, height: 17 };
        let mut frame = Frame::new(size);
        frame.plane_mut(0).iter_mut().enumerate().for_each(|(i, p)| *p = i as u8);
        let colour = Colour::new(None, false);
        let mut spool = Spool::create(dir.path()).unwrap();
        spool.put(&one(7), || Some((frame.clone(), colour))).unwrap();
        spool.put(&Likeness { ns: 9, of: vec![8, 9] }, || Some((Frame::new(size), colour))).unwrap();
        spool.put(&one(10), || None).unwrap();
        spool.finish().unwrap();
        let mut kept = Kept::open(dir.path()).unwrap();
        let lock = File::open(dir.path().join("lock")).unwrap();
        assert!(lock.try_lock().is_err(), "it can be freed while it is read");
        assert!(kept.has(7, 0) && !kept.has(8, 0) && !kept.has(10, 0));
        assert!(kept.get(7, 0).unwrap() == (frame, colour));
        assert!(kept.get(8, 0).is_none());
        // A mean is not taken for the picture that it is called by.
        assert!(kept.has(9, 2) && !kept.has(9, 0) && kept.get(9, 0).is_none());
        assert!(kept.get(9, 2).unwrap() == (Frame::new(size), colour));
        let path = dir.path().join(PICTURES);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[40] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert!(Kept::open(dir.path()).unwrap().get(7, 0).is_none());
    }

    #[test]
    fn a_camera_is_not_kept_and_a_screen_is() {
        let dir = tempfile::tempdir().unwrap();
        let mut noise = Frame::new(Size { width: 640, height: 360 });
        let mut state = 1u32;
        noise.plane_mut(0).iter_mut().for_each(|p| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *p = (state >> 24) as u8;
        });
        let kept = |frame: &Frame| {
            let mut spool = Spool::create(dir.path()).unwrap();
            for i in 0..1000u64 {
                spool.put(&one(i * 40_000_000), || Some((frame.clone(), Colour::default()))).unwrap();
            }
            (spool.index.0.len(), spool.at)
        };
        let (pictures, bytes) = kept(&noise);
        // The burst, and as much as is allowed for the 39.96 s to the last one; and one that began within it.
        assert!(pictures < 500 && bytes as f64 <= BURST + 39.96 * PER_SECOND + 350e3, "{pictures} of {bytes} bytes");
        assert!(bytes as f64 > BURST + 39.0 * PER_SECOND, "{bytes}");
        // Forty letters in any order.
        let mut text = Frame::new(Size { width: 640, height: 360 });
        text.plane_mut(0).iter_mut().enumerate().for_each(|(i, p)| {
            let (x, y) = (i % 640, i / 640);
            let letter = (x / 8 * 7919 + y / 12 * 104_729) % 40;
            *p = if (letter * 31 + x % 8 * 5 + y % 12 * 3) % 11 < 3 { 16 } else { 235 };
        });
        let (pictures, bytes) = kept(&text);
        assert!(pictures == 1000 && bytes > 10_000_000, "{pictures} of {bytes} bytes");
    }
}
