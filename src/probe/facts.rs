//! The decisions of probe, pure: what packet times say about frame times, cadence, cuts and access.

use super::flow::Packet;
use super::{Access, SEEK_MARGIN_NS};
use crate::units::FrameRate;

/// Frame times out of packets or decoded pictures: rising, each once.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Times {
    pub ns: Vec<u64>,
    /// Left out because an earlier one has the same time.
    pub repeated: usize,
    /// Without a time.
    pub untimed: usize,
    /// When the last picture ends.
    pub end_ns: u64,
}

/// Longest a last picture is believed to stand by its own account.
const LAST_PICTURE_NS: u64 = 10_000_000_000;
/// Longest it is taken to stand where it does not say.
const LAST_GUESS_NS: u64 = 1_000_000_000;

pub fn times(packets: &[Packet]) -> Times {
    let mut timed: Vec<(u64, Option<u64>)> = packets.iter().filter_map(|p| Some((p.at_ns?, p.duration_ns))).collect();
    let untimed = packets.len() - timed.len();
    timed.sort_by_key(|(at, _)| *at);
    let last = timed.last().copied();
    let mut ns: Vec<u64> = timed.into_iter().map(|(at, _)| at).collect();
    let before = ns.len();
    ns.dedup();
    let usual = usual_gap(&ns).unwrap_or(0).min(LAST_GUESS_NS);
    let end_ns = last.map_or(0, |(at, duration)| at.saturating_add(duration.unwrap_or(0).clamp(usual, LAST_PICTURE_NS)));
    Times { repeated: before - ns.len(), ns, untimed, end_ns }
}

/// Streams without any times (raw H.264): pictures follow each other at the stated rate, from zero. Streams with some keep what they have.
pub fn space_out(packets: &mut [Packet], stated: Option<FrameRate>) -> bool {
    let untimed = packets.iter().filter(|p| p.at_ns.is_none()).count();
    if untimed * 2 <= packets.len() {
        return false;
    }
    let rate = stated.map_or((25, 1), |r| (u64::from(r.num()), u64::from(r.den())));
    for (i, packet) in packets.iter_mut().enumerate() {
        packet.at_ns = Some(i as u64 * 1_000_000_000 * rate.1 / rate.0);
        packet.duration_ns = None;
    }
    true
}

/// The median gap between pictures.
pub fn usual_gap(ns: &[u64]) -> Option<u64> {
    let mut gaps: Vec<u64> = ns.windows(2).map(|w| w[1] - w[0]).collect();
    let middle = gaps.len() / 2;
    (!gaps.is_empty()).then(|| *gaps.select_nth_unstable(middle).1)
}

/// Whether any gap differs from the usual one by more than a tenth. A millisecond more is Matroska's and FLV's rounding.
pub fn is_variable(ns: &[u64]) -> bool {
    let Some(usual) = usual_gap(ns) else { return false };
    let slack = (usual / 10).max(1_050_000);
    ns.windows(2).any(|w| (w[1] - w[0]).abs_diff(usual) > slack)
}

/// Average over the pictures that are there; the rate the stream states where that is the same within half a percent.
pub fn frame_rate(times: &Times, stated: Option<FrameRate>) -> Option<FrameRate> {
    let (first, last) = (*times.ns.first()?, *times.ns.last()?);
    let average = match times.ns.len() {
        1 => 1e9 / (times.end_ns.saturating_sub(first)).max(1) as f64,
        n => (n - 1) as f64 * 1e9 / (last - first) as f64,
    };
    match stated {
        Some(rate) if (rate.fps() / average - 1.0).abs() < 0.005 || times.ns.len() == 1 => Some(rate),
        _ => Some(FrameRate::from_fps(average.clamp(0.001, 1000.0))),
    }
}

/// Over one second and two percent are missing of what the header promises.
pub fn is_cut_short(header_s: f64, real_s: f64) -> bool {
    header_s - real_s > (header_s * 0.02).max(1.0)
}

