//! What is sent: bytes or a span of a file, its checksums, and gzip for text.

use crate::error::{Error, Kind, Result, ResultExt};
use crate::units::{Digest, Hasher};
use aws_sdk_s3::primitives::{ByteStream, FsBuilder, Length, SdkBody};
use aws_smithy_types::base64;
use bytes::Bytes;
use flate2::{Compression, GzBuilder};
use md5::{Digest as _, Md5};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

/// Text that is unpacked must end somewhere: a small answer must not fill the memory.
const MOST_UNPACKED: u64 = 256 << 20;
/// Read from a file at once.
const PIECE: usize = 64 << 10;

/// Checksums as S3's headers want them, base64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sums {
    pub sha256: String,
    pub md5: String,
}

impl Sums {
    pub fn of(bytes: &[u8]) -> Sums {
        Sums { sha256: base64::encode(Digest::of(bytes).as_bytes()), md5: base64::encode(Md5::digest(bytes)) }
    }
}

/// As services write it in an ETag.
pub fn md5_hex(bytes: &[u8]) -> String {
    Md5::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// Bytes of one request; made into a stream anew for each try.
#[derive(Debug, Clone)]
pub enum Payload {
    Bytes(Bytes),
    Span { path: PathBuf, offset: u64, bytes: u64 },
}

impl Payload {
    pub fn len(&self) -> u64 {
        match self {
            Payload::Bytes(bytes) => bytes.len() as u64,
            Payload::Span { bytes, .. } => *bytes,
        }
    }
    /// A stream that holds [`PIECE`] of a file in memory and not more.
    pub async fn stream(&self) -> Result<ByteStream> {
        match self {
            Payload::Bytes(bytes) => Ok(ByteStream::new(SdkBody::from(bytes.clone()))),
            Payload::Span { path, offset, bytes } => {
                let span = FsBuilder::new().path(path).offset(*offset).length(Length::Exact(*bytes)).buffer_size(PIECE);
                span.build().await.kind(Kind::Corrupt, || format!("cannot read {}", path.display()))
            }
        }
    }
}

/// The digest of a file, its length, and the checksums of its spans of `part` bytes; at least one, for an empty file too.
pub fn scan(path: &Path, part: u64) -> Result<(Digest, u64, Vec<Sums>)> {
    let doing = || format!("cannot read {}", path.display());
    let mut file = File::open(path).doing(doing)?;
    let (mut whole, mut sums) = (Hasher::default(), Vec::new());
    let mut buffer = vec![0; 1 << 18];
    let (mut sha, mut md5, mut filled) = (Hasher::default(), Md5::new(), 0);
    loop {
        let room = (part - filled).min(buffer.len() as u64) as usize;
        let n = match file.read(&mut buffer[..room]) {
            Ok(n) => n,
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            Err(e) => return Err(e).doing(doing),
        };
        whole.update(&buffer[..n]);
        sha.update(&buffer[..n]);
        md5.update(&buffer[..n]);
        filled += n as u64;
        if filled == part || (n == 0 && (filled > 0 || sums.is_empty())) {
            let done = std::mem::take(&mut sha).finish().0;
            sums.push(Sums { sha256: base64::encode(done.as_bytes()), md5: base64::encode(md5.finalize_reset()) });
            filled = 0;
        }
        if n == 0 {
            let (digest, bytes) = whole.finish();
            return Ok((digest, bytes, sums));
        }
    }
}

/// The same text gives the same bytes: no time, no name, no system in the header.
pub fn pack(plain: &[u8]) -> Result<Vec<u8>> {
    let mut to = GzBuilder::new().mtime(0).operating_system(255).write(Vec::with_capacity(plain.len() / 3), Compression::best());
    to.write_all(plain).and_then(|()| to.finish()).kind(Kind::Bug, || "cannot compress in memory".into())
}

pub fn unpack(packed: &[u8], object: &str) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let read = flate2::read::MultiGzDecoder::new(packed).take(MOST_UNPACKED + 1).read_to_end(&mut out);
    match read {
        Ok(_) if out.len() as u64 <= MOST_UNPACKED => Ok(out),
        Ok(_) => Err(Error::new(Kind::Corrupt, format!("{object} unpacks to more than {MOST_UNPACKED} bytes"))),
        Err(e) => Err(Error::new(Kind::Corrupt, format!("{object} is damaged: its gzip cannot be read")).caused_by(e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_have_their_own_checksums_and_the_whole_its_digest() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let bytes: Vec<u8> = (0..700_000u32).map(|i| (i % 253) as u8).collect();
        for (length, part) in [(700_000, 300_000), (600_000, 300_000), (5, 300_000), (0, 10)] {
            std::fs::write(&path, &bytes[..length]).unwrap();
            let (digest, n, sums) = scan(&path, part).unwrap();
            assert_eq!((digest, n), (Digest::of(&bytes[..length]), length as u64));
            let expected: Vec<Sums> = match length {
                0 => vec![Sums::of(b"")],
                _ => bytes[..length].chunks(part as usize).map(Sums::of).collect(),
            };
            assert_eq!(sums, expected, "{length} bytes in parts of {part}");
        }
        assert_eq!(scan(&dir.path().join("gone"), 10).unwrap_err().kind(), Kind::NotFound);
    }

    #[test]
    fn gzip_is_the_same_every_time_and_comes_back() {
        let text = "bài giảng ".repeat(1000);
        let packed = pack(text.as_bytes()).unwrap();
        assert_eq!(packed[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 255], "no time in the header");
        assert!(packed == pack(text.as_bytes()).unwrap() && packed.len() < text.len() / 20);
        assert_eq!(unpack(&packed, "x").unwrap(), text.as_bytes());
        assert_eq!(unpack(&packed[..20], "x").unwrap_err().kind(), Kind::Corrupt);
    }
}
