//! Quantities with their units in their types. No dependencies; parse and print are inverse.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// An instant on a media timeline, in ticks of 1/90000 s since its start. All video is stamped in these ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MediaTime(u64);

impl MediaTime {
    pub const HZ: u64 = 90_000;
    pub const ZERO: MediaTime = MediaTime(0);
    pub const fn from_ticks(ticks: u64) -> Self {
        MediaTime(ticks)
    }
    pub const fn ticks(self) -> u64 {
        self.0
    }
    /// Nearest tick; half a tick is 5.6 microseconds.
    pub fn from_ns(ns: u64) -> Self {
        MediaTime(((ns as u128 * 90_000 + 500_000_000) / 1_000_000_000) as u64)
    }
    pub fn to_ns(self) -> u64 {
        (self.0 as u128 * 1_000_000_000 / 90_000) as u64
    }
    /// Nearest tick; negative and non-finite seconds become zero.
    pub fn from_seconds(s: f64) -> Self {
        MediaTime((s.max(0.0) * 90_000.0).round() as u64)
    }
    pub fn seconds(self) -> f64 {
        self.0 as f64 / 90_000.0
    }
    /// Ticks from `earlier` to here; zero if `earlier` is later.
    pub fn since(self, earlier: MediaTime) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
    pub fn plus(self, ticks: u64) -> Self {
        MediaTime(self.0 + ticks)
    }
}

impl fmt::Display for MediaTime {
    /// `1:02:03.4`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = (self.0 + 4_500) / 9_000;
        let (s, t) = (tenths / 10, tenths % 10);
        if s >= 3600 { write!(f, "{}:{:02}:{:02}.{t}", s / 3600, s / 60 % 60, s % 60) } else { write!(f, "{}:{:02}.{t}", s / 60, s % 60) }
    }
}

/// Bits a second. Written `300k`, `1.5M` or a bare number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Bitrate(u64);

impl Bitrate {
    pub const fn from_bps(bps: u64) -> Self {
        Bitrate(bps)
    }
    pub const fn bps(self) -> u64 {
        self.0
    }
    pub fn kbps(self) -> f64 {
        self.0 as f64 / 1000.0
    }
}
impl fmt::Display for Bitrate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            b if b >= 1_000_000 && b % 100_000 == 0 => write!(f, "{}M", b as f64 / 1e6),
            b if b >= 1000 && b % 100 == 0 => write!(f, "{}k", b as f64 / 1e3),
            b => write!(f, "{b}"),
        }
    }
}
impl FromStr for Bitrate {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        let (number, scale) = match s.trim().strip_suffix(['k', 'K']) {
            Some(n) => (n, 1e3),
            None => match s.trim().strip_suffix('M') {
                Some(n) => (n, 1e6),
                None => (s.trim(), 1.0),
            },
        };
        match number.trim().parse::<f64>() {
            Ok(n) if n.is_finite() && (0.0..=1e12).contains(&(n * scale)) => Ok(Bitrate((n * scale).round() as u64)),
            _ => Err(format!("\"{s}\" is not a bit rate; expected for example 300k, 1.5M or 64000 (bits a second)")),
        }
    }
}
impl TryFrom<String> for Bitrate {
    type Error = String;
    fn try_from(s: String) -> Result<Self, String> {
        s.parse()
    }
}
impl From<Bitrate> for String {
    fn from(b: Bitrate) -> String {
        b.to_string()
    }
}

/// A count of bytes, printed for people in powers of 1000 (as data plans are sold).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            b if b < 1_000 => write!(f, "{b} B"),
            b if b < 1_000_000 => write!(f, "{:.1} kB", b as f64 / 1e3),
            b if b < 1_000_000_000 => write!(f, "{:.2} MB", b as f64 / 1e6),
            b => write!(f, "{:.2} GB", b as f64 / 1e9),
        }
    }
}

/// Frames a second as a fraction; zero is impossible.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "(u32, u32)", into = "(u32, u32)")]
pub struct FrameRate {
    num: u32,
    den: u32,
}
impl FrameRate {
    pub fn new(num: u32, den: u32) -> Option<Self> {
        (num > 0 && den > 0).then_some(FrameRate { num, den })
    }
    pub fn fps(self) -> f64 {
        self.num as f64 / self.den as f64
    }
    pub fn num(self) -> u32 {
        self.num
    }
    pub fn den(self) -> u32 {
        self.den
    }
    /// Nearest rate in thousandths, at least 0.001.
    pub fn from_fps(fps: f64) -> Self {
        for (num, den) in [(24000, 1001), (30000, 1001), (60000, 1001)] {
            if (fps - num as f64 / den as f64).abs() < 0.002 {
                return FrameRate { num, den };
            }
        }
        let milli = (fps * 1000.0).round().clamp(1.0, 4e6) as u32;
        if milli.is_multiple_of(1000) { FrameRate { num: milli / 1000, den: 1 } } else { FrameRate { num: milli, den: 1000 } }
    }
}
impl fmt::Display for FrameRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.den == 1 { write!(f, "{}", self.num) } else { write!(f, "{:.3}", self.fps()) }
    }
}
impl fmt::Debug for FrameRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.num, self.den)
    }
}
impl TryFrom<(u32, u32)> for FrameRate {
    type Error = String;
    fn try_from((num, den): (u32, u32)) -> Result<Self, String> {
        FrameRate::new(num, den).ok_or_else(|| format!("{num}/{den} is not a frame rate"))
    }
}
impl From<FrameRate> for (u32, u32) {
    fn from(r: FrameRate) -> Self {
        (r.num, r.den)
    }
}

