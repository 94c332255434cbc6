//! Which rungs a recording gets: never above its own size, sizes even, levels no higher than needed.

use crate::plan::{Chunk, Shape, memory};
use crate::probe::Source;
use crate::profile::{Codec, Profile, Rung};
use crate::units::{MediaTime, Size};
use serde::{Deserialize, Serialize};

/// One rung as it will be made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RungPlan {
    pub name: String,
    pub codec: Codec,
    pub size: Size,
    pub crf: u32,
    pub max_bps: u64,
    pub buffer_ms: u64,
    /// The share of the buffer that a segment's encoder finds full: what its first picture may take.
    pub buffer_full: f64,
    /// Pictures between references that are predicted from both sides. None where pictures are seconds apart: each would be
    /// decoded seconds before it is seen.
    pub b_pictures: u32,
    /// Pictures that one may refer to.
    pub references: u32,
    pub effort: Effort,
    /// Pictures that the encoder looks ahead; they are most of its memory.
    pub lookahead: u32,
    /// Pictures a second on average.
    pub frame_rate: f64,
    pub cadence: Cadence,
    /// H.264 level times ten: 31 is 3.1.
    pub level: u32,
    /// An estimate from the recording's own bit rate; from sample segments where those were made.
    pub predicted_bytes: u64,
    /// Pictures of each segment, where sample segments were made. Not written: it is no part of what was decided.
    #[serde(skip)]
    pub predicted_segments: Vec<u64>,
}

/// What x264 spends on a rung beside what its preset says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Effort {
    /// How motion is sought (`me`).
    pub motion: String,
    /// The parts of a macroblock that are tried (`partitions`).
    pub partitions: String,
    /// Whether bits are spent on looking sharp rather than on being near to the source.
    pub psy: bool,
}

impl Effort {
    /// A moving lecture gets, up to `medium`, whole blocks and the shortest search, and no `psy`: docs/pipeline.md says what that
    /// costs and saves. A profile that asks for a slower preset gets all of its search (`x264 --fullhelp`).
    pub fn of(preset: &str, shape: Shape) -> Effort {
        let moving = shape == Shape::Motion;
        let (motion, partitions) = match preset {
            "ultrafast" => ("dia", "none"),
            "superfast" => ("dia", "i8x8+i4x4"),
            "veryfast" | "faster" | "fast" | "medium" if moving => ("dia", "i8x8+i4x4"),
            "slower" | "veryslow" => ("umh", "all"),
            "placebo" => ("tesa", "all"),
            _ => ("hex", "p8x8+b8x8+i8x8+i4x4"),
        };
        Effort { motion: motion.into(), partitions: partitions.into(), psy: !moving }
    }
}

/// How many pictures a second a rung shows at most.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Cadence {
    pub frame_rate: f64,
    /// Where only what moves all the time moves: a speaker, a video, a camera.
    pub motion_frame_rate: f64,
}

/// The size that a title card is drawn for: a 16:9 screen.
const CARD: (f64, f64) = (1280.0, 720.0);

