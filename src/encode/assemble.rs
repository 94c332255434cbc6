//! Chunk files and voice -> package directory. Built beside its place under a temporary name, checked, then moved in one step.

use super::chunkfile::{self, ChunkFile, Part};
use crate::captions::{self, Captions, Fitted};
use crate::error::{Error, Kind, Result, ResultExt};
use crate::package::fragment::{self, Reference, Sample};
use crate::package::init::{self, VideoTrack, VoiceCodec, VoiceTrack};
use crate::package::{self, FileEntry, Loudness, Package, Rung, Segment, Voice, playlist, progressive};
use crate::plan::Plan;
use crate::rate;
use crate::units::{Digest, MediaTime};
use crate::voice::units::Units;
use std::fs::{self, File};
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// A media file being written: room for the initialization section first, filled in when the rates are known.
struct Media {
    path: PathBuf,
    out: BufWriter<File>,
    init_bytes: u64,
    at: u64,
}

impl Media {
    fn create(path: PathBuf, init: &[u8]) -> Result<Media> {
        let file = File::create(&path).doing(|| format!("cannot write {}", path.display()))?;
        let mut media = Media { path, out: BufWriter::with_capacity(1 << 18, file), init_bytes: init.len() as u64, at: 0 };
        media.append(init)?;
        Ok(media)
    }
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.at += bytes.len() as u64;
        self.out.write_all(bytes).doing(|| format!("cannot write {}", self.path.display()))
    }
    /// Overwrites from `at` on; the length must stay.
    fn finish(mut self, patches: &[(u64, Vec<u8>)]) -> Result<u64> {
        let mut write = || {
            for (at, bytes) in patches {
                self.out.seek(SeekFrom::Start(*at))?;
                self.out.write_all(bytes)?;
            }
            self.out.flush()?;
            self.out.get_ref().sync_all()
        };
        write().doing(|| format!("cannot write {}", self.path.display()))?;
        Ok(self.at)
    }
}

fn rates(segments: &[Segment], timescale: u64, target_s: u32, bytes: impl Fn(&Segment) -> u64) -> (u64, u64) {
    let list: Vec<_> =
        segments.iter().map(|s| rate::Piece { bytes: bytes(s), micros: rate::micros(s.duration, timescale as u32) }).collect();
    (rate::peak_bps(&list, target_s.into()).ceil() as u64, rate::average_bps(&list).ceil() as u64)
}

/// The largest segment duration of all renditions, rounded as RFC 8216bis 4.4.3.1 has it.
fn target_duration(plan: &Plan, voices: &[Units]) -> u32 {
    let video = plan.boundaries.windows(2).map(|w| w[1].since(w[0]) as f64 / MediaTime::HZ as f64);
    let sound = voices.iter().flat_map(|v| {
        let rate = v.header().rate_hz as f64;
        cuts(plan, v).windows(2).map(move |w| (w[1].1 - w[0].1) as f64 / rate).collect::<Vec<_>>()
    });
    video.chain(sound).fold(0.0f64, f64::max).round().max(1.0) as u32
}

/// Makes everything below `dir` and returns the manifest, which is not written yet.
#[allow(clippy::too_many_arguments)] // everything that a package is made of
pub fn assemble(
    plan: &Plan,
    part: Part,
    work: &Path,
    voices: Vec<Units>,
    loudness: Option<Loudness>,
    captions: &[(Captions, Fitted)],
    mut package: Package,
    dir: &Path,
) -> Result<Package> {
    let chunks = (0..plan.chunks.len())
        .map(|i| {
            chunkfile::read(&chunkfile::path(work, part, i))
                .map(|(file, _)| file)
                .ok_or_else(|| Error::new(Kind::Corrupt, format!("chunk {i} vanished")).hint("run the same command again"))
        })
        .collect::<Result<Vec<_>>>()?;
    package.target_duration_s = target_duration(plan, &voices);
    // `ludt` codes -57.75 LUFS and up (ISO/IEC 23003-4): a recording that is silent has no loudness to state.
    package.loudness = loudness.filter(|l| l.lufs >= -57.0);
    for i in 0..plan.rungs.len() {
        package.rungs.push(rung(plan, &chunks, i, package.target_duration_s, dir)?);
    }
    for units in &voices {
        let voice = voice(plan, units, package.loudness.as_ref(), package.target_duration_s, dir)?;
        package.voices.push(voice);
    }
    for (name, why) in leave_out(&mut package.rungs) {
        fs::remove_file(dir.join(format!("v-{name}.mp4"))).doing(|| format!("cannot remove rung {name}"))?;
        package.left_out.push(why);
    }
    for (source, fitted) in captions {
        captions_file(source, fitted, &mut package, dir)?;
    }
    progressive::write(dir, &package)?;
    for (name, text) in playlist::all(&package) {
        crate::workdir::write_whole(&dir.join(name), |out| out.write_all(text.as_bytes()))?;
    }
    super::stills::place(plan, work, &mut package, dir)?;
    list(dir, "", &mut package)?;
    Ok(package)
}

