//! The initialization section of a CMAF track: ftyp and moov with no samples. Times inside are zero, so the same plan gives
//! the same bytes.

use super::Loudness;
use super::boxes::Writer;

/// A video track.
pub struct VideoTrack<'a> {
    pub width: u32,
    pub height: u32,
    /// AVCDecoderConfigurationRecord (ISO/IEC 14496-15 5.3.3).
    pub avcc: &'a [u8],
    /// Code points of ISO/IEC 23091-2: primaries, transfer, matrix.
    pub colour: (u16, u16, u16),
    /// Whole length in 1/90000 s.
    pub duration: u64,
    /// Ticks by which every picture's composition time is later than it is to be seen: room for pictures that are decoded
    /// before those they follow.
    pub delay: u64,
    pub peak_bps: u64,
    pub average_bps: u64,
}

/// A voice track.
pub struct VoiceTrack<'a> {
    pub codec: VoiceCodec<'a>,
    pub rate_hz: u32,
    /// BCP 47; its first subtag goes into mdhd if it has three letters, else `und`.
    pub language: &'a str,
    /// Whole length in samples, priming included.
    pub duration: u64,
    /// Samples before the first one that is meant to be heard.
    pub priming: u64,
    /// Samples of one packet.
    pub packet: u32,
    pub loudness: Option<&'a Loudness>,
    pub average_bps: u64,
}

