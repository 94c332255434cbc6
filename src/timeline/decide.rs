//! The decision: features in, timeline out. Pure.
//!
//! A zone that changes again and again (a speaker, a video, a blinking cursor) is masked while it does. What is left is
//! compared with the slide that stands: a difference counts once it has come to rest. If much of what stood is gone, it is
//! a new slide; if something was added, a build of the same.

use super::features::{Features, Seen, Thumb};
use super::looker::Looker;
use super::spans::spans;
use super::speakers::speakers;
use super::zones::{Bins, MOTION, Zones, share, union};
use super::{Kept, Likeness, Likenesses, Slide, Timeline, frozen, shaken};

/// A state that holds as long is at rest.
const REST_NS: u64 = 700_000_000;
/// A picture that is the same for as long stands, whatever moved before.
const STANDS_NS: u64 = 2_000_000_000;
/// What has grown for as long without coming to rest is taken as it is: writing, typing.
const GROWING_NS: u64 = 2_000_000_000;
/// A new slide begins where this share of what it changes has changed: a pointer or a menu before it is not its begin.
const ONSET: f64 = 0.15;

/// Understands what was seen between two stream times.
pub fn read(features: &Features, from_ns: u64, to_ns: u64) -> Timeline {
    // What stands when the span begins is the last picture kept before it.
    let first = features.pictures.iter().rposition(|p| p.ns <= from_ns && p.kept()).unwrap_or(0);
    let pictures: Vec<Seen> = features.pictures[first.min(features.pictures.len())..].iter().filter(|p| p.ns < to_ns).copied().collect();
    let first = features.thumbs.iter().rposition(|t| t.ns <= from_ns).unwrap_or(0);
    let thumbs: Vec<&Thumb> = features.thumbs[first.min(features.thumbs.len())..].iter().filter(|t| t.ns < to_ns).collect();
    let bins = Bins::new(&pictures, from_ns, to_ns);
    let looker = Looker { columns: features.columns, rows: features.rows };
    let kept = kept(&pictures, &bins);
    let mut slides = slides(&thumbs, &bins, &looker, from_ns, to_ns);
    let best = |ns: u64| kept[..kept.partition_point(|k| k.ns <= ns)].last().and_then(|k| k.shown.first().map(|s| s.ns));
    slides.iter_mut().for_each(|s| s.still_ns = best(s.still_ns).unwrap_or(s.still_ns));
    Timeline {
        spans: spans(&slides, &thumbs, &frozen::find(&pictures, &thumbs, &looker, to_ns), &bins, to_ns),
        kept,
        speakers: speakers(&bins, &slides, &thumbs, &looker, to_ns),
        slide_share: slide_share(&thumbs, &bins, &looker, to_ns),
        slides,
    }
}

fn kept(pictures: &[Seen], bins: &Bins) -> Vec<Kept> {
    let end = pictures.last().map_or(0, |p| p.ns);
    let mut kept: Vec<Kept> = Vec::new();
    let mut rest = pictures;
    while let Some((first, after)) = rest.split_first() {
        let span = after.iter().take_while(|p| !p.kept()).count();
        let (span, next) = after.split_at(span);
        if first.kept() {
            let mut likenesses = Likenesses::new(first.ns, ());
            let mut shown: Vec<Likeness> = span.iter().filter_map(|p| likenesses.push(p.ns, ())).map(|(likeness, _)| likeness).collect();
            shown.extend(likenesses.end(next.first().map_or(end, |p| p.ns)).map(|(likeness, _)| likeness));
            kept.push(Kept { ns: first.ns, shown, content: outside(&first.zones, bins.moving_at(first.ns)) });
        }
        rest = next;
    }
    kept
}

fn outside(zones: &Zones, moving: &Zones) -> bool {
    zones.iter().zip(moving).any(|(z, m)| z & !m != 0)
}