/// Every file in `dir` and the folders in it, with digest and bytes; `below` is the folder's own name in the package.
fn list(dir: &Path, below: &str, package: &mut Package) -> Result<()> {
    for entry in fs::read_dir(dir).doing(|| format!("cannot read {}", dir.display()))? {
        let entry = entry.doing(|| format!("cannot read {}", dir.display()))?;
        let name = format!("{below}{}", entry.file_name().to_string_lossy());
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            list(&entry.path(), &format!("{name}/"), package)?;
            continue;
        }
        let (sha256, bytes) = File::open(entry.path()).and_then(Digest::of_reader).doing(|| format!("cannot read back {name}"))?;
        package.files.insert(name, FileEntry { sha256, bytes });
    }
    Ok(())
}

/// `c-<language>.vtt`, and what package.json says of it.
fn captions_file(source: &Captions, fitted: &Fitted, package: &mut Package, dir: &Path) -> Result<()> {
    let text = captions::webvtt(&fitted.cues);
    let (language, bytes) = (source.language.clone(), text.len() as u64);
    crate::workdir::write_whole(&dir.join(format!("c-{language}.vtt")), |out| out.write_all(text.as_bytes()))?;
    package.repairs.extend(fitted.repairs.iter().cloned());
    package.warnings.extend(fitted.warnings.iter().cloned());
    if fitted.cues.is_empty() {
        package.warnings.push(format!("{}: none of its cues lies within the lecture", source.name));
    }
    let whole = rate::Piece { bytes, micros: rate::micros(playlist::lecture_ticks(package), 90_000) };
    let average_bps = rate::average_bps(&[whole]).ceil() as u64;
    package.captions.push(package::Captions { language, cues: fitted.cues.len(), bytes, average_bps, source_sha256: source.sha256 });
    Ok(())
}

/// Takes out rungs that are dearer than the one above them; name and why.
pub fn leave_out(rungs: &mut Vec<Rung>) -> Vec<(String, String)> {
    let costs: Vec<(u64, u64)> = rungs.iter().map(|r| (r.peak_bps, r.average_bps)).collect();
    let names: Vec<String> = rungs.iter().map(|r| r.name.clone()).collect();
    let said = |i: usize| (names[i].as_str(), costs[i].1);
    // From the highest on, so that those below keep their places.
    rate::dearer_than_above(&costs)
        .into_iter()
        .map(|(below, above)| (rungs.remove(below).name, rate::left_out(said(below), said(above))))
        .collect()
}

