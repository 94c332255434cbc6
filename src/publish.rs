//! From a course file to what learners see. Order is everything here (docs/publish.md): blobs, a bulk list to verify
//! them, the release, then the flip of `current`, then pages. Until the flip nothing that a reader can reach has changed;
//! after it, everything it names is there. Every step may be cut short and the whole be run again.
//!
//! ```text
//! decide    what each lecture needs: encoding, or what the current release has
//! job       one publication on its way: floors first, then all of it
//! forecast  what it would do
//! promise   what its profile promises of an encoded lecture, held
//! blobs     a package becomes content-addressed objects; which of them the store lacks
//! send      what it lacks goes out, of several lectures at once
//! intent    who is at work on the store: publishers and those who delete keep out of each other's way
//! commit    the release and the flip
//! state     pointer and releases, read and checked; the conditional write
//! beside    what this machine has of a store's objects, so that pages can be made without asking for them
//! site      pages and stable playlists, a function of the pointers
//! history   releases, rollback, diff
//! lock      keeps authors apart where a service ignores conditions
//! prune     releases that nobody keeps, blobs that nothing names
//! withdraw  a lecture taken away for good
//! verify    is all of it true? and repair
//! ```

mod beside;
mod blobs;
mod commit;
mod decide;
mod forecast;
mod history;
mod intent;
mod job;
mod lock;
mod promise;
mod prune;
mod rename;
mod send;
mod site;
mod state;
mod verify;
mod withdraw;

pub use blobs::Sent;
pub use forecast::{Forecast, forecast};
pub use history::{ReleaseLine, compare, releases, rollback};
pub use job::{Published, publish};
pub use prune::{Pruned, prune};
pub use rename::rename_uris;
pub use site::course_view;
pub use verify::{Fault, Report, verify_store};
pub use withdraw::{Withdrawal, withdraw};

use crate::captions::Captions;
use crate::course::Trims;
use crate::error::{Error, Kind, Result};
use crate::manifest::{Release, Source};
use crate::profile::Promise;
use crate::store::{BoxFuture, Store};
use crate::units::Bitrate;
use blobs::Known;
use std::path::PathBuf;

/// Room that the store must have before anything is encoded, besides what is known to be sent: enough to find a full disk
/// before hours of work. What encoding gives is looked at again, exactly, before it is sent.
const MARGIN: u64 = 200_000_000;

/// The multivariant playlist that every package has.
const MASTER: &str = "master.m3u8";

/// What an encoder is asked for: one lecture.
#[derive(Debug, Clone, PartialEq)]
pub struct LectureRequest {
    pub course: String,
    pub lecture: String,
    /// In order; several files are one recording. All are there.
    pub recordings: Vec<PathBuf>,
    pub trims: Option<Trims>,
    /// Read and found to be captions; on the recording's clock.
    pub captions: Vec<Captions>,
    /// In `language`.
    pub title: String,
    pub language: String,
    /// A profile's name or path, as the command line gave it.
    pub profile: String,
}

/// A package that is ready to be sent.
pub struct Packed {
    pub dir: PathBuf,
    /// A part of the recording was lost; `warnings` say which.
    pub partial: bool,
    pub warnings: Vec<String>,
    /// What its profile promises of it.
    pub promises: Vec<Promise>,
    /// Dropped when the package has been sent: until then nobody else may change or free it.
    pub hold: Box<dyn Send + Sync>,
}

/// What encoding a lecture is going to give.
pub enum Expected {
    /// A package that is complete here, in this directory.
    Package(PathBuf),
    /// Nothing is encoded yet: what is predicted of it.
    About(Sent),
}

/// Makes packages; `publish` knows nothing of how.
pub trait Encoder: Send + Sync {
    /// What the lecture would be encoded from, without encoding it: decides whether it has to be.
    fn source<'a>(&'a self, request: &'a LectureRequest) -> BoxFuture<'a, Source>;
    /// The finished package; work that is already done is not done again.
    fn encode<'a>(&'a self, request: &'a LectureRequest) -> BoxFuture<'a, Packed>;
    /// A package of the lowest rung and the voice alone, which is there long before the rest; `None` where the lecture is so
    /// short that it is not worth a release of its own.
    fn floor<'a>(&'a self, request: &'a LectureRequest) -> BoxFuture<'a, Option<Packed>>;
    /// The promises that the lecture is going to break, without encoding it; sentences.
    fn foresee<'a>(&'a self, request: &'a LectureRequest) -> BoxFuture<'a, Vec<String>>;
    /// What there will be to send of the lecture, without encoding it.
    fn expect<'a>(&'a self, request: &'a LectureRequest) -> BoxFuture<'a, Expected>;
}

/// How to publish.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Options {
    /// For lectures that are encoded.
    pub profile: String,
    /// Encode every lecture whose recording is here, changed or not.
    pub refresh: bool,
    /// Lectures that were withdrawn and are to be brought back.
    pub restore: Vec<String>,
    /// Publish lectures that break a promise of their profile.
    pub accept: bool,
    /// What the uplink carries; a forecast tells the time.
    pub uplink: Option<Bitrate>,
}

/// Every object of a release must be in the store, whole, before the release may be.
async fn verify_all_there(store: &dyn Store, release: &Release) -> Result<()> {
    Known::of(store).await?.has_all(store, release)
}

/// The error of a service that acknowledges what it does not do.
fn not_done(store: &dyn Store, key: &crate::store::Key) -> Error {
    Error::new(Kind::Unavailable, format!("{} acknowledged a change of {key} and did not do it", store.describe()))
        .hint("run the same command again: it goes on from what is done")
}

/// The error of pages that could not be written once their release was current.
fn pages_missing(release: &Release, e: Error) -> Error {
    Error::new(e.kind(), format!("release {} of \"{}\" is current, but not all its pages are written", release.release, release.course))
        .hint("run `rivulet check STORE --repair`, or publish again: either writes the pages that are missing")
        .caused_by(e)
}

#[cfg(test)]
mod tests;
