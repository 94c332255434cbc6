//! What a profile promises of every lecture, held against what replay computes.

use super::session::play;
use super::{How, Lecture, Link, replay};
use crate::link::class;
use crate::profile::{Profile, Promise};
use serde::Serialize;

/// What a learner on a link of this class would see, from opening it to the lecture's end.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OnClass {
    pub class: String,
    /// What is seen for most of the time by who asks for video.
    pub rung: String,
    /// Of voice and slides; `None`: it never starts.
    pub start_s: Option<f64>,
    pub stall_s: f64,
    pub bytes: u64,
    /// The profile's promise is kept; absent where it makes none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<bool>,
}

/// Every class of the profile, in its order.
pub fn on_classes(lecture: &Lecture, profile: &Profile) -> Vec<OnClass> {
    let tenth = |x: f64| (x * 10.0).round() / 10.0;
    let one = |class: &crate::link::Class| {
        let link = Link::of_class(class);
        let found = replay(lecture, &link, &How::default());
        // One visit will do: chance decides little about what is seen for most of the time.
        let video = play(lecture, &link, &How { video: true, ..How::default() }, 0);
        let most = video.rung_seconds.iter().max_by(|a, b| a.1.total_cmp(b.1)).map(|(way, _)| way.clone());
        let promise = profile.promises.iter().find(|p| p.class == class.name);
        OnClass {
            class: class.name.into(),
            rung: most.unwrap_or_default(),
            start_s: found.start_s.map(tenth),
            stall_s: tenth(found.stall_s),
            bytes: found.bytes,
            kept: promise.map(|p| breach(p, found.start_s, found.stall_s).is_none()),
        }
    };
    profile.classes.iter().filter_map(|name| class(name)).map(one).collect()
}

/// Every promise that a lecture breaks, a sentence each: class, what is promised, what is computed.
pub fn broken(lecture: &Lecture, promises: &[Promise]) -> Vec<String> {
    let told = |promise: &Promise| {
        let found = replay(lecture, &Link::of_class(class(&promise.class)?), &How::default());
        breach(promise, found.start_s, found.stall_s)
    };
    promises.iter().filter_map(told).collect()
}

/// The sentence for one that is broken.
fn breach(promise: &Promise, start_s: Option<f64>, stall_s: f64) -> Option<String> {
    let Promise { class, start_s: most_start, stall_s: most_stall } = promise;
    let late = start_s.is_none_or(|s| s > *most_start);
    let start = start_s.map_or("never starts".to_string(), |s| format!("starts after {s:.1} s"));
    (late || stall_s > *most_stall)
        .then(|| format!("on {class} it {start} and stalls for {stall_s:.1} s; promised are {most_start:.1} s and {most_stall:.1} s"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promise_is_broken_by_a_late_start_or_a_stall() {
        let promise = Promise { class: "edge".into(), start_s: 8.0, stall_s: 1.0 };
        assert_eq!(breach(&promise, Some(8.0), 1.0), None);
        let told = |start, stall| breach(&promise, start, stall).unwrap();
        assert_eq!(told(Some(9.04), 0.0), "on edge it starts after 9.0 s and stalls for 0.0 s; promised are 8.0 s and 1.0 s");
        assert!(told(Some(5.0), 1.1).contains("stalls for 1.1 s"));
        assert!(told(None, 0.0).contains("never starts"));
    }
}
