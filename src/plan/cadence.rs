//! Which pictures each rung shows. Pictures that differ from nothing before them are never shown again; low rungs show fewer
//! of those that do; and no rung shows nothing for so long that players stall on it (docs/cadence.md).

use super::schedule::{Layout, Picture, Slot};
use crate::plan::Shape;
use crate::timeline::Kept;
use crate::units::MediaTime;

/// A picture of the recording that differs visibly from those before it.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    pub at: MediaTime,
    pub show: Picture,
    /// It and pictures that look the same, by lecture time, for segments that begin while it stands.
    pub likes: Likes,
    /// It changes what stands, not only what moves all the time.
    pub content: bool,
}

/// Pictures that look the same, by lecture time.
type Likes = Vec<(MediaTime, Picture)>;

/// The share of a moving recording's pictures that must show nothing new for them to be left out.
const WORTH_DROPPING: f64 = 0.4;

/// What of a part is worth showing at all, in order; the first at its start.
pub fn worth_showing(layout: &Layout) -> Vec<Shown> {
    let part = layout.part;
    let Some(_) = part.pictures else { return vec![Shown { at: part.offset, show: Picture::Card, likes: Vec::new(), content: true }] };
    let all = &layout.source.frames_ns;
    let changed: Vec<u64>;
    let alone = |ns: &u64| (*ns, vec![(part.at(*ns), Picture::At(*ns))], true);
    // When, what shows it, and whether it changes what stands.
    let pictures: Vec<(u64, Likes, bool)> = match (layout.features, layout.shape) {
        (Some(_), Shape::Slides) => {
            let likes = |k: &Kept| k.shown.iter().map(|s| (part.at(s.ns), part.picture(s.ns))).collect();
            layout.timeline.kept.iter().map(|k| (k.ns, likes(k), k.content)).collect()
        }
        (Some(features), _) => {
            changed = between_changes(all, features);
            // Gaps forbid pictures predicted from both sides (`RungPlan::b_pictures`): a few dropped ones are not worth that.
            let chosen = if (changed.len() as f64) < (1.0 - WORTH_DROPPING) * all.len() as f64 { &changed } else { all };
            chosen.iter().map(alone).collect()
        }
        (None, _) => all.iter().map(alone).collect(),
    };
    // The picture that stands when the part begins: with a trim, the last one before it.
    let from = pictures.partition_point(|(ns, ..)| *ns <= part.from_ns).saturating_sub(1);
    let interval = MediaTime::HZ as f64 / layout.profile.video.max_frame_rate;
    let mut shown: Vec<Shown> = Vec::new();
    let mut due = f64::MIN;
    for (ns, likes, content) in pictures.into_iter().skip(from).take_while(|(ns, ..)| *ns < part.to_ns) {
        let at = if shown.is_empty() { part.offset } else { part.at(ns) };
        // A quarter of an interval of jitter is forgiven; two pictures in one tick are one.
        let early = (at.ticks() as f64) < due - interval / 4.0;
        if early || shown.last().is_some_and(|s| s.at >= at) {
            continue;
        }
        due = if shown.is_empty() { at.ticks() as f64 + interval } else { (due + interval).max(at.ticks() as f64 + interval / 2.0) };
        let show = likes.first().map_or(Picture::At(ns), |(_, picture)| *picture);
        shown.push(Shown { at, show, likes, content });
    }
    if shown.is_empty() {
        shown.push(Shown { at: part.offset, show: Picture::Card, likes: Vec::new(), content: true });
    }
    shown
}

/// Of all pictures those since which, or in which, something changed: the analysis may have looked at every third only.
fn between_changes(frames_ns: &[u64], features: &crate::timeline::Features) -> Vec<u64> {
    let seen = &features.pictures;
    let mut out = Vec::new();
    let mut next = 0;
    for &ns in frames_ns {
        while next < seen.len() && seen[next].ns < ns {
            next += 1;
        }
        // Behind the last picture that was looked at nothing is known.
        if seen.get(next).is_none_or(|s| s.kept()) {
            out.push(ns);
        }
    }
    // Something has to stand at the start.
    if out.first() != frames_ns.first() {
        out.splice(0..0, frames_ns.first().copied());
    }
    out
}

/// Repeats right at the start, as close as pictures may ever be. Tools that guess a frame rate from the first seconds (ffmpeg)
/// would else take a still start for one picture a second, and complain of all that comes closer.
/// Chromium does not begin to play what has less than some five pictures in all: a title card over three seconds of voice.
const OPENING: u64 = 3;
/// What is shorter than that, and has fewer pictures of its own, gets so many more.
const FEWEST: usize = 7;

