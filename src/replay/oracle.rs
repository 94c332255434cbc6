//! The least stall that any player could have: one who knows the link, fills it from the first moment, and waits as long as is
//! best before the first sound. What it stalls, everybody stalls.

use super::lecture::Lecture;
use super::pipe::Link;
use super::session::START_FREE_S;
use super::tcp::{HEADERS, PAYLOAD};

/// Seconds of stall of voice and slides, start-up beyond [`START_FREE_S`] included. `seconds`: as of [`super::How`].
pub fn least_stall_s(lecture: &Lecture, link: &Link, seconds: Option<f64>) -> f64 {
    let lecture = lecture.lasting(seconds.unwrap_or(0.0));
    let whole = lecture.duration_s();
    let content = seconds.unwrap_or(whole).min(whole);
    let wire = (PAYLOAD + HEADERS) as f64 / PAYLOAD as f64;
    // The page and the first slide, before anything is heard.
    let mut bytes = lecture.page_bytes as f64 - lecture.head_bytes as f64 + lecture.slides.first().map_or(0, |s| s.bytes) as f64;
    let mut slides = lecture.slides.iter().skip(1).peekable();
    let (mut at, mut latest) = (0.0, 0.0f64);
    for (voice, seconds) in &lecture.voice {
        if at >= content {
            break;
        }
        while let Some(slide) = slides.next_if(|s| s.start_s <= at) {
            bytes += slide.bytes as f64;
        }
        bytes += *voice as f64;
        // A segment is heard while its end is still on the way.
        latest = latest.max(link.carried_s(bytes * wire) - (at + seconds).min(content));
        at += seconds;
    }
    (latest - START_FREE_S).max(0.0)
}
