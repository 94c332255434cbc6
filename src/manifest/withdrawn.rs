//! Lectures that were taken out of a course, and what that means for its releases.

use super::{Current, Release};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A lecture that was taken out of a course. It stays written down when the lecture is brought back: copies that a learner
/// keeps of the earlier one are to go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tombstone {
    pub lecture: String,
    /// The release that was the first without it: a copy that was made from one with a lower number is to be dropped.
    pub release: u64,
    /// The release that brought it back; absent where none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored: Option<u64>,
}

impl Current {
    /// The tombstone of a lecture that is not back.
    pub fn tombstone(&self, lecture: &str) -> Option<&Tombstone> {
        self.withdrawn.iter().find(|t| t.lecture == lecture && t.restored.is_none())
    }

    /// An earlier release without the lectures that were withdrawn since; `None` where it has none of them. One that was
    /// brought back is only what it is from then on.
    pub fn stripped(&self, release: &Release) -> Option<Release> {
        let gone = |id: &str| self.withdrawn.iter().any(|t| t.lecture == id && t.restored.is_none_or(|back| release.release < back));
        let bare = release.lectures.iter().filter(|l| gone(&l.id)).fold(release.clone(), |r, l| r.without(&l.id));
        (bare != *release).then_some(bare)
    }
}

impl Release {
    /// The same without a lecture, which nothing names as a prerequisite any more.
    pub fn without(&self, lecture: &str) -> Release {
        let mut bare = self.clone();
        bare.lectures.retain(|l| l.id != lecture);
        for other in &mut bare.lectures {
            other.prerequisites.retain(|p| p != lecture);
        }
        bare.stage = Release::stage_of(&bare.lectures);
        bare
    }
}