pub fn rungs(profile: &Profile, sources: &[Source], shape: Shape) -> Vec<RungPlan> {
    let videos = || sources.iter().filter_map(|s| s.video.as_ref());
    // Files of one recording have one size; where they do not, the first rules and the others are fitted to it.
    let (width, height) = match shape {
        Shape::Card => CARD,
        _ => videos().next().map(|v| v.display_size()).unwrap_or(CARD),
    };
    let fps = match shape {
        Shape::Card => profile.video.least_frame_rate,
        _ => videos().map(|v| v.frame_rate.fps()).fold(0.0, f64::max).clamp(profile.video.least_frame_rate, profile.video.max_frame_rate),
    };
    // A rung's height is its short side, so that a portrait recording keeps its width.
    let short = width.min(height);
    let make = |rung: &Rung, name: String, short: f64, share: f64| RungPlan {
        references: references(&profile.video.preset, shape),
        effort: Effort::of(&profile.video.preset, shape),
        ..make(rung, name, (width, height), short, fps, share, shape)
    };
    let mut rungs = Vec::new();
    if shape == Shape::Slides {
        let mut before: Option<(f64, f64)> = None;
        for rung in &profile.slides.rungs {
            let wanted = rung.height as f64;
            let reached = wanted.min(short);
            // One that is there for its size only has no use for a recording that is no larger than the one before.
            if before.is_none_or(|(asked, got)| wanted <= asked || reached > got * 1.1) {
                rungs.push(make(rung, rung.name.clone(), reached, 1.0));
                before = Some((wanted, reached));
            }
        }
        return rungs;
    }
    let mut reached = 0.0;
    for rung in &profile.rungs {
        let wanted = rung.height as f64;
        if wanted <= short {
            rungs.push(make(rung, rung.name.clone(), wanted, 1.0));
            reached = wanted;
        } else if short > reached * 1.1 {
            // Between two rungs: the recording's own size, at the next rung's quality and its share of the next rung's cap.
            let share = (short / wanted).powi(2).max(0.25);
            rungs.push(make(rung, format!("{}p", even(short, short)), short, share));
            break;
        } else {
            break;
        }
    }
    // A title card is the same picture in every size: the largest that stays cheap is enough, and one below for old phones.
    if shape == Shape::Card {
        rungs.truncate(2);
    }
    rungs
}

/// The colour space of the first part that has pictures.
pub fn colour(sources: &[Source]) -> &'static str {
    let Some(video) = sources.iter().find_map(|s| s.video.as_ref()) else { return "bt709" };
    match video.colorimetry.as_deref() {
        _ if video.hdr.is_some() => "bt709",
        // GStreamer's own names, or range:matrix:transfer:primaries with matrix 4 for BT.601.
        Some(c) if c == "bt601" || c.split(':').nth(1) == Some("4") => "bt601",
        Some(_) => "bt709",
        // What GStreamer takes for granted where the stream is silent.
        None if video.height > 576 => "bt709",
        None => "bt601",
    }
}

fn make(rung: &Rung, name: String, (width, height): (f64, f64), short: f64, fps: f64, share: f64, shape: Shape) -> RungPlan {
    let frame_rate = rung.frame_rate.map_or(fps, |most| most.min(fps));
    let scale = short / width.min(height);
    let size = Size { width: even(width * scale, width), height: even(height * scale, height) };
    let max_bps = (rung.max.bps() as f64 * share) as u64;
    RungPlan {
        name,
        codec: rung.codec,
        size,
        crf: rung.crf,
        max_bps,
        buffer_ms: (rung.buffer_s * 1000.0) as u64,
        buffer_full: rung.buffer_full,
        b_pictures: 0,
        references: 1,
        effort: Effort::of("medium", shape),
        // The preset's, less where pictures are large; `memory::bound` may shorten it.
        lookahead: match size.height.min(size.width) {
            _ if shape == Shape::Slides => memory::LEAST_LOOKAHEAD,
            0..=480 => 40,
            481..=720 => 30,
            _ => 20,
        },
        frame_rate,
        cadence: Cadence { frame_rate, motion_frame_rate: rung.motion_frame_rate.map_or(frame_rate, |most| most.min(frame_rate)) },
        level: 0,
        predicted_bytes: 0,
        predicted_segments: Vec::new(),
    }
}

/// One up to `medium` (docs/pipeline.md); as many as x264's slower presets refer to (`x264 --fullhelp`), which a profile asks for to
/// search longer; one for slides, where that is the picture before.
fn references(preset: &str, shape: Shape) -> u32 {
    match preset {
        _ if shape == Shape::Slides => 1,
        "ultrafast" | "superfast" | "veryfast" | "faster" | "fast" | "medium" => 1,
        "slow" => 5,
        "slower" => 8,
        _ => 16,
    }
}

