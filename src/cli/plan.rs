//! `rivulet plan`: what encode would make, as a table or a JSON line.

use super::Printer;
use super::recording::Recording;
use crate::error::Result;
use crate::plan::{Plan, Shape};
use crate::progress::Ctx;
use crate::replay::{self, OnClass};
use crate::timeline::SpanKind;
use crate::units::{Bytes, MediaTime};
use serde::Serialize;

/// Say what `encode` would make of a recording: rungs, segments, predicted bytes, time, and what learners on each kind of
/// link would meet. A few segments are encoded to predict the rest; `encode` uses them.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    recording: Recording,
    /// Encode nothing: predicted bytes are then a rough guess from the recording's own bit rate.
    #[arg(long)]
    quick: bool,
}

pub async fn run(args: Args, printer: &Printer, ctx: &Ctx) -> Result<u8> {
    let (encode, work) = args.recording.open()?;
    let plan = match args.quick {
        true => encode.plan(&work, ctx).await?.plan,
        false => encode.predicted(&work, ctx).await?,
    };
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
        true => printer.object(&Line::of(&plan, &classes)),
        false => printer.data(&table(&plan, &classes)),
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
    /// Where a speaker or a video moves most of the time: x, y, width, height as fractions of the picture.
    speaker: Option<[f64; 4]>,
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

impl From<&Plan> for TimelineLine {
    fn from(plan: &Plan) -> Self {
        let parts = || plan.parts.iter().zip(&plan.timelines);
        let seconds = |part: &crate::plan::Part, ns: u64| (part.at(ns).seconds() * 1e3).round() / 1e3;
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
        TimelineLine { slides: slides.collect(), spans: spans.collect(), speaker: plan.timelines.iter().find_map(|t| t.speaker) }
    }
}

/// Characters in a line of the strip.
const STRIP: usize = 96;

/// The lecture as a line of characters: `|` a slide begins, `+` a build, and what goes on between.
fn strip(plan: &Plan) -> String {
    let line = TimelineLine::from(plan);
    let total = plan.duration().seconds().max(0.1);
    let place = |s: f64| ((s / total * STRIP as f64) as usize).min(STRIP - 1);
    let mut cells = vec!['.'; STRIP];
    for span in &line.spans {
        let mark = match span.kind {
            SpanKind::Still => '.',
            SpanKind::Pointer => '-',
            SpanKind::Speaker => 's',
            SpanKind::Motion => '#',
            SpanKind::Black => ' ',
        };
        let end = if span.end_s >= total { STRIP } else { place(span.end_s).max(place(span.start_s) + 1) };
        cells[place(span.start_s)..end].fill(mark);
    }
    line.slides.iter().flat_map(|s| &s.steps_s).for_each(|s| cells[place(*s)] = '+');
    line.slides.iter().filter(|s| !s.moving).for_each(|s| cells[place(s.start_s)] = '|');
    let slides = line.slides.iter().filter(|s| !s.moving).count();
    let steps: usize = line.slides.iter().map(|s| s.steps_s.len()).sum();
    format!(
        "  [{}]\n  {slides} slide(s) |, {steps} build(s) +   . still  - pointer  s speaker  # motion\n",
        cells.into_iter().collect::<String>()
    )
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
    fn of(plan: &'a Plan, classes: &'a [OnClass]) -> Self {
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
            floor: plan.floor.as_ref(),
            voice: plan.voice,
            boundaries_s: plan.boundaries.iter().map(|b| b.seconds()).collect(),
            chunks: plan.chunks.len(),
            predicted_cpu_s: plan.predicted_cpu_s,
            timeline: TimelineLine::from(plan),
            classes,
            repairs: &plan.repairs,
            problems: &plan.problems,
        }
    }
}

fn table(plan: &Plan, classes: &[OnClass]) -> String {
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
    if plan.shape != Shape::Card {
        out += &format!("{}\n", strip(plan));
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
