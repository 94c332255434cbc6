//! One segment of a CMAF track: a moof with one traf and one trun, and its mdat; and the sidx in front of a voice track.

use super::boxes::Writer;
use super::init::SYNC;

/// One coded picture or packet.
pub struct Sample<'a> {
    pub data: &'a [u8],
    /// Ticks to the next sample in decoding order.
    pub duration: u32,
    /// Composition minus decoding time, ticks.
    pub offset: i32,
}

/// A fragment's bytes.
pub struct Fragment {
    pub bytes: Vec<u8>,
    /// moof, mdat header and the whole first sample: what an I-frame playlist points at.
    pub first_sample_end: u64,
}

/// The pictures of one segment in decoding order; the first is an IDR.
pub fn video(sequence: u32, decode_time: u64, samples: &[Sample]) -> Fragment {
    let constant = samples.windows(2).all(|w| w[0].duration == w[1].duration);
    let reordered = samples.iter().any(|s| s.offset != 0);
    let default_duration = samples.first().filter(|_| constant).map(|s| s.duration);
    write(sequence, decode_time, samples, default_duration, constant, reordered, Some(SYNC))
}

/// The packets of one segment. All but the last have the track's default duration.
pub fn voice(sequence: u32, decode_time: u64, samples: &[Sample]) -> Fragment {
    write(sequence, decode_time, samples, None, true, false, None)
}

fn write(
    sequence: u32,
    decode_time: u64,
    samples: &[Sample],
    default_duration: Option<u32>,
    constant: bool,
    reordered: bool,
    first_flags: Option<u32>,
) -> Fragment {
    let mut w = Writer::default();
    let mut data_offset_at = 0;
    w.boxed(b"moof", |w| {
        w.full(b"mfhd", 0, 0, |w| {
            w.u32(sequence);
        });
        w.boxed(b"traf", |w| {
            // default-base-is-moof, and a default duration where one holds.
            let flags = 0x02_0000 | if default_duration.is_some() { 8 } else { 0 };
            w.full(b"tfhd", 0, flags, |w| {
                w.u32(1);
                default_duration.into_iter().for_each(|d| {
                    w.u32(d);
                });
            });
            w.full(b"tfdt", 1, 0, |w| {
                w.u64(decode_time);
            });
            let flags = 0x1
                | if first_flags.is_some() { 0x4 } else { 0 }
                | if constant { 0 } else { 0x100 }
                | 0x200
                | if reordered { 0x800 } else { 0 };
            w.full(b"trun", 1, flags, |w| {
                w.u32(samples.len() as u32);
                data_offset_at = w.len();
                w.u32(0);
                first_flags.into_iter().for_each(|f| {
                    w.u32(f);
                });
                for s in samples {
                    if !constant {
                        w.u32(s.duration);
                    }
                    w.u32(s.data.len() as u32);
                    if reordered {
                        w.u32(s.offset as u32);
                    }
                }
            });
        });
    });
    let data_offset = w.len() as u32 + 8;
    w.patch_u32(data_offset_at, data_offset);
    w.boxed(b"mdat", |w| {
        samples.iter().for_each(|s| {
            w.bytes(s.data);
        })
    });
    let first = samples.first().map(|s| s.data.len()).unwrap_or(0);
    Fragment { bytes: w.finish(), first_sample_end: data_offset as u64 + first as u64 }
}

/// What a sidx says of one fragment.
pub struct Reference {
    pub bytes: u32,
    /// In the track's timescale.
    pub duration: u32,
}

/// A segment index (14496-12 8.16.3) of fragments that follow it at once; every one begins with a sync sample.
pub fn sidx(timescale: u32, references: &[Reference]) -> Vec<u8> {
    let mut w = Writer::default();
    w.full(b"sidx", 0, 0, |w| {
        w.u32(1).u32(timescale).u32(0).u32(0).u16(0).u16(references.len() as u16);
        for r in references {
            w.u32(r.bytes & 0x7fff_ffff).u32(r.duration).u32(0x9000_0000);
        }
    });
    w.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use mp4_atom::{Any, Atom, ReadFrom};

    fn parse(bytes: &[u8]) -> Vec<Any> {
        let mut rest = bytes;
        let mut all = Vec::new();
        while !rest.is_empty() {
            all.push(Any::read_from(&mut rest).unwrap());
        }
        all
    }

    /// Another implementation reads what was written: times, durations and offsets, to the tick.
    #[test]
    fn another_reader_finds_the_same_samples() {
        let data = [vec![1; 40], vec![2; 9], vec![3; 7]];
        let samples: Vec<Sample> = data
            .iter()
            .zip([(3000, 0), (3600, 3600), (2400, -3000)])
            .map(|(d, (duration, offset))| Sample { data: d, duration, offset })
            .collect();
        let fragment = video(7, 540_000, &samples);
        let boxes = parse(&fragment.bytes);
        let Any::Moof(moof) = &boxes[0] else { panic!("{boxes:?}") };
        let traf = &moof.traf[0];
        assert_eq!((moof.mfhd.sequence_number, traf.tfdt.as_ref().unwrap().base_media_decode_time), (7, 540_000));
        let entries = &traf.trun[0].samples;
        let read: Vec<_> = entries.iter().map(|e| (e.size.unwrap(), e.duration.unwrap(), e.cts.unwrap_or(0))).collect();
        assert_eq!(read, [(40, 3000, 0), (9, 3600, 3600), (7, 2400, -3000)]);
        let Any::Mdat(mdat) = &boxes[1] else { panic!("{boxes:?}") };
        assert_eq!(mdat.data, data.concat());
        assert_eq!(fragment.first_sample_end as usize, fragment.bytes.len() - 16);
    }

    #[test]
    fn another_reader_finds_the_same_tracks() {
        let avcc = [1, 0x64, 0, 31, 0xff, 0xe1, 0, 4, 0x67, 0x64, 0, 31, 1, 0, 4, 0x68, 0xee, 0x3c, 0x80, 0xfd, 0xf8, 0xf8, 0];
        let track = super::super::init::VideoTrack {
            width: 1280,
            height: 720,
            avcc: &avcc,
            colour: (1, 1, 1),
            duration: 900_000,
            delay: 6000,
            peak_bps: 2,
            average_bps: 1,
        };
        let boxes = parse(&super::super::init::video(&track));
        let Any::Moov(moov) = &boxes[1] else { panic!("{boxes:?}") };
        assert_eq!(moov.trak[0].mdia.mdhd.timescale, 90_000);
        assert_eq!(moov.mvex.as_ref().unwrap().mehd.as_ref().unwrap().fragment_duration, 900_000);
        assert_eq!(mp4_atom::Avc1::KIND.to_string(), "avc1");
        assert!(matches!(moov.trak[0].mdia.minf.stbl.stsd.codecs[0], mp4_atom::Codec::Avc1(_)));
    }
}
