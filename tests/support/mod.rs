//! A small real package, written byte by byte by the test itself, so that the checker is held against something that it
//! did not make. The pictures are three tiny x264 streams (a test chart at 2 frames/s, IDRs at 0, 6 and 12 s); the sound
//! is filler of the right sizes, since the checker decodes none.

#![allow(dead_code, reason = "each test binary uses a part")]

use rivulet::package::{Deviation, FileEntry, Loudness, Package, RecordingRef, Rung, Segment, Voice};
use rivulet::units::Digest;
use std::collections::BTreeMap;
use std::path::Path;
use tempfile::TempDir;

/// How a package differs from the good one.
#[derive(Clone, Copy)]
pub struct Shape {
    /// Filler units in the second picture of every rung.
    pub burst_bytes: usize,
    /// Of an AAC frame, and its samples.
    pub aac_bytes: usize,
    pub aac_samples: u32,
    /// Opus packets of each segment.
    pub opus_packets: [usize; 3],
    /// The voice's track is described twice.
    pub twice: bool,
}

pub const GOOD: Shape = Shape { burst_bytes: 0, aac_bytes: 96, aac_samples: 1024, opus_packets: [100, 100, 67], twice: false };

/// What this package breaks on purpose, as the real ones do.
pub const DECLARED: [&str; 5] = ["apple-1.13", "apple-1.32b", "apple-2.3", "apple-6.2", "apple-6.5"];

pub const FRAMES: [usize; 3] = [12, 12, 8];

fn bx(kind: &[u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&(8 + body.len() as u32).to_be_bytes()[..], kind, &body].concat()
}
fn full(kind: &[u8; 4], version: u8, flags: u32, parts: &[&[u8]]) -> Vec<u8> {
    let head = (u32::from(version) << 24 | flags).to_be_bytes();
    bx(kind, &[&head[..], &parts.concat()])
}
fn w(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_be_bytes()).collect()
}
fn h(halves: &[u16]) -> Vec<u8> {
    halves.iter().flat_map(|w| w.to_be_bytes()).collect()
}

/// One track as it goes into a file.
struct Track {
    timescale: u32,
    handler: [u8; 4],
    size: (u32, u32),
    entry: Vec<u8>,
    priming: u32,
    loudness: bool,
    /// Samples of each segment.
    segments: Vec<Vec<Vec<u8>>>,
    sample_ticks: u32,
    copies: usize,
}

fn init(t: &Track) -> Vec<u8> {
    let matrix = w(&[0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x4000_0000]);
    let mvhd = full(b"mvhd", 0, 0, &[&w(&[0, 0, t.timescale, 0, 0x10000, 0x0100_0000, 0, 0]), &matrix, &[0; 24], &w(&[2])]);
    let tkhd = full(b"tkhd", 0, 7, &[&w(&[0, 0, 1, 0, 0, 0, 0, 0, 0]), &matrix, &w(&[t.size.0 << 16, t.size.1 << 16])]);
    let elst = full(b"elst", 0, 0, &[&w(&[1, 0, t.priming, 0x10000])]);
    let mdhd = full(b"mdhd", 0, 0, &[&w(&[0, 0, t.timescale, 0]), &h(&[0x55c4, 0])]);
    let hdlr = full(b"hdlr", 0, 0, &[&w(&[0]), &t.handler, &w(&[0, 0, 0]), &[0]]);
    let head = if &t.handler == b"vide" { full(b"vmhd", 0, 1, &[&[0; 8]]) } else { full(b"smhd", 0, 0, &[&[0; 4]]) };
    let dinf = bx(b"dinf", &[&full(b"dref", 0, 0, &[&w(&[1]), &full(b"url ", 0, 1, &[])])]);
    let empty: Vec<u8> = [b"stts", b"stsc", b"stco"].iter().flat_map(|k| full(k, 0, 0, &[&w(&[0])])).collect();
    let stbl = bx(b"stbl", &[&full(b"stsd", 0, 0, &[&w(&[1]), &t.entry]), &empty, &full(b"stsz", 0, 0, &[&w(&[0, 0])])]);
    let mdia = bx(b"mdia", &[&mdhd, &hdlr, &bx(b"minf", &[&head, &dinf, &stbl])]);
    // -16 LUFS programme loudness, -1 dBTP.
    let tlou = full(b"tlou", 0, 0, &[&[0, 0, 0x00, 0x02, 0xa0, 0x14, 1, 1, 167, 0x14]]);
    let udta = if t.loudness { bx(b"udta", &[&bx(b"ludt", &[&tlou])]) } else { Vec::new() };
    let trak = bx(b"trak", &[&tkhd, &bx(b"edts", &[&elst]), &mdia, &udta]);
    let mvex = bx(b"mvex", &[&full(b"trex", 0, 0, &[&w(&[1, 1, 0, 0, 0])])]);
    [bx(b"ftyp", &[b"cmf2", &w(&[0]), b"iso6cmfccmf2"]), bx(b"moov", &[&mvhd, &trak.repeat(t.copies), &mvex])].concat()
}