/// The widest gap between pictures, ticks, over which any is predicted from both sides. Each such picture is decoded two
/// intervals before it is seen, and libavformat's HLS reader takes 0.1 s between decoding and display for a broken clock.
const DENSE: u64 = MediaTime::HZ / 20 + MediaTime::HZ / 200;

/// What follows from the schedule: each rung's pictures a second, whether they are dense enough to be reordered, and the
/// lowest level that holds its busiest segment.
pub fn settle(rungs: &mut [RungPlan], boundaries: &[MediaTime], chunks: &[Chunk]) {
    let seconds = |ticks: u64| ticks as f64 / MediaTime::HZ as f64;
    let whole = boundaries.last().map_or(0, |end| end.ticks());
    for (i, rung) in rungs.iter_mut().enumerate() {
        let (mut count, mut busiest, mut widest) = (0, 0.0f64, 0);
        for chunk in chunks {
            for s in chunk.segments.0..chunk.segments.1 {
                let (start, end) = (boundaries[s], boundaries[s + 1]);
                let place = |t: MediaTime| chunk.slots.partition_point(|slot| slot.at < t);
                let times: Vec<MediaTime> =
                    chunk.slots[place(start)..place(end)].iter().filter(|slot| slot.on(i)).map(|slot| slot.at).chain([end]).collect();
                widest = times.windows(2).map(|w| w[1].since(w[0])).fold(widest, u64::max);
                let shown = times.len() - 1;
                count += shown;
                busiest = busiest.max(shown as f64 / seconds(end.since(start)).max(1e-3));
            }
        }
        rung.frame_rate = (count as f64 / seconds(whole).max(0.1) * 1000.0).round() / 1000.0;
        rung.b_pictures = if widest <= DENSE { 3 } else { 0 };
        let held = held_pictures(rung.references.min(MEDIUM_REFERENCES), rung.b_pictures);
        rung.level = level(rung.size, busiest, rung.max_bps, rung.buffer_ms as f64 / 1000.0, held);
        rung.references = rung.references.min(most_references(rung.size, rung.level));
    }
}

/// The nearest even number that is not above the source's side: 853.3 becomes 854, 121 of 121 becomes 120.
fn even(x: f64, side: f64) -> u32 {
    let most = (side / 2.0).floor() as u32 * 2;
    ((x / 2.0).round() as u32 * 2).min(most).max(16)
}

/// H.264 table A-1: level x 10, macroblocks a second, macroblocks a frame, DPB macroblocks, kbit/s and CPB kbit (Main; High is 1.25 times).
const LEVELS: &[(u32, u64, u64, u64, u64, u64)] = &[
    (10, 1_485, 99, 396, 64, 175),
    (11, 3_000, 396, 900, 192, 500),
    (12, 6_000, 396, 2_376, 384, 1_000),
    (13, 11_880, 396, 2_376, 768, 2_000),
    (20, 11_880, 396, 2_376, 2_000, 2_000),
    (21, 19_800, 792, 4_752, 4_000, 4_000),
    (22, 20_250, 1_620, 8_100, 4_000, 4_000),
    (30, 40_500, 1_620, 8_100, 10_000, 10_000),
    (31, 108_000, 3_600, 18_000, 14_000, 14_000),
    (32, 216_000, 5_120, 20_480, 20_000, 20_000),
    (40, 245_760, 8_192, 32_768, 20_000, 25_000),
    (41, 245_760, 8_192, 32_768, 50_000, 62_500),
    (42, 522_240, 8_704, 34_816, 50_000, 62_500),
    (50, 589_824, 22_080, 110_400, 135_000, 135_000),
    (51, 983_040, 36_864, 184_320, 240_000, 240_000),
    (52, 2_073_600, 36_864, 184_320, 240_000, 240_000),
];

/// The level is raised for as many; where a slower preset refers to more, it gets what the level holds.
const MEDIUM_REFERENCES: u32 = 3;

/// Pictures that a decoder has to hold: x264 refers to pictures predicted from both sides as well, and then asks for four at least
/// (`x264_sps_init`).
fn held_pictures(references: u32, b_pictures: u32) -> u64 {
    references.max(if b_pictures > 1 { 4 } else { 1 }) as u64
}

