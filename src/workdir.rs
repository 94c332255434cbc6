//! The work directory: `<root>/plans/<plan digest>/` holds what one plan has made so far, `<root>/analysis/<digest>/` what was
//! seen in one recording, `<root>/cache/` what is known of files. There is no job database: what exists is done, what is missing is work. Every file gets its name by rename.

pub mod plans;

use crate::error::{Error, Kind, Result, ResultExt};
use crate::progress::Ctx;
use crate::units::Digest;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

#[derive(Debug, Clone)]
pub struct WorkDir {
    root: PathBuf,
}

impl WorkDir {
    /// `root`, else `$RIVULET_WORK`, else `$XDG_CACHE_HOME/rivulet`, else `~/.cache/rivulet`; made if missing.
    pub fn open(root: Option<PathBuf>) -> Result<WorkDir> {
        let var = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let root = root
            .or_else(|| var("RIVULET_WORK"))
            .or_else(|| var("XDG_CACHE_HOME").map(|d| d.join("rivulet")))
            .or_else(|| var("HOME").map(|d| d.join(".cache/rivulet")))
            .ok_or_else(|| Error::usage("no work directory: HOME is not set").hint("give one with --work-dir or RIVULET_WORK"))?;
        fs::create_dir_all(root.join("plans")).doing(|| format!("cannot make the work directory {}", root.display()))?;
        Ok(WorkDir { root })
    }

    pub fn path(&self) -> &Path {
        &self.root
    }

    /// The directory of one plan, to look into; whoever writes there takes it first ([`WorkDir::claim`]).
    pub fn plan(&self, plan: &Digest) -> PathBuf {
        self.root.join("plans").join(plan.to_string())
    }

    /// Takes the directory of one plan for this process alone; waits, and says so, while another holds it.
    pub async fn claim(&self, plan: &Digest, ctx: &Ctx) -> Result<Claim> {
        claim(&self.plan(plan), ctx).await
    }
}

/// Makes a directory and takes it for this process alone; waits, and says so, while another holds it. The kernel frees the
/// lock when its holder dies.
pub async fn claim(dir: &Path, ctx: &Ctx) -> Result<Claim> {
    let mut said = false;
    loop {
        ctx.check()?;
        fs::create_dir_all(dir).doing(|| format!("cannot make {}", dir.display()))?;
        let lock = match File::options().create(true).truncate(false).write(true).open(dir.join(LOCK)) {
            // `clean` removed the directory since it was made.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            opened => opened.doing(|| format!("cannot write in {}", dir.display()))?,
        };
        match lock.try_lock() {
            // `clean` may have removed the directory between the open and the lock.
            Ok(()) if is_at(&lock, &dir.join(LOCK)) => {
                sweep(dir)?;
                return Ok(Claim { dir: dir.to_path_buf(), _lock: lock });
            }
            Ok(()) => continue,
            Err(fs::TryLockError::WouldBlock) => {}
            Err(fs::TryLockError::Error(e)) => return Err(Error::failed(format!("cannot lock {}", dir.display())).caused_by(e)),
        }
        if !said {
            ctx.note("another rivulet works on this very recording and profile; waiting for it");
            said = true;
        }
        tokio::select! { biased; () = ctx.cancel.cancelled() => {}, () = tokio::time::sleep(std::time::Duration::from_millis(300)) => {} }
    }
}

/// Keeps a directory from being taken or freed while the file lives, together with others who only read in it. `None`: it
/// is being written or freed, or was never taken.
pub fn share(dir: &Path) -> Option<File> {
    let lock = File::open(dir.join(LOCK)).ok()?;
    (lock.try_lock_shared().is_ok() && is_at(&lock, &dir.join(LOCK))).then_some(lock)
}

/// The file in a directory by whose lock it is held.
const LOCK: &str = "lock";

/// A directory, of one plan or one recording's analysis, held exclusively until dropped.
#[derive(Debug)]
pub struct Claim {
    dir: PathBuf,
    _lock: File,
}

impl Claim {
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

/// Whether `path` still names this very file: a lock that was removed and made anew locks nothing.
pub fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let id = |m: fs::Metadata| (m.dev(), m.ino());
    file.metadata().map(id).ok().is_some_and(|held| fs::metadata(path).map(id).ok() == Some(held))
}

/// Removes temporary files that a killed run left.
fn sweep(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir).doing(|| format!("cannot read {}", dir.display()))?.flatten() {
        if entry.file_name().to_string_lossy().starts_with(TEMP) {
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}

const TEMP: &str = ".tmp-";

/// Writes a file whole or not at all: temporary name in the same directory, sync, rename, sync of the directory.
pub fn write_whole(path: &Path, write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<()> {
    let dir = path.parent().ok_or_else(|| Error::bug(format!("{} has no directory", path.display())))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temp = dir.join(format!("{TEMP}{}-{name}", std::process::id()));
    let outcome = (|| {
        let mut out = std::io::BufWriter::with_capacity(1 << 18, File::create(&temp)?);
        write(&mut out)?;
        out.into_inner().map_err(|e| e.into_error())?.sync_all()?;
        fs::rename(&temp, path)?;
        File::open(dir)?.sync_all()
    })();
    if outcome.is_err() {
        let _ = fs::remove_file(&temp);
    }
    outcome.doing(|| format!("cannot write {}", path.display()))
}

/// Free bytes for this user on the file system that holds `path`.
pub fn free_bytes(path: &Path) -> Result<u64> {
    let stat = rustix::fs::statvfs(path)
        .map_err(|e| Error::new(Kind::Failed, format!("cannot ask for free space at {}", path.display())).caused_by(e))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn two_runs_never_hold_one_plan() {
        let dir = tempfile::tempdir().unwrap();
        let work = WorkDir::open(Some(dir.path().to_path_buf())).unwrap();
        let plan = Digest::of(b"plan");
        let first = work.claim(&plan, &Ctx::silent()).await.unwrap();
        let ctx = Ctx::silent();
        let cancel = ctx.cancel.clone();
        let second = tokio::spawn({
            let work = work.clone();
            async move { work.claim(&plan, &ctx).await.map(|_| ()) }
        });
        cancel.cancel();
        assert_eq!(second.await.unwrap().unwrap_err().kind(), Kind::Cancelled);
        drop(first);
        assert!(work.claim(&plan, &Ctx::silent()).await.is_ok());
    }

    #[test]
    fn a_failed_write_leaves_nothing_under_any_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        assert!(write_whole(&path, |_| Err(std::io::ErrorKind::StorageFull.into())).is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