fn fragment(t: &Track, n: usize, tfdt: u64) -> Vec<u8> {
    let samples = &t.segments[n];
    let video = &t.handler == b"vide";
    let flags = if video { 0x0101_0000 } else { 0x0200_0000 };
    let tfhd = full(b"tfhd", 0, 0x2_0028, &[&w(&[1, t.sample_ticks, flags])]);
    let sizes = w(&samples.iter().map(|s| s.len() as u32).collect::<Vec<_>>());
    let moof = |offset: u32| {
        let trun = match video {
            true => full(b"trun", 1, 0x205, &[&w(&[samples.len() as u32, offset, 0x0200_0000]), &sizes]),
            false => full(b"trun", 1, 0x201, &[&w(&[samples.len() as u32, offset]), &sizes]),
        };
        let traf = bx(b"traf", &[&tfhd, &full(b"tfdt", 1, 0, &[&tfdt.to_be_bytes()]), &trun]);
        bx(b"moof", &[&full(b"mfhd", 0, 0, &[&w(&[n as u32 + 1])]), &traf])
    };
    let length = moof(0).len() as u32;
    [moof(length + 8), bx(b"mdat", &[&samples.concat()])].concat()
}

/// Annex B to length-prefixed samples, one access unit a picture.
fn pictures(stream: &[u8]) -> (Vec<u8>, Vec<u8>, Vec<Vec<u8>>) {
    let mut starts: Vec<usize> = (0..stream.len() - 3).filter(|i| stream[*i..*i + 3] == [0, 0, 1]).map(|i| i + 3).collect();
    starts.push(stream.len() + 3);
    let (mut sps, mut pps, mut out) = (Vec::new(), Vec::new(), Vec::new());
    for pair in starts.windows(2) {
        let mut nal = &stream[pair[0]..pair[1] - 3];
        while nal.last() == Some(&0) {
            nal = &nal[..nal.len() - 1];
        }
        match nal[0] & 0x1f {
            7 => sps = nal.to_vec(),
            8 => pps = nal.to_vec(),
            _ => out.push([&(nal.len() as u32).to_be_bytes()[..], nal].concat()),
        }
    }
    (sps, pps, out)
}

fn video(stream: &[u8], width: u32, height: u32, burst_bytes: usize) -> (Track, String) {
    let (sps, pps, mut pictures) = pictures(stream);
    if burst_bytes > 0 {
        pictures[1].extend([&(burst_bytes as u32).to_be_bytes()[..], &vec![12; burst_bytes]].concat());
    }
    let avcc = bx(
        b"avcC",
        &[
            &[1, sps[1], sps[2], sps[3], 0xff, 0xe1],
            &h(&[sps.len() as u16]),
            &sps,
            &[1],
            &h(&[pps.len() as u16]),
            &pps,
            &[0xfd, 0xf8, 0xf8, 0],
        ],
    );
    let entry = bx(
        b"avc1",
        &[
            &[0; 6],
            &h(&[1]),
            &[0; 16],
            &h(&[width as u16, height as u16]),
            &w(&[0x48_0000, 0x48_0000, 0]),
            &h(&[1]),
            &[0; 32],
            &h(&[24, 0xffff]),
            &avcc,
            &bx(b"colr", &[b"nclx", &h(&[1, 1, 1]), &[0]]),
        ],
    );
    let mut pictures = pictures.into_iter();
    let segments = FRAMES.iter().map(|n| pictures.by_ref().take(*n).collect()).collect();
    let codec = format!("avc1.{:02x}{:02x}{:02x}", sps[1], sps[2], sps[3]);
    (
        Track {
            timescale: 90_000,
            handler: *b"vide",
            size: (width, height),
            entry,
            priming: 0,
            loudness: false,
            segments,
            sample_ticks: 45_000,
            copies: 1,
        },
        codec,
    )
}

