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

/// What is shown of a span is the picture of its middle, or near; of a lone picture, itself.
#[test]
fn a_picture_is_shown_as_it_is_in_the_middle_of_its_span() {
    let found = timeline(20, |step| slide(1 + step / (10 * RATE), 8));
    let [a, b] = &found.kept[..] else { panic!("{:?}", found.kept) };
    for (kept, from) in [(a, 0.0), (b, 10.0)] {
        assert_eq!(kept.ns as f64 / 1e9, from);
        let into: Vec<f64> = kept.shown_ns.iter().map(|ns| *ns as f64 / 1e9 - from).collect();
        assert!(into.len() == 1 && (3.5..=6.5).contains(&into[0]), "{into:?} s into a span of 10");
    }
    let mut short = Likenesses::new(5, 'a');
    assert!(short.push(6, 'b').is_empty());
    assert_eq!(short.end(100), Some((5, 'a')));
    // A long span: the one of its first ten seconds, then one every five.
    let mut long = Likenesses::new(0, ());
    let mut chosen: Vec<u64> = (1..300).flat_map(|i| long.push(i * SECOND / 10, ())).map(|(ns, ())| ns / SECOND).collect();
    chosen.extend(long.end(30 * SECOND).map(|(ns, ())| ns / SECOND));
    assert_eq!(chosen, [5, 10, 15, 20, 25]);
}
