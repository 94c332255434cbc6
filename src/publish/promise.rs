//! A lecture that is newly encoded is replayed on the links that its profile promises to serve, before anything of it is sent.

use super::{Options, Packed};
use crate::error::{Error, Kind, Result, ResultExt};
use crate::offload::blocking;
use crate::package::Package;
use crate::progress::Ctx;
use crate::replay;
use std::io::Read;
use std::path::Path;

/// Fails (`Failed`) where the package breaks a promise; with `--accept` that is a warning. A lecture that replay does not model is
/// let through, and said so.
pub(super) async fn hold(packed: &Packed, id: &str, options: &Options, ctx: &Ctx) -> Result<()> {
    if packed.promises.is_empty() {
        return Ok(());
    }
    let (dir, promises) = (packed.dir.clone(), packed.promises.clone());
    let broken = blocking(move || Ok(read(&dir)?.map(|lecture| replay::broken(&lecture, &promises)))).await?;
    let Some(broken) = broken else {
        ctx.note(format!("{id}: it has no voice that the page feeds; the profile's promises are not held against it"));
        return Ok(());
    };
    if broken.is_empty() {
        return Ok(());
    }
    let profile = &options.profile;
    let what = format!("lecture \"{id}\" breaks what profile {profile} promises: {}", broken.join("; "));
    if options.accept {
        ctx.warn(format!("{what}; accepted"));
        return Ok(());
    }
    Err(Error::failed(format!("{what} (--accept publishes it all the same)")))
}

/// What replay knows of a package in a directory; `None` where it has nothing to play.
fn read(dir: &Path) -> Result<Option<replay::Lecture>> {
    let path = dir.join("package.json");
    let text = std::fs::read(&path).doing(|| format!("cannot read {}", path.display()))?;
    let package: Package = serde_json::from_slice(&text).kind(Kind::Corrupt, || format!("{} is damaged", path.display()))?;
    let Some((name, length)) = replay::start_of(&package) else { return Ok(None) };
    let path = dir.join(name);
    let mut start = Vec::new();
    let file = std::fs::File::open(&path).doing(|| format!("cannot open {}", path.display()))?;
    file.take(length).read_to_end(&mut start).doing(|| format!("cannot read {}", path.display()))?;
    replay::of_package(&package, &start).map(Some)
}
