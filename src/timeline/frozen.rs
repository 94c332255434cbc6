//! Pictures that are stuck. A slide stands by nature; a camera never gives the same picture twice, since its noise differs. Where
//! it does so for seconds, the signal is lost or the recorder repeats itself.
//!
//! Told by three things together: the picture was alive all over; then hardly anything of it changes, not by a level; and it is
//! what was to be seen before. The last tells a frozen camera from a slide or a photograph that follows a film.

use super::features::{Seen, Thumb, ZONES};
use super::looker::Looker;
use super::zones::{has, share};

/// Shorter is a recorder that hiccups.
const LEAST_NS: u64 = 4_000_000_000;
/// A picture in which so many zones stir is a live camera's or a key picture. Of five cameras every zone but 45 at most stirred in half of the
/// pictures; of one that was stuck none, though its codec went on refining here and there.
const LOUD: f64 = 0.3;
/// Alive is where half of the pictures of so long are loud: key pictures come singly.
const SINGLY_NS: u64 = 500_000_000;
/// The share of blocks that a key picture changes visibly at most. More is another picture.
const POP: f64 = 0.02;
/// A codec refines a picture for as long after it stopped.
const REFINED_NS: u64 = 3_000_000_000;
/// What was alive is looked for in as many nanoseconds before ...
const BEFORE_NS: u64 = 5_000_000_000;
/// ... of which there must be pictures for as many at least.
const KNOWN_NS: u64 = 3_000_000_000;
/// A zone is alive where something in it changes in this share of the pictures ...
const OFTEN: f64 = 0.5;
/// ... and the whole picture is where so many of the zones are. A film in a slide, or a speaker beside one, is less.
const ALIVE: f64 = 0.6;
/// Compared is the picture of so long before, when nothing can have begun to fade into what stands.
const FADE_NS: u64 = 1_500_000_000;
/// The share of the picture that may differ by then: the speaker, not the room.
const OTHER: f64 = 0.5;

/// Spans in which the picture is stuck, in order; pictures and thumbs in order of time.
pub(super) fn find(pictures: &[Seen], thumbs: &[&Thumb], looker: &Looker, to_ns: u64) -> Vec<(u64, u64)> {
    let loud: Vec<bool> = pictures.iter().map(|p| share(&p.stirred) >= LOUD).collect();
    let blocks = (4 * looker.columns * looker.rows) as f64;
    let shows = |i: &usize| {
        let soon = pictures[*i..].iter().take_while(|p| p.ns < pictures[*i].ns + SINGLY_NS).count();
        let often = loud[*i..*i + soon].iter().filter(|l| **l).count() * 2 >= soon;
        loud[*i] && often || pictures[*i].changed as f64 > POP * blocks
    };
    let shown: Vec<usize> = (0..pictures.len()).filter(shows).collect();
    let mut spans = Vec::new();
    for (n, last) in shown.iter().enumerate() {
        let end_ns = shown.get(n + 1).map_or(to_ns, |next| pictures[*next].ns);
        if end_ns.saturating_sub(pictures[*last].ns) < LEAST_NS {
            continue;
        }
        // Since when nothing new is to be seen: what came after it is the codec's.
        let new = pictures[..=*last].iter().rposition(Seen::kept).filter(|i| pictures[*last].ns - pictures[*i].ns <= REFINED_NS);
        let first = new.unwrap_or(*last);
        if alive(&pictures[..=first]) && resembles(thumbs, looker, pictures[first].ns) {
            spans.push((pictures[first].ns, end_ns));
        }
    }
    spans
}

/// Nearly all zones changed in most of the pictures up to the last.
fn alive(pictures: &[Seen]) -> bool {
    let end_ns = pictures.last().map_or(0, |p| p.ns);
    let before = &pictures[pictures.partition_point(|p| p.ns + BEFORE_NS < end_ns)..];
    let often = |zone: &usize| before.iter().filter(|p| has(&p.stirred, *zone)).count() as f64 >= OFTEN * before.len() as f64;
    let known = before.first().is_some_and(|p| end_ns - p.ns >= KNOWN_NS);
    known && (0..ZONES).filter(often).count() as f64 >= ALIVE * ZONES as f64
}

/// What stands from `start_ns` on is mostly what stood a while before.
fn resembles(thumbs: &[&Thumb], looker: &Looker, start_ns: u64) -> bool {
    let stuck = thumbs[..thumbs.partition_point(|t| t.ns <= start_ns + FADE_NS)].last();
    let before = thumbs[..thumbs.partition_point(|t| t.ns + FADE_NS < start_ns)].last();
    stuck.zip(before).is_some_and(|(stuck, before)| {
        let found = looker.compare(before, stuck, &[0; 3]);
        found.changed as f64 <= OTHER * found.blocks as f64
    })
}