/// What a level's picture buffer holds.
fn most_references(size: Size, level: u32) -> u32 {
    let frame = size.width.div_ceil(16) as u64 * size.height.div_ceil(16) as u64;
    LEVELS.iter().find(|l| l.0 == level).map_or(1, |l| l.3 / frame).clamp(1, 16) as u32
}

/// The lowest level that holds the rung (Apple 1.11).
fn level(size: Size, fps: f64, max_bps: u64, buffer_s: f64, held: u64) -> u32 {
    let (w, h) = (size.width.div_ceil(16) as u64, size.height.div_ceil(16) as u64);
    let frame = w * h;
    let rate = (frame as f64 * fps).ceil() as u64;
    let kbps = max_bps / 1000;
    let buffer = (kbps as f64 * buffer_s) as u64;
    let fits = |l: &&(u32, u64, u64, u64, u64, u64)| {
        rate <= l.1
            && frame <= l.2
            && w * w <= 8 * l.2
            && h * h <= 8 * l.2
            && frame * held <= l.3
            && kbps * 4 <= l.4 * 5
            && buffer * 4 <= l.5 * 5
    };
    LEVELS.iter().find(fits).map(|l| l.0).unwrap_or(52)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_even_and_never_above_the_source() {
        assert_eq!((even(121.0, 121.0), even(161.0, 161.0), even(853.33, 1280.0), even(480.0, 1080.0)), (120, 160, 854, 480));
    }

    #[test]
    fn references_of_slower_presets_are_theirs_within_the_level() {
        assert_eq!(["veryfast", "fast", "medium", "slow", "veryslow"].map(|p| references(p, Shape::Motion)), [1, 1, 1, 5, 16]);
        assert_eq!(references("veryslow", Shape::Slides), 1);
        // 3,600 macroblocks of 18,000; 8,160 of 32,768; a small picture's are as many as the standard allows.
        let of = |width, height, level| most_references(Size { width, height }, level);
        assert_eq!((of(1280, 720, 31), of(1920, 1080, 40), of(160, 90, 30)), (5, 4, 16));
    }

    #[test]
    fn what_moves_gets_less_search_up_to_medium_and_slides_stay_sharp() {
        let of = |preset, shape| {
            let effort = Effort::of(preset, shape);
            format!("{} {} {}", effort.motion, effort.partitions, effort.psy)
        };
        assert_eq!(of("medium", Shape::Motion), "dia i8x8+i4x4 false");
        assert_eq!(of("medium", Shape::Slides), "hex p8x8+b8x8+i8x8+i4x4 true");
        assert_eq!(of("medium", Shape::Card), of("medium", Shape::Slides), "a card is drawn");
        assert_eq!(of("slow", Shape::Motion), "hex p8x8+b8x8+i8x8+i4x4 false", "a slower preset keeps its search");
        assert_eq!(of("ultrafast", Shape::Motion), "dia none false", "a faster one is not slowed down");
    }

    #[test]
    fn the_level_is_the_lowest_that_holds() {
        assert_eq!(level(Size { width: 1280, height: 720 }, 30.0, 800_000, 3.0, 4), 31);
        assert_eq!(level(Size { width: 640, height: 360 }, 30.0, 190_000, 3.0, 4), 30);
        assert_eq!(level(Size { width: 480, height: 270 }, 25.0, 90_000, 3.0, 4), 21);
        // What asks for level 1.2 with three references has 1.1 with one.
        let small = Size { width: 384, height: 216 };
        assert_eq!([3, 1].map(|held| level(small, 4.0, 44_000, 2.0, held)), [12, 11]);
        assert_eq!([held_pictures(1, 0), held_pictures(3, 0), held_pictures(3, 3), held_pictures(5, 3)], [1, 3, 4, 5]);
        assert_eq!(level(Size { width: 1920, height: 1080 }, 30.0, 3_000_000, 3.0, 4), 40);
    }
}
