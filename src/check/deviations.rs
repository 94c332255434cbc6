//! Rules of Apple's specification that Rivulet's packages break on purpose, each with its reason and what keeping it would
//! cost this very package. A rule may be broken only where the package shows the reason: each row has a test for that, so
//! that a defect of ours is never pardoned by the name of its rule. What is not in this table is a defect.

use super::{Level, Report, rules};
use crate::error::{Error, Result};
use crate::package::{Deviation, Package};

struct Known {
    rule: &'static str,
    /// Whether the package has what makes the deviation one on purpose.
    holds: fn(&Package) -> bool,
    reason: &'static str,
    cost: fn(&Package) -> String,
}

const KNOWN: &[Known] = &[
    Known {
        rule: "apple-1.13",
        holds: |p| p.target_duration_s > 2,
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
        holds: |p| p.rungs.iter().all(|r| r.crf > 0),
        reason: "a capped quality, not a rate, is held: still slides cost far less than the moments when they change",
        cost: |p| {
            let worst = p.rungs.iter().map(|r| r.peak_bps as f64 / r.average_bps.max(1) as f64).fold(0.0, f64::max);
            format!("holding the average up to half of the peak would send up to {worst:.1} times half of these bytes again")
        },
    },
    Known {
        rule: "apple-1.32b",
        holds: lowest_first,
        reason: "the lowest rung is listed first: players start with the first, and on these links 730 kbit/s never starts",
        cost: |p| {
            let floor = p.rungs.first().map(|r| r.average_bps).unwrap_or(1).max(1);
            format!("a first variant of 730 kbit/s is {:.0} times the floor's {} kbit/s", 730_000.0 / floor as f64, floor / 1000)
        },
    },
    Known {
        rule: "apple-2.19",
        holds: |p| p.loudness.is_none(),
        reason: "the recording is silent: there is no loudness to state",
        cost: |_| "nothing".into(),
    },
    Known {
        rule: "apple-2.3",
        holds: |p| p.voices.iter().any(|v| v.codec == "mp4a.40.2"),
        reason: "voice is mono: it is one person speaking, and the second channel says nothing new",
        cost: |p| {
            let aac = p.voices.iter().find(|v| v.name == "aac").map(|v| v.average_bps).unwrap_or(0);
            format!("stereo at the same clarity is about {} kbit/s more", aac * 6 / 10 / 1000)
        },
    },
    Known {
        rule: "apple-6.2",
        holds: pictures_are_shared,
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
        holds: pictures_are_shared,
        reason: "the I-frames are the segments' own first pictures, sharp as the rung",
        cost: |p| format!("a rendition of its own would add about {} kB", p.rungs.iter().map(|r| r.bytes / 8).sum::<u64>() / 1000),
    },
    Known {
        rule: "apple-6.6",
        holds: |p| p.rungs.len() == 1,
        reason: "there is one rung, and its I-frames are the rung's own",
        cost: |p| format!("a second I-frame rendition of up to {} kB", p.rungs.first().map(|r| r.bytes / 1000).unwrap_or(0)),
    },
    Known {
        rule: "apple-7.5",
        holds: |p| p.target_duration_s != 6,
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
        holds: |p| p.rungs.len() == 1,
        reason: "the recording is too small for a second rung that would add anything",
        cost: |p| format!("a second rung of up to {} kB that shows nothing more", p.rungs.first().map(|r| r.bytes / 1000).unwrap_or(0)),
    },
    Known {
        rule: "apple-9.10",
        holds: |p| no_two_of_a_size(p) || p.is_slides(),
        reason: "one variant per size and voice: a second of the highest size would double the most expensive part of the studio's upload",
        cost: |p| format!("{} kB more to encode and send", p.rungs.last().map(|r| r.bytes / 1000).unwrap_or(0)),
    },
    Known {
        rule: "apple-9.21",
        // A recording of a moment is one keyframe and little else: its rate says nothing.
        holds: |p| floor_cap_bps(p) > 192_000 || p.duration_s < 4.0,
        reason: "the profile is not for cellular links that thin, or the recording is only seconds long",
        cost: |p| {
            format!(
                "the profile lets the floor and its voice cost {} kbit/s; all of it is {} kB",
                floor_cap_bps(p) / 1000,
                p.rungs.first().map_or(0, |r| r.bytes / 1000)
            )
        },
    },
];

fn lowest_first(p: &Package) -> bool {
    !p.rungs.is_empty() && p.rungs.windows(2).all(|w| w[0].average_bps < w[1].average_bps)
}

fn pictures_are_shared(p: &Package) -> bool {
    p.rungs.iter().flat_map(|r| &r.segments).all(|s| s.iframe_bytes.is_some())
}

fn no_two_of_a_size(p: &Package) -> bool {
    p.rungs.windows(2).all(|w| w[0].height < w[1].height)
}

/// What the floor may cost with its cheapest voice: the profile's cap, not what this recording happened to need.
fn floor_cap_bps(p: &Package) -> u64 {
    p.rungs.first().map_or(0, |r| r.max_bps) + p.voices.iter().map(|v| v.peak_bps).min().unwrap_or(0)
}

/// What a package of ours deviates in.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Declared {
    pub deviations: Vec<Deviation>,
    /// Broken SHOULDs that nothing here pardons, as sentences for the package's warnings: `check` fails on them, but a
    /// lecture that plays is not withheld from learners for one.
    pub undeclared: Vec<String>,
}

