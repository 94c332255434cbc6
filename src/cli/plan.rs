//! `rivulet plan`: what encode would make, as a table or a JSON line.

use super::Printer;
use super::recording::Recording;
use crate::encode::Foretold;
use crate::error::Result;
use crate::plan::{Plan, Shape};
use crate::progress::Ctx;
use crate::replay::{self, OnClass};
use crate::timeline::SpanKind;
use crate::units::{Bytes, MediaTime};
use crate::voice::Measured;
use crate::voice::course::STEP_S;
use serde::Serialize;

/// Say what `encode` would make of a recording: rungs, segments, predicted bytes, time, and what learners on each kind of
/// link would meet. A few segments are encoded to predict the rest; `encode` uses them.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    recording: Recording,
    /// Encode nothing and do not listen: predicted bytes are then a rough guess from the recording's own bit rate, and how
    /// loud the voice is remains unknown.
    #[arg(long)]
    quick: bool,
}

pub async fn run(args: Args, printer: &Printer, ctx: &Ctx) -> Result<u8> {
    let (encode, work) = args.recording.open()?;
    let Foretold { plan, left_out, heard } = encode.foretold(args.quick, &work, ctx).await?;
    let (classes, broken) = match plan.voice {
        true => {
            let lecture = replay::of_plan(&plan)?;
            (replay::on_classes(&lecture, &plan.profile), replay::broken(&lecture, &plan.profile.promises))
        }
        false => {
            ctx.note(format!("{}: it has no voice; what learners on slow links would meet is not computed", plan.title));
            (Vec::new(), Vec::new())
        }
    };
    for told in broken {
        ctx.warn(format!("{} would break what profile {} promises: {told}", plan.title, plan.profile.name));
    }
    match printer.json() {
        true => printer.object(&Line { left_out: &left_out, ..Line::of(&plan, heard.as_ref(), &classes) }),
        false => printer.data(&(table(&plan, heard.as_ref(), &classes) + &left_out.iter().map(|l| format!("\n  {l}")).collect::<String>())),
    }
    Ok(0)
}

/// The `plan` line of docs/json.md.
#[derive(Serialize)]
struct Line<'a> {
    r#type: &'static str,
    digest: String,
    title: &'a str,
    profile: &'a str,
    preset: &'a str,
    shape: Shape,
    duration_s: f64,
    rungs: Vec<RungLine<'a>>,
    left_out: &'a [String],
    /// How coarse the floor of a slide lecture may be, and how that was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    floor: Option<&'a crate::plan::Floor>,
    voice: bool,
    boundaries_s: Vec<f64>,
    chunks: usize,
    predicted_cpu_s: f64,
    timeline: TimelineLine,
    classes: &'a [OnClass],
    repairs: &'a [String],
    problems: &'a [String],
}

/// What the recording shows, on the lecture's timeline.
#[derive(Serialize)]
struct TimelineLine {
    slides: Vec<SlideLine>,
    spans: Vec<SpanLine>,
    /// Where a speaker or a video moves beside or within the slides, one layout after the other.
    speakers: Vec<SpeakerLine>,
    /// The region of the layout that holds longest.
    speaker: Option<[f64; 4]>,
    /// `None` without a voice, and where it was not measured.
    sound: Option<SoundLine>,
}

#[derive(Serialize)]
struct SpeakerLine {
    start_s: f64,
    end_s: f64,
    /// x, y, width, height as fractions of the picture.
    region: [f64; 4],
}

#[derive(Serialize)]
struct SoundLine {
    lufs: f64,
    true_peak_dbtp: f64,
    /// Spans in which nobody speaks.
    silences: Vec<SilenceLine>,
    /// Seconds between two values of `loudness_lufs`.
    step_s: f64,
    loudness_lufs: Vec<f32>,
}

#[derive(Serialize)]
struct SilenceLine {
    start_s: f64,
    end_s: f64,
}

#[derive(Serialize)]
struct SlideLine {
    start_s: f64,
    /// When it has come to rest: the end of a fade.
    settled_s: f64,
    end_s: f64,
    steps_s: Vec<f64>,
    /// Not a slide: a span in which all moves.
    moving: bool,
}

#[derive(Serialize)]
struct SpanLine {
    kind: SpanKind,
    start_s: f64,
    end_s: f64,
}

/// To a thousandth.
fn rounded(seconds: f64) -> f64 {
    (seconds * 1e3).round() / 1e3
}

