//! `floor.mp4`: the lowest rung and the AAC voice in one ordinary MP4 with its index in front, which plays on any phone and can
//! be passed on by memory card or chat. Its pictures and packets are the bytes of the CMAF files, read back from them, so what
//! plays here and in HLS is the same to the tick. Only the sample table is held in memory, never the media.

use super::boxes::Writer;
use super::init::{VIDEO_HZ, matrix, packed_language};
use super::{Package, Segment};
use crate::error::{Error, Result, ResultExt};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;

pub const NAME: &str = "floor.mp4";

/// A second of picture, then a second of voice: a player that reads from the front never has to wait for either for long.
const INTERLEAVE_S: u64 = 1;

/// One picture or packet.
struct Sample {
    /// In the CMAF file.
    at: u64,
    bytes: u32,
    /// Of decoding time, in the track's ticks.
    duration: u32,
    /// Presentation minus decoding time, ticks; negative in CMAF where pictures are reordered.
    offset: i32,
    sync: bool,
}

/// A CMAF file as a track to be.
struct Track {
    file: File,
    handler: [u8; 4],
    timescale: u32,
    size: (u32, u32),
    language: u16,
    /// The whole sample description.
    stsd: Vec<u8>,
    /// Ticks at the start that are decoded and not presented, by the CMAF edit list.
    priming: u64,
    samples: Vec<Sample>,
}

/// A run of samples of one track that lie side by side in `mdat`.
struct Chunk {
    track: usize,
    first: usize,
    count: usize,
}

/// Writes [`NAME`] from the package's files in `dir`; nothing where there is no rung. `Bug` where those are not as
/// [`super::fragment`] and [`super::init`] write them.
pub fn write(dir: &Path, package: &Package) -> Result<()> {
    let Some(floor) = package.rungs.first() else { return Ok(()) };
    let mut tracks = vec![Track::open(dir, &format!("v-{}.mp4", floor.name), floor.init_bytes, &floor.segments, "und")?];
    match package.voices.iter().find(|v| v.codec.starts_with("mp4a")) {
        Some(v) => tracks.push(Track::open(dir, &format!("a-{}.mp4", v.name), v.init_bytes, &v.segments, &v.language)?),
        None if package.voices.is_empty() => {}
        None => return Err(Error::bug("there is a voice, and no AAC for floor.mp4")),
    }
    let chunks = interleave(&tracks);
    let media: u64 = tracks.iter().flat_map(|t| &t.samples).map(|s| s.bytes as u64).sum();
    // The index is as long whatever offsets it holds; wide ones where the file needs them.
    let narrow = index(&tracks, &chunks, 0, false).len() as u64;
    let wide = FTYP.len() as u64 + narrow + 8 + media > u32::MAX as u64;
    let length = if wide { index(&tracks, &chunks, 0, true).len() as u64 } else { narrow };
    let header = mdat_header(media, wide);
    let moov = index(&tracks, &chunks, FTYP.len() as u64 + length + header.len() as u64, wide);
    crate::workdir::write_whole(&dir.join(NAME), |out| {
        out.write_all(FTYP)?;
        out.write_all(&moov)?;
        out.write_all(&header)?;
        chunks.iter().try_for_each(|c| tracks[c.track].copy(c, out))
    })
}

const FTYP: &[u8] = b"\0\0\0\x1cftypisom\0\0\x02\0isommp42avc1";

fn mdat_header(media: u64, wide: bool) -> Vec<u8> {
    match wide {
        true => [&1u32.to_be_bytes()[..], b"mdat", &(media + 16).to_be_bytes()].concat(),
        false => [&(media as u32 + 8).to_be_bytes()[..], b"mdat"].concat(),
    }
}