fn sound_entry(kind: &[u8; 4], rate: u32, more: &[u8]) -> Vec<u8> {
    bx(kind, &[&[0; 6], &h(&[1]), &[0; 8], &h(&[1, 16, 0, 0]), &w(&[rate << 16]), more])
}

/// Bytes that look like nothing in particular; the first is an Opus or AAC header byte.
fn filler(first: u8, bytes: usize, n: usize) -> Vec<u8> {
    std::iter::once(first).chain((1..bytes).map(|i| (i * 31 + n * 17) as u8)).collect()
}

fn opus(shape: &Shape) -> Track {
    let dops = bx(b"dOps", &[&[0, 1], &h(&[312]), &w(&[48_000]), &[0, 0, 0]]);
    let segments = shape.opus_packets.iter().map(|n| (0..*n).map(|i| filler(0x78, 60, i)).collect()).collect();
    Track {
        timescale: 48_000,
        handler: *b"soun",
        size: (0, 0),
        entry: sound_entry(b"Opus", 48_000, &dops),
        priming: 312,
        loudness: true,
        segments,
        sample_ticks: 2_880,
        copies: 1 + usize::from(shape.twice),
    }
}

fn aac(shape: &Shape) -> Track {
    let config = [5, 2, 0x13, 0x08];
    let decoder = [&[4, 13 + 4, 0x40, 0x15][..], &[0; 11], &config].concat();
    let es = [&[3, 3 + 19 + 3, 0, 1, 0][..], &decoder, &[6, 1, 2]].concat();
    let esds = full(b"esds", 0, 0, &[&es]);
    let long = shape.aac_samples as usize / 1024;
    let segments = [141usize, 140, 96].iter().map(|n| (0..n.div_ceil(long)).map(|i| filler(0x01, shape.aac_bytes, i)).collect()).collect();
    Track {
        timescale: 24_000,
        handler: *b"soun",
        size: (0, 0),
        entry: sound_entry(b"mp4a", 24_000, &esds),
        priming: 1_600,
        loudness: true,
        segments,
        sample_ticks: shape.aac_samples,
        copies: 1,
    }
}

/// A rendition as it was laid out.
struct Laid {
    init: u64,
    total: u64,
    segments: Vec<Segment>,
    timescale: u32,
}

impl Laid {
    fn rates(&self) -> Vec<(f64, f64)> {
        self.segments.iter().map(|s| (s.bytes as f64 * 8.0, s.duration as f64 / self.timescale as f64)).collect()
    }
}

/// The RFC's peak for a target of 6 s, by trying every run of segments.
fn peak(rates: &[(f64, f64)]) -> u64 {
    let mut best = 0.0f64;
    for a in 0..rates.len() {
        for b in a + 1..=rates.len() {
            let (bits, seconds) = rates[a..b].iter().fold((0.0, 0.0), |s, r| (s.0 + r.0, s.1 + r.1));
            if (3.0..=9.0).contains(&seconds) {
                best = best.max(bits / seconds);
            }
        }
    }
    best.round() as u64
}
fn average(rates: &[(f64, f64)]) -> u64 {
    (rates.iter().map(|r| r.0).sum::<f64>() / rates.iter().map(|r| r.1).sum::<f64>()).round() as u64
}

