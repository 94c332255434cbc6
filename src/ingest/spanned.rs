//! Cameras cut a long recording where FAT's files end, at 2 or 4 GiB. Such parts may be suggested as one recording, but
//! two lectures must never be glued: the names must count on, the technical parameters be the same, and the earlier part
//! must have been cut by the limit and by nothing else. All pure.

use super::names;
use crate::probe::Source;
use crate::units::Bytes;

/// A part cut by the limit is not smaller than it by more than this part of it: cameras stop at the end of a cluster or
/// of a group of pictures (Sony at 4 288 675 840 bytes, Canon within 1 MB).
const WITHIN: f64 = 0.01;

const LIMITS: [u64; 2] = [1 << 31, 1 << 32];

/// The evidence that `next` goes on where `previous` was cut, as one line for people; `None` where it is not strong.
pub fn continues(previous: (&str, &Source), next: (&str, &Source)) -> Option<String> {
    let limit = LIMITS.into_iter().find(|limit| previous.1.bytes <= *limit && previous.1.bytes as f64 >= *limit as f64 * (1.0 - WITHIN))?;
    (counts_on(previous.0, next.0) && alike(previous.1, next.1)).then(|| {
        format!(
            "{} ends at the camera's limit of {} GiB ({}), {} counts on and has the same parameters",
            previous.0,
            limit >> 30,
            Bytes(previous.1.bytes),
            next.0
        )
    })
}

/// Whether a name is the other's with its last number one higher (`MVI_0001`, `00000`), or GoPro's next chapter
/// (`GX010123`, `GX020123`: there the last number names the recording and must stay).
fn counts_on(previous: &str, next: &str) -> bool {
    let ((a, a_ext), (b, b_ext)) = (names::split(previous), names::split(next));
    if !a_ext.eq_ignore_ascii_case(b_ext) || !a.is_ascii() || !b.is_ascii() || a.len() != b.len() {
        return false;
    }
    let gopro = |name: &str| {
        name.len() == 8 && name[..2].eq_ignore_ascii_case("GX") | name[..2].eq_ignore_ascii_case("GH") && number(&name[2..]).is_some()
    };
    if gopro(a) && gopro(b) {
        return a[..2] == b[..2] && a[4..] == b[4..] && number(&a[2..4]).zip(number(&b[2..4])).is_some_and(|(a, b)| b == a + 1);
    }
    let digits = a.len() - a.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    let start = a.len() - digits;
    digits > 0 && a[..start] == b[..start] && number(&a[start..]).zip(number(&b[start..])).is_some_and(|(a, b)| b == a + 1)
}

fn number(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn alike(a: &Source, b: &Source) -> bool {
    let picture = |s: &Source| s.video.as_ref().map(|v| (v.codec.clone(), v.width, v.height, v.rotation, v.interlaced, v.par, v.bit_depth));
    let sound = |s: &Source| s.audio.iter().map(|a| (a.codec.clone(), a.channels, a.rate_hz)).collect::<Vec<_>>();
    // The average over a short last part differs in the last digits.
    let rate = match (&a.video, &b.video) {
        (Some(a), Some(b)) => (a.frame_rate.fps() / b.frame_rate.fps() - 1.0).abs() < 0.02,
        _ => true,
    };
    a.container == b.container && picture(a) == picture(b) && sound(a) == sound(b) && rate
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::probe::{Access, Audio, Video};
    use crate::units::{Digest, FrameRate};

    pub fn source(bytes: u64) -> Source {
        Source {
            partial: false,
            untimed: false,
            path: "x".into(),
            sha256: Digest::of(b""),
            bytes,
            container: "video/quicktime".into(),
            header_duration_s: None,
            duration_s: 60.0,
            video: Some(Video {
                track: 0,
                stream_id: String::new(),
                codec: "h264".into(),
                width: 1920,
                height: 1080,
                frame_rate: FrameRate::new(25, 1).unwrap(),
                variable: false,
                rotation: 0,
                mirrored: false,
                interlaced: false,
                bottom_first: false,
                par: (1, 1),
                bit_depth: 8,
                hdr: None,
                colorimetry: None,
            }),
            audio: vec![Audio { stream_id: String::new(), codec: "aac".into(), channels: 2, rate_hz: 48000, language: None }],
            voice: Some(0),
            access: Access::Seek,
            repairs: vec![],
            problems: vec![],
            frames_ns: vec![],
            video_end_ns: 0,
            audio_end_ns: 0,
        }
    }

    fn joined(a: &str, b: &str, bytes: u64) -> bool {
        continues((a, &source(bytes)), (b, &source(7))).is_some()
    }

    #[test]
    fn a_part_cut_at_the_cards_limit_goes_on_in_the_next_number() {
        assert!(joined("MVI_0001.MP4", "MVI_0002.MP4", 4_294_000_000));
        assert!(joined("00000.MTS", "00001.MTS", 2_147_000_000));
        assert!(joined("C0009.MP4", "C0010.MP4", 4_288_675_840));
        assert!(joined("GX010123.MP4", "GX020123.MP4", 4_290_000_000));
    }

    // Don't glue two lectures.
    #[test]
    fn without_strong_evidence_they_are_two_recordings() {
        // stopped by a person, long before the limit, or on a card without one
        assert!(!joined("MVI_0001.MP4", "MVI_0002.MP4", 4_000_000_000));
        assert!(!joined("MVI_0001.MP4", "MVI_0002.MP4", 4_400_000_000));
        // names that do not count on
        assert!(!joined("MVI_0001.MP4", "MVI_0003.MP4", 4_294_000_000));
        assert!(!joined("MVI_0001.MP4", "MVJ_0002.MP4", 4_294_000_000));
        assert!(!joined("MVI_0001.MP4", "MVI_0002.MOV", 4_294_000_000));
        assert!(!joined("GX010123.MP4", "GX010124.MP4", 4_294_000_000));
        // other parameters
        let mut other = source(7);
        other.audio[0].rate_hz = 44100;
        assert!(continues(("MVI_0001.MP4", &source(4_294_000_000)), ("MVI_0002.MP4", &other)).is_none());
    }
}
