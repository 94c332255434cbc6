//! The decision on recorded features: made here by the watcher from drawn grids, as from decoded pictures.

use super::*;
use crate::picture::Grid;

const COLUMNS: usize = 160;
const ROWS: usize = 90;
const SECOND: u64 = 1_000_000_000;
/// Pictures a second.
const RATE: u64 = 10;

/// A picture of blocks: what is drawn, over a light ground.
#[derive(Clone)]
struct Drawn(Vec<u8>);

impl Drawn {
    fn ground(level: u8) -> Drawn {
        Drawn(vec![level; COLUMNS * ROWS])
    }
    /// Lines of text, other text for another seed: `rows` of them from `top`.
    fn text(mut self, seed: u64, top: usize, rows: usize) -> Drawn {
        for row in 0..rows {
            let y = top + 5 * row;
            let length = 60 + (seed * 31 + row as u64 * 17) % 70;
            for x in 10..10 + length as usize {
                let ink = (x as u64 * 2_654_435_761 + seed * 40_503 + row as u64 * 977) >> 7 & 127;
                for y in y..y + 3 {
                    self.0[y * COLUMNS + x] = 60 + ink as u8;
                }
            }
        }
        self
    }
    /// A moving thing in a rectangle of blocks.
    fn moving(mut self, (x, y, width, height): (usize, usize, usize, usize), step: u64) -> Drawn {
        for yy in y..y + height {
            for xx in x..x + width {
                self.0[yy * COLUMNS + xx] = ((xx as u64 * 7 + yy as u64 * 13 + step * 37) % 200) as u8 + 20;
            }
        }
        self
    }
    /// Somebody before a wall: all over the rectangle something stirs, but most of what is seen stays.
    fn sitting(self, place: (usize, usize, usize, usize), step: u64) -> Drawn {
        let (still, stirred) = (self.clone().moving(place, 3), self.moving(place, step));
        let mut out = still;
        for (i, level) in stirred.0.into_iter().enumerate().filter(|(i, _)| (i % COLUMNS / 4 + i / COLUMNS / 4).is_multiple_of(4)) {
            out.0[i] = level;
        }
        out
    }
    /// As a hand-held camera sees it: moved by up to two blocks' halves each way.
    fn shaken(&self, step: u64) -> Drawn {
        let t = step as f64 / RATE as f64;
        let (dx, dy) = (0.4 * ((t * 5.0).sin() + (t * 11.0).sin()), 0.6 * (t * 7.0).sin());
        let at = |x: isize, y: isize| {
            self.0[y.clamp(0, ROWS as isize - 1) as usize * COLUMNS + x.clamp(0, COLUMNS as isize - 1) as usize] as f64
        };
        let mut out = self.clone();
        for y in 0..ROWS {
            for x in 0..COLUMNS {
                let (fx, fy) = (x as f64 + dx, y as f64 + dy);
                let (x0, y0) = (fx.floor(), fy.floor());
                let (ax, ay) = (fx - x0, fy - y0);
                let (x0, y0) = (x0 as isize, y0 as isize);
                let top = at(x0, y0) * (1.0 - ax) + at(x0 + 1, y0) * ax;
                let bottom = at(x0, y0 + 1) * (1.0 - ax) + at(x0 + 1, y0 + 1) * ax;
                out.0[y * COLUMNS + x] = (top * (1.0 - ay) + bottom * ay) as u8;
            }
        }
        out
    }
    /// As a camera sees it: no level is sure.
    fn noisy(mut self, step: u64) -> Drawn {
        for (i, level) in self.0.iter_mut().enumerate() {
            let n = (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(step.wrapping_mul(0xd134_2543_de82_ef95));
            *level = (*level as i64 + ((n ^ n >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40 & 3) as i64 - 1).clamp(0, 255) as u8;
        }
        self
    }
    fn grid(self) -> Grid {
        let grey = vec![128; COLUMNS * ROWS];
        Grid { columns: COLUMNS, rows: ROWS, planes: [self.0, grey.clone(), grey] }
    }
}

/// A recording of as many seconds; `picture` gives what is seen at each step of a tenth of a second.
fn timeline(seconds: u64, picture: impl Fn(u64) -> Drawn) -> Timeline {
    let mut watcher = Watcher::default();
    for step in 0..seconds * RATE {
        watcher.push(step * SECOND / RATE, picture(step).grid());
    }
    read(&watcher.finish(), 0, seconds * SECOND)
}

fn starts(timeline: &Timeline) -> Vec<f64> {
    timeline.slides.iter().map(|s| s.start_ns as f64 / 1e9).collect()
}

fn slide(seed: u64, rows: usize) -> Drawn {
    Drawn::ground(230).text(seed, 12, rows)
}

#[test]
fn slides_and_builds_are_told_apart() {
    let found = timeline(30, |step| match step / RATE {
        0..=9 => slide(1, 8),
        10..=14 => slide(2, 5),
        15..=19 => slide(2, 6),
        _ => slide(3, 9),
    });
    assert_eq!(starts(&found), [0.0, 10.0, 20.0]);
    assert_eq!(found.slides[1].steps_ns, [15 * SECOND]);
    assert!(found.slides[1].still_ns >= 15 * SECOND, "the still shows the slide complete");
    assert_eq!(found.slide_share, 1.0);
}

#[test]
fn a_menu_before_a_change_is_not_its_begin() {
    let found = timeline(20, |step| match step {
        0..=96 => slide(1, 8),
        // Small, and less than the rest that a state must hold.
        97..=99 => slide(1, 8).moving((100, 2, 14, 5), 0),
        _ => slide(2, 8),
    });
    assert_eq!(starts(&found), [0.0, 10.0]);
}

/// A page that stands for a second is one, though its bar for scrolling goes meanwhile.
#[test]
fn a_short_slide_with_something_small_on_it_is_found() {
    let found = timeline(20, |step| match step {
        0..=99 => slide(1, 8),
        100..=104 => slide(2, 8).moving((156, 4, 2, 40), 0),
        105..=109 => slide(2, 8),
        _ => slide(3, 4),
    });
    assert_eq!(starts(&found), [0.0, 10.0, 11.0]);
    assert!(found.slides[1].still_ns >= 10_500_000_000, "the still is of its end, without the bar");
    // What fades in within two or four seconds is one change.
    for steps in [20, 40] {
        let fading = |step: u64| {
            let (from, to) = (slide(1, 8), slide(2, 8));
            let mixed = from.0.iter().zip(&to.0).map(|(a, b)| ((*a as u64 * (steps - step) + *b as u64 * step) / steps) as u8);
            Drawn(mixed.collect())
        };
        assert_eq!(starts(&timeline(20, |step| fading(step.clamp(100, 100 + steps) - 100))).len(), 2, "{steps}");
    }
}

/// What stands is compared with the slide's last letters on it: a codec that freshens them up later adds nothing.
#[test]
fn the_last_letters_belong_to_the_change_that_brought_them() {
    let found = timeline(20, |step| match step {
        0..=49 => slide(1, 8),
        50..=52 => slide(2, 8),
        53..=149 => slide(2, 8).moving((10, 80, 6, 6), 0),
        _ => slide(2, 8).moving((10, 80, 6, 6), 0).moving((20, 80, 4, 4), 0),
    });
    assert_eq!(starts(&found), [0.0, 5.0]);
    assert!(found.slides[1].steps_ns.is_empty(), "{:?}", found.slides[1]);
    assert!(found.slides[1].still_ns >= 5_300_000_000, "the still has the last letters");
}

/// Who sits still in a corner for half of the time, and then moves, is no build.
#[test]
fn a_restless_speaker_in_a_corner_is_no_change() {
    let speaker = |step: u64| if (step / 13).is_multiple_of(2) { step / 4 } else { step / 13 };
    let found = timeline(90, |step| slide(1 + step / (30 * RATE), 8).moving((126, 62, 34, 28), speaker(step)));
    assert_eq!(starts(&found), [0.0, 30.0, 60.0]);
    assert!(found.slides.iter().all(|s| s.steps_ns.is_empty()), "{:?}", found.slides);
}

/// A board is written on for a quarter of a minute without a pause, wiped, and written on again.
#[test]
fn a_wiped_board_is_a_new_one() {
    let written = |step: u64| {
        let mut board = Drawn::ground(240);
        let strokes = (step % (20 * RATE)).saturating_sub(2 * RATE).min(15 * RATE) as usize;
        for stroke in 0..strokes * 2 {
            let (x, y) = (12 + stroke * 7 % 130, 10 + stroke / 20 * 4);
            board.0[y * COLUMNS + x] = 60;
            board.0[y * COLUMNS + x + 1] = 60;
        }
        board
    };
    let found = timeline(40, written);
    assert_eq!(starts(&found), [0.0, 20.0], "{:?}", found.slides);
}

/// The camera before the screen shakes all the time; slides have the same ground and the same layout.
#[test]
fn slides_are_found_by_a_shaking_camera() {
    let slides: Vec<Drawn> = (1..=4).map(|seed| slide(seed, 12)).collect();
    let found = timeline(40, |step| slides[(step / (10 * RATE)) as usize].shaken(step));
    let found = starts(&found);
    assert_eq!(found.len(), 4, "{found:?}");
    for (found, wanted) in found.iter().zip([0.0, 10.0, 20.0, 30.0]) {
        assert!((found - wanted).abs() <= 0.5, "{found} for {wanted}");
    }
}

#[test]
fn a_film_is_one_moving_span_and_what_follows_begins_at_its_end() {
    let found = timeline(40, |step| match step / RATE {
        0..=9 => slide(1, 8),
        10..=21 => Drawn::ground(0).moving((0, 0, COLUMNS, ROWS), step),
        _ => slide(2, 8),
    });
    let moving: Vec<bool> = found.slides.iter().map(|s| s.moving).collect();
    assert_eq!(moving, [false, true, false]);
    assert!((found.slides[1].start_ns as f64 / 1e9 - 10.0).abs() <= 1.5, "{:?}", found.slides[1]);
    assert!((found.slides[2].start_ns as f64 / 1e9 - 22.0).abs() <= 0.5, "{:?}", found.slides[2]);
    assert!(found.spans.iter().any(|s| s.kind == SpanKind::Motion));
}

#[test]
fn black_ends_a_slide_and_shows_nothing() {
    let found = timeline(20, |step| match step / RATE {
        0..=5 => slide(1, 8),
        6..=9 => Drawn::ground(16),
        _ => slide(2, 8),
    });
    assert_eq!(starts(&found), [0.0, 10.0]);
    assert_eq!(found.slides[0].end_ns, 6 * SECOND);
    assert!(found.spans.iter().any(|s| s.kind == SpanKind::Black));
}

/// Two slides of ten seconds: each is shown by the mean of all that stood, and its still is that.
#[test]
fn a_slide_is_shown_by_the_mean_of_its_span() {
    let found = timeline(20, |step| slide(1 + step / (10 * RATE), 8));
    let [a, b] = &found.kept[..] else { panic!("{:?}", found.kept) };
    for ((kept, from), still) in [(a, 0.0), (b, 10.0)].into_iter().zip(&found.slides) {
        assert_eq!(kept.ns as f64 / 1e9, from);
        let [shown] = &kept.shown[..] else { panic!("{:?}", kept.shown) };
        let into: Vec<f64> = shown.of.iter().map(|ns| *ns as f64 / 1e9 - from).collect();
        assert!(into.len() > 16 && into[0] >= 0.5 && into[into.len() - 1] < 10.0, "{into:?}");
        assert_eq!(still.still_ns, shown.ns);
    }
}

fn kinds(timeline: &Timeline) -> Vec<(SpanKind, f64, f64)> {
    timeline.spans.iter().map(|s| (s.kind, s.start_ns as f64 / 1e9, s.end_ns as f64 / 1e9)).collect()
}

/// A mouse wanders over a slide for ten seconds: no slide, no build, and told as what it is.
#[test]
fn a_wandering_pointer_is_a_pointer() {
    let found = timeline(40, |step| match step / RATE {
        15..=24 => {
            let wander = (step / 2) as usize;
            slide(1, 8).moving((20 + 7 * wander % 100, 20 + 5 * wander % 50, 2, 2), 0)
        }
        _ => slide(1, 8),
    });
    assert_eq!(starts(&found), [0.0]);
    assert!(found.slides[0].steps_ns.is_empty(), "{:?}", found.slides);
    let kinds = kinds(&found);
    assert_eq!(kinds.iter().map(|k| k.0).collect::<Vec<_>>(), [SpanKind::Still, SpanKind::Pointer, SpanKind::Still], "{kinds:?}");
    assert!((kinds[1].1 - 15.0).abs() <= 0.5 && (kinds[1].2 - 25.0).abs() <= 0.5, "{kinds:?}");
    assert!(found.speakers.is_empty());
}

/// A cursor that blinks twice a second, all the time, beside text that is changed twice: changes are found, blinks are none.
#[test]
fn a_blinking_cursor_is_no_change_and_hides_none() {
    let cursor = |drawn: Drawn, step: u64| {
        let mut drawn = drawn;
        if (step / 5).is_multiple_of(2) {
            (40..44).for_each(|y| (20..22).for_each(|x| drawn.0[y * COLUMNS + x] = 20));
        }
        drawn
    };
    let found = timeline(45, |step| cursor(slide(1 + step / (15 * RATE), 5), step));
    assert_eq!(starts(&found), [0.0, 15.0, 30.0]);
    assert!(found.slides.iter().all(|s| s.steps_ns.is_empty()), "{:?}", found.slides);
    assert!(found.spans.iter().all(|s| matches!(s.kind, SpanKind::Still | SpanKind::Pointer)), "{:?}", found.spans);
    assert_eq!((found.speakers.len(), found.slide_share), (0, 1.0));
}

/// The right third.
const BESIDE: (usize, usize, usize, usize) = (110, 0, 50, 90);

#[test]
fn a_speaker_beside_the_slides_is_told_with_his_place() {
    let found = timeline(60, |step| slide(1 + step / (20 * RATE), 8).moving(BESIDE, step));
    assert_eq!(starts(&found), [0.0, 20.0, 40.0]);
    assert_eq!(kinds(&found), [(SpanKind::Speaker, 0.0, 60.0)]);
    let [speaker] = found.speakers[..] else { panic!("{:?}", found.speakers) };
    assert_eq!((speaker.start_ns, speaker.end_ns, speaker.region), (0, 60 * SECOND, [0.6875, 0.0, 0.3125, 1.0]));
}

/// The speaker stands at the right, then at the left, then is gone: each slide is beside where he is then.
#[test]
fn a_layout_that_changes_is_three() {
    let left = |drawn: Drawn| {
        let mut out = Drawn::ground(230);
        (0..ROWS).for_each(|y| (50..COLUMNS).for_each(|x| out.0[y * COLUMNS + x] = drawn.0[y * COLUMNS + x - 50]));
        out
    };
    let found = timeline(180, |step| {
        let page = slide(1 + step / (20 * RATE), 8);
        match step / RATE {
            0..=59 => page.moving(BESIDE, step),
            60..=119 => left(page).moving((0, 0, 50, 90), step),
            _ => page,
        }
    });
    let told: Vec<(u64, u64, [f64; 4])> = found.speakers.iter().map(|s| (s.start_ns / SECOND, s.end_ns / SECOND, s.region)).collect();
    assert_eq!(starts(&found), (0..9).map(|n| n as f64 * 20.0).collect::<Vec<_>>());
    assert_eq!(told, [(0, 60, [0.6875, 0.0, 0.3125, 1.0]), (60, 120, [0.0, 0.0, 0.3125, 1.0])]);
    let second = 1_000_000_000;
    assert_eq!(found.speaker(40 * second, 60 * second), Some([0.6875, 0.0, 0.3125, 1.0]));
    assert_eq!(found.speaker(60 * second, 80 * second), Some([0.0, 0.0, 0.3125, 1.0]));
    assert_eq!(found.speaker(120 * second, 140 * second), None);
    assert_eq!(found.speaker(100 * second, 150 * second), None, "for less than half of it");
}

/// Who sits still for a minute is there all the same.
#[test]
fn a_speaker_who_sits_still_keeps_his_place() {
    let sits = |step: u64| if (60 * RATE..120 * RATE).contains(&step) { 1 } else { step };
    let found = timeline(180, |step| slide(1 + step / (20 * RATE), 8).sitting(BESIDE, sits(step)));
    let told: Vec<(u64, u64)> = found.speakers.iter().map(|s| (s.start_ns / SECOND, s.end_ns / SECOND)).collect();
    assert_eq!(told, [(0, 180)], "{:?}", found.speakers);
}

/// A film that plays for half a minute in one slide of five minutes is no layout: the slide is not cut to what is beside it.
#[test]
fn a_film_in_a_slide_is_no_speaker() {
    let found = timeline(300, |step| {
        let page = slide(1 + step / (50 * RATE), 8);
        if (110 * RATE..145 * RATE).contains(&step) { page.moving((90, 10, 70, 70), step) } else { page }
    });
    assert!(found.speakers.is_empty(), "{:?}", found.speakers);
}

/// A room with somebody in it, as a camera sees it.
fn room(step: u64) -> Drawn {
    Drawn::ground(120).text(7, 4, 16).moving((60, 30, 30, 50), step / 2).noisy(step)
}

#[test]
fn a_camera_that_is_stuck_is_frozen_and_one_that_sees_nothing_move_is_not() {
    // Stuck from 20 s to 35 s; a key picture differs a little each two seconds.
    let found = timeline(50, |step| match step {
        200..=349 => room(200).noisy(step / 20),
        _ => room(step),
    });
    let frozen: Vec<_> = kinds(&found).into_iter().filter(|k| k.0 == SpanKind::Frozen).collect();
    assert_eq!(frozen, [(SpanKind::Frozen, 20.0, 35.0)]);
    // Everybody leaves the room; its noise stays.
    let found = timeline(50, |step| if step < 200 { room(step) } else { Drawn::ground(120).text(7, 4, 16).noisy(step) });
    assert!(found.spans.iter().all(|s| s.kind != SpanKind::Frozen), "{:?}", found.spans);
}

/// Slides and photographs stand by nature, also after a film, and so does a film in a slide that has ended.
#[test]
fn what_stands_by_nature_is_not_frozen() {
    let photograph = || Drawn::ground(90).text(3, 2, 17).moving((100, 5, 55, 80), 3);
    let film = |step: u64| Drawn::ground(0).moving((0, 0, COLUMNS, ROWS), step).noisy(step);
    let found = timeline(80, |step| match step / RATE {
        0..=9 => slide(1, 8),
        10..=29 => film(step),
        30..=44 => photograph(),
        45..=59 => slide(2, 8).moving((60, 20, 80, 60), step).noisy(0),
        _ => slide(2, 8).moving((60, 20, 80, 60), 599).noisy(0),
    });
    assert!(found.spans.iter().all(|s| s.kind != SpanKind::Frozen), "{:?}", kinds(&found));
}