impl TimelineLine {
    fn of(plan: &Plan, heard: Option<&Measured>) -> Self {
        let parts = || plan.parts.iter().zip(&plan.timelines);
        let seconds = |part: &crate::plan::Part, ns: u64| rounded(part.at(ns).seconds());
        let slides = parts().flat_map(|(p, t)| {
            t.slides.iter().map(move |s| SlideLine {
                start_s: seconds(p, s.start_ns),
                settled_s: seconds(p, s.settled_ns),
                end_s: seconds(p, s.end_ns),
                steps_s: s.steps_ns.iter().map(|ns| seconds(p, *ns)).collect(),
                moving: s.moving,
            })
        });
        let spans = parts().flat_map(|(p, t)| {
            t.spans.iter().map(move |s| SpanLine { kind: s.kind, start_s: seconds(p, s.start_ns), end_s: seconds(p, s.end_ns) })
        });
        let speakers = parts().flat_map(|(p, t)| {
            t.speakers.iter().map(move |s| SpeakerLine { start_s: seconds(p, s.start_ns), end_s: seconds(p, s.end_ns), region: s.region })
        });
        let all = || plan.timelines.iter().flat_map(|t| &t.speakers);
        let longest = all().max_by_key(|s| all().filter(|o| o.region == s.region).map(|o| o.end_ns - o.start_ns).sum::<u64>());
        let total_s = plan.duration().seconds();
        let sound = heard.map(|heard| SoundLine {
            lufs: heard.source_lufs,
            true_peak_dbtp: heard.source_peak_dbtp,
            silences: heard
                .course
                .silences(heard.source_lufs, total_s)
                .into_iter()
                .map(|(start, end)| SilenceLine { start_s: rounded(start), end_s: rounded(end) })
                .collect(),
            step_s: STEP_S,
            loudness_lufs: heard.course.values().to_vec(),
        });
        TimelineLine {
            slides: slides.collect(),
            spans: spans.collect(),
            speakers: speakers.collect(),
            speaker: longest.map(|s| s.region),
            sound,
        }
    }
}

/// Characters in a line of the strip.
const STRIP: usize = 96;

/// The lecture as two lines of characters. Of the picture: `|` a slide begins, `+` a build, and what goes on between. Of the
/// voice: where nobody speaks, and where it is much softer or louder than as a whole.
fn strip(plan: &Plan, heard: Option<&Measured>) -> String {
    let line = TimelineLine::of(plan, heard);
    let total = plan.duration().seconds().max(0.1);
    let mut out = String::new();
    if plan.shape != Shape::Card {
        let slides = line.slides.iter().filter(|s| !s.moving).count();
        let steps: usize = line.slides.iter().map(|s| s.steps_s.len()).sum();
        out += &format!("  [{}]\n  {slides} slide(s) |, {steps} build(s) +   ", picture_strip(&line, total));
        out += ". still  - pointer  s speaker  # motion  = frozen\n";
    }
    if let (Some(sound), Some(heard)) = (&line.sound, heard) {
        // Not `sum`: that of none is -0.
        let silent = sound.silences.iter().fold(0.0, |sum, s| sum + s.end_s - s.start_s);
        out += &format!("  [{}]\n  {:.1} LUFS, peak {:.1} dBTP", sound_strip(sound, heard, total), sound.lufs, sound.true_peak_dbtp);
        out += &format!(", {} silence(s) of {silent:.0} s _   , softer  : as the whole  ! louder\n", sound.silences.len());
    }
    out
}

fn picture_strip(line: &TimelineLine, total: f64) -> String {
    let place = |s: f64| ((s / total * STRIP as f64) as usize).min(STRIP - 1);
    let mut cells = vec!['.'; STRIP];
    for span in &line.spans {
        let mark = match span.kind {
            SpanKind::Still => '.',
            SpanKind::Pointer => '-',
            SpanKind::Speaker => 's',
            SpanKind::Motion => '#',
            SpanKind::Frozen => '=',
            SpanKind::Black => ' ',
        };
        let end = if span.end_s >= total { STRIP } else { place(span.end_s).max(place(span.start_s) + 1) };
        cells[place(span.start_s)..end].fill(mark);
    }
    line.slides.iter().flat_map(|s| &s.steps_s).for_each(|s| cells[place(*s)] = '+');
    line.slides.iter().filter(|s| !s.moving).for_each(|s| cells[place(s.start_s)] = '|');
    cells.into_iter().collect()
}

