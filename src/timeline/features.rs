//! The recorded features of one file's pictures, and the file they are kept in: a line of JSON, fixed-size records, small
//! luma pictures, a SHA-256 of all before.

use crate::error::{Error, Result};
use crate::units::{Digest, Hasher};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::Path;

/// The picture is divided into zones of equal size, to say where something happens.
pub const ZONES_ACROSS: usize = 16;
pub const ZONES_DOWN: usize = 9;
pub const ZONES: usize = ZONES_ACROSS * ZONES_DOWN;

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Features {
    /// Size of the thumbs.
    pub columns: usize,
    pub rows: usize,
    /// Every picture that was looked at, in order.
    pub pictures: Vec<Seen>,
    /// Small pictures at most four times a second, and none while nothing changes: each stands until the next.
    pub thumbs: Vec<Thumb>,
}

/// One picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    pub ns: u64,
    /// Blocks of the grid that differ visibly from the picture kept before; 0 where it is not worth keeping.
    pub changed: u16,
    /// The zones in which they lie: bit `y * 16 + x`.
    pub zones: [u64; 3],
    /// The zones in which anything at all differs from the picture just before, however little: a camera's noise does, a
    /// recorder that is stuck does not. None of the first picture.
    pub stirred: [u64; 3],
}

impl Seen {
    pub fn kept(&self) -> bool {
        self.changed > 0
    }
    pub fn in_zone(&self, zone: usize) -> bool {
        self.zones[zone / 64] >> (zone % 64) & 1 == 1
    }
}

/// Luma, `columns * rows` levels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thumb {
    pub ns: u64,
    /// Those of one recording share their memory: an hour has up to 14,400 of them, 50 MB and more that go back to the system at once.
    pub luma: Bytes,
}

#[derive(Serialize, Deserialize)]
struct Header {
    features: u32,
    columns: usize,
    rows: usize,
    pictures: usize,
    thumbs: usize,
}

const FORMAT: u32 = 2;
const RECORD: usize = 8 + 2 + 24 + 24;

impl Features {
    /// Writes them whole or not at all.
    pub fn write(&self, path: &Path) -> Result<()> {
        let (pictures, thumbs) = (self.pictures.len(), self.thumbs.len());
        let header = Header { features: FORMAT, columns: self.columns, rows: self.rows, pictures, thumbs };
        let line = serde_json::to_vec(&header).map_err(|e| Error::bug("a features header does not serialise").caused_by(e))?;
        crate::workdir::write_whole(path, |out| {
            let mut hasher = Hasher::default();
            let mut put = |bytes: &[u8], out: &mut dyn Write| {
                hasher.update(bytes);
                out.write_all(bytes)
            };
            put(&line, out)?;
            put(b"\n", out)?;
            for p in &self.pictures {
                let mut record = [0; RECORD];
                record[..8].copy_from_slice(&p.ns.to_le_bytes());
                record[8..10].copy_from_slice(&p.changed.to_le_bytes());
                for (i, z) in p.zones.iter().chain(&p.stirred).enumerate() {
                    record[10 + 8 * i..18 + 8 * i].copy_from_slice(&z.to_le_bytes());
                }
                put(&record, out)?;
            }
            for t in &self.thumbs {
                put(&t.ns.to_le_bytes(), out)?;
                put(&t.luma, out)?;
            }
            out.write_all(hasher.finish().0.to_string().as_bytes())
        })
    }

    /// Those of a file that is whole; `None` where there is none or it is damaged.
    pub fn open(path: &Path) -> Option<Features> {
        Self::parse(&std::fs::read(path).ok()?.into())
    }

    fn parse(bytes: &Bytes) -> Option<Features> {
        let (body, trailer) = bytes.split_at_checked(bytes.len().checked_sub(64)?)?;
        if trailer != Digest::of(body).to_string().as_bytes() {
            return None;
        }
        let end = body.iter().position(|b| *b == b'\n')?;
        let header: Header = serde_json::from_slice(&body[..end]).ok()?;
        let body = &body[end + 1..];
        let size = header.columns.checked_mul(header.rows)?;
        let whole = header.pictures.checked_mul(RECORD)?.checked_add(header.thumbs.checked_mul(size + 8)?)?;
        if header.features != FORMAT || body.len() != whole {
            return None;
        }
        let (records, thumbs) = body.split_at(header.pictures * RECORD);
        let number = |b: &[u8]| b.iter().rev().fold(0u64, |n, b| n << 8 | *b as u64);
        let picture = |r: &[u8]| Seen {
            ns: number(&r[..8]),
            changed: number(&r[8..10]) as u16,
            zones: [number(&r[10..18]), number(&r[18..26]), number(&r[26..34])],
            stirred: [number(&r[34..42]), number(&r[42..50]), number(&r[50..58])],
        };
        Some(Features {
            columns: header.columns,
            rows: header.rows,
            pictures: records.chunks_exact(RECORD).map(picture).collect(),
            thumbs: thumbs.chunks_exact(size + 8).map(|t| Thumb { ns: number(&t[..8]), luma: bytes.slice_ref(&t[8..]) }).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_come_back_and_a_flipped_byte_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let seen = |ns, changed| Seen { ns, changed, zones: [1, 2, 3], stirred: [4, 5, 6] };
        let features = Features {
            columns: 2,
            rows: 2,
            pictures: vec![seen(0, 9), seen(u64::MAX, 0)],
            thumbs: vec![Thumb { ns: 5, luma: vec![1, 2, 3, 255].into() }],
        };
        features.write(&path).unwrap();
        assert_eq!(Features::open(&path), Some(features));
        let good = std::fs::read(&path).unwrap();
        for i in 0..good.len() {
            let mut bad = good.clone();
            bad[i] ^= 1;
            assert_eq!(Features::parse(&bad.into()), None, "byte {i}");
        }
    }
}
