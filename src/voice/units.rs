//! A file of encoded packets on their way from the encoder to the packager: one line of JSON, the packets' bytes one
//! after another, the SHA-256 of all that. It is written whole or not at all, and a reader checks it before it trusts it.

use crate::error::{Error, Kind, Result, ResultExt};
use crate::units::{Digest, Hasher};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// What the packets are. Packet `i` begins `i * samples_per_packet` samples after the start of the track's decoded sound.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// `opus` or `aac`.
    pub codec: String,
    /// Ticks a second of everything below: 48000 for Opus.
    pub rate_hz: u32,
    pub samples_per_packet: u32,
    /// Opus: decoded samples to throw away at the start, to be signalled in `dOps` and an edit list (media time).
    pub pre_skip: u32,
    /// AAC: samples of priming left in the packets; 0, since whole priming packets are dropped.
    pub priming: u32,
    /// Samples of the lecture. The packets hold `pre_skip + total_samples` and a rest to fill the last.
    pub total_samples: u64,
    /// OpusHead or AudioSpecificConfig, hexadecimal.
    pub codec_config: String,
    /// Bytes of each packet.
    pub packets: Vec<u32>,
}

/// Writes the file; the packets' bytes come from `payload`.
pub fn write(path: &Path, header: &Header, mut payload: impl Read) -> Result<()> {
    let mut line = serde_json::to_vec(header).map_err(|e| Error::bug("a header does not serialise").caused_by(e))?;
    line.push(b'\n');
    crate::workdir::write_whole(path, |file| {
        let mut hasher = Hasher::default();
        hasher.update(&line);
        file.write_all(&line)?;
        let mut buffer = vec![0; 1 << 16];
        loop {
            match payload.read(&mut buffer)? {
                0 => break,
                n => {
                    hasher.update(&buffer[..n]);
                    file.write_all(&buffer[..n])?;
                }
            }
        }
        file.write_all(hasher.finish().0.to_string().as_bytes())
    })
}

/// An open file of packets that was found whole.
#[derive(Debug)]
pub struct Units {
    header: Header,
    file: File,
    /// Offset in the file of each packet, and of the end.
    offsets: Vec<u64>,
    path: std::path::PathBuf,
}

impl Units {
    /// Reads all of it once. `Corrupt` where the digest does not match or the sizes do not add up.
    pub fn open(path: &Path) -> Result<Units> {
        let doing = || format!("cannot read {}", path.display());
        let corrupt = |why: &str| {
            Error::new(Kind::Corrupt, format!("{} is damaged: {why}", path.display())).hint("remove it and run the same command again")
        };
        let mut reader = BufReader::with_capacity(1 << 16, File::open(path).doing(doing)?);
        let mut line = Vec::new();
        reader.read_until(b'\n', &mut line).doing(doing)?;
        let header: Header = serde_json::from_slice(&line).map_err(|e| corrupt("its header does not parse").caused_by(e))?;
        let mut offsets = Vec::with_capacity(header.packets.len() + 1);
        let mut at = line.len() as u64;
        offsets.push(at);
        for size in &header.packets {
            at += *size as u64;
            offsets.push(at);
        }
        let mut hasher = Hasher::default();
        hasher.update(&line);
        let mut left = at - line.len() as u64;
        let mut buffer = vec![0; 1 << 16];
        while left > 0 {
            let want = left.min(buffer.len() as u64) as usize;
            match reader.read(&mut buffer[..want]).doing(doing)? {
                0 => return Err(corrupt("it is cut short")),
                n => {
                    hasher.update(&buffer[..n]);
                    left -= n as u64;
                }
            }
        }
        let mut trailer = String::new();
        reader.take(65).read_to_string(&mut trailer).doing(doing)?;
        match trailer.parse::<Digest>() {
            Ok(digest) if digest == hasher.finish().0 => {}
            _ => return Err(corrupt("its digest does not match")),
        }
        let file = File::open(path).doing(doing)?;
        Ok(Units { header, file, offsets, path: path.to_path_buf() })
    }
    pub fn header(&self) -> &Header {
        &self.header
    }
    /// OpusHead or AudioSpecificConfig.
    pub fn codec_config(&self) -> Vec<u8> {
        let hex = self.header.codec_config.as_bytes();
        hex.chunks(2).filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
    }
    /// The bytes of a run of packets; their sizes are in the header.
    pub fn read(&self, packets: Range<usize>) -> Result<Vec<u8>> {
        let (Some(from), Some(to)) = (self.offsets.get(packets.start), self.offsets.get(packets.end)) else {
            return Err(Error::bug(format!("packets {packets:?} asked of {}", self.path.display())));
        };
        let mut bytes = vec![0; to.saturating_sub(*from) as usize];
        self.file.read_exact_at(&mut bytes, *from).doing(|| format!("cannot read {}", self.path.display()))?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Header {
        Header {
            codec: "opus".into(),
            rate_hz: 48_000,
            samples_per_packet: 2880,
            pre_skip: 312,
            priming: 0,
            total_samples: 7000,
            codec_config: "4f7075ff".into(),
            packets: vec![3, 0, 4],
        }
    }

    #[test]
    fn packets_are_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("v.units");
        write(&path, &example(), &b"abc\ndef"[..]).unwrap();
        let units = Units::open(&path).unwrap();
        assert_eq!(units.header(), &example());
        assert_eq!((units.read(0..1).unwrap(), units.read(1..3).unwrap()), (b"abc".to_vec(), b"\ndef".to_vec()));
        assert_eq!(units.codec_config(), [0x4f, 0x70, 0x75, 0xff]);
        assert_eq!(units.read(2..9).unwrap_err().kind(), Kind::Bug);
        // Nothing temporary is left.
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    /// A file that is not exactly what was written is never used.
    #[test]
    fn every_damage_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("v.units");
        write(&path, &example(), &b"abcdefg"[..]).unwrap();
        let good = std::fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(&path, &bad).unwrap();
            assert!(Units::open(&path).is_err(), "byte {at} flipped");
            std::fs::write(&path, &good[..at]).unwrap();
            assert!(Units::open(&path).is_err(), "cut to {at}");
        }
        std::fs::write(&path, [&good[..], b"x"].concat()).unwrap();
        assert!(Units::open(&path).is_err(), "longer");
    }
}
