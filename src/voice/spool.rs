//! The voice's one channel at 48 kHz in a file of the work directory, so that a recording is decoded once however often it
//! is limited and encoded: 32-bit floats, then the SHA-256 of the mix's name and all of them. 691 MB an hour, removed when
//! the voice is made. A reader trusts it only if it is whole; else the recording is decoded again, to the same samples.

use super::RATE_HZ;
use super::mix::Mix;
use crate::error::{Error, Result, ResultExt};
use crate::units::{Digest, Hasher};
use crate::workdir::write_whole;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, Write};
use std::path::{Path, PathBuf};

const SAMPLE: u64 = 4;
/// Hexadecimal SHA-256.
const TRAILER: u64 = 64;
/// Samples that are read at once: half a second.
const BLOCK: usize = RATE_HZ as usize / 2;

/// Takes the samples in order.
pub struct Writer<'a> {
    out: &'a mut dyn Write,
    hasher: Hasher,
    bytes: Vec<u8>,
}

impl Writer<'_> {
    pub fn add(&mut self, samples: &[f32]) -> Result<()> {
        self.bytes.clear();
        samples.iter().for_each(|x| self.bytes.extend_from_slice(&x.to_le_bytes()));
        self.hasher.update(&self.bytes);
        self.out.write_all(&self.bytes).doing(|| "cannot write the decoded voice into the work directory".into())
    }
}

/// Writes the file while `fill` gives its samples, whole or not at all. Fails with what `fill` fails with.
pub fn write<T>(path: &Path, mix: Mix, fill: impl FnOnce(&mut Writer) -> Result<T>) -> Result<T> {
    let mut filled = Err(Error::bug("the decoded voice was not asked for"));
    let written = write_whole(path, |out| {
        let mut writer = Writer { out, hasher: begin(mix), bytes: Vec::new() };
        filled = fill(&mut writer);
        match &filled {
            Ok(_) => writer.out.write_all(writer.hasher.finish().0.to_string().as_bytes()),
            Err(_) => Err(io::Error::other("the voice was not decoded to its end")),
        }
    });
    let filled = filled?;
    written.map(|()| filled)
}

/// A file that was found whole.
pub struct Spool {
    file: File,
    frames: u64,
    path: PathBuf,
}

impl Spool {
    /// Reads all of it once. `None` where it is not there, is damaged, or holds another mix or another number of samples.
    pub fn open(path: &Path, mix: Mix, frames: u64) -> Option<Spool> {
        let file = File::open(path).ok()?;
        if file.metadata().ok()?.len() != frames * SAMPLE + TRAILER {
            return None;
        }
        let mut hasher = begin(mix);
        let mut reader = BufReader::with_capacity(1 << 16, &file);
        let mut left = frames * SAMPLE;
        let mut buffer = vec![0; 1 << 16];
        while left > 0 {
            let n = left.min(buffer.len() as u64) as usize;
            reader.read_exact(&mut buffer[..n]).ok()?;
            hasher.update(&buffer[..n]);
            left -= n as u64;
        }
        let mut trailer = String::new();
        reader.read_to_string(&mut trailer).ok()?;
        (trailer.parse::<Digest>().ok()? == hasher.finish().0).then(|| Spool { file, frames, path: path.to_path_buf() })
    }

    /// Hands out all samples in order, in blocks.
    pub fn read(&mut self, on: &mut dyn FnMut(&[f32]) -> Result<()>) -> Result<()> {
        let doing = || format!("cannot read {}", self.path.display());
        self.file.rewind().doing(doing)?;
        let mut bytes = vec![0; BLOCK * SAMPLE as usize];
        let mut samples = Vec::with_capacity(BLOCK);
        let mut left = self.frames;
        while left > 0 {
            let n = left.min(BLOCK as u64) as usize;
            let bytes = &mut bytes[..n * SAMPLE as usize];
            self.file.read_exact(bytes).doing(doing)?;
            samples.clear();
            samples.extend(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])));
            on(&samples)?;
            left -= n as u64;
        }
        Ok(())
    }
}

/// One channel in both halves of a pair is its own average.
fn begin(mix: Mix) -> Hasher {
    let mut hasher = Hasher::default();
    hasher.update(match mix {
        Mix::Mono | Mix::Average => b"average",
        Mix::Left => b"left",
        Mix::Right => b"right",
    });
    hasher
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    fn samples(n: usize) -> Vec<f32> {
        (0..n).map(|i| (i as f32 * 0.01).sin() * 1.5).collect()
    }
    fn put(path: &Path, samples: &[f32]) {
        write(path, Mix::Mono, |spool| samples.chunks(777).try_for_each(|c| spool.add(c))).unwrap();
    }
    fn get(spool: &mut Spool) -> Vec<f32> {
        let mut all = Vec::new();
        spool
            .read(&mut |block| {
                all.extend_from_slice(block);
                Ok(())
            })
            .unwrap();
        all
    }

    #[test]
    fn samples_come_back_as_often_as_they_are_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mix");
        for n in [0, 1, BLOCK, 2 * BLOCK + 5] {
            put(&path, &samples(n));
            let mut spool = Spool::open(&path, Mix::Average, n as u64).unwrap();
            assert_eq!((get(&mut spool), get(&mut spool)), (samples(n), samples(n)));
        }
    }

    #[test]
    fn what_is_not_whole_is_not_trusted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mix");
        assert!(Spool::open(&path, Mix::Mono, 3).is_none(), "missing");
        put(&path, &samples(3));
        assert!(Spool::open(&path, Mix::Left, 3).is_none() && Spool::open(&path, Mix::Mono, 4).is_none());
        let good = std::fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(&path, &bad).unwrap();
            assert!(Spool::open(&path, Mix::Mono, 3).is_none(), "byte {at} flipped");
            std::fs::write(&path, &good[..at]).unwrap();
            assert!(Spool::open(&path, Mix::Mono, 3).is_none(), "cut to {at}");
        }
    }

    /// A decoder that fails leaves no file, and its own words.
    #[test]
    fn a_failure_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mix");
        let outcome: Result<()> = write(&path, Mix::Mono, |spool| {
            spool.add(&samples(100))?;
            Err(Error::bad_media("no sound at all"))
        });
        let error = outcome.unwrap_err();
        assert!(error.kind() == Kind::BadMedia && error.what().contains("no sound at all"));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
