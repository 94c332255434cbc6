use super::session::{BEGIN_S, play};
use super::*;
use proptest::prelude::*;

/// A lecture of a voice of 20 kbit/s in segments of one second, ten of which stand in the page, without slides.
fn voice(seconds: usize) -> Lecture {
    let page_bytes = 12_000;
    Lecture {
        page_bytes,
        loader_bytes: page_bytes,
        rest_bytes: page_bytes,
        app_bytes: 12_000,
        voice: vec![(2_500, 1.0); seconds],
        head_bytes: 10_000,
        first_bytes: 10_000,
        ..Lecture::default()
    }
}

/// The same with a slide of 20 kB every so often.
fn slides(seconds: usize, every: usize) -> Lecture {
    let slides = (0..seconds).step_by(every).map(|s| Slide { start_s: s as f64, bytes: 20_000 }).collect();
    Lecture { slides, ..voice(seconds) }
}

fn trace(spans: &[(f64, f64)]) -> Link {
    let list: Vec<_> =
        spans.iter().map(|(s, kbps)| format!("{{\"duration_ms\":{},\"bandwidth_kbps\":{kbps},\"latency_ms\":100}}", s * 1e3)).collect();
    Link::of_trace(Trace::parse(format!("[{}]", list.join(",")).as_bytes(), "t").unwrap())
}

fn visit(lecture: &Lecture, link: &Link) -> Session {
    replay(lecture, link, &How::default())
}

// The model is worth what it shares with the page: each number of `player/` that it repeats stands there still.
#[test]
fn the_pages_numbers_are_the_models() {
    let loader = include_str!("../../player/loader.js");
    for part in [
        "ahead: 240,",
        "chunk: 65536,",
        "left > R.ahead || (left > (thin ? 12 : 5) && first)",
        "first ? R.chunk / 8 : R.chunk",
        "took > 500 ? (6 *",
        "abort(), 30000)",
        "Math.min(16000, 500 * 2 ** tries)",
        "setTimeout(more, 10000)",
    ] {
        assert!(loader.contains(part), "{part} is not in loader.js: change src/replay/voice.rs and session.rs with it");
    }
    let first = include_str!("../../player/first.js");
    for part in ["thin: 45e3,", "begun - visit.responseStart > 800)"] {
        assert!(first.contains(part), "{part} is not in first.js: change src/replay/session.rs with it");
    }
    let slides = concat!(include_str!("../../player/app/core.js"), include_str!("../../player/app/slides.js"));
    for part in ["R.have() - clock.currentTime < 8 &&", "!ready.has(i) && short()", "R.have() - clock.currentTime < 15", ": 300e3)"] {
        assert!(slides.contains(part), "{part} is not in core.js or slides.js: change src/replay/deck.rs with it");
    }
    let lists = include_str!("../../player/app/lists.js");
    for part in ["R.have() - clock.currentTime < 60", "}, 2000);"] {
        assert!(lists.contains(part), "{part} is not in lists.js: change src/replay/session.rs with it");
    }
    let video = include_str!("../../player/app/video.js");
    for part in [
        "ahead > 30 ||",
        "R.bps > 2 * (lowest + 24e3)",
        "(ahead > 8 ||",
        "behind > 12)",
        "let pause = 15;",
        "Math.min(240, pause * 2)",
        "good > 30)",
        "Math.max(15, pause / 2)",
        "setInterval(follow, 100)",
        "setInterval(watch, 1000)",
        "Math.min(5e6, Math.max(30e3, R.bps || device.bps || 150e3))",
        "[60, 6e6]",
        ": 120,",
        "maxStarvationDelay: 8,",
        "fragLoadPolicy: patient(30e3,",
    ] {
        assert!(video.contains(part), "{part} is not in video.js: change src/replay/video.rs and abr.rs with it");
    }
}

// By hand: four round trips (name, TCP, TLS, request); each packet's bytes at the rate of its way; and the page, which is nine
// packets and so comes in one window.
#[test]
fn a_constant_link_starts_when_arithmetic_says() {
    let link = Link::constant(400_000.0, 100_000.0, 0.3);
    let down = |bytes: f64| bytes * 8.0 / 400_000.0;
    let up = |bytes: f64| bytes * 8.0 / 100_000.0;
    let hello_up = up(1_800.0 + 2.0 * 52.0);
    let page = 12_000.0 + 851.0 + 22.0 + 160.0;
    let request = up(80.0 + 700.0 + 22.0 + 52.0);
    let bytes = up(60.0) + down(60.0) + hello_up + down(1_052.0) + request + down(page + 9.0 * 52.0);
    let found = visit(&voice(60), &link).start_s.unwrap();
    let wanted = 4.0 * 0.3 + bytes + BEGIN_S;
    // Acknowledgements share the ways.
    assert!((found - wanted).abs() < 0.01, "{found} {wanted}");
}

// A page of more than one window takes a round trip more, and no more than that.
#[test]
fn a_page_larger_than_the_first_window_takes_a_round_trip_more() {
    let link = Link::constant(50e6, 50e6, 1.0);
    let start =
        |page_bytes| visit(&Lecture { page_bytes, loader_bytes: page_bytes, rest_bytes: page_bytes, ..voice(60) }, &link).start_s.unwrap();
    let (small, large) = (start(12_000), start(30_000));
    assert!((large - small - 1.0).abs() < 0.02, "{small} {large}");
}