/// What decides on [`Access`].
#[derive(Debug, Clone)]
pub struct Reach<'a> {
    pub container: &'a str,
    pub codec: &'a str,
    pub seekable: bool,
    /// Keyframe flags on packets that are no clean start (intra refresh, open GOP in H.264).
    pub soft_keys: bool,
    /// Stream times of clean starts, rising.
    pub keys_ns: &'a [u64],
    pub frames_ns: &'a [u64],
    /// Width times height.
    pub pixels: u64,
}

/// A trial seek decodes one GOP and the margin; over this many pixels (about six seconds of one core) it is not worth its time.
const TRIAL_PIXELS: u64 = 3_000_000_000;

/// Shorter than this nobody seeks.
const WORTH_A_SEEK_NS: u64 = 6_000_000_000;
/// A seek decodes from the keyframe before; beyond this one pass is cheaper.
const LONGEST_GOP_NS: u64 = 60_000_000_000;

/// Whether seeking may be tried; the trial itself decides. Sequential is always right.
pub fn access(reach: &Reach) -> Access {
    let (Some(first), Some(last)) = (reach.frames_ns.first(), reach.frames_ns.last()) else { return Access::Sequential };
    let container = matches!(reach.container, "video/quicktime" | "application/x-3gp" | "video/x-matroska" | "video/webm");
    // VP8 in WebM loses its last picture after any seek; interlaced MPEG-2 and unheard-of codecs were not measured.
    let codec = matches!(reach.codec, "h264" | "hevc" | "vp9" | "av1" | "mpeg4" | "mjpeg" | "prores" | "dv");
    // libaom takes four times what H.264 takes.
    let weight = if reach.codec == "av1" { 4 } else { 1 };
    let trial = |gop: u64| (gop + 3_000_000_000) / usual_gap(reach.frames_ns).unwrap_or(1).max(1) * reach.pixels * weight;
    let longest: Option<u64> =
        reach.keys_ns.iter().chain([last]).scan(*first, |from, key| Some(key.saturating_sub(std::mem::replace(from, *key)))).max();
    let seek = container
        && codec
        && reach.seekable
        && !reach.soft_keys
        && last - first >= WORTH_A_SEEK_NS
        && !reach.keys_ns.is_empty()
        && longest.is_some_and(|gop| gop <= LONGEST_GOP_NS && trial(gop) <= TRIAL_PIXELS);
    if seek { Access::Seek } else { Access::Sequential }
}

/// Where to try seeking: a third in, two thirds in, and so that the very last picture is reached. The first where a seek, which
/// goes [`SEEK_MARGIN_NS`] before, lands behind a keyframe: a screen recorder's are eight seconds apart, and all from one on is decoded.
/// The others where it falls: a demuxer that goes to the nearest keyframe, not to the one before, is to be found out.
pub fn trials(frames_ns: &[u64], keys_ns: &[u64]) -> Vec<u64> {
    let (Some(first), Some(last)) = (frames_ns.first(), frames_ns.last()) else { return Vec::new() };
    let near = |at: u64| frames_ns[frames_ns.partition_point(|f| *f < at).min(frames_ns.len() - 1)];
    let span = last - first;
    let behind_key = |at: u64| {
        let key = keys_ns[..keys_ns.partition_point(|k| k + SEEK_MARGIN_NS < at)].last();
        near(key.map_or(at, |k| k + SEEK_MARGIN_NS + BEHIND_KEY_NS).min(at))
    };
    vec![behind_key(first + span / 3), near(first + span / 3 * 2), near(last.saturating_sub(1_000_000_000))]
}

/// No decoder or demuxer takes this for the keyframe itself.
const BEHIND_KEY_NS: u64 = 100_000_000;

/// A video track as far as the choice of the picture goes.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    pub codec: String,
    pub pixels: u64,
    pub packets: usize,
    pub span_ns: u64,
}

/// The track that is the lecture's picture: of those that hold packets and are no still cover (one PNG or JPEG), the one
/// with most pixels times duration; the first of equals.
pub fn picture(tracks: &[Candidate]) -> Option<usize> {
    let still = |t: &Candidate| t.packets == 0 || t.packets == 1 && matches!(t.codec.as_str(), "png" | "mjpeg" | "bmp" | "gif" | "webp");
    let worth = |t: &Candidate| u128::from(t.pixels.max(1)) * u128::from(t.span_ns.max(1));
    (0..tracks.len()).filter(|i| !still(&tracks[*i])).min_by_key(|i| std::cmp::Reverse(worth(&tracks[*i])))
}