impl Track {
    fn open(dir: &Path, name: &str, init_bytes: u64, segments: &[Segment], language: &str) -> Result<Track> {
        let file = File::open(dir.join(name)).doing(|| format!("cannot read {name}"))?;
        let read = |at: u64, bytes: u64| -> Result<Vec<u8>> {
            let mut data = vec![0; bytes as usize];
            file.read_exact_at(&mut data, at).doing(|| format!("cannot read back {name}"))?;
            Ok(data)
        };
        let odd = || Error::bug(format!("{name} is not as it was written"));
        let init = read(0, init_bytes)?;
        let head = Head::of(&init).ok_or_else(odd)?;
        let mut samples = Vec::new();
        for s in segments {
            let size = read(s.offset, 8)?;
            let moof = read(s.offset, number(&size, 0).ok_or_else(odd)?.into())?;
            let before = samples.len();
            read_moof(&moof, s.offset, head.default_duration, &head.handler, &mut samples).ok_or_else(odd)?;
            let sum = |of: fn(&Sample) -> u64| samples[before..].iter().map(of).sum::<u64>();
            if sum(|s| s.duration.into()) != s.duration || sum(|s| s.bytes.into()) + moof.len() as u64 + 8 != s.bytes {
                return Err(odd());
            }
        }
        let Head { handler, timescale, size, stsd, priming, .. } = head;
        let language = packed_language(language);
        Ok(Track { handler, timescale, size, stsd, priming, language, samples, file })
    }

    /// Ticks by which all presentation times move so that none lies before its decoding time: version 0 of ctts is the one
    /// that every phone reads. The edit list takes them back.
    fn shift(&self) -> u32 {
        self.samples.iter().map(|s| s.offset.min(0).unsigned_abs()).max().unwrap_or(0)
    }
    fn ticks(&self) -> u64 {
        self.samples.iter().map(|s| s.duration as u64).sum()
    }
    /// How long it is presented, in the movie's ticks. A sound's priming is thrown away; a picture's delay only moves it.
    fn presented(&self) -> u64 {
        let unheard = if &self.handler == b"soun" { self.priming } else { 0 };
        movie_ticks(self.ticks().saturating_sub(unheard), self.timescale)
    }
    fn bytes(&self, chunk: &Chunk) -> u64 {
        self.samples[chunk.first..chunk.first + chunk.count].iter().map(|s| s.bytes as u64).sum()
    }

    /// Copies a chunk's samples; those of one segment lie side by side.
    fn copy(&self, chunk: &Chunk, out: &mut dyn Write) -> std::io::Result<()> {
        let mut waiting = (0u64, 0u64);
        let mut flush = |(at, bytes): (u64, u64)| {
            let mut data = vec![0; bytes as usize];
            self.file.read_exact_at(&mut data, at)?;
            out.write_all(&data)
        };
        for s in &self.samples[chunk.first..chunk.first + chunk.count] {
            if waiting.0 + waiting.1 != s.at {
                flush(waiting)?;
                waiting = (s.at, 0);
            }
            waiting.1 += s.bytes as u64;
        }
        flush(waiting)
    }
}

fn movie_ticks(ticks: u64, timescale: u32) -> u64 {
    (ticks as u128 * VIDEO_HZ as u128 / timescale.max(1) as u128) as u64
}

/// Chunks in the file's order: of each span of [`INTERLEAVE_S`], what is decoded in it, picture before voice.
fn interleave(tracks: &[Track]) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    let mut places: Vec<(usize, u64)> = vec![(0, 0); tracks.len()];
    let mut until_s = INTERLEAVE_S;
    while places.iter().zip(tracks).any(|(p, t)| p.0 < t.samples.len()) {
        for (i, (track, (next, time))) in tracks.iter().zip(&mut places).enumerate() {
            let first = *next;
            while *next < track.samples.len() && *time < until_s * track.timescale as u64 {
                *time += track.samples[*next].duration as u64;
                *next += 1;
            }
            if *next > first {
                chunks.push(Chunk { track: i, first, count: *next - first });
            }
        }
        until_s += INTERLEAVE_S;
    }
    chunks
}

/// The moov, for media that begins at `base`.
fn index(tracks: &[Track], chunks: &[Chunk], base: u64, wide: bool) -> Vec<u8> {
    let mut offsets = Vec::with_capacity(chunks.len());
    let mut at = base;
    for chunk in chunks {
        offsets.push(at);
        at += tracks[chunk.track].bytes(chunk);
    }
    // The picture is the lecture; the voice's last packet goes beyond it and is cut by its edit.
    let duration = tracks.first().map_or(0, Track::presented);
    let long = duration.max(tracks.iter().map(|t| t.ticks() + t.shift() as u64).max().unwrap_or(0)) > u32::MAX as u64;
    let mut w = Writer::default();
    w.boxed(b"moov", |w| {
        timed(w, b"mvhd", 0, long, |w| {
            w.zeros(if long { 16 } else { 8 }).u32(VIDEO_HZ);
            time(w, long, duration);
            w.u32(0x10000).u16(0x100).zeros(10);
            matrix(w);
            w.zeros(24).u32(tracks.len() as u32 + 1);
        });
        for (i, track) in tracks.iter().enumerate() {
            let own: Vec<(&Chunk, u64)> = chunks.iter().zip(offsets.iter().copied()).filter(|(c, _)| c.track == i).collect();
            w.boxed(b"trak", |w| trak(w, i as u32 + 1, track, &own, duration, long, wide));
        }
    });
    w.finish()
}