#[test]
fn a_gap_longer_than_the_buffer_stalls_for_the_rest_of_it() {
    // A minute is enough to be four minutes ahead; then nothing for ten.
    let link = trace(&[(60.0, 1_000.0), (600.0, 0.0), (2_000.0, 1_000.0)]);
    let found = visit(&voice(1_000), &link);
    let heard_at_gap = 60.0 - found.start_s.unwrap() + 0.1;
    let ahead = 600.0 - found.stall_s;
    assert_eq!(found.stalls, 1);
    // Four minutes and a segment were there. What meets the gap is given up after 30 s and asked for again up to 16 s later, over a
    // queue that is full of what was given up.
    assert!((242.0 - 1.0 - 30.0 - 16.0 - 3.0..242.0).contains(&ahead), "{ahead} s were ahead after {heard_at_gap} s");
    assert!((found.played_s - 1_000.0).abs() < 1e-6, "{}", found.played_s);
}

#[test]
fn a_gap_shorter_than_the_buffer_is_not_heard() {
    let found = visit(&slides(600, 30), &trace(&[(60.0, 1_000.0), (200.0, 0.0), (2_000.0, 1_000.0)]));
    assert_eq!((found.stalls, found.stall_s), (0, 0.0));
}

// A range that is silent for 30 s is asked for again, and the voice goes on at the byte where it broke.
#[test]
fn what_breaks_off_goes_on() {
    let found = visit(&voice(400), &trace(&[(4.0, 200.0), (100.0, 0.0), (2_000.0, 300.0)]));
    assert!(found.stall_s > 60.0 && (found.played_s - 400.0).abs() < 1e-6, "{found:?}");
}

#[test]
fn a_link_that_never_answers_is_given_up() {
    let found = visit(&voice(100), &trace(&[(0.001, 1.0), (1e7, 0.0)]));
    assert_eq!((found.start_s, found.stall_share(100.0)), (None, 1.0));
}

#[test]
fn a_shorter_lecture_begins_anew_and_a_longer_one_ends() {
    let link = Link::constant(1e6, 1e6, 0.1);
    let seconds = |wanted| replay(&slides(50, 10), &link, &How { seconds: Some(wanted), ..How::default() }).played_s;
    assert!((seconds(120.0) - 120.0).abs() < 1e-6 && (seconds(20.0) - 20.0).abs() < 1e-6);
}

#[test]
fn every_byte_is_counted_and_none_twice() {
    let lecture = slides(200, 20);
    let found = visit(&lecture, &Link::constant(2e6, 1e6, 0.1));
    let media: u64 = lecture.voice.iter().map(|v| v.0).sum::<u64>() + lecture.slides.iter().map(|s| s.bytes).sum::<u64>();
    let least = media - lecture.head_bytes + lecture.page_bytes + lecture.app_bytes;
    // Headers and the shell come on top.
    assert!((least..least + 20_000).contains(&found.bytes), "{} {least}", found.bytes);
}

#[test]
fn losses_make_it_later_and_the_same_seed_the_same() {
    let class = |name: &str| crate::link::class(name).unwrap();
    let (lossy, clean) = (Link::of_class(class("edge")), Link::constant(120e3, 100e3, 0.84));
    let lecture = slides(60, 20);
    let starts: Vec<f64> = (0..20).map(|seed| play(&lecture, &lossy, &How::default(), seed).start_s.unwrap()).collect();
    let without = play(&lecture, &clean, &How::default(), 0).start_s.unwrap();
    assert!(starts.iter().all(|s| *s >= without - 1e-9) && starts.iter().any(|s| *s > without + 0.1), "{without} {starts:?}");
    assert_eq!(replay(&lecture, &lossy, &How::default()), replay(&lecture, &lossy, &How::default()));
}

#[test]
fn the_oracle_stalls_only_where_the_bytes_cannot_be_there() {
    let lecture = slides(300, 30);
    assert_eq!(least_stall_s(&lecture, &Link::constant(100e3, 1e6, 0.1), None), 0.0);
    // 20 kbit/s of voice and 5 of slides do not fit into 10.
    assert!(least_stall_s(&lecture, &Link::constant(10e3, 1e6, 0.1), None) > 300.0);
    let gap = |s| least_stall_s(&lecture, &trace(&[(5.0, 100.0), (s, 0.0), (1_000.0, 100.0)]), None);
    // In five seconds 60 kB fit: the page, a slide, and some ten seconds of voice; fifteen may be waited for.
    assert!(gap(15.0) == 0.0 && gap(60.0) > 20.0, "{} {}", gap(15.0), gap(60.0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn more_rate_never_starts_later_nor_stalls_longer(kbps in 30.0f64..3_000.0, more in 1.05f64..3.0, rtt in 0.02f64..1.3, every in 5usize..60) {
        let lecture = slides(120, every);
        let at = |kbps: f64| visit(&lecture, &Link::constant(kbps * 1e3, 200e3, rtt));
        let (slow, fast) = (at(kbps), at(kbps * more));
        prop_assert!(fast.start_s.unwrap() <= slow.start_s.unwrap() + 1e-9);
        // Ranges and slides may meet in another order: half a second is no difference.
        prop_assert!(fast.stall_s <= slow.stall_s + 0.5, "{} {}", fast.stall_s, slow.stall_s);
    }

    // Nobody does better than who knows the link.
    #[test]
    fn no_session_beats_the_oracle(spans in prop::collection::vec((1.0f64..40.0, 0.0f64..400.0), 2..12)) {
        let mut spans = spans;
        spans.push((5.0, 200.0));
        let (lecture, link) = (slides(120, 20), trace(&spans));
        let found = visit(&lecture, &link);
        let stalled = found.start_s.map_or(f64::INFINITY, |s| found.stall_s + (s - START_FREE_S).max(0.0));
        // Slides may come late without a stall: the oracle has them all in time.
        let bare = Lecture { slides: Vec::new(), ..lecture };
        prop_assert!(stalled + 1.0 >= least_stall_s(&bare, &link, None), "{stalled} {found:?}");
    }
}
