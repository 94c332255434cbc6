//! Cues that a player can show one after another: in order, inside the lecture, none empty, none of no length, none over the
//! next.

use super::parse::Raw;
use super::{Cue, Notes};

/// A cue that no length is given for stays for a second, or as long as it takes to read.
const LEAST_MS: u64 = 1000;
/// Cues that begin so soon after each other are one.
const TOGETHER_MS: u64 = 300;
/// Quicker than this nobody reads: 25 characters a second is half as much again as broadcasters allow adults.
const MOST_CHARACTERS_A_SECOND: u64 = 25;
const MOST_LINES: usize = 2;

pub(super) fn repair(raw: &[Raw], from_ms: u64, length_ms: u64, repairs: &mut Notes, warnings: &mut Notes) -> Vec<Cue> {
    let mut cues: Vec<Cue> = Vec::new();
    for r in raw {
        if r.lines.is_empty() {
            repairs.add("a cue without text was left out", r.line);
            continue;
        }
        cues.push(Cue { start_ms: r.start_ms, end_ms: r.end_ms, settings: r.settings.clone(), lines: r.lines.clone(), line: r.line });
    }
    if let Some(i) = (1..cues.len()).find(|i| cues[*i].start_ms < cues[i - 1].start_ms) {
        repairs.add("cues out of order were sorted", cues[i].line);
        cues.sort_by_key(|c| c.start_ms);
    }
    for i in 0..cues.len() {
        if cues[i].end_ms <= cues[i].start_ms {
            repairs.add("a cue that ends before it begins, or at once, was given a length", cues[i].line);
            let next = cues[i + 1..].iter().map(|c| c.start_ms).find(|s| *s > cues[i].start_ms).unwrap_or(u64::MAX);
            let reading = characters(&cues[i]) * 1000 / 15;
            cues[i].end_ms = (cues[i].start_ms + reading.max(LEAST_MS)).min(next);
        }
    }
    let mut apart = one_at_a_time(cues, repairs);
    apart.retain_mut(|c| inside(c, from_ms, length_ms, repairs));
    for c in &apart {
        if c.lines.len() > MOST_LINES {
            warnings.add("a cue has more than two lines: it covers the slide", c.line);
        }
        if characters(c) * 1000 > MOST_CHARACTERS_A_SECOND * (c.end_ms - c.start_ms) {
            warnings.add("a cue has more than 25 characters a second: it is gone before it is read", c.line);
        }
    }
    apart
}

/// Ends each cue where the next begins; those that begin together become one.
fn one_at_a_time(cues: Vec<Cue>, repairs: &mut Notes) -> Vec<Cue> {
    let mut out: Vec<Cue> = Vec::new();
    for cue in cues {
        match out.last_mut() {
            Some(last) if last.end_ms > cue.start_ms && cue.start_ms - last.start_ms < TOGETHER_MS => {
                repairs.add("cues that begin together were joined", cue.line);
                last.end_ms = last.end_ms.max(cue.end_ms);
                if last.lines != cue.lines {
                    last.lines.extend(cue.lines);
                }
            }
            last => {
                if let Some(last) = last.filter(|l| l.end_ms > cue.start_ms) {
                    repairs.add("a cue that overlaps the next was shortened", last.line);
                    last.end_ms = cue.start_ms;
                }
                out.push(cue);
            }
        }
    }
    out
}

/// Moves a cue to the lecture's clock; false where nothing of it is in the lecture.
fn inside(cue: &mut Cue, from_ms: u64, length_ms: u64, repairs: &mut Notes) -> bool {
    let end = from_ms.saturating_add(length_ms);
    if cue.end_ms <= from_ms || cue.start_ms >= end {
        let what = if cue.start_ms >= end {
            "a cue after the lecture's end was left out"
        } else {
            "a cue before the lecture's start was left out"
        };
        repairs.add(what, cue.line);
        return false;
    }
    if cue.end_ms > end {
        repairs.add("a cue that goes past the lecture's end was shortened", cue.line);
    }
    cue.start_ms = cue.start_ms.saturating_sub(from_ms);
    cue.end_ms = cue.end_ms.min(end) - from_ms;
    true
}

/// Of text, markup aside.
fn characters(cue: &Cue) -> u64 {
    let mut inside = false;
    let shown = |c: &char| {
        let was = inside;
        inside = (was || *c == '<') && *c != '>';
        !was && *c != '<'
    };
    cue.lines.join(" ").chars().filter(shown).count() as u64
}