/// A full box with times: of 64 bits where 32 do not do, after 13 hours. Every phone reads version 0.
fn timed(w: &mut Writer, kind: &[u8; 4], flags: u32, long: bool, body: impl FnOnce(&mut Writer)) {
    w.full(kind, long as u8, flags, body);
}

fn time(w: &mut Writer, long: bool, ticks: u64) {
    match long {
        true => w.u64(ticks),
        false => w.u32(ticks as u32),
    };
}

fn trak(w: &mut Writer, id: u32, track: &Track, chunks: &[(&Chunk, u64)], movie: u64, long: bool, wide: bool) {
    let sound = &track.handler == b"soun";
    let presented = track.presented().min(movie);
    let shift = track.shift();
    timed(w, b"tkhd", 3, long, |w| {
        w.zeros(if long { 16 } else { 8 }).u32(id).u32(0);
        time(w, long, presented);
        w.zeros(8).u16(0).u16(0).u16(if sound { 0x100 } else { 0 }).u16(0);
        matrix(w);
        w.u32(track.size.0 << 16).u32(track.size.1 << 16);
    });
    w.boxed(b"edts", |w| {
        timed(w, b"elst", 0, long, |w| {
            w.u32(1);
            time(w, long, presented);
            time(w, long, track.priming + shift as u64);
            w.u32(0x10000);
        })
    });
    w.boxed(b"mdia", |w| {
        timed(w, b"mdhd", 0, long, |w| {
            w.zeros(if long { 16 } else { 8 }).u32(track.timescale);
            time(w, long, track.ticks());
            w.u16(track.language).u16(0);
        });
        w.full(b"hdlr", 0, 0, |w| {
            w.u32(0).bytes(&track.handler).zeros(13);
        });
        w.boxed(b"minf", |w| {
            match sound {
                false => w.full(b"vmhd", 0, 1, |w| {
                    w.zeros(8);
                }),
                true => w.full(b"smhd", 0, 0, |w| {
                    w.zeros(4);
                }),
            }
            w.boxed(b"dinf", |w| w.full(b"dref", 0, 0, |w| w.u32(1).full(b"url ", 0, 1, |_| {})));
            w.boxed(b"stbl", |w| tables(w, track, shift, chunks, wide));
        });
    });
}

/// The sample tables (14496-12 8.6 and 8.7).
fn tables(w: &mut Writer, track: &Track, shift: u32, chunks: &[(&Chunk, u64)], wide: bool) {
    w.boxed(b"stsd", |w| {
        w.bytes(&track.stsd);
    });
    runs(w, b"stts", track.samples.iter().map(|s| s.duration));
    if track.samples.iter().any(|s| s.offset != 0) {
        runs(w, b"ctts", track.samples.iter().map(|s| (s.offset as i64 + shift as i64) as u32));
    }
    if track.samples.iter().any(|s| !s.sync) {
        let sync: Vec<u32> = (1u32..).zip(&track.samples).filter(|(_, s)| s.sync).map(|(n, _)| n).collect();
        w.full(b"stss", 0, 0, |w| {
            w.u32(sync.len() as u32);
            sync.iter().for_each(|n| {
                w.u32(*n);
            });
        });
    }
    w.full(b"stsz", 0, 0, |w| {
        w.u32(0).u32(track.samples.len() as u32);
        track.samples.iter().for_each(|s| {
            w.u32(s.bytes);
        });
    });
    let mut counts: Vec<(u32, u32)> = Vec::new();
    for (n, (chunk, _)) in (1u32..).zip(chunks) {
        if counts.last().is_none_or(|(_, count)| *count != chunk.count as u32) {
            counts.push((n, chunk.count as u32));
        }
    }
    w.full(b"stsc", 0, 0, |w| {
        w.u32(counts.len() as u32);
        counts.iter().for_each(|(first, count)| {
            w.u32(*first).u32(*count).u32(1);
        });
    });
    w.full(if wide { b"co64" } else { b"stco" }, 0, 0, |w| {
        w.u32(chunks.len() as u32);
        chunks.iter().for_each(|(_, at)| time(w, wide, *at));
    });
}

