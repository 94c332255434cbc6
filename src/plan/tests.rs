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
    make_seen(sources, &vec![None; sources.len()], &crate::profile::load(profile).unwrap(), None)
}

fn make_seen(sources: &[Source], features: &[Option<Features>], profile: &Profile, trim: Option<(f64, f64)>) -> Result<Plan> {
    plan(&Request {
        captions: Default::default(),
        sources,
        features,
        profile,
        pipelines: Digest::of(b""),
        fingerprint: BTreeMap::new(),
        title: "Suy hô hấp".into(),
        language: "vi".into(),
        trim,
        floor: None,
    })
}

fn at_25(seconds: u64) -> Vec<u64> {
    (0..seconds * 25).map(|i| i * 40_000_000).collect()
}

/// Every rule of the plan of whole recordings.
fn holds(plan: &Plan, sources: &[Source]) {
    let lengths: Vec<u64> = sources.iter().map(|s| s.end_ns() - s.start_ns()).collect();
    // The lecture lasts as long as the recording.
    assert_eq!(plan.duration().ticks(), lengths.iter().map(|ns| MediaTime::from_ns(*ns).ticks()).sum::<u64>());
    holds_trimmed(plan, sources);
}

fn holds_trimmed(plan: &Plan, sources: &[Source]) {
    let all: Vec<Slot> = plan.chunks.iter().flat_map(|c| c.slots.iter().copied()).collect();
    // Times rise strictly, from zero to before the end.
    assert_eq!(all[0].at, MediaTime::ZERO);
    assert!(all.windows(2).all(|w| w[0].at < w[1].at));
    assert!(all.last().unwrap().at < plan.duration());
    // Chunks are whole runs of segments that join, each of one part.
    assert!(plan.boundaries.windows(2).all(|w| w[0] < w[1]));
    assert_eq!(plan.chunks[0].segments.0, 0);
    assert_eq!(plan.chunks.last().unwrap().segments.1, plan.segments());
    assert!(plan.chunks.windows(2).all(|w| w[0].segments.1 == w[1].segments.0 && w[0].part <= w[1].part));
    let every = (1u16 << plan.rungs.len()) - 1;
    // One pass may have to make all chunks of a part: it cannot go back.
    let mut passes: std::collections::HashMap<usize, (u64, Option<Picture>)> = Default::default();
    for chunk in &plan.chunks {
        let (first, last) = chunk.segments;
        assert!(first < last);
        let part = &plan.parts[chunk.part];
        assert!(part.offset <= plan.boundaries[first] && plan.boundaries[last] <= part.end());
        assert!(chunk.slots.iter().all(|slot| (plan.boundaries[first]..plan.boundaries[last]).contains(&slot.at)));
        assert_eq!(chunk.slots[0].at, plan.boundaries[first]);
        // Every segment begins with a picture at its boundary, on all rungs.
        for s in first..last {
            let begins = chunk.slots.iter().find(|slot| slot.at == plan.boundaries[s]);
            assert!(begins.is_some_and(|slot| slot.rungs == every), "segment {s} begins with {begins:?}");
        }
        // A picture that is named is one of the file's, and none shows what is still to come, only how it stands a little later:
        // but for what stands when a part begins, and a file whose pictures begin late.
        let frames = &sources[part.source].frames_ns;
        let mut before = 0;
        let (done, shown) = passes.entry(chunk.part).or_insert((0, None));
        for slot in &chunk.slots {
            let (Picture::At(ns) | Picture::Mean(ns)) = slot.show else { continue };
            // A mean's pictures are the file's, too, in order, and come after those that were shown before.
            let of = if slot.show == Picture::At(ns) { Vec::new() } else { part.mean(ns) };
            assert_eq!(of.len() < 2, slot.show == Picture::At(ns));
            assert!(of.is_sorted() && of.iter().all(|ns| frames.binary_search(ns).is_ok()), "{of:?}");
            assert!(of.is_empty() || of.contains(&ns) && (of[0] > *done || *shown == Some(slot.show)), "{of:?} after {done}");
            (*done, *shown) = (of.last().copied().unwrap_or(ns).max(*done), Some(slot.show));
            assert!(frames.binary_search(&ns).is_ok() && ns >= before, "{slot:?}");
            before = ns;
            let kept = plan.timelines.get(chunk.part).map_or(&[][..], |t| &t.kept);
            let changes = kept.iter().any(|k| k.ns <= ns && part.at(k.ns) > slot.at);
            let early = part.at(ns) > slot.at && (changes || plan.shape != Shape::Slides);
            assert!(!early || slot.show == chunk.slots[0].show, "{slot:?} shows a picture of {}", part.at(ns));
        }
    }
    // Each slot is on some rung; whatever a rung shows, those above it show.
    for slot in &all {
        assert!(slot.rungs != 0 && slot.rungs & !every == 0, "{slot:?}");
        assert!((1..plan.rungs.len()).all(|r| !slot.on(r - 1) || slot.on(r)), "{slot:?}");
    }
    // No rung stays with one picture for longer than one and a half least intervals, to the lecture's end.
    let widest = (90_000.0 / plan.profile.video.least_frame_rate).round() as u64;
    for r in 0..plan.rungs.len() {
        let times: Vec<MediaTime> = all.iter().filter(|slot| slot.on(r)).map(|slot| slot.at).chain([plan.duration()]).collect();
        let gap = times.windows(2).map(|w| w[1].since(w[0])).max().unwrap();
        assert!(gap <= widest * 3 / 2 + 1, "rung {r} shows nothing new for {gap} ticks");
        let fps = (times.len() - 1) as f64 / plan.duration().seconds().max(0.1);
        assert!((plan.rungs[r].frame_rate - fps).abs() < 0.001, "{} and {fps}", plan.rungs[r].frame_rate);
    }
    // Never upscaled, even; x264 takes no side below 16.
    for rung in &plan.rungs {
        assert_eq!((rung.size.width % 2, rung.size.height % 2), (0, 0));
        let (w, h) = match sources.iter().find_map(|s| s.video.as_ref()) {
            Some(v) if plan.shape != Shape::Card => v.display_size(),
            _ => (1280.0, 720.0),
        };
        assert!(rung.size.height as f64 <= h.max(16.0) && rung.size.width as f64 <= w.max(16.0), "{rung:?}");
    }
    // hls.js sorts by height, then FRAME-RATE, then rate, and takes that for the order of cost: all rise together.
    for pair in plan.rungs.windows(2) {
        let (low, high) = (&pair[0], &pair[1]);
        assert!(low.size.height <= high.size.height && low.frame_rate <= high.frame_rate && low.max_bps < high.max_bps, "{low:?} {high:?}");
        // Moving pictures lose size; slides, their quality or their pictures.
        assert!(if plan.shape == Shape::Slides {
            low.crf > high.crf || low.size.height < high.size.height
        } else {
            low.size.height < high.size.height
        });
    }
    assert!(!plan.rungs.is_empty());
}