/// Where what shows at thumb `i` stays for a while, but for the zones that always move: the last thumb of that while, with the last
/// letters of what came.
fn at_rest(thumbs: &[&Thumb], i: usize, masked: &Zones, looker: &Looker) -> Option<usize> {
    let later = thumbs[i + 1..].iter().take_while(|t| t.ns < thumbs[i].ns + REST_NS).count();
    let rests = thumbs[i + 1..=i + later].iter().all(|t| !looker.compare(thumbs[i], t, masked).visible());
    rests.then_some(i + later)
}

fn slides(thumbs: &[&Thumb], bins: &Bins, looker: &Looker, from_ns: u64, to_ns: u64) -> Vec<Slide> {
    let mut slides: Vec<Slide> = Vec::new();
    let mut shaken = shaken::find(thumbs, bins, looker).into_iter().peekable();
    // The thumb of the slide that stands, and the zones that ever moved since it came.
    let mut standing: Option<(usize, Zones)> = None;
    // The first thumb that no longer shows it.
    let mut departed: Option<usize> = None;
    for (i, thumb) in thumbs.iter().enumerate() {
        if shaken.peek().is_some_and(|run| run.end <= i) {
            shaken.next();
        }
        if let Some(run) = shaken.peek().filter(|run| run.first <= i) {
            if i == run.first || run.cuts.contains(&i) {
                begin(&mut slides, thumb.ns, thumb.ns, false);
            }
            (standing, departed) = (None, None);
            continue;
        }
        // A film's zones count as moving for seconds after its end; what then stands is a slide.
        let stands = thumbs.get(i + 1).map_or(to_ns, |next| next.ns).saturating_sub(thumb.ns) >= STANDS_NS;
        let motion = bins.motion_at(thumb.ns);
        let moving = if motion { [0; 3] } else { bins.masked_at(thumb.ns) };
        if motion && !stands {
            if slides.last().is_none_or(|s| !s.moving) {
                begin(&mut slides, thumbs[departed.unwrap_or(i)].ns, thumb.ns, true);
            }
            (standing, departed) = (None, None);
            continue;
        }
        if looker.black(thumb) {
            // Black shows nothing: the slide before ends where it begins, and what comes after is new.
            if let Some(slide) = slides.last_mut().filter(|s| s.end_ns == u64::MAX) {
                slide.end_ns = thumbs[departed.unwrap_or(i)].ns;
            }
            (standing, departed) = (None, None);
            continue;
        }
        if let Some((slide, dirty)) = &mut standing {
            *dirty = union(dirty, &moving);
            if i <= *slide || !looker.compare(thumbs[*slide], thumb, dirty).visible() {
                departed = None;
                continue;
            }
        }
        let first = *departed.get_or_insert(i);
        let masked = standing.map_or(moving, |(_, dirty)| union(&dirty, &moving));
        let Some(rest) = at_rest(thumbs, i, &moving, looker) else {
            // Writing adds and adds: what is there counts, so that wiping it off is a change.
            if let Some((slide, _)) = &mut standing
                && thumb.ns - thumbs[first].ns >= GROWING_NS
                && !looker.compare(thumbs[*slide], thumb, &masked).another()
            {
                *slide = i;
                slides.last_mut().expect("a standing slide is in the list").still_ns = thumb.ns;
                departed = None;
            }
            continue;
        };
        match &mut standing {
            Some((slide, _)) if !looker.compare(thumbs[*slide], thumb, &masked).another() => {
                let current = slides.last_mut().expect("a standing slide is in the list");
                current.steps_ns.push(thumbs[onset(thumbs, *slide, first, i, &masked, looker)].ns);
                *slide = rest;
            }
            Some((slide, _)) => {
                let (mut before, mut first) = (*slide, first);
                if let Some((came, last)) = brief(thumbs, *slide, first, i, &masked, looker) {
                    begin(&mut slides, thumbs[onset(thumbs, *slide, first, came, &masked, looker)].ns, thumbs[came].ns, false);
                    slides.last_mut().expect("begun above").still_ns = thumbs[last].ns;
                    (before, first) = (last, last + 1);
                }
                begin(&mut slides, thumbs[onset(thumbs, before, first, i, &masked, looker)].ns, thumb.ns, false);
                standing = Some((rest, moving));
            }
            None => {
                // The zones of a film that has just ended count as moving for some seconds more.
                let earliest = slides.last().filter(|s| s.moving).map_or(first, |film| {
                    let same = |t: &&&Thumb| t.ns > film.start_ns && !looker.compare(thumb, t, &[0; 3]).visible();
                    first - thumbs[..first].iter().rev().take_while(same).count()
                });
                begin(&mut slides, thumbs[earliest].ns, thumb.ns, false);
                standing = Some((rest, moving));
            }
        }
        slides.last_mut().expect("a standing slide is in the list").still_ns = thumbs[rest].ns;
        departed = None;
    }
    if let Some(first) = slides.first_mut() {
        first.start_ns = first.start_ns.max(from_ns);
    }
    let starts: Vec<u64> = slides.iter().map(|s| s.start_ns).collect();
    for (i, slide) in slides.iter_mut().enumerate() {
        slide.end_ns = slide.end_ns.min(starts.get(i + 1).copied().unwrap_or(to_ns));
        slide.settled_ns = slide.settled_ns.clamp(slide.start_ns, slide.end_ns);
        // The last thumb of a rest may be of what came after it: black, a film.
        if slide.still_ns >= slide.end_ns {
            slide.still_ns = slide.settled_ns;
        }
        slide.steps_ns.retain(|s| (slide.start_ns..slide.end_ns).contains(s));
    }
    slides.retain(|s| s.end_ns > s.start_ns);
    slides
}

