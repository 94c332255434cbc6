//! The initialization section of an fMP4 rendition: brands, tracks, sample descriptions, edit lists, loudness, sidx.

use super::avc::{self, Sps};
use super::boxes::{self, Cursor, child, children, fourcc, path, walk};

#[derive(Debug, Clone, Default)]
pub struct Init {
    /// Major brand first.
    pub brands: Vec<[u8; 4]>,
    pub has_ftyp: bool,
    pub has_moov: bool,
    pub has_mvex: bool,
    pub tracks: Vec<Track>,
    /// What is broken, for people.
    pub faults: Vec<String>,
}

#[derive(Debug, Clone, Default)]
pub struct Track {
    pub id: u32,
    pub timescale: u32,
    /// `vide`, `soun`, `subt`, `text`
    pub handler: [u8; 4],
    /// tkhd, whole pixels.
    pub shown: (u32, u32),
    pub entries: usize,
    pub entry: Entry,
    pub edits: Option<Vec<Edit>>,
    /// trex: default duration, size, flags.
    pub defaults: (u32, u32, u32),
    pub has_trex: bool,
    /// Samples in moov; an fMP4 has none.
    pub samples: u64,
    pub loudness: Option<Loudness>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Edit {
    /// In the movie's timescale; 0 is "to the end" in a fragmented file.
    pub duration: u64,
    /// -1 is an empty edit.
    pub media_time: i64,
    pub rate: i32,
}

/// What a sample description says.
#[derive(Debug, Clone, Default)]
pub struct Entry {
    pub format: [u8; 4],
    pub width: u32,
    pub height: u32,
    pub channels: u32,
    pub rate_hz: u32,
    pub pixel_aspect: Option<(u32, u32)>,
    /// colr nclx: primaries, transfer, matrix.
    pub colour: Option<(u16, u16, u16)>,
    /// As CODECS should have it, from the real stream.
    pub codec: String,
    /// avcC: NAL length size.
    pub nal_length: usize,
    pub sps: Option<Sps>,
    /// The avcC header's profile, constraints and level.
    pub avcc: Option<[u8; 3]>,
    pub aac: Option<Aac>,
    /// dOps PreSkip, samples at 48 kHz.
    pub pre_skip: Option<u16>,
    pub encrypted: bool,
}

/// AudioSpecificConfig.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Aac {
    pub object_type: u8,
    pub explicit_sbr: bool,
    pub channels: u32,
    pub rate_hz: u32,
}

/// `ludt`, track part.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Loudness {
    pub program_lufs: Option<f64>,
    pub true_peak_dbtp: Option<f64>,
}

/// Reads ftyp and moov; everything that is there is used, what is wrong is in `faults`.
pub fn parse(data: &[u8]) -> Init {
    let mut init = Init::default();
    let (top, fault) = walk(data);
    init.faults.extend(fault);
    for b in top {
        match &b.kind {
            b"ftyp" => {
                init.has_ftyp = true;
                let mut c = Cursor(b.body);
                init.brands.extend(c.fourcc());
                c.u32();
                while let Some(brand) = c.fourcc() {
                    init.brands.push(brand);
                }
            }
            b"moov" => {
                init.has_moov = true;
                read_moov(b.body, &mut init);
            }
            _ => {}
        }
    }
    init
}

fn read_moov(moov: &[u8], init: &mut Init) {
    let mvex = child(moov, b"mvex");
    init.has_mvex = mvex.is_some();
    for trak in children(moov, b"trak") {
        match read_trak(trak) {
            Some(track) => init.tracks.push(track),
            None => init.faults.push("a trak without readable tkhd, mdhd, hdlr or stsd".into()),
        }
    }
    for trex in mvex.map(|m| children(m, b"trex")).unwrap_or_default() {
        let mut c = Cursor(trex);
        let read = || {
            c.full()?;
            let id = c.u32()?;
            c.u32()?;
            Some((id, (c.u32()?, c.u32()?, c.u32()?)))
        };
        let Some((id, defaults)) = { read }() else { continue };
        for track in init.tracks.iter_mut().filter(|t| t.id == id) {
            track.defaults = defaults;
            track.has_trex = true;
        }
    }
}

