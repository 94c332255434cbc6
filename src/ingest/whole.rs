//! Is a file whole? A recorder, a copy or a share may still be at it. Three witnesses: its size and mtime stand still, no
//! process has it open for writing, and its container is complete. The decision is pure ([`Watch::observe`]); the look at
//! the file is thin ([`look`]).
//!
//! # Issues
//! Writers are found in `/proc/*/fd`: only processes of this machine, and of other users only for root. A machine that
//! writes over SMB or NFS is not seen (the server's own process is, on the server); against those only stillness and
//! the container help. So a file whose container has nothing to add up must be seen still for the whole time.

use crate::cache::Stamp;
use crate::probe::container::{self, Container};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// How many times longer an incomplete file is waited for before it is refused: a copy over a bad line may pause.
const PATIENCE: u32 = 6;

/// What was seen of a file at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Look {
    pub stamp: Stamp,
    /// How old the mtime is; `None` where it lies in the future (cameras and shares with a wrong clock).
    pub age: Option<Duration>,
    /// Who has it open for writing, as far as can be seen.
    pub writer: Option<String>,
    pub container: Container,
}

/// What is known of a file's being whole. Reasons are one line, without numbers that change from look to look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Whole,
    /// Wait and look again.
    Growing(String),
    /// Still for long, and something is missing.
    Incomplete(String),
    NotMedia(String),
}

/// Remembers since when a file stands still.
#[derive(Debug, Default)]
pub struct Watch {
    last: Option<(Stamp, Duration)>,
}

impl Watch {
    /// Takes one look at `now` (a clock that only rises); `still` is how long a file must be unchanged.
    pub fn observe(&mut self, now: Duration, still: Duration, look: &Look) -> Verdict {
        let (changed, since) = match &self.last {
            Some((stamp, since)) if *stamp == look.stamp => (false, *since),
            other => (other.is_some(), now),
        };
        self.last = Some((look.stamp.clone(), since));
        if let Some(writer) = &look.writer {
            // Not still while somebody may write: the time begins anew when it is closed.
            self.last = Some((look.stamp.clone(), now));
            return Verdict::Growing(format!("{writer} has it open for writing"));
        }
        let watched = now.saturating_sub(since);
        // A copy that keeps the original's times has an old mtime from its start on, so age alone is no proof ...
        let aged = look.age.is_some_and(|age| age >= still) && !changed;
        match &look.container {
            // ... but with a complete container it is.
            Container::Complete if aged || watched >= still => Verdict::Whole,
            Container::Unknown if watched >= still => Verdict::Whole,
            Container::Complete | Container::Unknown => {
                Verdict::Growing(if changed { "it is still growing" } else { "it may still be growing" }.into())
            }
            Container::NotMedia(_) | Container::Short(_) if !(watched >= still || aged) => Verdict::Growing("it is still growing".into()),
            Container::NotMedia(why) => Verdict::NotMedia(why.clone()),
            Container::Short(why) => match watched >= still * PATIENCE || (aged && look.age.is_some_and(|age| age >= still * PATIENCE)) {
                true => Verdict::Incomplete(why.clone()),
                false => Verdict::Growing(format!("it is not complete yet ({why})")),
            },
        }
    }
}

/// Looks at a file now. Fails as the file system does.
pub fn look(path: &Path, wall: SystemTime) -> io::Result<Look> {
    let mut file = fs::File::open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    Ok(Look {
        stamp: Stamp::of(&meta),
        age: meta.modified().ok().and_then(|m| wall.duration_since(m).ok()),
        writer: writer(meta.dev(), meta.ino()),
        container: container::look(&mut file, meta.len())?,
    })
}

/// The first process of this machine, visible to us, that has the file open for writing.
#[cfg(target_os = "linux")]
fn writer(device: u64, inode: u64) -> Option<String> {
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let dir = process.path();
        let Some(pid) = process.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else { continue };
        // Processes of others cannot be read, and processes end while we look: both are no writers that we can see.
        let Ok(open) = fs::read_dir(dir.join("fd")) else { continue };
        for fd in open.flatten() {
            let same = fs::metadata(fd.path()).is_ok_and(|m| m.is_file() && m.dev() == device && m.ino() == inode);
            if same && writable(&fs::read_to_string(dir.join("fdinfo").join(fd.file_name())).unwrap_or_default()) {
                let name = fs::read_to_string(dir.join("comm")).unwrap_or_default();
                return Some(format!("{} (process {pid})", name.trim()));
            }
        }
    }
    None
}

#[cfg(not(target_os = "linux"))]
fn writer(_: u64, _: u64) -> Option<String> {
    None
}

