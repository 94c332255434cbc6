//! The encoder that `publish` is given: this machine, its work directory, its profiles.

use crate::cache::Cache;
use crate::encode::{Done, Encode};
use crate::error::Result;
use crate::manifest::{Recording, Source};
use crate::pipeline::Fragments;
use crate::profile::Profile;
use crate::progress::Ctx;
use crate::publish::{Encoder, Expected, LectureRequest, Packed, Sent};
use crate::store::BoxFuture;
use crate::workdir::WorkDir;

pub struct Studio {
    pub work: WorkDir,
    pub fragments: Fragments,
    /// Children side by side; as many as cores where `None`.
    pub jobs: Option<usize>,
    /// Lectures that last less, in seconds, get no floor of their own.
    pub floor_from_s: f64,
    pub ctx: Ctx,
}

impl Encoder for Studio {
    fn source<'a>(&'a self, request: &'a LectureRequest) -> BoxFuture<'a, Source> {
        Box::pin(async move {
            let profile = crate::profile::load(&request.profile)?;
            let mut recordings = Vec::new();
            for path in &request.recordings {
                let (cache, owned, ctx) = (Cache::new(&self.work), path.clone(), self.ctx.clone());
                let (sha256, bytes) = crate::offload::blocking(move || cache.digest(&owned, &ctx)).await?;
                recordings.push(Recording { sha256, bytes });
            }
            Ok(Source {
                recordings,
                profile_sha256: profile.digest(),
                profile: profile.name,
                trims: request.trims,
                captions: Default::default(),
            })
        })
    }

    fn encode<'a>(&'a self, request: &'a LectureRequest) -> BoxFuture<'a, Packed> {
        Box::pin(async move {
            let asked = self.asked(request)?;
            Ok(packed(asked.run(&self.work, None, &self.ctx).await?, &asked.profile))
        })
    }

    fn floor<'a>(&'a self, request: &'a LectureRequest) -> BoxFuture<'a, Option<Packed>> {
        Box::pin(async move {
            let asked = self.asked(request)?;
            let done = asked.floor(&self.work, self.floor_from_s, &self.ctx).await?;
            Ok(done.map(|d| packed(d, &asked.profile)))
        })
    }

    fn foresee<'a>(&'a self, request: &'a LectureRequest) -> BoxFuture<'a, Vec<String>> {
        Box::pin(async move {
            let asked = self.asked(request)?;
            if asked.profile.promises.is_empty() {
                return Ok(Vec::new());
            }
            let plan = asked.plan(&self.work, &self.ctx).await?.plan;
            if !plan.voice {
                return Ok(Vec::new());
            }
            let lecture = crate::replay::of_plan(&plan)?;
            Ok(crate::replay::broken(&lecture, &plan.profile.promises))
        })
    }

    fn expect<'a>(&'a self, request: &'a LectureRequest) -> BoxFuture<'a, Expected> {
        Box::pin(async move {
            let (plan, complete) = self.asked(request)?.expected(&self.work, &self.ctx).await?;
            let (objects, bytes) = plan.package(request.captions.len());
            Ok(complete.map_or(Expected::About(Sent { objects, bytes }), Expected::Package))
        })
    }
}

impl Studio {
    fn asked(&self, request: &LectureRequest) -> Result<Encode> {
        Ok(Encode {
            recordings: request.recordings.clone(),
            profile: crate::profile::load(&request.profile)?,
            fragments: self.fragments.clone(),
            title: request.title.clone(),
            language: request.language.clone(),
            trim: request.trims.map(|t| (t.start_s, t.end_s.unwrap_or(f64::MAX))),
            captions: request.captions.clone(),
            jobs: self.jobs,
        })
    }
}

/// The package stays in the work directory: the store gets its own copy. Until it was sent it is locked: `clean` would free it.
fn packed(done: Done, profile: &Profile) -> Packed {
    let promises = profile.promises.clone();
    Packed { dir: done.dir, partial: done.partial, warnings: done.package.warnings, promises, hold: Box::new(done.claim) }
}