fn read_trak(trak: &[u8]) -> Option<Track> {
    let mut track = Track::default();
    let mut tkhd = Cursor(child(trak, b"tkhd")?);
    let (version, _) = tkhd.full()?;
    tkhd.take(if version == 0 { 8 } else { 16 })?;
    track.id = tkhd.u32()?;
    let rest = tkhd.0;
    let size = rest.len().checked_sub(8).map(|at| &rest[at..]);
    let mut size = Cursor(size?);
    track.shown = (size.u32()? >> 16, size.u32()? >> 16);

    let mdia = child(trak, b"mdia")?;
    let mut mdhd = Cursor(child(mdia, b"mdhd")?);
    let (version, _) = mdhd.full()?;
    mdhd.take(if version == 0 { 8 } else { 16 })?;
    track.timescale = mdhd.u32()?;
    let mut hdlr = Cursor(child(mdia, b"hdlr")?);
    hdlr.full()?;
    hdlr.u32()?;
    track.handler = hdlr.fourcc()?;

    let stbl = path(mdia, &[b"minf", b"stbl"])?;
    track.samples = child(stbl, b"stsz").map(Cursor).and_then(|mut c| {
        c.full()?;
        c.u32()?;
        c.u32()
    })? as u64;
    let mut stsd = Cursor(child(stbl, b"stsd")?);
    stsd.full()?;
    track.entries = stsd.u32()? as usize;
    let (entries, _) = walk(stsd.0);
    let first = entries.first()?;
    track.entry = read_entry(first.kind, first.body, &track.handler).unwrap_or(Entry { format: first.kind, ..Default::default() });

    track.edits = path(trak, &[b"edts", b"elst"]).and_then(read_edits);
    track.loudness = path(trak, &[b"udta", b"ludt"]).and_then(|ludt| read_loudness(child(ludt, b"tlou")?));
    Some(track)
}

fn read_edits(elst: &[u8]) -> Option<Vec<Edit>> {
    let mut c = Cursor(elst);
    let (version, _) = c.full()?;
    let count = c.u32()?;
    let mut edits = Vec::new();
    for _ in 0..count.min(1000) {
        edits.push(Edit {
            duration: c.sized(version)?,
            media_time: if version == 0 { c.i32()? as i64 } else { c.u64()? as i64 },
            rate: c.i32()?,
        });
    }
    Some(edits)
}

/// ISO/IEC 14496-12, 12.2.7: version 0 has one measurement set, version 1 a count of them; the first is taken.
fn read_loudness(tlou: &[u8]) -> Option<Loudness> {
    let mut c = Cursor(tlou);
    let (version, _) = c.full()?;
    if version >= 1 {
        if c.u8()? & 0x3f == 0 {
            return None;
        }
        c.u8()?;
    }
    c.u16()?;
    let peaks = c.take(3)?;
    let true_peak = u32::from(peaks[1] & 0x0f) << 8 | u32::from(peaks[2]);
    c.u8()?;
    let mut loudness = Loudness { program_lufs: None, true_peak_dbtp: (true_peak > 0).then(|| 20.0 - true_peak as f64 / 32.0) };
    for _ in 0..c.u8()? {
        let (method, value) = (c.u8()?, c.u8()?);
        c.u8()?;
        // Method 1 is the programme loudness, in quarters of a LU from -57.75.
        if method == 1 {
            loudness.program_lufs = Some(-57.75 + value as f64 / 4.0);
        }
    }
    Some(loudness)
}

fn read_entry(format: [u8; 4], body: &[u8], handler: &[u8; 4]) -> Option<Entry> {
    let mut entry = Entry { format, codec: fourcc(format), ..Default::default() };
    entry.encrypted = matches!(&format, b"encv" | b"enca");
    let mut c = Cursor(body);
    c.take(8)?;
    match handler {
        b"vide" => {
            c.take(16)?;
            (entry.width, entry.height) = (c.u16()?.into(), c.u16()?.into());
            c.take(50)?;
        }
        b"soun" => {
            let version = c.u16()?;
            c.take(6)?;
            entry.channels = c.u16()?.into();
            c.take(6)?;
            entry.rate_hz = c.u32()? >> 16;
            // QuickTime's longer entries, seen in files that call themselves MP4.
            c.take(match version {
                1 => 16,
                2 => 36,
                _ => 0,
            })?;
        }
        _ => return Some(entry),
    }
    let inner = c.0;
    if let Some(mut c) = child(inner, b"pasp").map(Cursor) {
        entry.pixel_aspect = Some((c.u32()?, c.u32()?));
    }
    if let Some(mut c) = child(inner, b"colr").map(Cursor)
        && c.fourcc() == Some(*b"nclx")
    {
        entry.colour = Some((c.u16()?, c.u16()?, c.u16()?));
    }
    match &format {
        b"avc1" | b"avc3" => read_avcc(child(inner, b"avcC")?, &mut entry)?,
        b"hvc1" | b"hev1" => {
            let mut c = Cursor(child(inner, b"hvcC")?);
            c.u8()?;
            let (profile, compatibility) = (c.u8()?, c.u32()?);
            c.take(6)?;
            let level = c.u8()?;
            let tier = if profile & 0x20 == 0 { 'L' } else { 'H' };
            entry.codec = format!("{}.{}.{:X}.{tier}{level}", fourcc(format), profile & 0x1f, compatibility.reverse_bits());
            entry.nal_length = 4;
        }
        b"mp4a" => {
            let esds = child(inner, b"esds").or_else(|| boxes::path(inner, &[b"wave", b"esds"]))?;
            let aac = read_esds(esds.get(4..)?)?;
            entry.codec = format!("mp4a.40.{}", aac.object_type);
            entry.aac = Some(aac);
            entry.channels = aac.channels;
        }
        b"Opus" => {
            let mut c = Cursor(child(inner, b"dOps")?);
            c.u8()?;
            entry.channels = c.u8()?.into();
            entry.pre_skip = Some(c.u16()?);
            entry.codec = "opus".into();
        }
        b"fLaC" => entry.codec = "flac".into(),
        _ => {}
    }
    Some(entry)
}