fn lay(dir: &Path, name: &str, t: &Track) -> Laid {
    let mut file = init(t);
    let init_bytes = file.len() as u64;
    let mut tfdt = 0;
    let mut fragments = Vec::new();
    for n in 0..t.segments.len() {
        fragments.push(fragment(t, n, tfdt));
        tfdt += t.segments[n].len() as u64 * t.sample_ticks as u64;
    }
    if &t.handler == b"soun" {
        let references: Vec<u8> = fragments
            .iter()
            .zip(&t.segments)
            .flat_map(|(f, s)| w(&[f.len() as u32, s.len() as u32 * t.sample_ticks, 0x9000_0000]))
            .collect();
        file.extend(full(b"sidx", 0, 0, &[&w(&[1, t.timescale, 0, 0]), &h(&[0, fragments.len() as u16]), &references]));
    }
    let mut segments = Vec::new();
    for (f, s) in fragments.iter().zip(&t.segments) {
        let moof = u32::from_be_bytes(f[..4].try_into().unwrap()) as u64;
        segments.push(Segment {
            offset: file.len() as u64,
            bytes: f.len() as u64,
            duration: s.len() as u64 * t.sample_ticks as u64,
            sha256: Digest::of(f),
            iframe_bytes: (&t.handler == b"vide").then(|| moof + 8 + s[0].len() as u64),
        });
        file.extend(f);
    }
    std::fs::write(dir.join(format!("{name}.mp4")), &file).unwrap();
    let laid = Laid { init: init_bytes, total: file.len() as u64, segments, timescale: t.timescale };
    let head = |more: &str| {
        format!(
            "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:6\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-INDEPENDENT-SEGMENTS\n{more}#EXT-X-MAP:URI=\"{name}.mp4\",BYTERANGE=\"{init_bytes}@0\"\n"
        )
    };
    let mut list = head("");
    let mut iframes = head("#EXT-X-I-FRAMES-ONLY\n");
    for s in &laid.segments {
        let seconds = s.duration as f64 / t.timescale as f64;
        list += &format!("#EXTINF:{seconds:.5},\n#EXT-X-BYTERANGE:{}@{}\n{name}.mp4\n", s.bytes, s.offset);
        if let Some(bytes) = s.iframe_bytes {
            iframes += &format!("#EXTINF:{seconds:.5},\n#EXT-X-BYTERANGE:{bytes}@{}\n{name}.mp4\n", s.offset);
        }
    }
    std::fs::write(dir.join(format!("{name}.m3u8")), list + "#EXT-X-ENDLIST\n").unwrap();
    if let Some(rung) = name.strip_prefix("v-") {
        std::fs::write(dir.join(format!("i-{rung}.m3u8")), iframes + "#EXT-X-ENDLIST\n").unwrap();
    }
    laid
}

/// A package that breaks nothing but [`DECLARED`].
pub fn good_package() -> TempDir {
    let home = tempfile::tempdir().unwrap();
    build(home.path(), &GOOD);
    home
}

