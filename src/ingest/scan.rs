//! Which files a path stands for: a file is itself; a directory is the recordings in it, and those in the places where
//! cameras put them on their cards. Nothing else is searched: a technician who names a home directory does not mean all
//! of it.

use super::names;
use std::io;
use std::path::{Path, PathBuf};

/// Extensions taken from a directory; a file named by itself may have any.
pub const EXTENSIONS: [&str; 42] = [
    "mp4", "m4v", "mov", "mkv", "webm", "avi", "mts", "m2ts", "m2t", "ts", "mpg", "mpeg", "m2p", "vob", "mod", "tod", "mxf", "wmv", "asf",
    "flv", "f4v", "3gp", "3g2", "ogv", "ogg", "dv", "264", "h264", "265", "h265", "wav", "mp3", "m4a", "aac", "flac", "opus", "oga", "wma",
    "aif", "aiff", "amr", "caf",
];

/// Where cameras put recordings, from a card's root; `*` is any one directory. Sony's `SUB` (proxies) is left out.
const CARDS: [&str; 6] = ["DCIM/*", "PRIVATE/AVCHD/BDMV/STREAM", "AVCHD/BDMV/STREAM", "BDMV/STREAM", "PRIVATE/M4ROOT/CLIP", "M4ROOT/CLIP"];

/// The recordings that `path` stands for, in the order in which a person counts. Fails where `path` cannot be read.
pub fn scan(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !std::fs::metadata(path)?.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let mut found = recordings(path)?;
    for card in CARDS {
        for dir in descend(vec![path.to_path_buf()], card) {
            // A directory of the card that cannot be read hides nothing of the others.
            found.extend(recordings(&dir).unwrap_or_default());
        }
    }
    Ok(found)
}

fn recordings(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found: Vec<PathBuf> =
        std::fs::read_dir(dir)?.flatten().map(|e| e.path()).filter(|p| looks_like_media(p) && p.is_file()).collect();
    found.sort_by(|a, b| names::natural(&file_name(a), &file_name(b)));
    Ok(found)
}

/// By extension; what begins with a dot is somebody's temporary file (a Mac's `._` files, our own copies).
fn looks_like_media(path: &Path) -> bool {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
    !file_name(path).starts_with('.') && EXTENSIONS.contains(&extension.as_str())
}

pub fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Cards are FAT: names come in any case.
fn descend(from: Vec<PathBuf>, pattern: &str) -> Vec<PathBuf> {
    pattern.split('/').fold(from, |dirs, part| {
        let mut next: Vec<PathBuf> = dirs
            .iter()
            .flat_map(|dir| std::fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()))
            .filter(|p| (part == "*" || file_name(p).eq_ignore_ascii_case(part)) && !file_name(p).starts_with('.') && p.is_dir())
            .collect();
        next.sort();
        next
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_stands_for_its_recordings_and_a_card_for_its_cameras() {
        let dir = tempfile::tempdir().unwrap();
        for name in [
            "Bài 10.mp4",
            "Bài 2.MP4",
            "notes.txt",
            "._Bài 2.MP4",
            ".rivulet-0.part.mp4",
            "old/1999.mp4",
            "DCIM/100CANON/MVI_0001.MP4",
            "DCIM/100CANON/IMG_0002.JPG",
            "private/avchd/bdmv/stream/00000.MTS",
            "PRIVATE/M4ROOT/SUB/C0001S03.MP4",
        ] {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        let found: Vec<String> = scan(dir.path()).unwrap().iter().map(|p| file_name(p)).collect();
        assert_eq!(found, ["Bài 2.MP4", "Bài 10.mp4", "MVI_0001.MP4", "00000.MTS"]);
        // ... but a file named by itself may be called anything
        assert_eq!(scan(&dir.path().join("notes.txt")).unwrap().len(), 1);
        assert!(scan(&dir.path().join("unplugged")).is_err());
    }
}
