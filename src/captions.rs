//! Captions as authors have them (WebVTT or SRT, of several encodings, by hand or by machine) to WebVTT that every player
//! takes. Pure: bytes in, text out, and a sentence for everything that was put right.
//!
//! ```text
//! bytes --decode--> text --parse--> cues --repair (and fit to the lecture)--> cues --webvtt--> c-<language>.vtt
//! ```

mod decode;
mod parse;
mod repair;

use crate::error::{Error, Kind, Result};
use crate::units::Digest;
use std::fmt::Write;

/// An hour of dense captions is 80 kB; beyond this a file is no captions file.
pub const MOST_BYTES: usize = 16 << 20;

/// One caption. Times are milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cue {
    pub start_ms: u64,
    pub end_ms: u64,
    /// WebVTT cue settings, checked; empty in most files.
    pub settings: String,
    /// WebVTT cue text: no empty line, no `-->`, `&` and `<` escaped where they are no markup.
    pub lines: Vec<String>,
    /// Of the author's file, from 1; for messages.
    pub line: usize,
}

/// An author's file that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Captions {
    /// BCP 47.
    pub language: String,
    /// The file's name, for messages.
    pub name: String,
    /// Of the author's bytes: what decides whether a lecture's captions have changed.
    pub sha256: Digest,
    /// In the file's order and on the recording's clock.
    cues: Vec<parse::Raw>,
    repairs: Notes,
}

/// Captions on the lecture's clock, ready to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    /// By start; none overlaps the next.
    pub cues: Vec<Cue>,
    /// Sentences: what was put right.
    pub repairs: Vec<String>,
    /// Sentences: what makes them hard to read.
    pub warnings: Vec<String>,
}

/// Reads a captions file. `BadMedia` where it cannot be read as captions at all, with the line at which that shows.
pub fn read(language: &str, name: &str, bytes: &[u8]) -> Result<Captions> {
    let hopeless = |why: String| {
        Error::new(Kind::BadMedia, format!("{name}{why}")).hint("captions are WebVTT or SRT files, in UTF-8, UTF-16 or Windows-1258")
    };
    if bytes.len() > MOST_BYTES {
        return Err(hopeless(format!(" has {} MB; no captions file is that long", bytes.len() >> 20)));
    }
    let mut repairs = Notes::default();
    let text = decode::text(bytes, &mut repairs).map_err(hopeless)?;
    let cues = parse::cues(&text, &mut repairs).map_err(hopeless)?;
    Ok(Captions { language: language.into(), name: name.into(), sha256: Digest::of(bytes), cues, repairs })
}

impl Captions {
    /// On the clock of a lecture that begins at `from_ms` of the recording and lasts `length_ms`.
    pub fn fit(&self, from_ms: u64, length_ms: u64) -> Fitted {
        let (mut repairs, mut warnings) = (self.repairs.clone(), Notes::default());
        let cues = repair::repair(&self.cues, from_ms, length_ms, &mut repairs, &mut warnings);
        Fitted { cues, repairs: repairs.sentences(&self.name), warnings: warnings.sentences(&self.name) }
    }
}

/// A whole WebVTT file. Its cues' clock is that of the CMAF tracks, which begin at 0: that is what X-TIMESTAMP-MAP says
/// (RFC 8216bis 3.1.4).
pub fn webvtt(cues: &[Cue]) -> String {
    let mut out = String::from("WEBVTT\nX-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:0\n");
    for cue in cues {
        let gap = if cue.settings.is_empty() { "" } else { " " };
        let _ = writeln!(out, "\n{} --> {}{gap}{}\n{}", clock(cue.start_ms), clock(cue.end_ms), cue.settings, cue.lines.join("\n"));
    }
    out
}

fn clock(ms: u64) -> String {
    format!("{:02}:{:02}:{:02}.{:03}", ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000)
}

/// What was found, by kind: how often, and at which line first.
#[derive(Debug, Clone, Default, PartialEq)]
struct Notes(Vec<(&'static str, usize, usize)>);

impl Notes {
    fn add(&mut self, what: &'static str, line: usize) {
        match self.0.iter_mut().find(|n| n.0 == what) {
            Some(known) => {
                known.1 += 1;
                known.2 = known.2.min(line);
            }
            None => self.0.push((what, 1, line)),
        }
    }
    fn sentences(&self, name: &str) -> Vec<String> {
        let one = |(what, count, line): &(&str, usize, usize)| match (count, line) {
            (_, 0) => format!("{name}: {what}"),
            (1, line) => format!("{name}: {what} (line {line})"),
            (n, line) => format!("{name}: {what} ({n} times, first at line {line})"),
        };
        self.0.iter().map(one).collect()
    }
}

#[cfg(test)]
mod tests;
