//! The rules of docs/publish.md, on a store in memory, with an encoder that makes tiny packages of the real shape.

mod authors;
mod bucket;
mod content;
mod faults;
mod floor;
mod history;
mod packages;
mod promise;
mod prune;
mod reader;
mod rig;
mod schema;
mod search;
mod sizes;
mod together;
mod verify;
mod withdraw;

use super::blobs::Sent;
use super::job::Job;
use super::state::Head;
use super::*;
use crate::captions;
use crate::clock::TestClock;
use crate::course;
use crate::error::{Kind, ResultExt};
use crate::manifest::{Current, Recording, Stage, from_json, release_key};
use crate::package::slides::Slide;
use crate::package::{FileEntry, Package, RecordingRef, Rung, Segment, Voice};
use crate::progress::Ctx;
use crate::store::fault::{FailNth, Fault as Planted};
use crate::store::mem::MemStore;
use crate::store::{Body, Caching, Key, Precondition, get_if_there};
use crate::units::{Bitrate, Digest};
use reader::{copy_of, keeps_playing, published, read_everything};
use rig::{CUES, Studio, current, digest_recordings};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Seeded, so that a failure can be had again (xorshift64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n.max(1) as u64) as usize
    }
}

/// A context whose time is this clock's.
fn at(clock: &Arc<TestClock>) -> Ctx {
    Ctx { clock: clock.clone(), ..Ctx::silent() }
}

const DAY: Duration = Duration::from_secs(86_400);