fn rung(plan: &Plan, chunks: &[ChunkFile], index: usize, target_s: u32, dir: &Path) -> Result<Rung> {
    let decided = &plan.rungs[index];
    let first = &chunks[0].header.rungs[index];
    let (avcc, colour) = (first.avcc.clone(), first.colour);
    if chunks.iter().any(|c| c.header.rungs[index].avcc != avcc) {
        return Err(Error::bug(format!("rung {} has chunks with different parameter sets", decided.name)));
    }
    let delay = delay(plan, chunks, index);
    let track = |peak_bps, average_bps| {
        init::video(&VideoTrack {
            width: decided.size.width,
            height: decided.size.height,
            avcc: &avcc,
            colour,
            duration: plan.duration().ticks(),
            delay,
            peak_bps,
            average_bps,
        })
    };
    let mut media = Media::create(dir.join(format!("v-{}.mp4", decided.name)), &track(0, 0))?;
    let mut segments = Vec::with_capacity(plan.segments());
    let mut frame_rate: f64 = 0.0;
    for (chunk, file) in plan.chunks.iter().zip(chunks) {
        let mut slots = &chunk.slots[..];
        for (nth, s) in (chunk.segments.0..chunk.segments.1).enumerate() {
            let (start, end) = plan.segment(s);
            let (within, rest) = slots.split_at(slots.partition_point(|slot| slot.at < end));
            slots = rest;
            let shown: Vec<crate::plan::Slot> = within.iter().filter(|slot| slot.on(index)).copied().collect();
            let bytes = file.segment(index, nth)?;
            let table = &file.header.rungs[index].segments[nth];
            if table.len() != shown.len() {
                return Err(Error::new(
                    Kind::Corrupt,
                    format!("segment {s} of rung {} holds {} pictures instead of {}", decided.name, table.len(), shown.len()),
                ));
            }
            let fragment = video_fragment(s as u32 + 1, start, end, &shown, table, &bytes, delay);
            frame_rate = frame_rate.max(shown.len() as f64 * MediaTime::HZ as f64 / end.since(start) as f64);
            segments.push(Segment {
                offset: media.at,
                bytes: fragment.bytes.len() as u64,
                duration: end.since(start),
                sha256: Digest::of(&fragment.bytes),
                iframe_bytes: Some(fragment.first_sample_end),
            });
            media.append(&fragment.bytes)?;
        }
    }
    let (peak_bps, average_bps) = rates(&segments, MediaTime::HZ, target_s, |s| s.bytes);
    let (iframe_peak_bps, iframe_average_bps) = rates(&segments, MediaTime::HZ, target_s, |s| s.iframe_bytes.unwrap_or(s.bytes));
    let init_bytes = media.init_bytes;
    let bytes = media.finish(&[(0, track(peak_bps, average_bps))])?;
    Ok(Rung {
        name: decided.name.clone(),
        codec: codec_string(&avcc),
        width: decided.size.width,
        height: decided.size.height,
        frame_rate: (frame_rate * 1000.0).round() / 1000.0,
        crf: decided.crf,
        max_bps: decided.max_bps,
        bytes,
        average_bps,
        peak_bps,
        iframe_average_bps,
        iframe_peak_bps,
        init_bytes,
        segments,
    })
}

/// The longest that any picture of a rung is decoded after it ought to be seen, ticks: decoding times are the presentation
/// times in order, so that a fragment begins at its boundary and its durations add up to the next one exactly.
fn delay(plan: &Plan, chunks: &[ChunkFile], index: usize) -> u64 {
    let mut most = 0;
    for (chunk, file) in plan.chunks.iter().zip(chunks) {
        let mut shown = chunk.slots.iter().filter(|slot| slot.on(index)).map(|slot| slot.at);
        for table in &file.header.rungs[index].segments {
            let times: Vec<MediaTime> = shown.by_ref().take(table.len()).collect();
            for (i, (_, place)) in table.iter().enumerate() {
                if let (Some(decoded), Some(seen)) = (times.get(i), times.get(*place as usize)) {
                    most = most.max(decoded.since(*seen));
                }
            }
        }
    }
    most
}

/// One segment's pictures, `delay` ticks behind: the track's edit list takes them back.
fn video_fragment(
    sequence: u32,
    start: MediaTime,
    end: MediaTime,
    shown: &[crate::plan::Slot],
    table: &[(u32, u32)],
    bytes: &[u8],
    delay: u64,
) -> fragment::Fragment {
    let at = |i: usize| shown.get(i).map(|s| s.at).unwrap_or(end).ticks();
    let mut rest = bytes;
    let samples: Vec<Sample> = table
        .iter()
        .enumerate()
        .map(|(i, (size, place))| {
            let (data, after) = rest.split_at(*size as usize);
            rest = after;
            let offset = (at(*place as usize) + delay).saturating_sub(at(i));
            Sample { data, duration: (at(i + 1) - at(i)) as u32, offset: offset as i32 }
        })
        .collect();
    fragment::video(sequence, start.ticks(), &samples)
}

/// RFC 6381 as in ISO/IEC 14496-15 annex E: profile, constraints and level of the avcC.
fn codec_string(avcc: &[u8]) -> String {
    let byte = |i: usize| avcc.get(i).copied().unwrap_or(0);
    format!("avc1.{:02x}{:02x}{:02x}", byte(1), byte(2), byte(3))
}

/// Where segments cut the voice: packet index and its media time in samples, priming included; one entry more than segments.
/// A packet belongs to the segment in which it begins to sound.
fn cuts(plan: &Plan, units: &Units) -> Vec<(usize, u64)> {
    let header = units.header();
    let packet = header.samples_per_packet as u64;
    let priming = (header.pre_skip + header.priming) as u64;
    let count = header.packets.len();
    let mut cuts: Vec<(usize, u64)> = plan.boundaries[..plan.segments()]
        .iter()
        .map(|b| {
            let sample = (b.ticks() as u128 * header.rate_hz as u128).div_ceil(MediaTime::HZ as u128) as u64;
            let first = if b.ticks() == 0 { 0 } else { (sample + priming).div_ceil(packet).min(count as u64) };
            (first as usize, first * packet)
        })
        .collect();
    cuts.push((count, count as u64 * packet));
    cuts
}

