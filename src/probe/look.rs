//! The cheap look before any plug-in sees a file: is it there, is it whole, is it media at all? Every mishap that
//! people really have with uploads is named as exactly that.

use crate::error::{Error, Kind, Result, ResultExt};
use std::io::Read;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// A file written to this lately by a process that has it open is still growing.
const FRESH: Duration = Duration::from_secs(2);

/// Refuses what is no recording, and says what it is. Returns the size in bytes.
pub fn look(path: &Path) -> Result<u64> {
    let name = path.display();
    let meta = std::fs::metadata(path).doing(|| format!("cannot read {name}"))?;
    if meta.is_dir() {
        return Err(Error::bad_media(format!("{name} is a directory, not a recording")).hint("name the files in it, in order"));
    }
    if !meta.is_file() {
        return Err(Error::bad_media(format!("{name} is not a regular file")));
    }
    let mut file = std::fs::File::open(path).doing(|| format!("cannot read {name}"))?;
    let fresh = meta.modified().ok().and_then(|m| SystemTime::now().duration_since(m).ok()).is_none_or(|age| age < FRESH);
    if let Some(writer) = fresh.then(|| writer_of(path)).flatten() {
        return Err(Error::bad_media(format!("{name} is still growing: {writer} is writing to it"))
            .hint("wait until the recorder or the copy has finished"));
    }
    if meta.len() == 0 {
        return Err(Error::bad_media(format!("{name} is empty (0 bytes)"))
            .hint("copy it again from the recorder; if it is empty there too, the recording was lost"));
    }
    let mut head = Vec::new();
    file.by_ref().take(64 << 10).read_to_end(&mut head).doing(|| format!("cannot read {name}"))?;
    match mistaken(&head) {
        Some((what, hint)) => Err(Error::new(Kind::BadMedia, format!("{name} is {what}, not a recording")).hint(hint)),
        None => Ok(meta.len()),
    }
}

/// What a file's first bytes say that it is, where that is not media; with what to do.
fn mistaken(head: &[u8]) -> Option<(&'static str, &'static str)> {
    let start = String::from_utf8_lossy(&head[..head.len().min(1024)]).trim_start_matches('\u{feff}').trim_start().to_ascii_lowercase();
    let with = |prefix: &str| start.starts_with(prefix);
    Some(match () {
        () if with("version https://git-lfs.github.com/spec/") => {
            ("a Git LFS pointer (a note of where the real file is)", "run `git lfs pull` where it came from and copy the real file")
        }
        () if head.starts_with(b"%PDF-") => ("a PDF document", "export the lecture as video; slides alone have no voice"),
        () if with("<!doctype html") || with("<html") || with("<head") => {
            ("an HTML page", "the download saved a web page (often a login or error page); download the video itself")
        }
        () if head.starts_with(b"PK\x03\x04") => ("a ZIP archive or an Office document", "unpack it, or export the presentation as video"),
        () if head.starts_with(b"\x89PNG") || head.starts_with(b"\xff\xd8\xff") && !head.windows(4).any(|w| w == b"AVI1") => {
            ("a picture", "a recording needs sound or moving pictures")
        }
        () if head.iter().all(|b| *b == 0) => {
            ("filled with zeros", "the recorder lost power or the card is damaged; copy it again or use a recovery tool on the card")
        }
        () if is_text(head) => ("a text file", "check what was copied under this name"),
        () => return None,
    })
}

/// Valid UTF-8 (a character may be cut at the end) without control characters.
fn is_text(head: &[u8]) -> bool {
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(e) if e.error_len().is_none() => std::str::from_utf8(&head[..e.valid_up_to()]).unwrap_or_default(),
        Err(_) => return false,
    };
    !text.is_empty() && !text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t' | '\x0c'))
}