/// The declarations that a package needs, by what the checker found in it. A broken MUST, or a broken bar of our own, that
/// is not pardoned here is an error: such a package must not leave the encoder.
pub fn of(report: &Report, package: &Package) -> Result<Declared> {
    let mut out = Declared::default();
    let mut faults = Vec::new();
    for finding in &report.findings {
        if out.deviations.iter().any(|d| d.rule == finding.rule) {
            continue;
        }
        let told = || format!("{} at {}: {}", finding.rule, finding.r#where, finding.message);
        match KNOWN.iter().find(|k| k.rule == finding.rule && (k.holds)(package)) {
            Some(known) => {
                out.deviations.push(Deviation { rule: known.rule.into(), reason: known.reason.into(), cost: (known.cost)(package) })
            }
            None if is_fault(finding.rule) => faults.push(told()),
            None => out.undeclared.push(format!("the package breaks {}", told())),
        }
    }
    match faults.is_empty() {
        true => Ok(out),
        false => Err(Error::bug(format!("the package breaks {} rule(s) of HLS: {}", faults.len(), faults.join("; ")))),
    }
}

/// MUSTs by the table, whatever the checker made of them for this target, and all of Rivulet's own.
fn is_fault(rule: &str) -> bool {
    // What a floor costs is the recording's doing too; a package is not withheld for it.
    (rule.starts_with("rivulet-") && rule != "rivulet-floor-peak") || rules::find(rule).is_none_or(|r| r.level == Level::Must)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Finding;
    use crate::package::{Rung, Segment};
    use crate::units::Digest;

    fn rung(height: u32, average_bps: u64) -> Rung {
        let segment = Segment { offset: 0, bytes: 9, duration: 9, sha256: Digest::of(b""), iframe_bytes: Some(3) };
        Rung {
            name: format!("{height}p"),
            codec: String::new(),
            width: 2 * height,
            height,
            frame_rate: 1.0,
            crf: 26,
            max_bps: 100_000,
            bytes: 0,
            average_bps,
            peak_bps: 250_000,
            iframe_average_bps: 0,
            iframe_peak_bps: 0,
            init_bytes: 0,
            segments: vec![segment],
        }
    }

    fn package(rungs: Vec<Rung>) -> Package {
        Package {
            format: 1,
            tool: String::new(),
            plan: Digest::of(b""),
            title: String::new(),
            duration_s: 12.0,
            recordings: vec![],
            profile: String::new(),
            preset: String::new(),
            fingerprint: Default::default(),
            shape: String::new(),
            target_duration_s: 6,
            boundaries_s: vec![0.0, 6.0, 12.0],
            rungs,
            voices: vec![],
            captions: vec![],
            loudness: None,
            slides: Vec::new(),
            chapters: Vec::new(),
            files: Default::default(),
            left_out: vec![],
            deviations: vec![],
            repairs: vec![],
            warnings: vec![],
            partial: false,
        }
    }

    fn found(rule: &'static str) -> Report {
        let finding = Finding { rule, level: Level::Must, r#where: "master.m3u8".into(), message: "broken".into(), source: "" };
        Report { findings: vec![finding], ..Default::default() }
    }

    // Two rungs, of which one was lost on the way to the master, are a defect; one rung is a small recording.
    #[test]
    fn a_must_is_pardoned_only_where_the_package_shows_the_reason() {
        let (one, two) = (package(vec![rung(144, 9)]), package(vec![rung(144, 9), rung(288, 10)]));
        assert_eq!(of(&found("apple-9.9"), &one).unwrap().deviations[0].rule, "apple-9.9");
        assert!(of(&found("apple-9.9"), &two).is_err());
        // The profile caps the floor at 100 kbit/s: more than 192 is the encoder's fault, not the profile's wish.
        assert!(of(&found("apple-9.21"), &two).is_err());
        assert!(of(&found("apple-2.3"), &two).is_err(), "there is no AAC at all");
        let mut thick = package(vec![rung(144, 9)]);
        thick.rungs[0].max_bps = 300_000;
        assert_eq!(of(&found("apple-9.21"), &thick).unwrap().deviations.len(), 1);
    }

    #[test]
    fn our_own_bars_are_faults_and_another_should_is_a_warning() {
        let package = package(vec![rung(144, 9), rung(288, 10)]);
        for bar in ["rivulet-hlsjs-order", "rivulet-bandwidth-1pct", "rivulet-sidx", "apple-9.13"] {
            assert!(of(&found(bar), &package).is_err(), "{bar}");
        }
        // The target is 6 s: nothing explains the finding, and it is a SHOULD.
        for advice in ["apple-7.5", "apple-1.11", "apple-6.6"] {
            let declared = of(&found(advice), &package).unwrap();
            assert_eq!((declared.deviations.len(), declared.undeclared.len()), (0, 1), "{advice}");
            assert!(declared.undeclared[0].contains(advice));
        }
    }

    #[test]
    fn every_known_deviation_is_a_rule_and_stands_once() {
        for (i, known) in KNOWN.iter().enumerate() {
            assert!(rules::find(known.rule).is_some() && KNOWN[..i].iter().all(|k| k.rule != known.rule), "{}", known.rule);
            assert!(!(known.cost)(&package(vec![rung(144, 9)])).is_empty());
        }
    }
}