/// What may be seen of pictures: nothing, a pointer, a build, another slide, all of it for a while. Zones and changes need
/// not fit the thumbs: the plan's rules hold whatever the analysis says.
fn features(frames_ns: &[u64], acts: &[(u8, u8)], every: usize) -> Features {
    const COLUMNS: usize = 32;
    const ROWS: usize = 18;
    let mut seen = Features { columns: COLUMNS, rows: ROWS, ..Features::default() };
    let mut luma = vec![200u8; COLUMNS * ROWS];
    for (i, ns) in frames_ns.iter().copied().step_by(every).enumerate() {
        let (act, seed) = if i == 0 { (4, 0) } else { acts[i * acts.len() / frames_ns.len().max(1) % acts.len()] };
        let (mut zones, mut changed) = ([0u64; 3], 0);
        match act {
            0 | 1 => {}
            2 => (zones[seed as usize % 3], changed) = (1 << (seed % 16), 3),
            3 => {
                luma[COLUMNS * (seed as usize % ROWS)..][..COLUMNS].fill(seed);
                (zones[0], changed) = (0xffff, 40);
            }
            4 => {
                luma.iter_mut().enumerate().for_each(|(j, l)| *l = (j * (seed as usize + 3) + i * 7) as u8);
                (zones, changed) = ([u64::MAX, u64::MAX, 0xffff], 576);
            }
            _ => (zones, changed) = ([u64::MAX, u64::MAX, 0xffff], 300),
        }
        seen.pictures.push(crate::timeline::Seen { ns, changed, zones, stirred: zones });
        if changed > 0 && seen.thumbs.last().is_none_or(|t| ns - t.ns >= 250_000_000) {
            seen.thumbs.push(crate::timeline::Thumb { ns, luma: luma.clone().into() });
        }
    }
    seen
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

    #[test]
    fn every_plan_of_a_seen_recording_keeps_the_rules(
        gaps in prop_oneof![
            proptest::collection::vec(15u64..80, 1..600),
            proptest::collection::vec(1u64..3_000, 1..300),
        ],
        acts in proptest::collection::vec((0u8..6, any::<u8>()), 1..60),
        every in 1usize..4,
        width in 16u32..2000, height in 16u32..2000,
        audio_s in 0.0f64..100.0,
        profile in 0usize..3,
        // Never, always, and as it falls.
        share in prop_oneof![Just(2.0), Just(0.0), Just(0.6)],
        second in 0usize..3,
        trim in prop_oneof![Just(None), (0.0f64..0.9, 0.0f64..1.0).prop_map(Some)],
    ) {
        let mut t = 0;
        let frames: Vec<u64> = gaps.iter().map(|g| { t += g; t * 1_000_000 }).collect();
        let mut seen = vec![Some(features(&frames, &acts, every))];
        let mut sources = vec![source(width, height, frames, audio_s)];
        if second > 0 {
            let frames = at_25(7);
            seen.push((second == 2).then(|| features(&frames, &acts, every)));
            sources.push(source(width, height, frames, 0.0));
        }
        let mut profile = crate::profile::load(crate::profile::BUILT_IN[profile].0).unwrap();
        profile.slides.share = share;
        let whole: f64 = sources.iter().map(|s| (s.end_ns() - s.start_ns()) as f64 / 1e9).sum();
        let trim = trim.map(|(from, length)| (from * whole, (from * whole + 0.6 + length * whole).min(whole))).filter(|(a, b)| b - a >= 0.6);
        let plan = make_seen(&sources, &seen, &profile, trim).unwrap();
        match trim {
            None => holds(&plan, &sources),
            Some((from, to)) => {
                prop_assert!((plan.duration().seconds() - (to - from)).abs() < 0.001);
                holds_trimmed(&plan, &sources);
            }
        }
        let shown = plan.parts.iter().any(|p| p.pictures.is_some());
        let still = if shown { Shape::Slides } else { Shape::Card };
        // Too short, or too small to be read: moving, whatever the profile says.
        let pictures: u64 = plan.parts.iter().filter(|p| p.pictures.is_some()).map(|p| p.end().since(p.offset)).sum();
        let little = pictures < 4 * MediaTime::HZ || width.min(height) < 300;
        prop_assert!(share != 0.0 || plan.shape == still || little && plan.shape == Shape::Motion);
        prop_assert!(share != 2.0 || plan.shape != Shape::Slides);
        // Slides lie within the lecture, in order, and their stills are pictures of their file.
        prop_assert!(plan.slides.windows(2).all(|w| w[0].end <= w[1].start));
        for s in &plan.slides {
            prop_assert!(s.start < s.end && s.end <= plan.duration());
            prop_assert!(sources[plan.parts[s.part].source].frames_ns.binary_search(&s.still_ns).is_ok());
        }
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
            Picture::Mean(_) | Picture::Card => panic!(),
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

/// Two chunks at once: under 1.2 GB (benches/memory.py measures it).
#[test]
fn encoders_look_less_far_ahead_where_a_chunk_would_not_fit() {
    let lookahead = |height: u32, profile: &str| {
        let sources = [source(height * 16 / 9, height, at_25(20), 20.0)];
        let plan = make(&sources, profile).unwrap();
        let each = chunk_memory(&plan.rungs, &sources);
        assert!(each <= 600_000_000, "{height} lines, {profile}: {each}");
        plan.rungs.iter().map(|r| r.lookahead).collect::<Vec<_>>()
    };
    assert!(lookahead(360, "rural-3g").iter().all(|pictures| *pictures == 40));
    let (small, large) = (lookahead(720, "rural-3g"), lookahead(1080, "rural-3g"));
    assert!(large.iter().zip(&small).all(|(large, small)| large < small && *large >= memory::LEAST_LOOKAHEAD), "{small:?} {large:?}");
    lookahead(1080, "campus");
    lookahead(1080, "edge");
    // Of 4K the decoder alone takes too much: as little ahead as may be, and it is done nevertheless.
    let plan = make(&[source(3840, 2160, at_25(20), 20.0)], "rural-3g").unwrap();
    assert!(plan.rungs.iter().all(|r| r.lookahead == memory::LEAST_LOOKAHEAD));
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

// Chromium begins to play what has some seven pictures and a quarter of a second; HLS allows sixty a second.
#[test]
fn a_recording_of_a_moment_has_enough_pictures_to_be_played() {
    for (pictures, fps, lasts_s) in [(3, 30, 0.25), (2, 7, 0.285), (1, 1, 1.0), (2, 2, 1.0)] {
        let frames: Vec<u64> = (0..pictures).map(|i| i * 1_000_000_000 / fps).collect();
        let end = pictures * 1_000_000_000 / fps;
        let one = Source { video_end_ns: end, duration_s: end as f64 / 1e9, ..source(640, 360, frames, 0.0) };
        let plan = make(&[one], "rural-3g").unwrap();
        assert!((plan.duration().seconds() - lasts_s).abs() < 0.001, "{pictures} at {fps}: {}", plan.duration().seconds());
        let times: Vec<f64> = plan.chunks.iter().flat_map(|c| &c.slots).filter(|s| s.on(0)).map(|s| s.at.seconds()).collect();
        assert!(times.len() >= 8, "{pictures} at {fps}: {times:?}");
        assert!(times.windows(2).all(|w| w[1] > w[0]) && times.len() as f64 / lasts_s <= 60.0, "{pictures} at {fps}: {times:?}");
    }
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

/// Two slides of half a minute: every rung and both stills show the mean of what stood; of 10-bit pictures, one by one.
#[test]
fn what_stands_is_shown_by_means() {
    let frames = at_25(60);
    let seen = features(&frames, &[(4, 1), (0, 0), (0, 0), (0, 0), (0, 0), (4, 9), (0, 0), (0, 0), (0, 0), (0, 0)], 1);
    // The act of a change lasts for as long as any other: only its first picture is one.
    let pictures =
        seen.pictures.iter().enumerate().map(|(i, p)| crate::timeline::Seen { changed: if i % 750 == 0 { 576 } else { 0 }, ..*p });
    let seen = Features { pictures: pictures.collect(), ..seen };
    let mut source = source(1280, 720, frames, 60.0);
    for bits in [8, 10] {
        source.video.as_mut().unwrap().bit_depth = bits;
        let mut profile = crate::profile::load("rural-3g").unwrap();
        profile.slides.share = 0.0;
        let plan = make_seen(std::slice::from_ref(&source), &[Some(seen.clone())], &profile, None).unwrap();
        holds(&plan, std::slice::from_ref(&source));
        assert_eq!((plan.shape, plan.chunks.len() > 1), (Shape::Slides, true));
        let shown: Vec<Picture> = plan.chunks.iter().flat_map(|c| &c.slots).map(|s| s.show).collect();
        assert!(shown.len() > 60 && shown.iter().all(|p| matches!(p, Picture::Mean(_)) == (bits == 8)), "{shown:?}");
        assert!(plan.slides.iter().all(|s| plan.parts[0].mean(s.still_ns).is_empty() == (bits == 10)), "{:?}", plan.slides);
    }
}

/// What `encode` leaves out for its price is not promised; the rungs that stay show the slots that they showed.
#[test]
fn a_rung_that_will_be_dearer_than_the_next_is_left_out() {
    let sources = [source(640, 360, (0..750).map(|i| i * 40_000_000).collect(), 0.0)];
    let mut plan = make(&sources, "rural-3g").unwrap();
    let names = |plan: &Plan| plan.rungs.iter().map(|r| r.name.clone()).collect::<Vec<_>>();
    assert_eq!((names(&plan), leave_out(&mut plan)), (vec!["270p".to_string(), "360p".into()], vec![]), "nothing was measured");
    let shown = |plan: &Plan, rung: usize| plan.chunks.iter().flat_map(|c| &c.slots).filter(|s| s.on(rung)).count();
    let of_360p = shown(&plan, 1);
    let cost = |bytes: u64, plan: &Plan| vec![bytes; plan.segments()];
    (plan.rungs[0].predicted_segments, plan.rungs[1].predicted_segments) = (cost(1000, &plan), cost(2000, &plan));
    assert!(leave_out(&mut plan).is_empty());
    plan.rungs[0].predicted_segments = cost(2000, &plan);
    let said = leave_out(&mut plan);
    assert!(said.len() == 1 && said[0].starts_with("270p left out"), "{said:?}");
    assert_eq!((names(&plan), shown(&plan, 0)), (vec!["360p".to_string()], of_360p));
    assert!(plan.chunks.iter().flat_map(|c| &c.slots).all(|s| s.rungs <= 1));
}