/// The name of a process that has the file open for writing, as far as /proc lets us see.
fn writer_of(path: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let ours = std::fs::metadata(path).ok()?;
    for process in std::fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else { continue };
        let Ok(open) = std::fs::read_dir(process.path().join("fd")) else { continue };
        for fd in open.flatten() {
            let same = std::fs::metadata(fd.path()).is_ok_and(|m| m.is_file() && (m.dev(), m.ino()) == (ours.dev(), ours.ino()));
            // The access mode is the low two bits of `flags` in fdinfo (proc(5), octal): 1 and 2 write.
            let writes = || {
                let info = std::fs::read_to_string(process.path().join("fdinfo").join(fd.file_name())).ok()?;
                let flags = info.lines().find_map(|l| l.strip_prefix("flags:"))?;
                Some(u32::from_str_radix(flags.trim(), 8).ok()? & 3 != 0)
            };
            if same && writes() == Some(true) {
                let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
                return Some(format!("{} (process {pid})", name.trim()));
            }
        }
    }
    None
}

/// Whether the top-level boxes of an MP4 or QuickTime file (ISO/IEC 14496-12 4.2) reach beyond its end: a copy that stopped.
pub fn boxes_reach_beyond(path: &Path, bytes: u64) -> bool {
    use std::io::{Read, Seek, SeekFrom};
    let Ok(mut file) = std::fs::File::open(path) else { return false };
    let mut at = 0u64;
    let mut seen_ftyp = false;
    // A real file has a handful of boxes, a fragmented one some thousand.
    for _ in 0..100_000 {
        let mut head = [0u8; 16];
        if at + 8 > bytes || file.seek(SeekFrom::Start(at)).is_err() {
            break;
        }
        let got = file.read(&mut head).unwrap_or(0);
        if got < 8 {
            break;
        }
        let word = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as u64;
        seen_ftyp |= [*b"ftyp", *b"moov", *b"mdat", *b"wide", *b"free"].contains(&[head[4], head[5], head[6], head[7]]);
        let length = match word {
            0 => return false,
            1 if got == 16 => u64::from_be_bytes([head[8], head[9], head[10], head[11], head[12], head[13], head[14], head[15]]),
            n => n,
        };
        if length < 8 || !seen_ftyp {
            return false;
        }
        at = at.saturating_add(length);
        if at > bytes {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uploads_that_are_no_media_are_named() {
        let what = |bytes: &[u8]| mistaken(bytes).map_or("media", |m| m.0);
        assert!(what(b"version https://git-lfs.github.com/spec/v1\noid sha256:00").contains("LFS"));
        assert!(what(b"%PDF-1.5\n%\xd0\xd4").contains("PDF"));
        assert!(what(b"\n <!DOCTYPE html><html>").contains("HTML"));
        assert!(what(b"PK\x03\x04rest").contains("ZIP"));
        assert!(what("xin chào các bạn\n".as_bytes()).contains("text"));
        assert!(what(&[0; 900]).contains("zeros"));
        assert_eq!(what(b"\0\0\0\x20ftypisom\0\0\x02\0"), "media");
        assert_eq!(what(b"RIFF\x24\0\0\0WAVEfmt "), "media");
    }

    // The cut after 64 KiB may go through a character.
    #[test]
    fn text_cut_in_the_middle_of_a_character_is_text() {
        assert!(is_text(&"giảng".as_bytes()[..4]));
        assert!(!is_text(b"\xff\xfe\x00"));
    }

    #[test]
    fn a_file_that_somebody_writes_is_still_growing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.mp4");
        let mut writer = std::fs::File::create(&path).unwrap();
        std::io::Write::write_all(&mut writer, b"\0\0\0\x20ftypisom").unwrap();
        assert!(look(&path).unwrap_err().what().contains("still growing"));
        drop(writer);
        assert_eq!(look(&path).unwrap(), 12);
    }

    #[test]
    fn an_empty_file_is_called_empty_and_a_missing_one_missing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.mp4");
        assert_eq!(look(&path).unwrap_err().kind(), Kind::NotFound);
        std::fs::write(&path, b"").unwrap();
        assert!(look(&path).unwrap_err().what().contains("empty"));
    }
}