/// Picture width and height in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Size {
    pub width: u32,
    pub height: u32,
}
impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

/// A rectangle of a picture in pixels, from its upper left corner.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Area {
    pub x: u32,
    pub y: u32,
    pub width: u32,
    pub height: u32,
}
impl Area {
    /// All of a picture.
    pub fn whole(size: Size) -> Area {
        Area { x: 0, y: 0, width: size.width, height: size.height }
    }
    pub fn right(&self) -> u32 {
        self.x.saturating_add(self.width)
    }
    pub fn bottom(&self) -> u32 {
        self.y.saturating_add(self.height)
    }
    /// Whether they share a pixel.
    pub fn meets(&self, other: &Area) -> bool {
        self.x < other.right() && other.x < self.right() && self.y < other.bottom() && other.y < self.bottom()
    }
}

/// A SHA-256, the one digest used everywhere. Prints as 64 hex digits; `short()` gives 8 for people.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

impl Digest {
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        Digest(sha2::Sha256::digest(bytes).into())
    }
    /// The digest itself, 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
    pub fn short(&self) -> String {
        self.to_string()[..8].to_string()
    }
    /// Reads to the end; memory use is constant.
    pub fn of_reader(mut reader: impl std::io::Read) -> std::io::Result<(Self, u64)> {
        let mut hasher = Hasher::default();
        let mut buffer = vec![0; 1 << 18];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return Ok(hasher.finish()),
                Ok(n) => hasher.update(&buffer[..n]),
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }
}
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}
impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}
impl FromStr for Digest {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        let bad = || format!("\"{s}\" is not a SHA-256 (64 hex digits)");
        if s.len() != 64 || !s.is_ascii() {
            return Err(bad());
        }
        let mut out = [0; 32];
        for (i, byte) in out.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&s[2 * i..2 * i + 2], 16).map_err(|_| bad())?;
        }
        Ok(Digest(out))
    }
}
impl TryFrom<String> for Digest {
    type Error = String;
    fn try_from(s: String) -> Result<Self, String> {
        s.parse()
    }
}
impl schemars::JsonSchema for Digest {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Digest".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^[0-9a-f]{64}$", "description": "SHA-256, 64 hex digits" })
    }
}

impl From<Digest> for String {
    fn from(d: Digest) -> String {
        d.to_string()
    }
}

/// A running SHA-256 that also counts.
#[derive(Default)]
pub struct Hasher {
    inner: sha2::Sha256,
    bytes: u64,
}
impl Hasher {
    pub fn update(&mut self, bytes: &[u8]) {
        use sha2::Digest as _;
        self.inner.update(bytes);
        self.bytes += bytes.len() as u64;
    }
    /// The digest and the number of bytes seen.
    pub fn finish(self) -> (Digest, u64) {
        use sha2::Digest as _;
        (Digest(self.inner.finalize().into()), self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bitrates_parse_back(bps in 0u64..1_000_000_000) {
            prop_assert_eq!(Bitrate(bps).to_string().parse::<Bitrate>(), Ok(Bitrate(bps)));
        }
        #[test]
        fn ticks_survive_nanoseconds(t in 0u64..90_000 * 86_400) {
            prop_assert_eq!(MediaTime::from_ns(MediaTime(t).to_ns()), MediaTime(t));
        }
        #[test]
        fn digests_parse_back(bytes: Vec<u8>) {
            let d = Digest::of(&bytes);
            prop_assert_eq!(d.to_string().parse::<Digest>(), Ok(d));
        }
    }

    #[test]
    fn a_digest_read_is_the_digest_of_the_bytes() {
        let (d, n) = Digest::of_reader(&b"abc"[..]).unwrap();
        assert_eq!((d, n), (Digest::of(b"abc"), 3));
        assert!(d.to_string().starts_with("ba7816bf"));
    }

    #[test]
    fn common_rates_are_recognised() {
        assert_eq!(FrameRate::from_fps(29.97), FrameRate { num: 30000, den: 1001 });
        assert_eq!(FrameRate::from_fps(25.0), FrameRate { num: 25, den: 1 });
        assert_eq!(FrameRate::new(0, 1), None);
    }
}