fn voice(plan: &Plan, units: &Units, loudness: Option<&Loudness>, target_s: u32, dir: &Path) -> Result<Voice> {
    let header = units.header();
    let config = units.codec_config();
    let codec = || match header.codec.as_str() {
        "opus" => VoiceCodec::Opus { head: &config },
        _ => VoiceCodec::Aac { config: &config },
    };
    let cuts = cuts(plan, units);
    let total = cuts[cuts.len() - 1].1;
    let track = |average_bps| {
        init::voice(&VoiceTrack {
            codec: codec(),
            rate_hz: header.rate_hz,
            language: &plan.language,
            duration: total,
            priming: (header.pre_skip + header.priming) as u64,
            packet: header.samples_per_packet,
            loudness,
            average_bps,
        })
    };
    // One index in front of all fragments: a plain <audio> then reads what it plays, not the whole file.
    let index = |segments: &[Segment]| {
        let references: Vec<_> = segments.iter().map(|s| Reference { bytes: s.bytes as u32, duration: s.duration as u32 }).collect();
        fragment::sidx(header.rate_hz, &references)
    };
    let ends: Vec<_> = cuts.windows(2).filter(|w| w[0].0 < w[1].0).collect();
    let empty = Segment { offset: 0, bytes: 0, duration: 0, sha256: Digest::of(b""), iframe_bytes: None };
    let mut media = Media::create(dir.join(format!("a-{}.mp4", header.codec)), &track(0))?;
    let index_at = media.at;
    media.append(&index(&vec![empty; ends.len()]))?;
    let mut segments = Vec::with_capacity(ends.len());
    for (i, w) in ends.iter().enumerate() {
        let range = w[0].0..w[1].0;
        let bytes = units.read(range.clone())?;
        let mut rest = &bytes[..];
        let samples: Vec<Sample> = header.packets[range]
            .iter()
            .map(|size| {
                let (data, after) = rest.split_at(*size as usize);
                rest = after;
                Sample { data, duration: header.samples_per_packet, offset: 0 }
            })
            .collect();
        let fragment = fragment::voice(i as u32 + 1, w[0].1, &samples);
        segments.push(Segment {
            offset: media.at,
            bytes: fragment.bytes.len() as u64,
            duration: w[1].1 - w[0].1,
            sha256: Digest::of(&fragment.bytes),
            iframe_bytes: None,
        });
        media.append(&fragment.bytes)?;
    }
    let (peak_bps, average_bps) = rates(&segments, header.rate_hz as u64, target_s, |s| s.bytes);
    let init_bytes = media.init_bytes;
    let bytes = media.finish(&[(0, track(average_bps)), (index_at, index(&segments))])?;
    Ok(Voice {
        name: header.codec.clone(),
        codec: if header.codec == "opus" { "opus".into() } else { "mp4a.40.2".into() },
        language: plan.language.clone(),
        rate_hz: header.rate_hz,
        bytes,
        average_bps,
        peak_bps,
        init_bytes,
        segments,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rung(name: &str, average_bps: u64, peak_bps: u64) -> Rung {
        Rung {
            name: name.into(),
            codec: String::new(),
            width: 2,
            height: 2,
            frame_rate: 1.0,
            crf: 1,
            max_bps: 1,
            bytes: 0,
            average_bps,
            peak_bps,
            iframe_average_bps: 0,
            iframe_peak_bps: 0,
            init_bytes: 0,
            segments: Vec::new(),
        }
    }

    #[test]
    fn a_rung_that_costs_as_much_as_the_next_goes() {
        let mut rungs = vec![rung("a", 10, 30), rung("b", 12, 20), rung("c", 11, 40), rung("d", 20, 50)];
        let gone: Vec<_> = leave_out(&mut rungs).into_iter().map(|(n, _)| n).collect();
        assert_eq!(gone, ["b"]);
        let peaks: Vec<_> = rungs.iter().map(|r| (r.average_bps, r.peak_bps)).collect();
        assert!(peaks.windows(2).all(|w| w[0].0 < w[1].0 && w[0].1 < w[1].1));
    }
}
