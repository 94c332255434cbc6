//! Text to cues: one tolerant reader for WebVTT and SRT, since files of either kind come with the other's faults.

use super::Notes;

/// A cue as it stands in the file: times may be in any order, text is WebVTT cue text already.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Raw {
    pub start_ms: u64,
    pub end_ms: u64,
    pub settings: String,
    pub lines: Vec<String>,
    pub line: usize,
}

/// `Err` is the end of a sentence that begins with the file's name.
pub(super) fn cues(text: &str, repairs: &mut Notes) -> Result<Vec<Raw>, String> {
    let mut lines: Vec<(usize, &str)> = (1..).zip(text.split('\n')).map(|(n, l)| (n, l.trim_end())).collect();
    while lines.last().is_some_and(|(_, l)| l.is_empty()) {
        lines.pop();
    }
    let Some(first) = lines.iter().position(|(_, l)| !l.trim().is_empty()) else { return Err(" is empty".into()) };
    let (first_line, first_text) = lines[first];
    let vtt = first_text.trim_start().strip_prefix("WEBVTT").is_some_and(|r| r.is_empty() || r.starts_with([' ', '\t']));
    let mut at = first;
    if vtt {
        // The header goes to the first empty line, or to the first cue where that is missing.
        at += 1;
        while at < lines.len() && !lines[at].1.trim().is_empty() && !lines[at].1.contains("-->") {
            at += 1;
        }
    }
    let mut reader = Reader { vtt, repairs, cues: Vec::new(), unreadable: Vec::new(), open: false };
    while at < lines.len() {
        at = reader.block(&lines, at);
    }
    let (cues, unreadable) = (reader.cues, reader.unreadable);
    match unreadable.first() {
        Some(line) if unreadable.len() > cues.len() => Err(format!(":{line}: the times of this cue cannot be read")),
        _ if cues.is_empty() && vtt => Err(format!(":{first_line}: there is no cue in this file")),
        _ if cues.is_empty() => Err(format!(":{first_line}: this is neither WebVTT (no WEBVTT line) nor SRT (no cue times)")),
        _ => {
            for line in unreadable {
                repairs.add("a cue whose times cannot be read was left out", line);
            }
            Ok(cues)
        }
    }
}

struct Reader<'a> {
    vtt: bool,
    repairs: &'a mut Notes,
    cues: Vec<Raw>,
    /// Lines with an arrow and no times where times should be.
    unreadable: Vec<usize>,
    /// Text after an empty line may still belong to the last cue.
    open: bool,
}

impl Reader<'_> {
    /// Reads what begins at line `at`; where the next begins.
    fn block(&mut self, lines: &[(usize, &str)], at: usize) -> usize {
        let (number, line) = lines[at];
        if line.trim().is_empty() {
            return at + 1;
        }
        let end = |from: usize| (from..lines.len()).find(|i| lines[*i].1.trim().is_empty()).unwrap_or(lines.len());
        let word = line.split_whitespace().next().unwrap_or_default();
        if self.vtt && matches!(word, "NOTE" | "STYLE" | "REGION") && times(line).is_none() {
            if word != "NOTE" {
                self.repairs.add("styles and regions were left out: the player's own look is used", number);
            }
            self.open = false;
            return end(at);
        }
        if let Some(found) = times(line) {
            return self.cue(lines, at, found);
        }
        // A number in front of the times; in WebVTT also a name.
        if let Some((_, next)) = lines.get(at + 1)
            && let Some(found) = times(next)
            && if self.vtt { !line.contains("-->") } else { line.trim().bytes().all(|b| b.is_ascii_digit()) }
        {
            return self.cue(lines, at + 1, found);
        }
        // Times that are none, with their number in front or without.
        let numbered = line.trim().bytes().all(|b| b.is_ascii_digit());
        let bad =
            if line.contains("-->") { Some(number) } else { lines.get(at + 1).filter(|(_, l)| numbered && l.contains("-->")).map(|l| l.0) };
        if let Some(bad) = bad {
            self.unreadable.push(bad);
            self.open = false;
            return end(at);
        }
        match self.cues.last_mut().filter(|_| self.open && !self.vtt) {
            Some(last) => {
                self.repairs.add("an empty line inside a cue was removed", number);
                let mut next = at;
                while next < lines.len() && !lines[next].1.trim().is_empty() && !begins(lines, next) {
                    last.lines.extend(cue_text(lines[next], self.vtt, self.repairs));
                    next += 1;
                }
                next.max(at + 1)
            }
            None => {
                self.repairs.add("text that belongs to no cue was left out", number);
                // No further than the next cue, where the empty line before it is missing.
                (at + 1..lines.len()).find(|i| lines[*i].1.trim().is_empty() || begins(lines, *i)).unwrap_or(lines.len())
            }
        }
    }

    fn cue(&mut self, lines: &[(usize, &str)], at: usize, found: Times) -> usize {
        let number = lines[at].0;
        for (wrong, what) in [
            (
                if self.vtt { found.comma } else { found.dot },
                if self.vtt { "commas in times became dots" } else { "dots in times became commas" },
            ),
            (found.no_hours && !self.vtt, "missing hours of times were put in"),
            (found.no_millis, "missing milliseconds of times were put in"),
            (found.odd, "misspelt times or arrows were put right"),
        ] {
            if wrong {
                self.repairs.add(what, number);
            }
        }
        let mut text = Vec::new();
        let mut next = at + 1;
        while next < lines.len() && !lines[next].1.trim().is_empty() {
            if begins(lines, next) {
                self.repairs.add("a missing empty line between cues was put in", lines[next].0);
                break;
            }
            text.extend(cue_text(lines[next], self.vtt, self.repairs));
            next += 1;
        }
        let settings = if self.vtt { settings(found.rest) } else { String::new() };
        if settings.split_whitespace().count() != found.rest.split_whitespace().count() {
            self.repairs.add("cue settings that no player knows were left out", number);
        }
        self.cues.push(Raw { start_ms: found.start_ms, end_ms: found.end_ms, settings, lines: text, line: number });
        self.open = true;
        next
    }
}

