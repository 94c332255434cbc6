//! Rivulet carries lectures over thin links: recordings in, HLS courses out.
//!
//! ```text
//!  the studio                       one lecture                                a course            the learners
//!
//!  recordings ──ingest──▶ files ──probe──▶ Source ─┐
//!                           │                      ├─plan──▶ Plan ──encode──▶ Package ─┐
//!                           │           Profile ───┘                  │                ├─publish──▶ store ──serve──▶ pages,
//!                           └─drafts──▶ course.toml ──────────────────┼────────────────┘          (releases)         media
//!                                                                   check
//! ```
//!
//! Facts, then a pure decision, then work, then a judge that trusts nobody: `plan` does no I/O, `encode` decides nothing, and
//! nothing takes its final name before `check` has read it as a stranger would. Imports point up this list, never down; each
//! foreign world (GStreamer, HTTP, the terminal) has one door. `tests/layers.rs` holds us to both.
//!
//! | module | what it is |
//! |---|---|
//! | [`units`], [`rate`], [`link`], [`uri`] | quantities with their units; what a peak bit rate is; the links that learners have; names in URLs |
//! | [`legible`] | what was read of a picture: text, title, how small the letters are, how many were misread |
//! | [`error`], [`clock`] | one error type with hint and exit code; time as a thing that is handed in |
//! | [`progress`], [`offload`] | what the library says while it works, and how it is told to stop; blocking calls off the runtime |
//! | [`child`], [`workdir`], [`cache`] | media work in processes that may crash; what a plan has made so far; known digests |
//! | [`picture`] | pixels between decoder and encoders: scale, turn, tone |
//! | [`profile`], [`course`], [`manifest`] | ladders as data; the author's file; what a store says of a course |
//! | [`package`] | the finished HLS of one lecture: `package.json`, playlists, MP4 boxes, `floor.mp4` |
//! | [`captions`] | an author's WebVTT or SRT, of any encoding and in any state, to WebVTT that every player takes |
//! | [`store`] | where releases live, and the contract that every store keeps |
//! | [`probe`] | a recording file to facts: what it is, what is wrong, what will be repaired |
//! | [`timeline`] | what a recording shows, when: features of its pictures to slides, builds, still and moving spans |
//! | [`plan`] | profile and facts to rungs, segments, chunks, predicted bytes and seconds |
//! | [`check`] | the HLS conformance checker, of any package on disk or over HTTP |
//! | [`pipeline`] | `pipelines/*.gst`, GStreamer topology as text |
//! | `gst` | what probe, voice and encode share of GStreamer: launching, errors, one stream chosen by its id |
//! | [`voice`], [`encode`] | the lecture's sound in one pass; a plan to a package, chunk by chunk |
//! | [`ingest`] | recordings watched until whole, copied, verified, drafted into a course |
//! | [`replay`] | what a learner on a link would see of a lecture, computed |
//! | [`pages`], [`publish`], [`serve`] | the learner's HTML; a course into a store; a store over HTTP |
//! | [`cli`] | flags in, one library call, print |
#![forbid(unsafe_code)]

pub mod cache;
pub mod captions;
pub mod check;
pub mod child;
pub mod cli;
pub mod clock;
pub mod course;
pub mod encode;
pub mod error;
mod gst;
pub mod ingest;
pub mod legible;
pub mod link;
pub mod manifest;
pub mod offload;
pub mod package;
pub mod pages;
pub mod picture;
pub mod pipeline;
pub mod plan;
pub mod probe;
pub mod profile;
pub mod progress;
pub mod publish;
pub mod rate;
pub mod replay;
pub mod serve;
pub mod store;
pub mod timeline;
pub mod units;
pub mod uri;
pub mod voice;
pub mod workdir;