/// The track that is the voice: of those that decode, the first marked as default, else the first. `(decodes, default)` each.
pub fn voice(tracks: &[(bool, bool)]) -> Option<usize> {
    tracks.iter().position(|t| t.0 && t.1).or_else(|| tracks.iter().position(|t| t.0))
}

/// Degrees clockwise (0, 90, 180, 270), then a left-right mirror.
pub type Turn = (u16, bool);

/// GStreamer's orientation tag. Its `flip-` comes before its turn, as in EXIF.
pub fn orientation(tag: &str) -> Turn {
    let turn = |s: &str| s.parse::<u16>().unwrap_or(0) % 360;
    match tag.strip_prefix("flip-rotate-") {
        Some(degrees) => ((360 - turn(degrees)) % 360, true),
        None => (tag.strip_prefix("rotate-").map_or(0, turn), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packets(ms: &[u64]) -> Vec<Packet> {
        ms.iter().map(|ms| Packet { at_ns: Some(ms * 1_000_000), duration_ns: Some(40_000_000), key: false }).collect()
    }
    fn cadence(fps: f64, n: usize) -> Vec<u64> {
        (0..n).map(|i| (i as f64 * 1e9 / fps) as u64).collect()
    }

    #[test]
    fn seeks_are_tried_behind_keyframes_and_to_the_end() {
        let frames = cadence(25.0, 2500);
        let keys: Vec<u64> = (0..12).map(|i| i * 8_320_000_000).collect();
        // A third of 100 s: the keyframe at 24.96 s is the last one that a seek 2 s before 33.3 s may need.
        let seconds = |keys: &[u64]| trials(&frames, keys).into_iter().map(|ns| ns as f64 / 1e9).collect::<Vec<_>>();
        assert_eq!(seconds(&keys), [27.08, 66.64, 98.96]);
        assert_eq!(seconds(&[0]), [2.12, 66.64, 98.96]);
        assert_eq!(seconds(&[]), [33.32, 66.64, 98.96]);
        // Keyframes closer than the margin move nothing by more than their distance.
        assert_eq!(seconds(&frames.iter().copied().step_by(25).collect::<Vec<_>>()), [33.12, 66.64, 98.96]);
        assert!(trials(&[], &keys).is_empty());
    }

    // B frames come in decoding order.
    #[test]
    fn packets_in_decoding_order_give_rising_times() {
        let t = times(&packets(&[0, 120, 40, 80]));
        assert_eq!(t.ns, [0, 40_000_000, 80_000_000, 120_000_000]);
        assert_eq!(t.end_ns, 160_000_000);
    }

    #[test]
    fn two_fields_with_one_time_are_one_picture_and_counted() {
        let t = times(&packets(&[0, 0, 40, 40]));
        assert_eq!((t.ns.len(), t.repeated), (2, 2));
    }

    // Measured: 11 us durations on 50 ms frames in an MP4 of variable rate.
    #[test]
    fn the_last_picture_stands_at_least_as_long_as_usual_and_not_for_ever() {
        let mut p = packets(&[0, 50, 100]);
        p[2].duration_ns = Some(11_111);
        assert_eq!(times(&p).end_ns, 150_000_000);
        p[2].duration_ns = Some(u64::MAX / 2);
        assert_eq!(times(&p).end_ns, 10_100_000_000);
    }

    #[test]
    fn pictures_without_any_time_follow_the_stated_rate() {
        let mut p = packets(&[0, 0, 0, 0]);
        p[1..].iter_mut().for_each(|p| p.at_ns = None);
        assert!(space_out(&mut p, FrameRate::new(50, 1)));
        assert_eq!(times(&p).ns, [0, 20_000_000, 40_000_000, 60_000_000]);
        // One untimed picture among timed ones is left alone.
        let mut p = packets(&[0, 40, 80, 120]);
        p[1].at_ns = None;
        assert!(!space_out(&mut p, None));
        assert_eq!(times(&p).untimed, 1);
    }

    #[test]
    fn millisecond_rounding_is_constant_and_one_pause_is_variable() {
        let ms: Vec<u64> = cadence(59.94, 500).iter().map(|ns| ns / 1_000_000 * 1_000_000).collect();
        assert!(!is_variable(&ms));
        let mut paused = ms.clone();
        paused[400..].iter_mut().for_each(|t| *t += 100_000_000);
        assert!(is_variable(&paused));
        assert!(!is_variable(&[0]));
    }

    #[test]
    fn a_stated_rate_counts_only_where_the_pictures_agree() {
        let t = |fps| Times { ns: cadence(fps, 300), ..Times::default() };
        let stated = FrameRate::new(30, 1);
        assert_eq!(frame_rate(&t(30.001), stated), stated);
        assert_eq!(frame_rate(&t(15.0), stated), FrameRate::new(15, 1));
        assert_eq!(frame_rate(&t(29.97), None), FrameRate::new(30000, 1001));
    }

    #[test]
    fn cut_short_means_a_second_and_two_percent() {
        assert!(is_cut_short(231.0, 1.5));
        assert!(!is_cut_short(3600.0, 3590.0));
        assert!(!is_cut_short(3.0, 2.2));
        assert!(!is_cut_short(3.0, 9.0));
    }

    #[test]
    fn only_what_seeks_exactly_is_sought() {
        let (frames, keys) = (cadence(25.0, 500), [0, 10_000_000_000]);
        let good = Reach {
            container: "video/quicktime",
            codec: "h264",
            seekable: true,
            soft_keys: false,
            keys_ns: &keys,
            frames_ns: &frames,
            pixels: 1,
        };
        assert_eq!(access(&good), Access::Seek);
        for bad in [
            Reach { container: "video/mpegts", ..good.clone() },
            Reach { container: "video/webm", codec: "vp8", ..good.clone() },
            Reach { seekable: false, ..good.clone() },
            // Intra refresh.
            Reach { soft_keys: true, ..good.clone() },
            Reach { keys_ns: &[], ..good.clone() },
            Reach { frames_ns: &frames[..100], ..good.clone() },
            // 250 frames of 8K in a GOP.
            Reach { pixels: 7680 * 4320, ..good.clone() },
        ] {
            assert_eq!(access(&bad), Access::Sequential, "{bad:?}");
        }
        let long = cadence(25.0, 25 * 70);
        assert_eq!(access(&Reach { keys_ns: &[0], frames_ns: &long, ..good }), Access::Sequential, "a GOP of 70 s");
    }

    #[test]
    fn covers_and_empty_tracks_are_not_the_picture() {
        let track = |codec: &str, pixels, packets, span_ns| Candidate { codec: codec.into(), pixels, packets, span_ns };
        let tracks = [
            track("h264", 9_000_000, 0, 0),
            track("png", 9_000_000, 1, 9),
            track("h264", 100, 50, 9),
            track("h264", 200, 50, 9),
            track("h264", 200, 50, 9),
        ];
        assert_eq!(picture(&tracks), Some(3));
        assert_eq!(picture(&tracks[..2]), None);
    }

    #[test]
    fn the_voice_is_the_default_track_that_decodes() {
        assert_eq!(voice(&[(true, false), (true, true)]), Some(1));
        assert_eq!(voice(&[(false, true), (true, false)]), Some(1));
        assert_eq!(voice(&[(false, true)]), None);
    }

    // A transposed display matrix is flip-rotate-270: turn right, then mirror.
    #[test]
    fn flip_then_turn_is_the_opposite_turn_then_mirror() {
        assert_eq!(orientation("rotate-90"), (90, false));
        assert_eq!(orientation("flip-rotate-0"), (0, true));
        assert_eq!(orientation("flip-rotate-270"), (90, true));
        assert_eq!(orientation("flip-rotate-90"), (270, true));
        assert_eq!(orientation("nonsense"), (0, false));
    }
}