/// Every picture of a part on every rung. `cuts` are the segments' starts: all rungs show a picture there.
pub fn slots(layout: &Layout, shown: &[Shown], cuts: &[MediaTime]) -> Vec<Slot> {
    let end = layout.part.end();
    let widest = (MediaTime::HZ as f64 / layout.profile.video.least_frame_rate).round() as u64;
    let mut must: Vec<MediaTime> = cuts.to_vec();
    if layout.part.offset == MediaTime::ZERO {
        let close = MediaTime::HZ as f64 / layout.profile.video.max_frame_rate;
        let opening = (1..=OPENING).map(|k| MediaTime::from_ticks((close * k as f64).round() as u64));
        // Where pictures come as close anyway nothing is added.
        let alone = |t: &MediaTime| shown.iter().skip(1).take(8).all(|s| s.at.since(*t).max(t.since(s.at)) as f64 > close * 1.5);
        must.extend(opening.filter(|t| alone(t) && cuts.get(1).copied().unwrap_or(end).since(*t) > widest / 4));
        // No closer than a sixtieth of a second, which is the most that HLS allows.
        if shown.len() < FEWEST && end.ticks() < 3 * widest {
            let more = (FEWEST as u64).min((end.ticks() * 60 / MediaTime::HZ).saturating_sub(1));
            must.extend((1..=more).map(|k| MediaTime::from_ticks(end.ticks() * k / (more + 1))));
        }
        must.sort();
        must.dedup();
    }
    let mut times: Vec<(MediaTime, u16)> = must.iter().map(|t| (*t, u16::MAX)).collect();
    // From the floor up: whatever a rung shows, those above it show.
    let mut chosen: Vec<MediaTime> = must;
    for (i, rung) in layout.rungs.iter().enumerate() {
        let apart = |rate: f64| MediaTime::HZ as f64 / rate;
        let most = rung.cadence.frame_rate.min(layout.profile.video.max_frame_rate);
        choose(&mut chosen, shown, apart(most), apart(rung.cadence.motion_frame_rate.min(most)));
        fill(&mut chosen, end, widest);
        times.extend(chosen.iter().map(|t| (*t, 1 << i)));
    }
    times.sort();
    let mut slots: Vec<Slot> = Vec::new();
    let mut stood = None;
    for (at, rungs) in times {
        let place = standing(shown, at);
        match slots.last_mut() {
            Some(last) if last.at == at => last.rungs |= rungs,
            // A segment begins with a new picture anyway: one that is like the middle of it.
            _ if let Ok(cut) = cuts.binary_search(&at) => {
                let next = cuts.get(cut + 1).copied().unwrap_or(end);
                slots.push(Slot { at, show: shown[place].near(at, next), rungs });
            }
            Some(last) if stood == Some(place) => {
                let show = last.show;
                slots.push(Slot { at, show, rungs });
            }
            _ => slots.push(Slot { at, show: shown[place].show, rungs }),
        }
        stood = Some(place);
    }
    let all = (1u32 << layout.rungs.len()).wrapping_sub(1) as u16;
    slots.iter_mut().for_each(|s| s.rungs &= all);
    slots
}

impl Shown {
    /// The picture for a segment from `start` to `end` that begins while this stands: nearest to its middle, and not before it. Of
    /// two the newer: what comes before a trim is all at its begin.
    fn near(&self, start: MediaTime, end: MediaTime) -> Picture {
        let middle = start.plus(end.since(start) / 2);
        let newer = self.likes.iter().rev().filter(|(at, _)| *at >= start);
        newer.min_by_key(|(at, _)| at.since(middle).max(middle.since(*at))).map_or(self.newest(start), |(_, picture)| *picture)
    }
    fn newest(&self, at: MediaTime) -> Picture {
        self.likes.iter().rev().find(|(t, _)| *t <= at).map_or(self.show, |(_, picture)| *picture)
    }
}

/// Place of what is seen at a time: the last picture before it.
fn standing(shown: &[Shown], at: MediaTime) -> usize {
    shown.partition_point(|s| s.at <= at).saturating_sub(1)
}

/// Adds to `chosen` the pictures that are due: `content` ticks after the one before, or `motion` where only what moves anyway
/// moved; and always the last before a pause, which is the one that stays.
fn choose(chosen: &mut Vec<MediaTime>, shown: &[Shown], content: f64, motion: f64) {
    let mut picked = Vec::new();
    let mut have = chosen.iter().copied().peekable();
    let mut last: Option<MediaTime> = None;
    // The next content picture, and the next of any kind, by place.
    let mut next_content = vec![None; shown.len()];
    for i in (1..shown.len()).rev() {
        next_content[i - 1] = if shown[i].content { Some(shown[i].at) } else { next_content[i] };
    }
    for (i, picture) in shown.iter().enumerate() {
        while let Some(at) = have.next_if(|t| *t <= picture.at) {
            last = Some(at);
        }
        if last == Some(picture.at) {
            continue;
        }
        // A quarter of an interval of jitter is forgiven.
        let since = last.map_or(f64::MAX, |l| picture.at.since(l) as f64);
        let pause = |next: Option<MediaTime>, apart: f64| next.is_none_or(|n| n.since(picture.at) as f64 >= apart);
        let any = shown.get(i + 1).map(|s| s.at);
        let due = since >= motion * 0.75 || picture.content && (since >= content * 0.75 || pause(next_content[i], content));
        if due || pause(any, motion) {
            picked.push(picture.at);
            last = Some(picture.at);
        }
    }
    chosen.extend(picked);
    chosen.sort();
    chosen.dedup();
}

/// Repeats where nothing is shown for longer than `widest`; the last keeps half of that from what follows.
fn fill(chosen: &mut Vec<MediaTime>, end: MediaTime, widest: u64) {
    let mut out: Vec<MediaTime> = Vec::with_capacity(chosen.len());
    for at in chosen.iter().copied().chain([end]) {
        while let Some(last) = out.last().copied().filter(|last| at.since(*last) > widest + widest / 2) {
            out.push(last.plus(widest));
        }
        out.push(at);
    }
    out.pop();
    *chosen = out;
}
