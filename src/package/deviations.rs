//! Rules of Apple's specification that Rivulet's packages break on purpose, each with its reason and what keeping it would
//! cost this very package. What is not in this table is a defect.

use super::{Deviation, Package};
use crate::check::{Level, Report};
use crate::error::{Error, Result};

struct Known {
    rule: &'static str,
    reason: &'static str,
    cost: fn(&Package) -> String,
}

const KNOWN: &[Known] = &[
    Known {
        rule: "apple-1.13",
        reason: "an IDR stands at every segment's start only: on slides keyframes are most of the bits",
        cost: |p| {
            let segment_s = p.duration_s / (p.boundaries_s.len().max(2) - 1) as f64;
            let extra: Vec<String> = p
                .rungs
                .iter()
                .map(|r| {
                    let keyframe = r.segments.iter().filter_map(|s| s.iframe_bytes).sum::<u64>() as f64 / r.segments.len().max(1) as f64;
                    format!("{} {:+.0} kbit/s", r.name, keyframe * 8.0 * (0.5 - 1.0 / segment_s).max(0.0) / 1000.0)
                })
                .collect();
            format!("one every 2 s would cost {}", extra.join(", "))
        },
    },
    Known {
        rule: "apple-1.30",
        reason: "a capped quality, not a rate, is held: still slides cost far less than the moments when they change",
        cost: |p| {
            let worst = p.rungs.iter().map(|r| r.peak_bps as f64 / r.average_bps.max(1) as f64).fold(0.0, f64::max);
            format!("holding the average up to half of the peak would send up to {worst:.1} times half of these bytes again")
        },
    },
    Known {
        rule: "apple-1.32b",
        reason: "the lowest rung is listed first: players start with the first, and on these links 730 kbit/s never starts",
        cost: |p| {
            let floor = p.rungs.first().map(|r| r.average_bps).unwrap_or(1).max(1);
            format!("a first variant of 730 kbit/s is {:.0} times the floor's {} kbit/s", 730_000.0 / floor as f64, floor / 1000)
        },
    },
    Known { rule: "apple-2.19", reason: "the recording is silent: there is no loudness to state", cost: |_| "nothing".into() },
    Known {
        rule: "apple-2.3",
        reason: "voice is mono: it is one person speaking, and the second channel says nothing new",
        cost: |p| {
            let aac = p.voices.iter().find(|v| v.name == "aac").map(|v| v.average_bps).unwrap_or(0);
            format!("stereo at the same clarity is about {} kbit/s more", aac * 6 / 10 / 1000)
        },
    },
    Known {
        rule: "apple-6.2",
        reason: "I-frame playlists point at the rungs' own bytes; a picture a second would be a rendition of its own",
        cost: |p| {
            let smallest = p.rungs.first().map(|r| {
                let sum: u64 = r.segments.iter().filter_map(|s| s.iframe_bytes).sum();
                sum as f64 / r.segments.len().max(1) as f64
            });
            format!("{:.0} kB more a minute to keep and to publish", smallest.unwrap_or(0.0) * 60.0 / 1000.0)
        },
    },
    Known {
        rule: "apple-6.5",
        reason: "the I-frames are the segments' own first pictures, sharp as the rung",
        cost: |p| format!("a rendition of its own would add about {} kB", p.rungs.iter().map(|r| r.bytes / 8).sum::<u64>() / 1000),
    },
    Known {
        rule: "apple-7.5",
        reason: "segments are as long as the profile and the recording make them: on far links each costs a round trip",
        cost: |p| {
            format!(
                "6 s instead of {} s: one round trip of 200 to 800 ms more for every {} s of media",
                p.target_duration_s,
                p.target_duration_s.max(7)
            )
        },
    },
    Known {
        rule: "apple-9.9",
        reason: "the recording is too small for a second rung that would add anything",
        cost: |p| format!("a second rung of up to {} kB that shows nothing more", p.rungs.first().map(|r| r.bytes / 1000).unwrap_or(0)),
    },
    Known {
        rule: "apple-9.10",
        reason: "one variant per size and voice: a second of the highest size would double the most expensive part of the studio's upload",
        cost: |p| format!("{} kB more to encode and send", p.rungs.last().map(|r| r.bytes / 1000).unwrap_or(0)),
    },
    Known {
        rule: "apple-9.21",
        reason: "the profile is not for cellular links that thin, or the recording has so little that does not move",
        cost: |p| format!("the floor's peak is {} kbit/s", p.rungs.first().map(|r| r.peak_bps / 1000).unwrap_or(0)),
    },
];

/// The declarations that a package needs, by what the checker found in it. A broken rule that is not known here is an error.
pub fn of(report: &Report, package: &Package) -> Result<Vec<Deviation>> {
    let mut out: Vec<Deviation> = Vec::new();
    let mut faults = Vec::new();
    for finding in &report.findings {
        if out.iter().any(|d| d.rule == finding.rule) {
            continue;
        }
        match KNOWN.iter().find(|k| k.rule == finding.rule) {
            Some(known) => out.push(Deviation { rule: known.rule.into(), reason: known.reason.into(), cost: (known.cost)(package) }),
            None if finding.level == Level::Must => faults.push(format!("{} at {}: {}", finding.rule, finding.r#where, finding.message)),
            None => {}
        }
    }
    match faults.is_empty() {
        true => Ok(out),
        false => Err(Error::bug(format!("the package breaks {} rule(s) of HLS: {}", faults.len(), faults.join("; ")))),
    }
}