fn read_avcc(avcc: &[u8], entry: &mut Entry) -> Option<()> {
    let mut c = Cursor(avcc);
    c.u8()?;
    let header = [c.u8()?, c.u8()?, c.u8()?];
    entry.avcc = Some(header);
    entry.codec = format!("{}.{:02x}{:02x}{:02x}", fourcc(entry.format), header[0], header[1], header[2]);
    entry.nal_length = (c.u8()? & 3) as usize + 1;
    for _ in 0..c.u8()? & 0x1f {
        let length = c.u16()?;
        let nal = c.take(length.into())?;
        entry.sps = entry.sps.take().or_else(|| avc::parse_sps(nal));
    }
    Some(())
}

const AAC_RATES: [u32; 13] = [96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350];

/// Descriptors of ISO/IEC 14496-1 down to the AudioSpecificConfig (14496-3, 1.6.2.1).
fn read_esds(data: &[u8]) -> Option<Aac> {
    fn descriptor<'a>(c: &mut Cursor<'a>, want: u8) -> Option<&'a [u8]> {
        let tag = c.u8()?;
        let mut length = 0usize;
        for _ in 0..4 {
            let b = c.u8()?;
            length = length << 7 | (b & 0x7f) as usize;
            if b & 0x80 == 0 {
                break;
            }
        }
        let body = c.take(length)?;
        (tag == want).then_some(body)
    }
    let mut es = Cursor(descriptor(&mut Cursor(data), 3)?);
    es.take(3)?;
    let mut config = Cursor(descriptor(&mut es, 4)?);
    config.take(13)?;
    let asc = descriptor(&mut config, 5)?;
    let word = asc.iter().take(8).fold(0u64, |v, b| v << 8 | *b as u64) << (8 * (8 - asc.len().min(8)));
    let bits = |from: u32, n: u32| (word >> (64 - from - n)) & ((1 << n) - 1);
    let mut at = 5;
    let mut object = bits(0, 5) as u8;
    if object == 31 {
        object = 32 + bits(5, 6) as u8;
        at = 11;
    }
    let index = bits(at, 4) as usize;
    let (rate_hz, at) = if index == 15 { (bits(at + 4, 24) as u32, at + 28) } else { (*AAC_RATES.get(index)?, at + 4) };
    let channels = match bits(at, 4) as u32 {
        7 => 8,
        n => n,
    };
    Some(Aac { object_type: object, explicit_sbr: matches!(object, 5 | 29), channels, rate_hz })
}

/// A segment index: where it ends and what it names.
#[derive(Debug, Clone, PartialEq)]
pub struct Sidx {
    pub timescale: u32,
    pub first_time: u64,
    /// From the end of the sidx box.
    pub first_offset: u64,
    /// Bytes, ticks, starts with a stream access point.
    pub references: Vec<(u64, u64, bool)>,
}

pub fn parse_sidx(body: &[u8]) -> Option<Sidx> {
    let mut c = Cursor(body);
    let (version, _) = c.full()?;
    c.u32()?;
    let timescale = c.u32()?;
    let (first_time, first_offset) = (c.sized(version)?, c.sized(version)?);
    c.u16()?;
    let count = c.u16()?;
    let mut references = Vec::new();
    for _ in 0..count {
        let (size, duration, sap) = (c.u32()?, c.u32()?, c.u32()?);
        references.push(((size & 0x7fff_ffff).into(), duration.into(), sap >> 31 == 1));
    }
    Some(Sidx { timescale, first_time, first_offset, references })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_esds_of_ffmpeg_reads_as_aac_lc_stereo_48k() {
        let esds = b"\x03\x80\x80\x80\x25\0\x02\0\x04\x80\x80\x80\x17\x40\x15\0\0\0\0\0\xfa\0\0\0\xfa\0\x05\x80\x80\x80\x05\x11\x90\x56\xe5\0\x06\x80\x80\x80\x01\x02";
        assert_eq!(read_esds(esds), Some(Aac { object_type: 2, explicit_sbr: false, channels: 2, rate_hz: 48000 }));
    }

    #[test]
    fn a_loudness_box_gives_lufs_and_true_peak() {
        // -16 LUFS is 167 quarters from -57.75; -1 dBTP is 672 steps of 1/32 dB below 20.
        let tlou = [0, 0, 0, 0, 0, 0, 0x00, 0x02, 0xa0, 0x14, 1, 1, 167, 0x14];
        assert_eq!(read_loudness(&tlou), Some(Loudness { program_lufs: Some(-16.0), true_peak_dbtp: Some(-1.0) }));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(data: Vec<u8>) {
            parse(&data);
            read_esds(&data);
            read_loudness(&data);
            parse_sidx(&data);
            read_trak(&data);
            for handler in [b"vide", b"soun"] {
                for format in [b"avc1", b"hvc1", b"mp4a", b"Opus"] {
                    read_entry(*format, &data, handler);
                }
            }
        }
    }
}
