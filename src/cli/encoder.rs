//! The seam between `publish` and `encode`: recordings are digested here; encoding itself is not part of this branch.

use crate::course::file_name;
use crate::error::{Error, Kind, ResultExt};
use crate::manifest::Source;
use crate::package::RecordingRef;
use crate::publish::{Encoder, LectureRequest};
use crate::store::BoxFuture;
use crate::units::Digest;
use std::path::PathBuf;

/// Knows recordings, but cannot encode them.
pub struct Local;

impl Encoder for Local {
    fn source<'a>(&'a self, request: &'a LectureRequest) -> BoxFuture<'a, Source> {
        Box::pin(async move {
            let mut recordings = Vec::new();
            for path in &request.recordings {
                let (sha256, bytes) =
                    std::fs::File::open(path).and_then(Digest::of_reader).doing(|| format!("cannot read {}", path.display()))?;
                recordings.push(RecordingRef { name: file_name(path), sha256, bytes });
            }
            let profile_sha256 = Digest::of(request.profile.as_bytes());
            Ok(Source { recordings, profile: request.profile.clone(), profile_sha256, trims: request.trims })
        })
    }
    fn encode<'a>(&'a self, request: &'a LectureRequest) -> BoxFuture<'a, PathBuf> {
        Box::pin(async move { Err(Error::new(Kind::Unsupported, format!("this build cannot encode {}", request.lecture))) })
    }
}
