//! What the work directory holds, for `rivulet clean`, and how it is freed: only directories that nobody has locked, and
//! in them only files of the names that Rivulet gives. The encoders hold an analysis while they read its pictures.

use super::WorkDir;
use crate::error::{Result, ResultExt};
use crate::units::Digest;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// One plan's directory.
#[derive(Debug, Clone)]
pub struct PlanDir {
    pub plan: Digest,
    pub path: PathBuf,
    /// Title, else the recording's name, as far as plan.json tells.
    pub title: Option<String>,
    pub bytes: u64,
    /// The newest time of any file.
    pub last_use: SystemTime,
    /// A running Rivulet holds it.
    pub in_use: bool,
}

impl WorkDir {
    /// Every plan's directory, the one used last first.
    pub fn plans(&self) -> Result<Vec<PlanDir>> {
        let dir = self.path().join("plans");
        let mut plans: Vec<PlanDir> = fs::read_dir(&dir)
            .doing(|| format!("cannot read {}", dir.display()))?
            .flatten()
            .filter_map(|e| Some((e.file_name().to_str()?.parse::<Digest>().ok()?, e.path())))
            .filter(|(_, path)| path.is_dir())
            .map(|(plan, path)| {
                let (bytes, last_use) = weigh(&path);
                PlanDir { plan, title: title(&path.join("plan.json")), bytes, last_use, in_use: is_held(&path), path }
            })
            .collect();
        plans.sort_by_key(|p| std::cmp::Reverse(p.last_use));
        Ok(plans)
    }

    /// What was seen in recordings, as far as it is kept: one directory an analysis.
    pub fn analyses(&self) -> Vec<AnalysisDir> {
        let entries = fs::read_dir(self.path().join("analysis")).into_iter().flatten().flatten();
        entries
            .filter(|e| e.file_name().to_str().is_some_and(|n| n.parse::<Digest>().is_ok()))
            .map(|e| e.path())
            .filter(|path| path.is_dir())
            .map(|path| AnalysisDir { bytes: weigh(&path).0, in_use: is_held(&path), path })
            .collect()
    }

    /// Bytes of `cache/` (digests and probe results).
    pub fn cache_bytes(&self) -> u64 {
        weigh(&self.path().join("cache")).0
    }

    /// Frees the cache: only the JSON files in its directories of one level. Gives the bytes freed.
    pub fn free_cache(&self) -> u64 {
        let kinds = fs::read_dir(self.path().join("cache")).into_iter().flatten().flatten().map(|e| e.path()).filter(|p| p.is_dir());
        kinds.map(|kind| empty(&kind, &|name| name.ends_with(".json") || name.starts_with(super::TEMP))).sum()
    }
}

impl PlanDir {
    /// Removes what Rivulet made in it; gives the bytes freed, `None` where somebody has taken it meanwhile. Foreign files,
    /// and the directory while they are in it, stay.
    pub fn free(&self) -> Result<Option<u64>> {
        // `plan.json` and the lock go last: what is left by a kill is still seen as a plan.
        free(&self.path, |dir| empty(dir, &|name| ours(name) && name != "plan.json") + empty(dir, &|name| name == "plan.json"))
    }
}

/// What was seen in one recording, and the pictures of it that were kept for the encoders.
#[derive(Debug, Clone)]
pub struct AnalysisDir {
    pub path: PathBuf,
    pub bytes: u64,
    /// A running Rivulet writes it or reads in it.
    pub in_use: bool,
}

impl AnalysisDir {
    /// Removes it as [`PlanDir::free`] does; the next plan of its recording looks at the pictures again.
    pub fn free(&self) -> Result<Option<u64>> {
        let ours = |name: &str| ["features", "pictures", "pictures.json"].contains(&name) || name.starts_with(super::TEMP);
        free(&self.path, |dir| empty(dir, &ours))
    }
}

fn is_held(dir: &Path) -> bool {
    File::open(dir.join(super::LOCK)).is_ok_and(|f| matches!(f.try_lock(), Err(TryLockError::WouldBlock)))
}

/// Empties a directory that nobody holds, then removes its lock, and it.
fn free(dir: &Path, empty: impl FnOnce(&Path) -> u64) -> Result<Option<u64>> {
    let doing = || format!("cannot free {}", dir.display());
    let path = dir.join(super::LOCK);
    let lock = File::options().create(true).truncate(false).write(true).open(&path).doing(doing)?;
    match lock.try_lock() {
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(e)) => return Err(e).doing(doing),
        // Another `clean` may have freed it, and a run made it anew, since it was opened.
        Ok(()) if !super::is_at(&lock, &path) => return Ok(None),
        Ok(()) => {}
    }
    let freed = empty(dir);
    let _ = fs::remove_file(&path);
    let _ = fs::remove_dir(dir);
    Ok(Some(freed))
}

/// The names that Rivulet gives to files of a plan's directory, or of a directory in it.
fn ours(name: &str) -> bool {
    let extension = name.rsplit_once('.').map_or("", |(_, e)| e);
    name.starts_with(super::TEMP)
        || ["json", "chunk", "units", "f32", "mp4", "m4a", "mkv", "opus", "aac", "m3u8", "vtt", "webp", "log"].contains(&extension)
}

/// Removes the files that are ours in a directory and in those below it, then the directories that are empty.
fn empty(dir: &Path, ours: &dyn Fn(&str) -> bool) -> u64 {
    let mut freed = 0;
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let (path, Ok(kind)) = (entry.path(), entry.file_type()) else { continue };
        if kind.is_dir() {
            freed += empty(&path, ours);
            let _ = fs::remove_dir(&path);
        } else if kind.is_file() && entry.file_name().to_str().is_some_and(ours) {
            let bytes = entry.metadata().map_or(0, |m| m.len());
            if fs::remove_file(&path).is_ok() {
                freed += bytes;
            }
        }
    }
    freed
}

