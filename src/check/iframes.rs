//! Rules on I-frame renditions.

use super::Sink;
use super::fetch::redacted;
use super::measure::{Container, Media, Subject, Use};

pub(super) fn check(subject: &Subject, sink: &mut Sink) {
    for media in subject.media.iter().filter(|m| m.used == Use::IFrames && m.container == Container::Fmp4) {
        ranges(media, sink);
    }
}

fn ranges(media: &Media, sink: &mut Sink) {
    let (Some(init), Some(track)) = (media.init(), media.track(b"vide")) else { return };
    let scale = track.timescale.max(1) as f64;
    let mut shown = Vec::new();
    for (n, s) in media.segments.iter().enumerate() {
        let at = media.segment(n);
        for fault in &s.faults {
            sink.add("apple-6.10", at.clone(), fault.clone());
        }
        let Some(f) = s.fragments.first() else { continue };
        let avc = init.tracks.iter().any(|t| t.entry.avcc.is_some());
        if s.faults.is_empty() && if avc { !s.first_nals.contains(&5) } else { !f.first_sync } {
            sink.add("apple-6.10", at.clone(), format!("the picture is not an IDR (NAL types {:?})", s.first_nals));
        }
        shown.extend(f.tfdt.map(|t| (n, (t as f64 + f.first_composition as f64) / scale)));
    }
    // EXTINF of an I-frame is the time to the next one (RFC 8216bis 4.4.3.6).
    for pair in shown.windows(2) {
        let ((n, from), (m, to)) = (pair[0], pair[1]);
        let said = media.playlist.segments[n].duration_s;
        if m == n + 1 && (to - from - said).abs() > 0.1 {
            sink.add(
                "apple-8.1",
                redacted(&media.at),
                format!("I-frame {n}: EXTINF says {said:.3} s, the next is {:.3} s later", to - from),
            );
        }
    }
}
