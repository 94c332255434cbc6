//! BANDWIDTH and AVERAGE-BANDWIDTH against what was measured. What a peak is stands in [`crate::rate`]. Container overhead
//! counts.

use super::Sink;
use super::fetch::redacted;
use super::m3u8::Variant;
use super::measure::{Multi, Role, Subject};

/// Measured peak and average of a rendition.
#[derive(Debug, Clone, Copy, Default)]
struct Rate {
    peak: f64,
    average: f64,
}

fn rate(subject: &Subject, media: usize) -> Option<Rate> {
    let media = &subject.media[media];
    // A segment that could not be read would make every rate wrong; it is told already.
    let whole = !media.segments.is_empty() && media.segments.iter().all(|s| s.bytes > 0);
    whole.then(|| Rate { peak: media.peak_bps(), average: media.average_bps() })
}

/// The most that any member of a variant's group of a type costs.
fn group(subject: &Subject, multi: &Multi, variant: &Variant, kind: &str) -> Rate {
    let Some(id) = variant.attributes.get(kind) else { return Rate::default() };
    let members = multi.playlist.renditions.iter().zip(&multi.renditions);
    members
        .filter(|(r, _)| r.attributes.get("TYPE") == Some(kind) && r.attributes.get("GROUP-ID") == Some(id))
        .filter_map(|(_, media)| rate(subject, (*media)?))
        .fold(Rate::default(), |a, b| Rate { peak: a.peak.max(b.peak), average: a.average.max(b.average) })
}

fn off(said: f64, measured: f64) -> f64 {
    if measured > 0.0 { said / measured - 1.0 } else { 0.0 }
}

pub(super) fn check(subject: &Subject, sink: &mut Sink) {
    for multi in &subject.multivariants {
        for (variant, media) in multi.playlist.variants.iter().zip(&multi.variants) {
            let Some(video) = media.and_then(|m| rate(subject, m)) else { continue };
            let at = format!("{} line {}", redacted(&multi.at), variant.line);
            let groups = [group(subject, multi, variant, "AUDIO"), group(subject, multi, variant, "SUBTITLES")];
            let extra = groups.iter().fold(Rate::default(), |a, g| Rate { peak: a.peak + g.peak, average: a.average + g.average });
            let sum = Rate { peak: video.peak + extra.peak, average: video.average + extra.average };
            if let Some(said) = variant.attributes.number::<f64>("BANDWIDTH") {
                let made = format!(
                    "the measured peak is {:.0}: {:.0} of {} and {:.0} of its groups",
                    sum.peak, video.peak, variant.uri, extra.peak
                );
                // A value that the video alone explains, and the sum does not, has left the groups out.
                let left_out = extra.peak > 0.0 && off(said, sum.peak) < -0.01 && said <= video.peak * 1.10;
                if left_out {
                    let group = match variant.attributes.get("AUDIO") {
                        Some(id) => format!("the audio group \"{id}\""),
                        None => "the subtitle group".to_string(),
                    };
                    let message = format!("BANDWIDTH={said:.0} leaves {group} out, {:+.1} %; {made}", 100.0 * off(said, sum.peak));
                    sink.add("apple-9.13", at.clone(), message);
                }
                let error = off(said, if left_out { video.peak } else { sum.peak });
                tell("BANDWIDTH", "apple-1.27", said, error, &made, left_out, &at, sink);
            }
            if let Some(said) = variant.attributes.number::<f64>("AVERAGE-BANDWIDTH") {
                let made = format!(
                    "measured are {:.0}: {:.0} of {} and {:.0} of its groups",
                    sum.average, video.average, variant.uri, extra.average
                );
                tell("AVERAGE-BANDWIDTH", "apple-1.26", said, off(said, sum.average), &made, false, &at, sink);
            }
            if sum.average > 0.0 && sum.peak > 2.0 * sum.average && multi.role == Role::Master {
                sink.add(
                    "apple-1.30",
                    at,
                    format!(
                        "peak {:.0} bit/s is {:.0} % of the average {:.0}: players that go by the peak ask {:.1} times the link it needs",
                        sum.peak,
                        100.0 * sum.peak / sum.average,
                        sum.average,
                        sum.peak / sum.average
                    ),
                );
            }
        }
        for (variant, media) in multi.playlist.iframes.iter().zip(&multi.iframes) {
            let Some(media) = *media else { continue };
            let Some(measured) = rate(subject, media) else { continue };
            let at = format!("{} line {}", redacted(&multi.at), variant.line);
            if let Some(said) = variant.attributes.number::<f64>("BANDWIDTH") {
                let made = format!("the measured peak of {} is {:.0}", variant.uri, measured.peak);
                tell("BANDWIDTH", "apple-6.9", said, off(said, measured.peak), &made, false, &at, sink);
            }
            iframe_share(subject, multi, variant, media, measured, &at, sink);
        }
    }
}

#[allow(clippy::too_many_arguments)]
fn tell(name: &str, rule: &'static str, said: f64, error: f64, made: &str, named: bool, at: &str, sink: &mut Sink) {
    let message = format!("{name}={said:.0} is {:+.1} % off; {made}", 100.0 * error);
    if error.abs() > 0.10 {
        sink.add(rule, at, message);
    } else if error.abs() > 0.01 && !named {
        sink.add("rivulet-bandwidth-1pct", at, message);
    }
}

/// Apple 6.5: the I-frame rate is the variant's times pictures a second by 8; told from twice that.
fn iframe_share(subject: &Subject, multi: &Multi, variant: &Variant, media: usize, measured: Rate, at: &str, sink: &mut Sink) {
    let same = multi
        .playlist
        .variants
        .iter()
        .zip(&multi.variants)
        .find(|(v, _)| v.attributes.get("RESOLUTION") == variant.attributes.get("RESOLUTION"));
    let Some(normal) = same.and_then(|(_, m)| rate(subject, (*m)?)) else { return };
    let pictures = subject.media[media].segments.len() as f64 / subject.media[media].duration_s().max(1e-3);
    let wanted = normal.average * pictures / 8.0;
    if measured.average > 2.0 * wanted {
        sink.add(
            "apple-6.5",
            at,
            format!(
                "{:.1} kbit/s of I-frames at {pictures:.2} a second; {:.1} kbit/s * fps / 8 is {:.1}",
                measured.average / 1e3,
                normal.average / 1e3,
                wanted / 1e3
            ),
        );
    }
}