/// Whether a cue begins at this line: its times, or a number and then its times.
fn begins(lines: &[(usize, &str)], at: usize) -> bool {
    let numbered = || lines[at].1.trim().bytes().all(|b| b.is_ascii_digit()) && lines.get(at + 1).is_some_and(|(_, l)| times(l).is_some());
    times(lines[at].1).is_some() || numbered()
}

/// The times of a cue.
struct Times<'a> {
    start_ms: u64,
    end_ms: u64,
    /// What stands behind them.
    rest: &'a str,
    comma: bool,
    dot: bool,
    no_hours: bool,
    no_millis: bool,
    odd: bool,
}

/// A line of times, however it is spelt: `1:02:03,4 -> 1:02:05`.
fn times(line: &str) -> Option<Times<'_>> {
    let (start, rest) = time(line.trim_start())?;
    let rest = rest.trim_start();
    let arrow = ["-->", "--&gt;", "——>", "—>", "–>", "->", "=>", "→"].into_iter().find(|a| rest.starts_with(a))?;
    let (end, rest) = time(rest[arrow.len()..].trim_start())?;
    // Behind the times comes a space or nothing.
    if rest.starts_with(|c: char| !c.is_whitespace()) {
        return None;
    }
    Some(Times {
        start_ms: start.ms,
        end_ms: end.ms,
        rest: rest.trim(),
        comma: start.comma || end.comma,
        dot: start.dot || end.dot,
        no_hours: start.no_hours || end.no_hours,
        no_millis: start.no_millis || end.no_millis,
        odd: start.odd || end.odd || arrow != "-->",
    })
}

struct Time {
    ms: u64,
    comma: bool,
    dot: bool,
    no_hours: bool,
    no_millis: bool,
    odd: bool,
}

/// `[h:]mm:ss[.mmm]` at the start of `text`, and what follows it. Fractions may have any number of digits.
fn time(text: &str) -> Option<(Time, &str)> {
    let mut rest = text;
    let mut parts: Vec<(u64, usize)> = Vec::new();
    loop {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if digits == 0 || digits > 9 {
            return None;
        }
        parts.push((rest[..digits].parse().ok()?, digits));
        rest = &rest[digits..];
        match rest.strip_prefix(':').map(|r| r.strip_prefix(' ').unwrap_or(r)) {
            Some(after) if parts.len() < 3 => rest = after,
            _ => break,
        }
    }
    let (hours, minutes, seconds) = match parts[..] {
        [(h, _), (m, _), (s, _)] => (h, m, s),
        [(m, _), (s, _)] => (0, m, s),
        _ => return None,
    };
    if minutes > 59 && parts.len() == 3 || seconds > 59 || hours > 9_999 || minutes > 599 {
        return None;
    }
    let mark = rest.chars().next().filter(|c| matches!(c, '.' | ','));
    let fraction = mark.map_or("", |_| &rest[1..]);
    let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
    if mark.is_some() && digits > 0 {
        rest = &fraction[digits..];
    }
    let thousandths: u64 = format!("{:0<3}", &fraction[..digits]).get(..3).and_then(|t| t.parse().ok()).unwrap_or(0);
    let odd = digits > 0 && digits != 3 || parts.iter().skip(1).any(|(_, n)| *n != 2) || parts.len() == 2 && parts[0].1 != 2;
    let time = Time {
        ms: ((hours * 60 + minutes) * 60 + seconds) * 1000 + thousandths,
        comma: mark == Some(',') && digits > 0,
        dot: mark == Some('.') && digits > 0,
        no_hours: parts.len() == 2,
        no_millis: digits == 0,
        odd,
    };
    Some((time, rest))
}