/// The first and the last thumb of a slide between the one that stood and the one that came to rest: it was there as long as what
/// rests, but something small on it came or went meanwhile. The first of them, where there are more.
fn brief(thumbs: &[&Thumb], stood: usize, first: usize, last: usize, masked: &Zones, looker: &Looker) -> Option<(usize, usize)> {
    let compare = |a: usize, b: usize| looker.compare(thumbs[a], thumbs[b], masked);
    let hold = |i: usize| {
        let end = thumbs[i].ns + REST_NS;
        let held = (i + 1..last).take_while(|j| thumbs[*j].ns < end).count();
        (end <= thumbs[last].ns && (i + 1..=i + held).all(|j| compare(i, j).little())).then_some((i, i + held))
    };
    (first..last).filter_map(hold).find(|(i, end)| compare(stood, *i).another() && compare(*end, last).another())
}

/// The thumb from `first` to `last` with which a change of what stood begins in earnest.
fn onset(thumbs: &[&Thumb], stood: usize, first: usize, last: usize, masked: &Zones, looker: &Looker) -> usize {
    let changed = |i: usize| looker.compare(thumbs[stood], thumbs[i], masked).changed as f64;
    let enough = ONSET * changed(last);
    (first..last).rev().find(|i| changed(*i) < enough).map_or(first, |before| before + 1)
}

fn begin(slides: &mut Vec<Slide>, start_ns: u64, settled_ns: u64, moving: bool) {
    slides.push(Slide { start_ns, settled_ns, end_ns: u64::MAX, still_ns: settled_ns, steps_ns: Vec::new(), moving });
}

/// A picture with a moving part is a slide with a speaker where the rest is drawn, not filmed.
const DRAWN: f64 = 0.35;
/// Zones that move at most where anything that stands counts as a slide.
const STILL: f64 = 0.08;

fn slide_share(thumbs: &[&Thumb], bins: &Bins, looker: &Looker, to_ns: u64) -> f64 {
    let (mut slide, mut all) = (0u64, 0u64);
    for (i, thumb) in thumbs.iter().enumerate() {
        let end = thumbs.get(i + 1).map_or(to_ns, |t| t.ns).max(thumb.ns);
        let moving = bins.moving_at(thumb.ns);
        let share = share(moving);
        let stands = share < STILL || share < MOTION && looker.flatness(thumb, moving) >= DRAWN;
        all += end - thumb.ns;
        slide += if stands && !bins.motion_at(thumb.ns) { end - thumb.ns } else { 0 };
    }
    if all == 0 { 0.0 } else { slide as f64 / all as f64 }
}
