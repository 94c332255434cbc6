//! A store in a directory. Reads never leave the directory: a symbolic link that points out of it is not there.

use super::{Body, BoxFuture, Caching, Key, Meta, Precondition, Store};
use crate::error::{Error, Kind, Result, ResultExt};
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A directory as a [`Store`].
pub struct DirStore {
    root: PathBuf,
}

impl DirStore {
    /// `NotFound` unless the directory is there.
    pub fn open(root: &Path) -> Result<DirStore> {
        let root = root.canonicalize().doing(|| format!("cannot open the store {}", root.display()))?;
        match root.is_dir() {
            true => Ok(DirStore { root }),
            false => Err(Error::new(Kind::NotFound, format!("{} is not a directory", root.display()))),
        }
    }
}

/// The regular file behind a key, or `None`.
fn find(root: &Path, key: &Key) -> Option<(PathBuf, std::fs::Metadata)> {
    let path = root.join(key.as_str()).canonicalize().ok().filter(|p| p.starts_with(root))?;
    let meta = path.metadata().ok().filter(|m| m.is_file())?;
    Some((path, meta))
}

fn meta_of(m: &std::fs::Metadata) -> Meta {
    // The inode tells two files apart that were renamed into place within one clock tick.
    Meta { bytes: m.len(), version: format!("{:x}-{:x}-{:x}-{:x}", m.ino(), m.mtime(), m.mtime_nsec(), m.len()) }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|e| Error::bug("a file operation panicked").caused_by(e))?
}

impl Store for DirStore {
    fn describe(&self) -> String {
        self.root.display().to_string()
    }

    fn get<'a>(&'a self, key: &'a Key, range: Option<Range<u64>>) -> BoxFuture<'a, Vec<u8>> {
        let (root, key) = (self.root.clone(), key.clone());
        Box::pin(blocking(move || {
            let (path, meta) = find(&root, &key).ok_or_else(|| Error::new(Kind::NotFound, format!("{key} is not in the store")))?;
            let range = range.unwrap_or(0..meta.len());
            let mut file = std::fs::File::open(path).doing(|| format!("cannot read {key}"))?;
            let mut bytes = Vec::new();
            file.seek(SeekFrom::Start(range.start)).doing(|| format!("cannot read {key}"))?;
            file.take(range.end.saturating_sub(range.start)).read_to_end(&mut bytes).doing(|| format!("cannot read {key}"))?;
            Ok(bytes)
        }))
    }

    fn head<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Option<Meta>> {
        let (root, key) = (self.root.clone(), key.clone());
        Box::pin(blocking(move || Ok(find(&root, &key).map(|(_, m)| meta_of(&m)))))
    }

    fn put<'a>(&'a self, key: &'a Key, body: Body<'a>, _: Caching, when: Precondition) -> BoxFuture<'a, Meta> {
        Box::pin(async move {
            let now = self.head(key).await?;
            let free = match &when {
                Precondition::None => true,
                Precondition::Absent => now.is_none(),
                Precondition::Version(v) => now.is_some_and(|m| m.version == *v),
            };
            if !free {
                return Err(Error::new(Kind::Conflict, format!("{key} was changed by somebody else")));
            }
            let bytes = match body {
                Body::Bytes(b) => b.to_vec(),
                Body::File(f) => std::fs::read(f).doing(|| format!("cannot read {}", f.display()))?,
            };
            let path = self.root.join(key.as_str());
            let dir = path.parent().unwrap_or(&self.root).to_path_buf();
            let temp = dir.join(format!(".put-{}", std::process::id()));
            let doing = || format!("cannot write {key}");
            std::fs::create_dir_all(&dir).doing(doing)?;
            std::fs::write(&temp, bytes).and_then(|()| std::fs::rename(&temp, &path)).doing(doing)?;
            self.head(key).await?.ok_or_else(|| Error::new(Kind::Conflict, format!("{key} is gone again")))
        })
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Vec<(Key, Meta)>> {
        let (root, prefix) = (self.root.clone(), prefix.to_string());
        Box::pin(blocking(move || {
            let (mut found, mut dirs) = (Vec::new(), vec![root.clone()]);
            while let Some(dir) = dirs.pop() {
                for entry in std::fs::read_dir(&dir).doing(|| format!("cannot list {}", dir.display()))? {
                    let path = entry.doing(|| format!("cannot list {}", dir.display()))?.path();
                    let name = path.strip_prefix(&root).ok().and_then(Path::to_str).unwrap_or_default().to_string();
                    match path.is_dir() && !path.is_symlink() {
                        true => dirs.push(path),
                        false if name.starts_with(&prefix) => {
                            found.extend(Key::new(name).ok().and_then(|k| Some((k.clone(), meta_of(&find(&root, &k)?.1)))))
                        }
                        false => {}
                    }
                }
            }
            found.sort_by(|a, b| a.0.cmp(&b.0));
            Ok(found)
        }))
    }

    fn delete<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            match std::fs::remove_file(self.root.join(key.as_str())) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e).doing(|| format!("cannot delete {key}")),
                _ => Ok(()),
            }
        })
    }
}