/// A package of another shape, whole and sealed, over what is in the directory.
pub fn build(dir: &Path, shape: &Shape) {
    let (mut rungs, mut voices) = (Vec::new(), Vec::new());
    let mut video_rates = Vec::new();
    for (name, stream, width, height) in [
        ("72p", &include_bytes!("lo.h264")[..], 128, 72),
        ("144p", &include_bytes!("mid.h264")[..], 256, 144),
        ("144p-hi", &include_bytes!("hi.h264")[..], 256, 144),
    ] {
        let (track, codec) = video(stream, width, height, shape.burst_bytes);
        let laid = lay(dir, &format!("v-{name}"), &track);
        let rates = laid.rates();
        let stills: Vec<(f64, f64)> = laid.segments.iter().zip(&rates).map(|(s, r)| (s.iframe_bytes.unwrap() as f64 * 8.0, r.1)).collect();
        rungs.push(Rung {
            crf: 26,
            max_bps: 500_000,
            name: name.into(),
            codec,
            width,
            height,
            frame_rate: 2.0,
            bytes: laid.total,
            average_bps: average(&rates),
            peak_bps: peak(&rates),
            iframe_average_bps: average(&stills),
            iframe_peak_bps: peak(&stills),
            init_bytes: laid.init,
            segments: laid.segments,
        });
        video_rates.push(rates);
    }
    for (name, codec, rate_hz, track) in [("opus", "opus", 48_000, opus(shape)), ("aac", "mp4a.40.2", 24_000, aac(shape))] {
        let laid = lay(dir, &format!("a-{name}"), &track);
        let rates = laid.rates();
        voices.push(Voice {
            name: name.into(),
            codec: codec.into(),
            language: "vi".into(),
            rate_hz,
            bytes: laid.total,
            average_bps: average(&rates),
            peak_bps: peak(&rates),
            init_bytes: laid.init,
            segments: laid.segments,
        });
    }
    let master = |rungs: &[Rung], voices: &[Voice], stills: bool| {
        let mut text = "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-INDEPENDENT-SEGMENTS\n".to_string();
        for v in voices {
            text += &format!(
                "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"{0}\",NAME=\"Voice\",LANGUAGE=\"vi\",DEFAULT=YES,AUTOSELECT=YES,CHANNELS=\"1\",URI=\"a-{0}.m3u8\"\n",
                v.name
            );
        }
        let none = [None];
        let groups: Vec<Option<&Voice>> = if voices.is_empty() { none.to_vec() } else { voices.iter().map(Some).collect() };
        for v in groups {
            for r in rungs {
                let (peak, average) = v.map_or((0, 0), |v| (v.peak_bps, v.average_bps));
                let codecs = v.map_or(r.codec.clone(), |v| format!("{},{}", r.codec, v.codec));
                let group = v.map_or(String::new(), |v| format!(",AUDIO=\"{}\"", v.name));
                text += &format!(
                    "#EXT-X-STREAM-INF:BANDWIDTH={},AVERAGE-BANDWIDTH={},CODECS=\"{codecs}\",RESOLUTION={}x{},FRAME-RATE=2.000{group}\nv-{}.m3u8\n",
                    r.peak_bps + peak,
                    r.average_bps + average,
                    r.width,
                    r.height,
                    r.name
                );
            }
        }
        for r in rungs.iter().filter(|_| stills) {
            text += &format!(
                "#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH={},AVERAGE-BANDWIDTH={},CODECS=\"{}\",RESOLUTION={}x{},URI=\"i-{}.m3u8\"\n",
                r.iframe_peak_bps, r.iframe_average_bps, r.codec, r.width, r.height, r.name
            );
        }
        text
    };
    std::fs::write(dir.join("master.m3u8"), master(&rungs, &voices, true)).unwrap();
    std::fs::write(dir.join("floor.m3u8"), master(&rungs[..1], &voices, false)).unwrap();
    std::fs::write(dir.join("video.m3u8"), master(&rungs, &[], false)).unwrap();
    let mut poster = Vec::new();
    image_webp::WebPEncoder::new(&mut poster).encode(&[90; 16 * 16 * 3], 16, 16, image_webp::ColorType::Rgb8).unwrap();
    std::fs::write(dir.join("poster.webp"), poster).unwrap();
    let package = Package {
        left_out: vec![],
        partial: false,
        preset: "medium".into(),
        format: 1,
        tool: "test".into(),
        plan: Digest::of(b"plan"),
        title: "Chart".into(),
        duration_s: 16.0,
        recordings: vec![RecordingRef { name: "chart".into(), sha256: Digest::of(b"r"), bytes: 1 }],
        profile: "test".into(),
        fingerprint: BTreeMap::new(),
        shape: "uniform".into(),
        target_duration_s: 6,
        boundaries_s: vec![0.0, 6.0, 12.0, 16.0],
        rungs,
        voices,
        captions: vec![],
        loudness: Some(Loudness { source_lufs: -20.0, lufs: -16.0, true_peak_dbtp: -1.0 }),
        slides: Vec::new(),
        chapters: Vec::new(),
        files: BTreeMap::new(),
        deviations: DECLARED.iter().map(|r| Deviation { rule: r.to_string(), reason: "test".into(), cost: "none".into() }).collect(),
        repairs: vec![],
        warnings: vec![],
    };
    rivulet::package::progressive::write(dir, &package).unwrap();
    write_package(dir, &package);
    reseal(dir);
}

pub fn read_package(dir: &Path) -> Package {
    serde_json::from_slice(&std::fs::read(dir.join("package.json")).unwrap()).unwrap()
}

pub fn write_package(dir: &Path, package: &Package) {
    std::fs::write(dir.join("package.json"), serde_json::to_vec_pretty(package).unwrap()).unwrap();
}

/// Brings every digest in package.json into line with the bytes that are there, so that a fault planted in media or in a
/// playlist is not also a broken digest.
pub fn reseal(dir: &Path) {
    let mut package = read_package(dir);
    package.files.clear();
    for entry in std::fs::read_dir(dir).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name != "package.json" {
            let bytes = std::fs::read(dir.join(&name)).unwrap();
            package.files.insert(name, FileEntry { sha256: Digest::of(&bytes), bytes: bytes.len() as u64 });
        }
    }
    let fix = |file: String, segments: &mut Vec<Segment>| {
        let Ok(bytes) = std::fs::read(dir.join(file)) else { return };
        for s in segments {
            s.sha256 = Digest::of(&bytes[s.offset as usize..(s.offset + s.bytes) as usize]);
        }
    };
    package.rungs.iter_mut().for_each(|r| fix(format!("v-{}.mp4", r.name), &mut r.segments));
    package.voices.iter_mut().for_each(|v| fix(format!("a-{}.mp4", v.name), &mut v.segments));
    write_package(dir, &package);
}
