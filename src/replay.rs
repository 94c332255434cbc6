//! What a learner on a link would see of a lecture, computed: start-up in round trips and bytes, the buffer, stalls, bytes.
//! Pure and the same on every run: packets over a modelled link (`pipe`), TCP as Linux has it (`tcp`), connections as Chromium
//! shares them out (`net`), and on top the rules of the learner's page (`session`). docs/replay.md says how near it is to the
//! real page, and what it leaves out.

mod abr;
mod deck;
mod lecture;
mod net;
mod oracle;
mod pipe;
mod planned;
mod promise;
mod session;
mod tcp;
mod video;
mod voice;

pub use lecture::{Lecture, Rung, Slide, of_package, start_of};
pub use oracle::least_stall_s;
pub use pipe::{Link, Trace};
pub use planned::of_plan;
pub use promise::{OnClass, broken, on_classes};
pub use session::START_FREE_S;

use serde::Serialize;
use std::collections::BTreeMap;

/// How a learner watches.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct How {
    /// So many seconds of the lecture, which begins anew where it is shorter; once to its end where `None`.
    pub seconds: Option<f64>,
    /// What the device takes from the last byte of the page's loader to the first sound; as measured on a computer where `None`.
    pub device_s: Option<f64>,
    /// Video (automatic) over the slides; voice and slides alone where not.
    pub video: bool,
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// What became of a visit. Times are seconds from opening the link, the lookup of the server's name included.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Session {
    /// To the first sound; `None`: never.
    pub start_s: Option<f64>,
    /// To the first slide.
    pub slide_s: Option<f64>,
    /// Bytes before the first sound.
    pub start_bytes: u64,
    pub stalls: u32,
    pub stall_s: f64,
    pub played_s: f64,
    /// Headers and bodies of all answers.
    pub bytes: u64,
    /// Of all visits, where several were played.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worst_start_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worst_stall_s: Option<f64>,
    /// How often video stepped aside for voice and slides.
    #[serde(skip_serializing_if = "is_zero")]
    pub gave_way: u32,
    /// Seconds in which each rung was seen, or voice and slides alone.
    pub rung_seconds: BTreeMap<String, f64>,
}

/// Visits that are played where chance decides which packets are lost.
const VISITS: u64 = 9;

/// Plays a lecture over a link. Where packets are lost nine times, and the visit of the median wait is told: to the start and in
/// stalls together.
pub fn replay(lecture: &Lecture, link: &Link, how: &How) -> Session {
    let visits = if link.loses() { VISITS } else { 1 };
    let mut sessions: Vec<Session> = (0..visits).map(|seed| session::play(lecture, link, how, seed)).collect();
    let waited = |s: &Session| s.start_s.map_or(f64::MAX, |start| start + s.stall_s);
    sessions.sort_by(|a, b| waited(a).total_cmp(&waited(b)));
    let worst = |of: &dyn Fn(&Session) -> f64| sessions.iter().map(of).fold(0.0, f64::max);
    let (start, stall) = (worst(&|s| s.start_s.unwrap_or(f64::MAX)), worst(&|s| s.stall_s));
    let mut median = sessions.swap_remove(sessions.len() / 2);
    if visits > 1 {
        (median.worst_start_s, median.worst_stall_s) = (Some(start).filter(|s| *s < f64::MAX), Some(stall));
    }
    median
}

impl Session {
    /// Stall as a share of the content: start-up beyond [`START_FREE_S`] and what was never heard are stall too.
    pub fn stall_share(&self, content_s: f64) -> f64 {
        let Some(start) = self.start_s else { return 1.0 };
        let unheard = (content_s - self.played_s).max(0.0);
        ((self.stall_s + (start - START_FREE_S).max(0.0) + unheard) / content_s.max(1e-9)).min(1.0)
    }
    fn moved(mut self, by: f64) -> Session {
        for at in [&mut self.start_s, &mut self.slide_s].into_iter().flatten() {
            *at += by;
        }
        self
    }
}

#[cfg(test)]
mod tests;
