//! Rules that every plan keeps.

use super::*;
use crate::probe::{Access, Video};
use crate::units::FrameRate;
use proptest::prelude::*;

/// A plain 16:9 recording with pictures at the given times and sound to `audio_s`.
pub fn source(width: u32, height: u32, frames_ns: Vec<u64>, audio_s: f64) -> Source {
    let end = frames_ns.last().map(|t| t + 40_000_000).unwrap_or(0);
    let fps = frames_ns.len() as f64 / (end as f64 / 1e9).max(0.04);
    Source {
        partial: false,
        untimed: false,
        path: "lecture.mp4".into(),
        sha256: Digest::of(b"lecture"),
        bytes: 1_000_000,
        container: "video/quicktime".into(),
        header_duration_s: None,
        duration_s: (end as f64 / 1e9).max(audio_s),
        video: (!frames_ns.is_empty()).then(|| Video {
            track: 0,
            stream_id: String::new(),
            codec: "h264".into(),
            width,
            height,
            frame_rate: FrameRate::from_fps(fps.max(0.1)),
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
        audio: Vec::new(),
        voice: (audio_s > 0.0).then_some(0),
        access: Access::Seek,
        repairs: Vec::new(),
        problems: Vec::new(),
        frames_ns,
        video_end_ns: end,
        audio_end_ns: (audio_s * 1e9) as u64,
    }
}

pub fn make(sources: &[Source], profile: &str) -> Result<Plan> {
    let profile = crate::profile::load(profile).unwrap();
    plan(&Request {
        captions: Default::default(),
        sources,
        features: &vec![None; sources.len()],
        profile: &profile,
        pipelines: Digest::of(b""),
        fingerprint: BTreeMap::new(),
        title: "Suy hô hấp".into(),
        language: "vi".into(),
        trim: None,
        floor: None,
    })
}

fn at_25(seconds: u64) -> Vec<u64> {
    (0..seconds * 25).map(|i| i * 40_000_000).collect()
}

fn holds(plan: &Plan, sources: &[Source]) {
    let all: Vec<Slot> = plan.chunks.iter().flat_map(|c| c.slots.iter().copied()).collect();
    // Times rise strictly, from zero to before the end.
    assert_eq!(all[0].at, MediaTime::ZERO);
    assert!(all.windows(2).all(|w| w[0].at < w[1].at));
    assert!(all.last().unwrap().at < plan.duration());
    // Chunks are whole runs of segments that join, and every segment begins with a picture at its boundary.
    assert!(plan.boundaries.windows(2).all(|w| w[0] < w[1]));
    assert_eq!(plan.chunks[0].segments.0, 0);
    assert_eq!(plan.chunks.last().unwrap().segments.1, plan.segments());
    assert!(plan.chunks.windows(2).all(|w| w[0].segments.1 == w[1].segments.0));
    for chunk in &plan.chunks {
        assert_eq!(chunk.slots[0].at, plan.boundaries[chunk.segments.0]);
        for s in chunk.segments.0..chunk.segments.1 {
            assert!(chunk.slots.iter().any(|slot| slot.at == plan.boundaries[s]), "segment {s} has no picture at its start");
        }
    }
    // The lecture lasts as long as the recording; no gap is wider than one and a half least intervals.
    let end: u64 = sources.iter().map(|s| MediaTime::from_ns(s.end_ns() - s.start_ns()).ticks()).sum();
    assert_eq!(plan.duration().ticks(), end);
    let widest = (90_000.0 / plan.profile.video.least_frame_rate) as u64;
    assert!(all.windows(2).all(|w| w[1].at.since(w[0].at) <= widest * 3 / 2 + 1));
    // Never upscaled, even, rising.
    for rung in &plan.rungs {
        assert_eq!((rung.size.width % 2, rung.size.height % 2), (0, 0));
        if let Some(v) = sources.iter().find_map(|s| s.video.as_ref()) {
            let (w, h) = v.display_size();
            assert!(rung.size.height as f64 <= h.max(16.0) + 1.0 && rung.size.width as f64 <= w.max(16.0) + 1.0, "{rung:?}");
        }
    }
    assert!(plan.rungs.windows(2).all(|w| w[0].size.height < w[1].size.height && w[0].max_bps < w[1].max_bps));
    assert!(!plan.rungs.is_empty());
}

proptest! {
    #[test]
    fn every_plan_joins_and_never_upscales(
        gaps in proptest::collection::vec(1u64..3_000, 1..400),
        start in 0u64..2_000,
        width in 16u32..2000, height in 16u32..2000,
        audio_s in 0.0f64..200.0,
        profile in 0usize..3,
        second in any::<bool>(),
    ) {
        let mut t = start;
        let frames: Vec<u64> = gaps.iter().map(|g| { t += g; t * 1_000_000 }).collect();
        let mut sources = vec![source(width, height, frames, audio_s)];
        if second {
            sources.push(source(width, height, at_25(7), 0.0));
        }
        let plan = make(&sources, crate::profile::BUILT_IN[profile].0).unwrap();
        holds(&plan, &sources);
    }
}

#[test]
fn every_picture_of_a_25_fps_recording_is_shown_once() {
    let sources = [source(1280, 720, at_25(141), 141.0)];
    let plan = make(&sources, "rural-3g").unwrap();
    holds(&plan, &sources);
    let shown: Vec<u64> = plan
        .chunks
        .iter()
        .flat_map(|c| &c.slots)
        .map(|s| match s.show {
            Picture::At(ns) => ns,
            Picture::Card => panic!(),
        })
        .collect();
    assert_eq!(shown, sources[0].frames_ns);
    assert_eq!(plan.chunks.len(), 2);
    let heights: Vec<_> = plan.rungs.iter().map(|r| r.size.height).collect();
    assert_eq!(heights, [270, 360, 480, 720]);
}

#[test]
fn sixty_pictures_a_second_become_thirty() {
    let frames: Vec<u64> = (0..600).map(|i| i * 1_000_000_000 / 60).collect();
    let plan = make(&[source(1280, 720, frames, 10.0)], "rural-3g").unwrap();
    assert_eq!(plan.chunks.iter().map(|c| c.slots.len()).sum::<usize>(), 300);
}

#[test]
fn sound_alone_gets_a_title_card() {
    let sources = [source(0, 0, Vec::new(), 60.0)];
    let plan = make(&sources, "rural-3g").unwrap();
    holds(&plan, &sources);
    assert_eq!(plan.shape, Shape::Card);
    assert!(plan.chunks.iter().flat_map(|c| &c.slots).all(|s| s.show == Picture::Card));
}

#[test]
fn sound_that_outlasts_the_picture_keeps_the_last_picture() {
    let sources = [source(640, 360, at_25(10), 20.0)];
    holds(&make(&sources, "rural-3g").unwrap(), &sources);
}

#[test]
fn a_cost_bomb_is_refused_by_a_stated_limit() {
    let frames = (0..600).map(|i| i * 1_000_000_000 / 60).collect();
    let error = make(&[source(3840, 2160, frames, 0.0)], "rural-3g").unwrap_err();
    assert_eq!(error.kind().exit_code(), 4);
    assert!(error.report().contains("most_megapixels_per_second"));
}

#[test]
fn the_digest_covers_what_changes_bytes() {
    let sources = [source(640, 360, at_25(10), 0.0)];
    let a = make(&sources, "rural-3g").unwrap().digest;
    assert_eq!(a, make(&sources, "rural-3g").unwrap().digest);
    assert_ne!(a, make(&sources, "edge").unwrap().digest);
}