pub enum VoiceCodec<'a> {
    /// OpusHead as in Ogg (RFC 7845 5.1).
    Opus { head: &'a [u8] },
    /// AudioSpecificConfig (ISO/IEC 14496-3).
    Aac { config: &'a [u8] },
}

pub const VIDEO_HZ: u32 = 90_000;
const TRACK: u32 = 1;

/// `sample_flags` (14496-12 8.8.3.1): depends on nothing, is a sync sample.
pub const SYNC: u32 = 0x0200_0000;
/// Depends on others, is no sync sample.
pub const DELTA: u32 = 0x0101_0000;

pub fn video(track: &VideoTrack) -> Vec<u8> {
    let mut w = Writer::default();
    // cmfc: the delay of reordering is in an edit list. Negative offsets (cmf2) need none, but libavformat takes them for a
    // delay of its own and shows pictures 67 ms late, or seconds where they are sparse.
    ftyp(&mut w, b"cmfc", &[b"iso6", b"cmfc"]);
    let visual = |w: &mut Writer| {
        w.boxed(b"avc1", |w| {
            w.zeros(6).u16(1).zeros(16).u16(track.width as u16).u16(track.height as u16);
            w.u32(0x0048_0000).u32(0x0048_0000).u32(0).u16(1).zeros(32).u16(24).u16(0xffff);
            w.boxed(b"avcC", |w| {
                w.bytes(track.avcc);
            });
            w.boxed(b"colr", |w| {
                w.bytes(b"nclx").u16(track.colour.0).u16(track.colour.1).u16(track.colour.2).u8(0);
            });
            w.boxed(b"pasp", |w| {
                w.u32(1).u32(1);
            });
            w.boxed(b"btrt", |w| {
                w.u32(0).u32(track.peak_bps as u32).u32(track.average_bps as u32);
            });
        });
    };
    moov(&mut w, VIDEO_HZ, track.duration, b"vide", "und", (track.width, track.height), Some(track.delay), None, &visual, DELTA, 0);
    w.finish()
}

pub fn voice(track: &VoiceTrack) -> Vec<u8> {
    let mut w = Writer::default();
    ftyp(&mut w, b"cmfc", &[b"iso6", b"cmfc"]);
    let audio = |w: &mut Writer| {
        let entry = |w: &mut Writer| {
            w.zeros(6).u16(1).zeros(8).u16(1).u16(16).u32(0).u32(track.rate_hz << 16);
        };
        match track.codec {
            VoiceCodec::Opus { head } => w.boxed(b"Opus", |w| {
                entry(w);
                w.boxed(b"dOps", |w| dops(w, head));
            }),
            VoiceCodec::Aac { config } => w.boxed(b"mp4a", |w| {
                entry(w);
                w.full(b"esds", 0, 0, |w| esds(w, config, track.average_bps as u32));
            }),
        }
    };
    // Also where nothing is to be cut: that says so, instead of leaving players to guess.
    let edit = Some(track.priming);
    moov(&mut w, track.rate_hz, track.duration, b"soun", track.language, (0, 0), edit, track.loudness, &audio, SYNC, track.packet);
    w.finish()
}

fn ftyp(w: &mut Writer, major: &[u8; 4], compatible: &[&[u8; 4]]) {
    w.boxed(b"ftyp", |w| {
        w.bytes(major).u32(0);
        compatible.iter().for_each(|b| {
            w.bytes(*b);
        });
    });
}

#[allow(clippy::too_many_arguments)] // one call per track kind; the boxes below are the structure
fn moov(
    w: &mut Writer,
    timescale: u32,
    duration: u64,
    handler: &[u8; 4],
    language: &str,
    size: (u32, u32),
    edit: Option<u64>,
    loudness: Option<&Loudness>,
    entry: &dyn Fn(&mut Writer),
    default_flags: u32,
    default_duration: u32,
) {
    w.boxed(b"moov", |w| {
        w.full(b"mvhd", 0, 0, |w| {
            w.zeros(8).u32(timescale).u32(0).u32(0x10000).u16(0x100).zeros(10);
            matrix(w);
            w.zeros(24).u32(TRACK + 1);
        });
        w.boxed(b"trak", |w| {
            w.full(b"tkhd", 0, 3, |w| {
                w.zeros(8).u32(TRACK).zeros(8).zeros(8).u16(0).u16(0).u16(if handler == b"soun" { 0x100 } else { 0 }).u16(0);
                matrix(w);
                w.u32(size.0 << 16).u32(size.1 << 16);
            });
            if let Some(media_time) = edit {
                // Duration 0 in a fragmented file: to the end (14496-12 8.6.6.1).
                w.boxed(b"edts", |w| {
                    w.full(b"elst", 0, 0, |w| {
                        w.u32(1).u32(0).u32(media_time as u32).u32(0x10000);
                    })
                });
            }
            w.boxed(b"mdia", |w| {
                w.full(b"mdhd", 0, 0, |w| {
                    w.zeros(8).u32(timescale).u32(0).u16(packed_language(language)).u16(0);
                });
                w.full(b"hdlr", 0, 0, |w| {
                    w.u32(0).bytes(handler).zeros(13);
                });
                w.boxed(b"minf", |w| {
                    match handler {
                        b"vide" => w.full(b"vmhd", 0, 1, |w| {
                            w.zeros(8);
                        }),
                        _ => w.full(b"smhd", 0, 0, |w| {
                            w.zeros(4);
                        }),
                    }
                    w.boxed(b"dinf", |w| w.full(b"dref", 0, 0, |w| w.u32(1).full(b"url ", 0, 1, |_| {})));
                    w.boxed(b"stbl", |w| {
                        w.full(b"stsd", 0, 0, |w| {
                            w.u32(1);
                            entry(w);
                        });
                        w.full(b"stts", 0, 0, |w| {
                            w.u32(0);
                        });
                        w.full(b"stsc", 0, 0, |w| {
                            w.u32(0);
                        });
                        w.full(b"stsz", 0, 0, |w| {
                            w.u32(0).u32(0);
                        });
                        w.full(b"stco", 0, 0, |w| {
                            w.u32(0);
                        });
                    });
                });
            });
            if let Some(loudness) = loudness {
                w.boxed(b"udta", |w| w.boxed(b"ludt", |w| w.full(b"tlou", 0, 0, |w| track_loudness(w, loudness))));
            }
        });
        w.boxed(b"mvex", |w| {
            w.full(b"mehd", 1, 0, |w| {
                w.u64(duration);
            });
            w.full(b"trex", 0, 0, |w| {
                w.u32(TRACK).u32(1).u32(default_duration).u32(0).u32(default_flags);
            });
        });
    });
}

/// No turn, no scale (14496-12 8.2.2).
pub(super) fn matrix(w: &mut Writer) {
    [0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x4000_0000u32].iter().for_each(|v| {
        w.u32(*v);
    })
}

/// Three letters of ISO 639-2 in five bits each; two-letter codes that Rivulet meets are mapped.
pub(super) fn packed_language(tag: &str) -> u16 {
    let primary = tag.split('-').next().unwrap_or_default().to_ascii_lowercase();
    let three = match primary.as_str() {
        "vi" => "vie",
        "en" => "eng",
        "fr" => "fra",
        "lo" => "lao",
        "km" => "khm",
        "zh" => "zho",
        p if p.len() == 3 && p.bytes().all(|b| b.is_ascii_lowercase()) => p,
        _ => "und",
    };
    three.bytes().fold(0, |all, b| all << 5 | (b - 0x60) as u16)
}

/// OpusSpecificBox ("Encapsulation of Opus in ISO BMFF" 4.3.2): OpusHead, big endian, version 0.
fn dops(w: &mut Writer, head: &[u8]) {
    let le16 = |i: usize| u16::from_le_bytes([*head.get(i).unwrap_or(&0), *head.get(i + 1).unwrap_or(&0)]);
    let le32 = |i: usize| le16(i) as u32 | (le16(i + 2) as u32) << 16;
    w.u8(0).u8(head.get(9).copied().unwrap_or(1)).u16(le16(10)).u32(le32(12)).u16(le16(16)).u8(0);
}

/// ES_Descriptor (14496-1 7.2.6.5) of an AAC track.
fn esds(w: &mut Writer, config: &[u8], average_bps: u32) {
    let specific = config.len() as u8;
    let decoder = 13 + 2 + specific;
    w.u8(3).u8(3 + 2 + decoder + 3).u16(0).u8(0);
    w.u8(4).u8(decoder).u8(0x40).u8(0x15).zeros(3).u32(average_bps).u32(average_bps);
    w.u8(5).u8(specific).bytes(config);
    w.u8(6).u8(1).u8(2);
}

/// LoudnessBaseBox (14496-12 12.2.7): programme loudness and true peak by BS.1770, coded as ISO/IEC 23003-4 says.
fn track_loudness(w: &mut Writer, loudness: &Loudness) {
    let peak = ((20.0 - loudness.true_peak_dbtp) * 32.0).round().clamp(1.0, 4095.0) as u32;
    let value = ((loudness.lufs + 57.75) * 4.0).round().clamp(0.0, 255.0) as u8;
    const BS_1770_4: u8 = 2;
    const MEASURED: u8 = 3;
    // downmix_ID 0, DRC_set_ID 0; no sample peak (0), true peak.
    w.u16(0).u32(peak << 8 | (BS_1770_4 as u32) << 4 | MEASURED as u32);
    // One measurement: programme loudness (1).
    w.u8(1).u8(1).u8(value).u8(BS_1770_4 << 4 | MEASURED);
}
