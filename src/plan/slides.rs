//! The slides of a lecture as the plan has them: when each is shown and which picture of the recording is its still.

use super::schedule::Part;
use crate::timeline::{Slide, Timeline};
use crate::units::MediaTime;
use serde::{Deserialize, Serialize};

/// One slide. Builds that add a line at a time are one slide with steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SlidePlan {
    /// Lecture time.
    pub start: MediaTime,
    pub end: MediaTime,
    /// Index into `Plan::parts`.
    pub part: usize,
    /// Stream time (nanoseconds) of the picture of the part's source, or of the mean ([`Part::means`]), in which the slide is
    /// complete.
    pub still_ns: u64,
    /// Nothing stands: the still is one picture of what moves.
    #[serde(default)]
    pub moving: bool,
    /// Lecture times at which a build added something.
    pub steps: Vec<MediaTime>,
    /// The part of the picture that is the slide, as fractions of it: x, y, width, height. `None`: all of it.
    pub region: Option<[f64; 4]>,
}

/// A span in which all moves is shown by a picture of its start, and another after as long again, nanoseconds.
const MOVING_NS: u64 = 30_000_000_000;

/// The slides of all parts. Where everything moves a picture stands for half a minute.
pub fn slides(parts: &[Part], timelines: &[Timeline]) -> Vec<SlidePlan> {
    let mut out = Vec::new();
    for (index, (part, timeline)) in parts.iter().zip(timelines).enumerate().filter(|(_, (p, _))| p.pictures.is_some()) {
        for slide in &timeline.slides {
            let region = timeline.speaker(slide.start_ns, slide.end_ns).and_then(beside).filter(|_| !slide.moving);
            for (start_ns, end_ns, still_ns) in pieces(slide, timeline) {
                let (mut start, end) = (part.at(start_ns), part.at(end_ns));
                // What comes up within the first second is what the part begins with.
                if out.last().is_none_or(|s: &SlidePlan| s.part != index) && start.since(part.offset) < MediaTime::HZ {
                    start = part.offset;
                }
                if end.since(start) == 0 {
                    continue;
                }
                let steps = slide.steps_ns.iter().map(|ns| part.at(*ns)).filter(|t| (start..end).contains(t)).collect();
                out.push(SlidePlan { start, end, part: index, still_ns, moving: slide.moving, steps, region });
            }
        }
    }
    out
}

/// A slide as it is; a moving span in even pieces, each with a picture from shortly after its start.
fn pieces(slide: &Slide, timeline: &Timeline) -> Vec<(u64, u64, u64)> {
    if !slide.moving {
        return vec![(slide.start_ns, slide.end_ns, slide.still_ns)];
    }
    let length = slide.end_ns - slide.start_ns;
    let count = (length / MOVING_NS).max(1);
    let at = |k: u64| slide.start_ns + length * k / count;
    let still = |from: u64, to: u64| {
        let wish = from + (to - from) / 4;
        let kept = &timeline.kept;
        kept[..kept.partition_point(|k| k.ns <= wish)].last().map_or(from, |k| k.near(wish))
    };
    (0..count).map(|k| (at(k), at(k + 1), still(at(k), at(k + 1)))).collect()
}

/// The slide beside a speaker that takes one side of the picture; `None` for one that is laid over a corner.
fn beside([x, y, w, h]: [f64; 4]) -> Option<[f64; 4]> {
    let sides =
        [(h, [0.0, 0.0, x, 1.0]), (h, [x + w, 0.0, 1.0 - x - w, 1.0]), (w, [0.0, 0.0, 1.0, y]), (w, [0.0, y + h, 1.0, 1.0 - y - h])];
    let area = |r: &[f64; 4]| r[2] * r[3];
    let (along, slide) = sides.into_iter().max_by(|(_, a), (_, b)| area(a).total_cmp(&area(b)))?;
    (along >= 0.6 && area(&slide) >= 0.5).then_some(slide)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeline::Likeness;

    #[test]
    fn a_speaker_at_the_side_leaves_the_slide_one_in_the_corner_does_not() {
        assert_eq!(beside([0.75, 0.1, 0.25, 0.8]), Some([0.0, 0.0, 0.75, 1.0]));
        assert_eq!(beside([0.0, 0.0, 0.25, 1.0]), Some([0.25, 0.0, 0.75, 1.0]));
        assert_eq!(beside([0.75, 0.7, 0.25, 0.3]), None);
        assert_eq!(beside([0.2, 0.0, 0.6, 1.0]), None);
    }

    #[test]
    fn a_moving_span_has_a_picture_for_every_half_minute() {
        let second = 1_000_000_000;
        let kept = (0..100)
            .map(|i| crate::timeline::Kept { ns: i * second, shown: vec![Likeness { ns: i * second, of: Vec::new() }], content: true })
            .collect();
        let timeline = Timeline { kept, ..Timeline::default() };
        let slide = Slide { start_ns: 0, settled_ns: 0, end_ns: 100 * second, still_ns: 0, steps_ns: Vec::new(), moving: true };
        let found = pieces(&slide, &timeline);
        assert_eq!(found.len(), 3);
        assert!(found.windows(2).all(|w| w[0].1 == w[1].0) && found.iter().all(|(from, to, still)| (*from..*to).contains(still)));
    }

    /// The speaker goes from the right to the left: each slide is what is beside him while it is shown.
    #[test]
    fn a_slide_is_cut_by_the_layout_of_its_own_time() {
        let second = 1_000_000_000;
        let slide = |from: u64, to: u64| Slide {
            start_ns: from * second,
            settled_ns: from * second,
            end_ns: to * second,
            still_ns: from * second,
            steps_ns: Vec::new(),
            moving: false,
        };
        let speaker = |from: u64, to: u64, region| crate::timeline::Speaker { start_ns: from * second, end_ns: to * second, region };
        let timeline = Timeline {
            slides: vec![slide(0, 30), slide(30, 58), slide(58, 90), slide(90, 120)],
            speakers: vec![speaker(0, 30, [0.75, 0.0, 0.25, 1.0]), speaker(60, 90, [0.0, 0.0, 0.25, 1.0])],
            ..Timeline::default()
        };
        let sources = [crate::plan::tests::source(1280, 720, (0..3000).map(|i| i * 40_000_000).collect(), 0.0)];
        let part = crate::plan::tests::make(&sources, "rural-3g").unwrap().parts;
        let found: Vec<_> = slides(&part, &[timeline]).into_iter().map(|s| s.region).collect();
        assert_eq!(found, [Some([0.0, 0.0, 0.75, 1.0]), None, Some([0.25, 0.0, 0.75, 1.0]), None]);
    }
}
