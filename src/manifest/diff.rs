//! What is different between two releases.

use super::{Lecture, Release};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// What is different between two releases, for people who are about to replace one by the other.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Diff {
    pub added: Vec<String>,
    pub removed: Vec<String>,
    /// Other pictures or sound.
    pub reencoded: Vec<String>,
    /// The same pictures and sound with another title, presenter, module, order of prerequisites, captions or handout.
    pub edited: Vec<String>,
    /// The course's own title, language, licence, address or modules, or the order of lectures.
    pub course_edited: bool,
    /// Objects that the new one needs and the old one did not.
    pub new_objects: usize,
    pub new_bytes: u64,
    /// Of the new objects, those of lectures that were there before: what learners who keep them would fetch again.
    pub again_bytes: u64,
}

/// From one release to another.
pub fn diff(old: &Release, new: &Release) -> Diff {
    let mut diff = Diff::default();
    let known: BTreeSet<&str> = old.objects().into_keys().collect();
    diff.removed = old.lectures.iter().filter(|l| new.lecture(&l.id).is_none()).map(|l| l.id.clone()).collect();
    for lecture in &new.lectures {
        let list = match old.lecture(&lecture.id) {
            None => &mut diff.added,
            Some(before) if before.objects != lecture.objects => &mut diff.reencoded,
            Some(before) if before != lecture => &mut diff.edited,
            Some(_) => continue,
        };
        list.push(lecture.id.clone());
    }
    let order = |r: &Release, other: &Release| {
        r.lectures.iter().filter(|l| other.lecture(&l.id).is_some()).map(|l| l.id.clone()).collect::<Vec<_>>()
    };
    diff.course_edited = (&old.title, &old.language, &old.licence, &old.address, &old.modules)
        != (&new.title, &new.language, &new.licence, &new.address, &new.modules)
        || order(old, new) != order(new, old);
    for (_, object) in new.objects().into_iter().filter(|(key, _)| !known.contains(key)) {
        diff.new_objects += 1;
        diff.new_bytes += object.bytes;
    }
    let again: BTreeMap<&str, u64> = new
        .lectures
        .iter()
        .filter(|l| old.lecture(&l.id).is_some())
        .flat_map(Lecture::all_objects)
        .filter(|o| !known.contains(o.key.as_str()))
        .map(|o| (o.key.as_str(), o.bytes))
        .collect();
    diff.again_bytes = again.values().sum();
    diff
}
