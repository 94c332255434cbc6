//! What a chunk leaves in the work directory: one file with the coded pictures of all its segments in all rungs. A line of
//! JSON, then the pictures' bytes, then a SHA-256 of all before: a damaged file counts as missing.

use crate::error::{Error, Kind, Result, ResultExt};
use crate::units::{Digest, Hasher};
use serde::{Deserialize, Serialize};
use std::io::{BufRead, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    pub rungs: Vec<RungUnits>,
    pub health: Health,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RungUnits {
    /// AVCDecoderConfigurationRecord, the same for all segments.
    pub avcc: Vec<u8>,
    /// Code points of ISO/IEC 23091-2: primaries, transfer, matrix.
    pub colour: (u16, u16, u16),
    /// Per segment, per picture in decoding order: bytes, and place in presentation order.
    pub segments: Vec<Vec<(u32, u32)>>,
}

/// How well the recording could be read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// Pictures that the plan names.
    pub wanted: usize,
    /// Of those, pictures that did not come; the one before stands in.
    pub missing: usize,
    /// Pictures that the decoder had to conceal parts of.
    pub damaged: usize,
    /// Lecture time of the first of either, seconds.
    pub first_fault_s: Option<f64>,
    /// What the decoder said.
    pub fault: Option<String>,
}

impl Health {
    /// Counts in what was lost of another span; what was wanted of it is known already.
    pub fn add(&mut self, other: &Health) {
        self.missing += other.missing;
        self.damaged += other.damaged;
        self.first_fault_s = self.first_fault_s.or(other.first_fault_s);
        self.fault = self.fault.take().or(other.fault.clone());
    }
}

/// Which rungs of a chunk are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// All.
    Whole,
    /// The lowest alone, before the others: whoever makes the chunk whole takes it from there.
    Floor,
}

/// `c00012.chunk`, or `f00012.chunk` of its floor alone: the name of chunk 12 in a plan's work directory.
pub fn path(dir: &Path, part: Part, chunk: usize) -> PathBuf {
    let letter = if part == Part::Whole { 'c' } else { 'f' };
    dir.join(format!("{letter}{chunk:05}.chunk"))
}

/// `s00123.chunk`: the name of one segment that was encoded before the rest, to predict it.
pub fn sample_path(dir: &Path, segment: usize) -> PathBuf {
    dir.join(format!("s{segment:05}.chunk"))
}

/// Writes a chunk whole or not at all. `data` gives the pictures in the header's order: by rung, then by segment.
pub fn write<'a>(path: &Path, header: &Header, data: impl Iterator<Item = &'a Vec<u8>>) -> Result<()> {
    let mut line = serde_json::to_vec(header).map_err(|e| Error::bug("a chunk header does not serialise").caused_by(e))?;
    line.push(b'\n');
    let mut hasher = Hasher::default();
    crate::workdir::write_whole(path, |out| {
        hasher.update(&line);
        out.write_all(&line)?;
        for piece in data {
            hasher.update(piece);
            out.write_all(piece)?;
        }
        out.write_all(std::mem::take(&mut hasher).finish().0.to_string().as_bytes())
    })
}

/// A chunk file that was found whole. It is opened for every segment: a long lecture has more chunks than a process files.
pub struct ChunkFile {
    pub header: Header,
    path: PathBuf,
    /// Where each rung's bytes begin.
    starts: Vec<u64>,
}

const TRAILER: u64 = 64;

/// The header of a chunk that is whole; `None` where there is none or it is damaged.
pub fn open(path: &Path) -> Option<ChunkFile> {
    let mut file = std::fs::File::open(path).ok()?;
    let whole = file.metadata().ok()?.len().checked_sub(TRAILER)?;
    let (digest, _) = Digest::of_reader((&mut file).take(whole)).ok()?;
    let mut trailer = String::new();
    file.read_to_string(&mut trailer).ok()?;
    if trailer != digest.to_string() {
        return None;
    }
    let (file, length) = read(path)?;
    (length == whole).then_some(file)
}

/// The header of a chunk that was found whole before, without reading its pictures again; and the bytes it speaks of.
pub fn read(path: &Path) -> Option<(ChunkFile, u64)> {
    let file = std::fs::File::open(path).ok()?;
    let mut line = Vec::new();
    std::io::BufReader::new(&file).read_until(b'\n', &mut line).ok()?;
    let header: Header = serde_json::from_slice(&line).ok()?;
    let mut at = line.len() as u64;
    let mut starts = Vec::new();
    for rung in &header.rungs {
        starts.push(at);
        at += rung.segments.iter().flatten().map(|(bytes, _)| *bytes as u64).sum::<u64>();
    }
    Some((ChunkFile { header, path: path.to_path_buf(), starts }, at))
}

impl ChunkFile {
    /// The coded pictures of one segment of one rung, in one piece.
    pub fn segment(&self, rung: usize, segment: usize) -> Result<Vec<u8>> {
        let sizes = |s: &[(u32, u32)]| s.iter().map(|(bytes, _)| *bytes as u64).sum::<u64>();
        let segments = &self.header.rungs[rung].segments;
        let before: u64 = segments[..segment].iter().map(|s| sizes(s)).sum();
        let mut out = vec![0; sizes(&segments[segment]) as usize];
        let mut file = std::fs::File::open(&self.path).doing(|| format!("cannot read {}", self.path.display()))?;
        file.seek(SeekFrom::Start(self.starts[rung] + before)).doing(|| "cannot read a chunk".into())?;
        file.read_exact(&mut out).kind(Kind::Corrupt, || "a chunk changed while it was read".into())?;
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (Header, Vec<Vec<u8>>) {
        let rung = |sizes: &[u32]| RungUnits { avcc: vec![1], colour: (1, 1, 1), segments: sizes.iter().map(|s| vec![(*s, 0)]).collect() };
        let header = Header { rungs: vec![rung(&[2, 3]), rung(&[4, 1])], health: Health::default() };
        (header, vec![vec![1, 1], vec![2, 2, 2], vec![3; 4], vec![4]])
    }

    #[test]
    fn segments_come_back_by_rung() {
        let dir = tempfile::tempdir().unwrap();
        let (header, data) = sample();
        write(&path(dir.path(), Part::Whole, 0), &header, data.iter()).unwrap();
        let file = open(&path(dir.path(), Part::Whole, 0)).unwrap();
        assert_eq!(file.segment(0, 1).unwrap(), [2, 2, 2]);
        assert_eq!(file.segment(1, 0).unwrap(), [3; 4]);
    }

    #[test]
    fn any_flipped_byte_makes_a_chunk_missing() {
        let dir = tempfile::tempdir().unwrap();
        let (header, data) = sample();
        let path = path(dir.path(), Part::Whole, 0);
        write(&path, &header, data.iter()).unwrap();
        let good = std::fs::read(&path).unwrap();
        for i in 0..good.len() {
            let mut bad = good.clone();
            bad[i] ^= 1;
            std::fs::write(&path, &bad).unwrap();
            assert!(open(&path).is_none(), "byte {i}");
        }
        std::fs::write(&path, &good[..good.len() - 1]).unwrap();
        assert!(open(&path).is_none());
    }
}
