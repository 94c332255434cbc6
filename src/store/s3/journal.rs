//! What this machine remembers of a large object on its way: the service's id of the upload and the parts that it has
//! acknowledged. A file in the work directory, so that the next run goes on after a kill -9, a power cut or a dead link.
//! What is written there is only ever a hint: the service is asked what it has.

use crate::error::{Result, ResultExt};
use crate::units::Digest;
use crate::workdir::write_whole;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// An upload that nobody has gone on with for so long is given up.
pub const ABANDONED: Duration = Duration::from_secs(7 * 24 * 3600);

const NOTE: &str = "upload.json";
const LOCK: &str = "lock";

/// What is uploaded where. Another file, or another way of cutting it, is another upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The endpoint, or Amazon's region.
    pub host: String,
    pub bucket: String,
    /// The whole key, prefix included.
    pub key: String,
    pub sha256: Digest,
    pub bytes: u64,
    pub part_bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Note {
    #[serde(flatten)]
    pub target: Target,
    pub upload_id: String,
    /// The ETag that the service gave each acknowledged part, by number.
    pub parts: BTreeMap<i32, String>,
}

/// One upload's place, held by this process until dropped.
#[derive(Debug)]
pub struct Journal {
    dir: PathBuf,
    _lock: File,
}

impl Journal {
    /// The journal of a target below `root`. Where another process holds it, a journal of our own: two uploads of one object
    /// do no harm, waiting for a process that hangs does.
    pub fn open(root: &Path, target: &Target) -> Result<Journal> {
        let name = Digest::of(format!("{}\n{}\n{}", target.host, target.bucket, target.key).as_bytes()).to_string();
        match Journal::take(root.join(&name[..32]))? {
            Some(journal) => Ok(journal),
            None => {
                let own = root.join(format!("{}.{}", &name[..32], std::process::id()));
                match Journal::take(own.clone())? {
                    Some(journal) => Ok(journal),
                    None => Err(crate::error::Error::new(crate::error::Kind::Conflict, format!("{} is in use", own.display()))),
                }
            }
        }
    }

    fn take(dir: PathBuf) -> Result<Option<Journal>> {
        let doing = || format!("cannot write in {}", dir.display());
        fs::create_dir_all(&dir).doing(doing)?;
        let lock = File::options().create(true).truncate(false).write(true).open(dir.join(LOCK)).doing(doing)?;
        match lock.try_lock() {
            Ok(()) if crate::workdir::is_at(&lock, &dir.join(LOCK)) => Ok(Some(Journal { dir, _lock: lock })),
            Ok(()) | Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(e)) => Err(e).doing(doing),
        }
    }

    /// What was noted; a note that cannot be read is none.
    pub fn note(&self) -> Option<Note> {
        serde_json::from_slice(&fs::read(self.dir.join(NOTE)).ok()?).ok()
    }

    pub fn write(&self, note: &Note) -> Result<()> {
        write_whole(&self.dir.join(NOTE), |to| serde_json::to_writer_pretty(to, note).map_err(std::io::Error::from))
    }

    /// The upload has ended.
    pub fn remove(self) -> Result<()> {
        fs::remove_dir_all(&self.dir).doing(|| format!("cannot remove {}", self.dir.display()))
    }

    /// For how long nothing has been added.
    pub fn age(&self) -> Duration {
        let changed = fs::metadata(self.dir.join(NOTE)).and_then(|m| m.modified());
        changed.ok().and_then(|t| SystemTime::now().duration_since(t).ok()).unwrap_or_default()
    }

    /// Every journal below `root` that no process holds.
    pub fn idle(root: &Path) -> Result<Vec<Journal>> {
        let mut all = Vec::new();
        let entries = match fs::read_dir(root) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(all),
            Err(e) => return Err(e).doing(|| format!("cannot read {}", root.display())),
        };
        for entry in entries.flatten().filter(|e| e.path().is_dir()) {
            all.extend(Journal::take(entry.path())?);
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(key: &str) -> Target {
        Target { host: "h".into(), bucket: "b".into(), key: key.into(), sha256: Digest::of(b""), bytes: 9, part_bytes: 5 }
    }

    #[test]
    fn a_note_outlives_its_process_and_two_processes_do_not_share_one() {
        let root = tempfile::tempdir().unwrap();
        let note = Note { target: target("k"), upload_id: "u".into(), parts: BTreeMap::from([(1, "e".into())]) };
        let first = Journal::open(root.path(), &target("k")).unwrap();
        first.write(&note).unwrap();
        let second = Journal::open(root.path(), &target("k")).unwrap();
        assert_ne!(first.dir, second.dir);
        assert_eq!(second.note(), None);
        second.remove().unwrap();
        assert!(Journal::idle(root.path()).unwrap().is_empty(), "the first is held");
        drop(first);
        assert_eq!(Journal::idle(root.path()).unwrap().pop().unwrap().note(), Some(note.clone()));
        let again = Journal::open(root.path(), &target("k")).unwrap();
        assert_eq!(again.note(), Some(note));
        fs::write(again.dir.join(NOTE), b"{\"half").unwrap();
        assert_eq!(again.note(), None);
        again.remove().unwrap();
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }
}