/// A table of runs of equal values.
fn runs(w: &mut Writer, kind: &[u8; 4], values: impl Iterator<Item = u32>) {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for value in values {
        match runs.last_mut() {
            Some((count, last)) if *last == value => *count += 1,
            _ => runs.push((1, value)),
        }
    }
    w.full(kind, 0, 0, |w| {
        w.u32(runs.len() as u32);
        runs.iter().for_each(|(count, value)| {
            w.u32(*count).u32(*value);
        });
    });
}

/// What is needed of an initialization section.
struct Head {
    handler: [u8; 4],
    timescale: u32,
    size: (u32, u32),
    stsd: Vec<u8>,
    priming: u64,
    default_duration: u32,
}

impl Head {
    fn of(init: &[u8]) -> Option<Head> {
        let moov = child(init, b"moov")?;
        let trak = child(moov, b"trak")?;
        let mdia = child(trak, b"mdia")?;
        let tkhd = child(trak, b"tkhd")?;
        let size = tkhd.len().checked_sub(8)?;
        let stbl = child(child(mdia, b"minf")?, b"stbl")?;
        let trex = child(child(moov, b"mvex")?, b"trex")?;
        let edit = child(trak, b"edts").and_then(|e| child(e, b"elst"));
        Some(Head {
            handler: child(mdia, b"hdlr")?.get(8..12)?.try_into().ok()?,
            timescale: number(child(mdia, b"mdhd")?, 12)?,
            size: (number(tkhd, size)? >> 16, number(tkhd, size + 4)? >> 16),
            stsd: child(stbl, b"stsd")?.to_vec(),
            priming: edit.map_or(Some(0), |e| number(e, 12))?.into(),
            default_duration: number(trex, 12)?,
        })
    }
}

/// The samples of one moof of ours, whose first byte is at `base` of its file.
fn read_moof(moof: &[u8], base: u64, default_duration: u32, handler: &[u8; 4], out: &mut Vec<Sample>) -> Option<()> {
    let traf = child(child(moof, b"moof")?, b"traf")?;
    let tfhd = child(traf, b"tfhd")?;
    // What may stand before the default duration: a base offset, a sample description.
    let tfhd_flags = number(tfhd, 0)?;
    let skipped = if tfhd_flags & 1 != 0 { 8 } else { 0 } + if tfhd_flags & 2 != 0 { 4 } else { 0 };
    let default = if tfhd_flags & 8 != 0 { number(tfhd, 8 + skipped)? } else { default_duration };
    let trun = child(traf, b"trun")?;
    let mut at = 0;
    let mut next = || {
        at += 4;
        number(trun, at - 4)
    };
    let flags = next()?;
    let count = next()?;
    let mut place = base + (flags & 1 != 0).then(&mut next)?? as u64;
    let has = |flag: u32| flags & flag != 0;
    if has(4) {
        next()?;
    }
    for i in 0..count {
        let duration = if has(0x100) { next()? } else { default };
        let bytes = has(0x200).then(&mut next)??;
        if has(0x400) {
            next()?;
        }
        let offset = if has(0x800) { next()? as i32 } else { 0 };
        out.push(Sample { at: place, bytes, duration, offset, sync: handler == b"soun" || i == 0 });
        place += bytes as u64;
    }
    Some(())
}

/// The body of the first box of a kind side by side in `data`.
fn child<'a>(data: &'a [u8], kind: &[u8; 4]) -> Option<&'a [u8]> {
    let mut rest = data;
    while rest.len() >= 8 {
        let (one, after) = rest.split_at_checked(number(rest, 0).filter(|n| *n >= 8)? as usize)?;
        if &one[4..8] == kind {
            return Some(&one[8..]);
        }
        rest = after;
    }
    None
}

fn number(data: &[u8], at: usize) -> Option<u32> {
    data.get(at..at.checked_add(4)?).and_then(|b| b.try_into().ok()).map(u32::from_be_bytes)
}