/// Known WebVTT settings with harmless values (WebVTT 3.5).
fn settings(text: &str) -> String {
    let known = |s: &&str| {
        s.split_once(':').is_some_and(|(name, value)| {
            matches!(name, "vertical" | "line" | "position" | "size" | "align")
                && !value.is_empty()
                && value.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '%' | '.' | ',' | '-'))
                && !value.contains("--")
        })
    };
    text.split_whitespace().filter(known).collect::<Vec<_>>().join(" ")
}

/// One line of cue text as WebVTT has it; nothing where nothing of it is left.
fn cue_text((number, line): (usize, &str), vtt: bool, repairs: &mut Notes) -> Option<String> {
    let mut out = String::with_capacity(line.len());
    let mut rest = line.trim();
    while let Some(c) = rest.chars().next() {
        let step = match c {
            '<' => match tag(rest, vtt) {
                Tag::Keep(text, taken) => {
                    out.push_str(&text);
                    taken
                }
                Tag::Drop(taken) => {
                    repairs.add("markup that WebVTT does not have was left out", number);
                    taken
                }
                Tag::None => {
                    out.push_str("&lt;");
                    1
                }
            },
            // Positions of other formats: {\an8}, {y:i}.
            '{' if rest[1..].starts_with('\\') => match rest.find('}') {
                Some(end) => {
                    repairs.add("markup that WebVTT does not have was left out", number);
                    end + 1
                }
                None => {
                    out.push('{');
                    1
                }
            },
            '&' => {
                out.push_str(if entity(rest) { "&" } else { "&amp;" });
                1
            }
            c => {
                out.push(c);
                c.len_utf8()
            }
        };
        rest = &rest[step..];
    }
    if out.contains("-->") {
        repairs.add("an arrow in a cue's text was replaced: players take it for times", number);
        while out.contains("-->") {
            out = out.replace("-->", "→");
        }
    }
    let out = out.trim();
    (!out.is_empty()).then(|| out.to_string())
}

enum Tag {
    /// What it becomes, and how many bytes it was.
    Keep(String, usize),
    Drop(usize),
    None,
}

/// The markup at the start of `text`, a `<`.
fn tag(text: &str, vtt: bool) -> Tag {
    let Some(end) = text.find('>') else { return Tag::None };
    let inner = &text[1..end];
    let (slash, body) = inner.strip_prefix('/').map_or(("", inner), |b| ("/", b));
    let name: String = body.chars().take_while(|c| c.is_ascii_alphanumeric()).collect::<String>().to_ascii_lowercase();
    let after = &body[name.len()..];
    match name.as_str() {
        "b" | "i" | "u" if after.is_empty() => Tag::Keep(format!("<{slash}{name}>"), end + 1),
        // Classes, voices and languages carry annotations, kept as they are.
        "b" | "i" | "u" | "c" | "v" | "ruby" | "rt" | "lang" if vtt && !after.contains(['<', '&', '\n']) => {
            Tag::Keep(format!("<{slash}{name}{after}>"), end + 1)
        }
        "font" | "span" | "p" | "div" | "b" | "i" | "u" | "c" | "s" | "br" | "strong" | "em" => Tag::Drop(end + 1),
        // <00:01:02.000>: the time at which the words behind it are said; nobody shows it.
        _ if vtt && time(inner).is_some_and(|(_, rest)| rest.is_empty()) => Tag::Drop(end + 1),
        _ => Tag::None,
    }
}

fn entity(text: &str) -> bool {
    ["&amp;", "&lt;", "&gt;", "&nbsp;", "&lrm;", "&rlm;"].iter().any(|e| text.starts_with(e))
}