/// Bytes of all files below, and the newest of their times.
fn weigh(dir: &Path) -> (u64, SystemTime) {
    let mut sum = (0, SystemTime::UNIX_EPOCH);
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let Ok(meta) = entry.metadata() else { continue };
        let (bytes, newest) = match meta.is_dir() {
            true => weigh(&entry.path()),
            false => (meta.len(), meta.modified().unwrap_or(SystemTime::UNIX_EPOCH)),
        };
        sum = (sum.0 + bytes, sum.1.max(newest));
    }
    sum
}

/// What people call the plan. Read loosely: an older Rivulet's plan has a name too.
fn title(plan: &Path) -> Option<String> {
    let plan: serde_json::Value = serde_json::from_slice(&fs::read(plan).ok()?).ok()?;
    let text = |v: &serde_json::Value| v.as_str().filter(|t| !t.is_empty()).map(str::to_string);
    let recording = || {
        let first = plan.get("recordings").or(plan.get("sources"))?.get(0)?;
        let name = first.get("name").or(first.get("path")).unwrap_or(first);
        Path::new(name.as_str()?).file_name().map(|n| n.to_string_lossy().into_owned())
    };
    plan.get("title").and_then(text).or_else(recording)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Ctx;

    #[tokio::test]
    async fn only_what_rivulet_made_and_nobody_uses_is_freed() {
        let dir = tempfile::tempdir().unwrap();
        let work = WorkDir::open(Some(dir.path().to_path_buf())).unwrap();
        let (idle, busy, mixed) = (Digest::of(b"idle"), Digest::of(b"busy"), Digest::of(b"mixed"));
        for plan in [idle, mixed] {
            drop(work.claim(&plan, &Ctx::silent()).await.unwrap());
        }
        let held = work.claim(&busy, &Ctx::silent()).await.unwrap();
        let at = |plan: &Digest, name: &str| work.path().join("plans").join(plan.to_string()).join(name);
        fs::write(at(&idle, "plan.json"), r#"{"recordings":[{"name":"Bài 1.mp4"}]}"#).unwrap();
        fs::write(at(&idle, "c00003.chunk"), [0; 100]).unwrap();
        fs::write(at(&idle, crate::voice::MIX_FILE), [0; 100]).unwrap();
        fs::write(at(&mixed, "my thesis.odt"), "x").unwrap();
        fs::write(held.dir().join("c00001.chunk"), [0; 100]).unwrap();
        fs::create_dir(work.path().join("plans/old stuff")).unwrap();

        let plans = work.plans().unwrap();
        assert_eq!(plans.len(), 3);
        let of = |plan: &Digest| plans.iter().find(|p| p.plan == *plan).unwrap();
        assert_eq!((of(&idle).title.as_deref(), of(&idle).in_use), (Some("Bài 1.mp4"), false));
        assert!(of(&busy).in_use);
        assert!(of(&idle).free().unwrap().unwrap() > 200);
        assert_eq!(of(&busy).free().unwrap(), None);
        of(&mixed).free().unwrap();
        assert!(!at(&idle, "").exists());
        assert!(
            held.dir().join("c00001.chunk").exists()
                && at(&mixed, "my thesis.odt").exists()
                && work.path().join("plans/old stuff").exists()
        );
    }

    #[tokio::test]
    async fn an_analysis_is_freed_unless_it_is_read_or_written() {
        let dir = tempfile::tempdir().unwrap();
        let work = WorkDir::open(Some(dir.path().to_path_buf())).unwrap();
        assert!(work.analyses().is_empty());
        let at = |name: &str| work.path().join("analysis").join(Digest::of(name.as_bytes()).to_string());
        let written = crate::workdir::claim(&at("written"), &Ctx::silent()).await.unwrap();
        for name in ["idle", "read", "mixed"] {
            drop(crate::workdir::claim(&at(name), &Ctx::silent()).await.unwrap());
            fs::write(at(name).join("features"), [0; 100]).unwrap();
            fs::write(at(name).join("pictures"), [0; 1000]).unwrap();
        }
        fs::write(at("mixed").join("notes.txt"), "x").unwrap();
        let reader = crate::workdir::share(&at("read")).unwrap();
        assert!(crate::workdir::share(&at("read")).is_some(), "many may read");
        assert!(crate::workdir::share(&at("written")).is_none());
        let of = |name: &str| work.analyses().into_iter().find(|a| a.path == at(name)).unwrap();
        assert_eq!((of("idle").bytes, of("idle").in_use), (1100, false));
        assert!(of("read").in_use && of("written").in_use);
        assert_eq!((of("idle").free().unwrap(), of("mixed").free().unwrap()), (Some(1100), Some(1100)));
        assert_eq!((of("read").free().unwrap(), of("written").free().unwrap()), (None, None));
        assert!(!at("idle").exists() && at("read").join("pictures").exists() && at("mixed").join("notes.txt").exists());
        drop((reader, written));
        assert_eq!(of("read").free().unwrap(), Some(1100));
    }

    #[test]
    fn the_cache_is_freed_but_for_foreign_files() {
        let dir = tempfile::tempdir().unwrap();
        let work = WorkDir::open(Some(dir.path().to_path_buf())).unwrap();
        let cache = crate::cache::Cache::new(&work);
        cache.put("probe", "k", &1).unwrap();
        fs::write(cache.dir().join("probe/notes.txt"), "x").unwrap();
        assert!(work.cache_bytes() > 1);
        assert!(work.free_cache() > 1);
        assert_eq!((work.cache_bytes(), cache.get::<u32>("probe", "k")), (1, None));
    }
}