/// Differs by so much from the whole: clearly softer, or louder, to anybody.
const CLEARLY_LU: f64 = 6.0;

fn sound_strip(sound: &SoundLine, heard: &Measured, total: f64) -> String {
    let cell = |i: usize| {
        let (from, to) = (i as f64 / STRIP as f64 * total, (i + 1) as f64 / STRIP as f64 * total);
        let silent: f64 = sound.silences.iter().map(|s| (s.end_s.min(to) - s.start_s.max(from)).max(0.0)).sum();
        match heard.course.mean(from, to) {
            _ if silent * 2.0 > to - from => '_',
            None => '_',
            Some(lufs) if lufs < sound.lufs - CLEARLY_LU => ',',
            Some(lufs) if lufs > sound.lufs + CLEARLY_LU => '!',
            Some(_) => ':',
        }
    };
    (0..STRIP).map(cell).collect()
}

#[derive(Serialize)]
struct RungLine<'a> {
    name: &'a str,
    codec: crate::profile::Codec,
    width: u32,
    height: u32,
    frame_rate: f64,
    crf: u32,
    max_bps: u64,
    buffer_ms: u64,
    predicted_bytes: u64,
}

impl<'a> Line<'a> {
    fn of(plan: &'a Plan, heard: Option<&Measured>, classes: &'a [OnClass]) -> Self {
        let rung = |r: &'a crate::plan::RungPlan| RungLine {
            name: &r.name,
            codec: r.codec,
            width: r.size.width,
            height: r.size.height,
            frame_rate: r.frame_rate,
            crf: r.crf,
            max_bps: r.max_bps,
            buffer_ms: r.buffer_ms,
            predicted_bytes: r.predicted_bytes,
        };
        Line {
            r#type: "plan",
            digest: plan.digest.to_string(),
            title: &plan.title,
            profile: &plan.profile.name,
            preset: &plan.profile.video.preset,
            shape: plan.shape,
            duration_s: plan.duration().seconds(),
            rungs: plan.rungs.iter().map(rung).collect(),
            left_out: &[],
            floor: plan.floor.as_ref(),
            voice: plan.voice,
            boundaries_s: plan.boundaries.iter().map(|b| b.seconds()).collect(),
            chunks: plan.chunks.len(),
            predicted_cpu_s: plan.predicted_cpu_s,
            timeline: TimelineLine::of(plan, heard),
            classes,
            repairs: &plan.repairs,
            problems: &plan.problems,
        }
    }
}