/// Whether `/proc/<pid>/fdinfo/<fd>` tells of O_WRONLY or O_RDWR (octal flags, lowest two bits).
fn writable(fdinfo: &str) -> bool {
    let flags = fdinfo.lines().find_map(|l| l.strip_prefix("flags:")).and_then(|f| u32::from_str_radix(f.trim(), 8).ok());
    flags.is_some_and(|f| f & 3 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const STILL: Duration = Duration::from_secs(10);

    fn secs(s: u64) -> Duration {
        Duration::from_secs(s)
    }
    fn seen(bytes: u64, age: Option<u64>, container: Container) -> Look {
        Look { stamp: Stamp { bytes, mtime_ns: bytes as i128, inode: 1, device: 1 }, age: age.map(secs), writer: None, container }
    }

    #[test]
    fn an_old_complete_file_is_whole_at_once() {
        assert_eq!(Watch::default().observe(secs(0), STILL, &seen(5, Some(3600), Container::Complete)), Verdict::Whole);
    }

    // Don't trust the mtime of a file whose end nothing proves: `cp -p` of a transport stream sets it early on some systems.
    #[test]
    fn an_old_file_of_unknown_completeness_is_watched_first() {
        let (mut watch, look) = (Watch::default(), seen(5, Some(3600), Container::Unknown));
        assert!(matches!(watch.observe(secs(0), STILL, &look), Verdict::Growing(_)));
        assert!(matches!(watch.observe(secs(9), STILL, &look), Verdict::Growing(_)));
        assert_eq!(watch.observe(secs(10), STILL, &look), Verdict::Whole);
    }

    #[test]
    fn every_change_begins_the_wait_anew() {
        let mut watch = Watch::default();
        assert!(matches!(watch.observe(secs(0), STILL, &seen(5, Some(0), Container::Complete)), Verdict::Growing(_)));
        assert_eq!(watch.observe(secs(9), STILL, &seen(6, Some(0), Container::Complete)), Verdict::Growing("it is still growing".into()));
        assert!(matches!(watch.observe(secs(18), STILL, &seen(6, Some(9), Container::Complete)), Verdict::Growing(_)));
        assert_eq!(watch.observe(secs(19), STILL, &seen(6, None, Container::Complete)), Verdict::Whole);
    }

    // A fragmented MP4 is complete after every fragment, with an mtime from the camera's wrong clock.
    #[test]
    fn a_file_seen_growing_is_not_whole_by_its_old_mtime() {
        let mut watch = Watch::default();
        watch.observe(secs(0), STILL, &seen(5, Some(1), Container::Complete));
        assert!(matches!(watch.observe(secs(1), STILL, &seen(6, Some(3600), Container::Complete)), Verdict::Growing(_)));
    }

    #[test]
    fn a_time_in_the_future_is_no_age() {
        let mut watch = Watch::default();
        assert!(matches!(watch.observe(secs(0), STILL, &seen(5, None, Container::Complete)), Verdict::Growing(_)));
        assert_eq!(watch.observe(secs(10), STILL, &seen(5, None, Container::Complete)), Verdict::Whole);
    }

    #[test]
    fn while_somebody_writes_nothing_else_counts() {
        let mut watch = Watch::default();
        let mut look = seen(5, Some(3600), Container::Complete);
        look.writer = Some("obs (process 7)".into());
        for t in 0..100 {
            assert_eq!(watch.observe(secs(t), STILL, &look), Verdict::Growing("obs (process 7) has it open for writing".into()));
        }
        look.writer = None;
        look.age = Some(secs(1));
        assert!(matches!(watch.observe(secs(100), STILL, &look), Verdict::Growing(_)));
        assert_eq!(watch.observe(secs(109), STILL, &look), Verdict::Whole);
    }

    #[test]
    fn a_short_file_is_given_a_minute_before_it_is_refused() {
        let (mut watch, look) = (Watch::default(), seen(5, Some(2), Container::Short("no index (moov)".into())));
        assert!(matches!(watch.observe(secs(0), STILL, &look), Verdict::Growing(_)));
        assert_eq!(watch.observe(secs(30), STILL, &look), Verdict::Growing("it is not complete yet (no index (moov))".into()));
        assert_eq!(watch.observe(secs(60), STILL, &look), Verdict::Incomplete("no index (moov)".into()));
        // ... and when it has lain there since yesterday, at once
        let old = seen(5, Some(86_400), Container::Short("no index (moov)".into()));
        assert!(matches!(Watch::default().observe(secs(0), STILL, &old), Verdict::Incomplete(_)));
    }

    #[test]
    fn a_new_empty_file_may_yet_become_a_recording() {
        let empty = |age| seen(0, Some(age), Container::NotMedia("the file is empty (0 bytes)".into()));
        assert!(matches!(Watch::default().observe(secs(0), STILL, &empty(1)), Verdict::Growing(_)));
        assert!(matches!(Watch::default().observe(secs(0), STILL, &empty(11)), Verdict::NotMedia(_)));
    }

    #[test]
    fn a_writer_of_this_machine_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.mp4");
        let mut file = fs::File::create(&path).unwrap();
        file.write_all(b"x").unwrap();
        assert!(look(&path, SystemTime::now()).unwrap().writer.unwrap().contains(&format!("process {}", std::process::id())));
        drop(file);
        let reader = fs::File::open(&path).unwrap();
        assert_eq!(look(&path, SystemTime::now()).unwrap().writer, None);
        drop(reader);
    }
}