fn table(plan: &Plan, heard: Option<&Measured>, classes: &[OnClass]) -> String {
    let seconds = plan.duration().seconds();
    let per_hour = |bytes: u64| bytes as f64 / seconds.max(0.1) * 3600.0 / 1e6;
    let mut out = format!(
        "{}: {}, profile {}, {} segments of {:.1} s, {} chunk(s), about {:.0} CPU seconds\n\n",
        plan.title,
        plan.duration(),
        plan.profile.name,
        plan.segments(),
        seconds / plan.segments().max(1) as f64,
        plan.chunks.len(),
        plan.predicted_cpu_s
    );
    let strip = strip(plan, heard);
    if !strip.is_empty() {
        out += &format!("{strip}\n");
    }
    out += &format!("  {:<8}{:>11}{:>10}{:>6}{:>12}{:>12}{:>12}\n", "rung", "size", "pict./s", "crf", "at most", "predicted", "MB/hour");
    for r in &plan.rungs {
        let kbps = format!("{} kbit/s", r.max_bps / 1000);
        out += &format!(
            "  {:<8}{:>11}{:>10.1}{:>6}{:>12}{:>12}{:>12.1}\n",
            r.name,
            r.size.to_string(),
            r.frame_rate,
            r.crf,
            kbps,
            Bytes(r.predicted_bytes).to_string(),
            per_hour(r.predicted_bytes)
        );
    }
    if plan.voice {
        for (name, rate) in [("opus", plan.profile.voice.opus.bitrate), ("aac", plan.profile.voice.aac.bitrate)] {
            let bytes = (rate.bps() as f64 * seconds / 8.0) as u64;
            out += &format!(
                "  {:<8}{:>11}{:>10}{:>6}{:>12}{:>12}{:>12.1}\n",
                name,
                "voice",
                "",
                "",
                format!("{rate}bit/s"),
                Bytes(bytes).to_string(),
                per_hour(bytes)
            );
        }
    }
    if let Some(floor) = &plan.floor {
        let misread = floor.misread.map(|m| format!(", {:.1} % of the letters misread that are read in the source", m * 100.0));
        let figure = floor.figure_score.map(|s| format!(", the worst figure scores {s:.0} (SSIMULACRA2)"));
        let found = misread.into_iter().chain(figure).collect::<String>();
        out += &format!("\n  floor at CRF {}: {} slide(s) looked at{found}\n", floor.crf, floor.samples);
    }
    if !classes.is_empty() {
        out += &format!("\n  {:<10}{:>9}{:>9}{:>12}   {}\n", "link", "start", "stalls", "data", "with video mostly");
    }
    for c in classes {
        let start = c.start_s.map_or("never".to_string(), |s| format!("{s:.1} s"));
        let broken = if c.kept == Some(false) { "; not what is promised" } else { "" };
        out += &format!("  {:<10}{start:>9}{:>7.1} s{:>12}   {}{broken}\n", c.class, c.stall_s, Bytes(c.bytes).to_string(), c.rung);
    }
    for line in &plan.repairs {
        out += &format!("\n  repaired: {line}");
    }
    for line in &plan.problems {
        out += &format!("\n  problem: {line}");
    }
    let places: Vec<String> = plan.boundaries.iter().map(|b: &MediaTime| b.to_string()).collect();
    let shown = if places.len() > 12 { format!("{} ... {}", places[..10].join(" "), places[places.len() - 1]) } else { places.join(" ") };
    out + &format!("\n  segments begin at {shown}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeline::{Slide, Span, Speaker, Timeline};
    use crate::voice::course::Course;
    use crate::voice::mix::Mix;

    const SECOND: u64 = 1_000_000_000;

    /// 96 s, a character of the strip each second: two slides with a build, a speaker, a pointer, a film, black.
    fn plan() -> Plan {
        let sources = [crate::plan::tests::source(1280, 720, (0..96 * 25).map(|i| i * 40_000_000).collect(), 96.0)];
        let mut plan = crate::plan::tests::make(&sources, "rural-3g").unwrap();
        let slide = |start: u64, end: u64, steps: &[u64], moving| Slide {
            start_ns: start * SECOND,
            settled_ns: start * SECOND + SECOND / 2,
            end_ns: end * SECOND,
            still_ns: start * SECOND,
            steps_ns: steps.iter().map(|s| s * SECOND).collect(),
            moving,
        };
        let span = |kind, start: u64, end: u64| Span { kind, start_ns: start * SECOND, end_ns: end * SECOND };
        plan.timelines = vec![Timeline {
            slides: vec![slide(0, 30, &[10], false), slide(30, 60, &[], false), slide(60, 90, &[], true)],
            spans: vec![
                span(SpanKind::Still, 0, 20),
                span(SpanKind::Pointer, 20, 30),
                span(SpanKind::Speaker, 30, 60),
                span(SpanKind::Motion, 60, 80),
                span(SpanKind::Frozen, 80, 90),
                span(SpanKind::Black, 90, 96),
            ],
            speakers: vec![Speaker { start_ns: 30 * SECOND, end_ns: 60 * SECOND, region: [0.75, 0.0, 0.25, 1.0] }],
            ..Timeline::default()
        }];
        plan
    }

    /// Speech but for the first ten seconds; a whisper, then a shout at the end.
    fn heard() -> Measured {
        let mut course = Course::default();
        for (lufs, steps) in [(-70.0, 25), (-22.0, 175), (-33.0, 30), (-10.0, 10)] {
            (0..steps).for_each(|_| course.push(lufs));
        }
        Measured { mix: Mix::Mono, source_lufs: -22.5, source_peak_dbtp: -3.25, course, warnings: Vec::new(), lost: false }
    }

    #[test]
    fn the_strip_shows_what_goes_on_and_what_is_heard() {
        let shown = strip(&plan(), Some(&heard()));
        let picture = ["|", &".".repeat(9), "+", &".".repeat(9), &"-".repeat(10), "|", &"s".repeat(29)].concat()
            + &["#".repeat(20), "=".repeat(10), " ".repeat(6)].concat();
        let sound = ["_".repeat(10), ":".repeat(70), ",".repeat(12), "!".repeat(4)].concat();
        let wanted = [
            format!("  [{picture}]"),
            "  2 slide(s) |, 1 build(s) +   . still  - pointer  s speaker  # motion  = frozen".into(),
            format!("  [{sound}]"),
            "  -22.5 LUFS, peak -3.2 dBTP, 1 silence(s) of 10 s _   , softer  : as the whole  ! louder".into(),
        ];
        assert_eq!(shown.lines().collect::<Vec<_>>(), wanted);
    }

    #[test]
    fn who_never_pauses_has_no_silence() {
        let mut course = Course::default();
        (0..240).for_each(|_| course.push(-22.0));
        let shown = strip(&plan(), Some(&Measured { course, ..heard() }));
        assert!(shown.contains(", 0 silence(s) of 0 s _"), "{shown}");
    }

    #[test]
    fn the_strip_leaves_out_what_is_not_known() {
        let shown = strip(&plan(), None);
        assert_eq!(shown.lines().count(), 2, "{shown}");
        // Sound alone, over a card.
        let sources = [crate::plan::tests::source(0, 0, Vec::new(), 96.0)];
        let card = crate::plan::tests::make(&sources, "rural-3g").unwrap();
        assert_eq!(card.shape, Shape::Card);
        assert_eq!(strip(&card, None), "");
        assert_eq!(strip(&card, Some(&heard())).lines().count(), 2);
    }

    #[test]
    fn the_table_has_a_line_for_each_rung_voice_and_class() {
        let mut plan = plan();
        plan.floor = Some(crate::plan::Floor { crf: 36, misread: Some(0.015), figure_score: None, samples: 2 });
        plan.repairs = vec!["turned upright".into()];
        let class =
            OnClass { class: "edge".into(), rung: "floor".into(), start_s: Some(4.25), stall_s: 1.0, bytes: 2_000_000, kept: Some(false) };
        let never = OnClass { start_s: None, class: "gprs".into(), kept: None, ..class.clone() };
        let shown = table(&plan, Some(&heard()), &[class, never]);
        let begins = |start: &str| shown.lines().filter(|l| l.trim_start().starts_with(start)).count();
        assert!(shown.starts_with("Suy hô hấp: "), "{shown}");
        for rung in &plan.rungs {
            assert_eq!(begins(&format!("{} ", rung.name)), 1, "{shown}");
            assert!(shown.contains(&format!("{} kbit/s", rung.max_bps / 1000)));
        }
        assert_eq!((begins("opus "), begins("aac ")), (1, 1));
        assert!(shown.contains("floor at CRF 36: 2 slide(s) looked at, 1.5 % of the letters misread"), "{shown}");
        assert!(shown.lines().any(|l| l.contains("edge") && l.contains("4.2 s") && l.ends_with("floor; not what is promised")), "{shown}");
        assert!(shown.lines().any(|l| l.contains("gprs") && l.contains("never") && l.ends_with("floor")), "{shown}");
        assert!(shown.contains("  repaired: turned upright\n"), "{shown}");
        assert!(shown.lines().last().unwrap().contains(" ... "), "many segments are not all told: {shown}");
    }

    #[test]
    fn json_has_layouts_and_sound_on_the_lectures_clock() {
        let (mut plan, heard) = (plan(), heard());
        // The part begins a minute into the lecture.
        plan.parts[0].offset = MediaTime::from_ns(60 * SECOND);
        let line = serde_json::to_value(TimelineLine::of(&plan, Some(&heard))).unwrap();
        assert_eq!(line["slides"][0]["steps_s"][0], 70.0);
        assert_eq!(line["speakers"][0], serde_json::json!({ "start_s": 90.0, "end_s": 120.0, "region": [0.75, 0.0, 0.25, 1.0] }));
        assert_eq!(line["speaker"], line["speakers"][0]["region"]);
        assert_eq!(line["sound"]["silences"], serde_json::json!([{ "start_s": 0.0, "end_s": 10.0 }]));
        assert_eq!((line["sound"]["step_s"].as_f64(), line["sound"]["lufs"].as_f64()), (Some(0.4), Some(-22.5)));
        assert_eq!(line["sound"]["loudness_lufs"].as_array().unwrap().len(), 240);
        assert!(serde_json::to_value(TimelineLine::of(&plan, None)).unwrap()["sound"].is_null());
    }
}
