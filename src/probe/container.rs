//! Is the container complete? A light look at box, element and chunk sizes against the file's length: what a copy that
//! stopped half-way, a recorder that lost power or a file that is still written cannot fake. It reads some hundred bytes
//! and judges nothing inside: that is the probe's work. What has no sizes to add up (MPEG-TS and PS, Ogg, ASF, FLV, raw
//! streams) is [`Container::Unknown`].

use std::io::{self, Read, Seek, SeekFrom};

/// What the sizes say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Container {
    /// Everything the container announces is there.
    Complete,
    /// Nothing to add up: only stillness and the probe can tell.
    Unknown,
    /// Something announced is missing (one line, why).
    Short(String),
    /// Surely no recording (one line, what it is).
    NotMedia(String),
}

/// Boxes that may stand first in an MP4 or QuickTime file.
const ISO_FIRST: [&[u8; 4]; 10] = [b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot", b"styp", b"sidx", b"uuid"];

/// Top-level boxes looked at before giving up: an hour of fragmented MP4 at 1 s has 7200.
const MOST_BOXES: usize = 1 << 20;

/// Looks at a file of `length` bytes.
pub fn look(file: &mut (impl Read + Seek), length: u64) -> io::Result<Container> {
    if length == 0 {
        return Ok(Container::NotMedia("the file is empty (0 bytes)".into()));
    }
    let mut head = [0; 512];
    file.seek(SeekFrom::Start(0))?;
    let got = read_some(file, &mut head)?;
    let head = &head[..got];
    if head.len() >= 8 && ISO_FIRST.iter().any(|kind| &head[4..8] == *kind) {
        return iso(file, length);
    }
    if head.starts_with(&[0x1a, 0x45, 0xdf, 0xa3]) {
        return ebml(file, length);
    }
    if head.len() >= 12 && [&b"RIFF"[..], b"RF64", b"BW64"].contains(&&head[..4]) {
        return riff(file, length, head);
    }
    if head.iter().all(|b| *b == 0) {
        return Ok(Container::Short("it begins with zeros only: still being copied, or its content was lost".into()));
    }
    Ok(match not_media(head) {
        Some(what) => Container::NotMedia(what),
        None => Container::Unknown,
    })
}

/// MP4 and QuickTime: top-level boxes must reach exactly the end, and one of them must be the index.
fn iso(file: &mut (impl Read + Seek), length: u64) -> io::Result<Container> {
    let (mut at, mut moov, mut data) = (0u64, false, false);
    for _ in 0..MOST_BOXES {
        let mut header = [0; 16];
        file.seek(SeekFrom::Start(at))?;
        let got = read_some(file, &mut header)?;
        if got == 0 {
            break;
        }
        let kind: [u8; 4] = header[4..8].try_into().expect("four bytes");
        let named = kind.iter().all(|b| b.is_ascii_graphic() || *b == b' ' || *b == 0xa9);
        let rest = length - at;
        let size = match u32::from_be_bytes(header[..4].try_into().expect("four bytes")) {
            _ if got < 8 || !named => {
                // Some cameras pad with a few bytes or zeros; nothing is missing if index and data came before.
                return Ok(match moov && data {
                    true => Container::Complete,
                    false if kind == [0; 4] => {
                        Container::Short(format!("only zeros from byte {at} on: still being copied, or its content was lost"))
                    }
                    false => Container::Short(format!("what stands at byte {at} is no MP4 box")),
                });
            }
            // To the end of the file: how a recorder writes the data box before it knows its size.
            0 => rest,
            1 if got == 16 => u64::from_be_bytes(header[8..].try_into().expect("eight bytes")),
            1 => return Ok(Container::Short(format!("the file ends within a box header at byte {at}"))),
            size => size as u64,
        };
        let name = String::from_utf8_lossy(&kind).into_owned();
        if size < 8 {
            return Ok(Container::Short(format!("the {name} box at byte {at} has the impossible size {size}")));
        }
        if size > rest {
            return Ok(Container::Short(format!(
                "cut short: the {name} box at byte {at} announces {size} bytes, {rest} are there{}",
                if moov || &kind == b"moov" { "" } else { ", and there is no index (moov)" }
            )));
        }
        moov |= &kind == b"moov";
        data |= matches!(&kind, b"mdat" | b"moof");
        at += size;
        if at >= length {
            break;
        }
    }
    Ok(match (moov, data) {
        (true, _) => Container::Complete,
        (false, true) => Container::Short("no index (moov): the recorder has not finished the file, or it lost power".into()),
        (false, false) => Container::Short("no index (moov) and no data (mdat)".into()),
    })
}

/// Matroska and WebM: the Segment's size, where it is known, must fit. A live recorder leaves it unknown.
fn ebml(file: &mut (impl Read + Seek), length: u64) -> io::Result<Container> {
    let mut at = 0;
    loop {
        file.seek(SeekFrom::Start(at))?;
        let mut header = [0; 12];
        let got = read_some(file, &mut header)?;
        let Some((id, id_bytes)) = vint(&header[..got], true) else {
            return Ok(Container::Short("it ends before the first Matroska segment".into()));
        };
        let Some((size, size_bytes)) = vint(&header[id_bytes..got], false) else {
            return Ok(Container::Short("it ends before the first Matroska segment".into()));
        };
        let body = at + (id_bytes + size_bytes) as u64;
        let unknown = size == (1 << (7 * size_bytes)) - 1;
        if unknown {
            return Ok(Container::Unknown);
        }
        let end = body.saturating_add(size);
        if end > length {
            return Ok(Container::Short(format!("cut short: the file announces {end} bytes, {length} are there")));
        }
        if id == 0x1853_8067 {
            // Segments may follow one another; tags and padding behind the first do no harm.
            return Ok(Container::Complete);
        }
        at = end;
        if at >= length {
            return Ok(Container::Short("no Matroska segment: only the file's head is there".into()));
        }
    }
}

/// An EBML number and its length in bytes; an id keeps its marker bit.
fn vint(bytes: &[u8], keep_marker: bool) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let length = first.leading_zeros() as usize + 1;
    if length > 8 || bytes.len() < length {
        return None;
    }
    let first = if keep_marker { first as u64 } else { first as u64 & (0xff >> length) };
    Some((bytes[1..length].iter().fold(first, |n, b| n << 8 | *b as u64), length))
}

/// WAV and AVI (and RF64): chunk after chunk to the end. A recorder that lost power leaves 0 or all ones as size.
fn riff(file: &mut (impl Read + Seek), length: u64, head: &[u8]) -> io::Result<Container> {
    let (mut at, mut data) = (0, false);
    while at + 12 <= length {
        let mut header = [0; 12];
        file.seek(SeekFrom::Start(at))?;
        if read_some(file, &mut header)? < 12
            || !(header.starts_with(b"RIFF") || header.starts_with(b"RF64") || header.starts_with(b"BW64"))
        {
            // Padding or a tag after the last list.
            return Ok(finished(data));
        }
        let size = u32::from_le_bytes(header[4..8].try_into().expect("four bytes")) as u64;
        let wave = &header[8..12] == b"WAVE";
        if size == u32::MAX as u64 || size == 0 {
            // Sizes of RF64 stand elsewhere; a stream written to a pipe has none.
            return Ok(Container::Unknown);
        }
        let end = at + 8 + size;
        // One byte of padding is often left out.
        if end > length + 1 {
            return Ok(Container::Short(format!(
                "cut short: the {} list announces {end} bytes, {length} are there",
                if wave { "WAVE" } else { "AVI" }
            )));
        }
        data |= chunk(file, at + 12, end, if wave { b"data" } else { b"movi" })?;
        at = end + (size & 1);
    }
    let _ = head;
    Ok(finished(data))
}

fn finished(data: bool) -> Container {
    match data {
        true => Container::Complete,
        false => Container::Short("only the file's head is there: no pictures and no sound".into()),
    }
}

/// Whether a chunk (or list) of this name stands between two positions.
fn chunk(file: &mut (impl Read + Seek), mut at: u64, end: u64, wanted: &[u8; 4]) -> io::Result<bool> {
    for _ in 0..MOST_BOXES {
        if at + 8 > end {
            return Ok(false);
        }
        let mut header = [0; 12];
        file.seek(SeekFrom::Start(at))?;
        let got = read_some(file, &mut header)?;
        if got < 8 {
            return Ok(false);
        }
        if &header[..4] == wanted || (header.starts_with(b"LIST") && got == 12 && &header[8..12] == wanted) {
            return Ok(true);
        }
        let size = u32::from_le_bytes(header[4..8].try_into().expect("four bytes")) as u64;
        at += 8 + size + (size & 1);
    }
    Ok(false)
}

/// What is surely something else, by its first bytes. Only what is certain: the rest is for the probe to say.
fn not_media(head: &[u8]) -> Option<String> {
    let starts: [(&[u8], &str); 8] = [
        (b"%PDF", "a PDF document"),
        (b"PK\x03\x04", "a ZIP archive or an office document"),
        (b"\xd0\xcf\x11\xe0", "an old office document"),
        (b"\x89PNG", "a PNG picture"),
        (b"\xff\xd8\xff", "a JPEG picture"),
        (b"GIF8", "a GIF picture"),
        (b"7z\xbc\xaf", "a 7-Zip archive"),
        (b"Rar!", "a RAR archive"),
    ];
    if let Some((_, what)) = starts.iter().find(|(start, _)| head.starts_with(start)) {
        return Some(format!("it is {what}, not a recording"));
    }
    if head.starts_with(b"version https://git-lfs") {
        return Some("it is a Git LFS pointer, not the recording itself: fetch it with `git lfs pull`".into());
    }
    // A character may be cut at the end of what was read.
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(e) if e.error_len().is_none() => std::str::from_utf8(&head[..e.valid_up_to()]).unwrap_or_default(),
        Err(_) => return None,
    };
    let plain = !text.is_empty() && text.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\r' | '\t'));
    plain.then(|| "it is a text file, not a recording".to_string())
}

fn read_some(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut got = 0;
    while got < buffer.len() {
        match file.read(&mut buffer[got..]) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(got)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Cursor;

    pub fn boxed(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        [&(body.len() as u32 + 8).to_be_bytes()[..], kind, body].concat()
    }
    /// The least that counts as a complete MP4.
    pub fn mp4(data: &[u8]) -> Vec<u8> {
        [boxed(b"ftyp", b"isom\0\0\0\0"), boxed(b"mdat", data), boxed(b"moov", b"index")].concat()
    }
    fn list(form: &[u8; 4], body: &[u8]) -> Vec<u8> {
        [b"RIFF", &(body.len() as u32 + 4).to_le_bytes()[..], form, body].concat()
    }
    fn wav(data: &[u8]) -> Vec<u8> {
        let chunk = |kind: &[u8; 4], body: &[u8]| [&kind[..], &(body.len() as u32).to_le_bytes(), body].concat();
        list(b"WAVE", &[chunk(b"fmt ", &[0; 16]), chunk(b"data", data)].concat())
    }
    fn mkv(size: Option<u8>, body: &[u8]) -> Vec<u8> {
        let size = size.map_or(vec![0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], |n| vec![0x80 | n]);
        [&[0x1a, 0x45, 0xdf, 0xa3, 0x82, 1, 2, 0x18, 0x53, 0x80, 0x67][..], &size, body].concat()
    }
    fn seen(bytes: &[u8]) -> Container {
        look(&mut Cursor::new(bytes), bytes.len() as u64).unwrap()
    }
    fn short(bytes: &[u8]) -> String {
        match seen(bytes) {
            Container::Short(why) => why,
            other => panic!("{other:?}"),
        }
    }

    proptest! {
        // A copy that has come any part of the way is never taken for whole.
        #[test]
        fn no_beginning_of_an_mp4_is_complete(part in 1usize..80) {
            let whole = mp4(&[7; 60]);
            prop_assert_eq!(seen(&whole), Container::Complete);
            prop_assert!(matches!(seen(&whole[..part]), Container::Short(_) | Container::Unknown));
        }
        #[test]
        fn no_beginning_of_a_wav_is_complete(part in 13usize..100) {
            let whole = wav(&[7; 60]);
            prop_assert_eq!(seen(&whole), Container::Complete);
            prop_assert!(matches!(seen(&whole[..part]), Container::Short(_)));
        }
        #[test]
        fn anything_may_be_looked_at(bytes in proptest::collection::vec(any::<u8>(), 0..600), kind in 0usize..4) {
            let start: &[u8] = [&b""[..], b"\0\0\0\x10ftyp", &[0x1a, 0x45, 0xdf, 0xa3], b"RIFF"][kind];
            seen(&[start, &bytes[..]].concat());
        }
    }

    #[test]
    fn an_mp4_whose_recorder_lost_power_has_no_index() {
        assert!(short(&[boxed(b"ftyp", b"isom"), boxed(b"mdat", &[1; 9])].concat()).contains("no index (moov)"));
        let open_ended = [boxed(b"ftyp", b"isom"), [&0u32.to_be_bytes()[..], b"mdat", &[1; 9]].concat()].concat();
        assert!(short(&open_ended).contains("no index (moov)"));
        // ... but a phone's "data to the end of the file" after the index is legal
        let fast_start = [boxed(b"ftyp", b"isom"), boxed(b"moov", b"x"), [&0u32.to_be_bytes()[..], b"mdat", &[1; 9]].concat()].concat();
        assert_eq!(seen(&fast_start), Container::Complete);
    }

    #[test]
    fn an_mp4_cut_short_says_by_how_much() {
        let whole = [boxed(b"ftyp", b"isom"), boxed(b"moov", b"x"), boxed(b"mdat", &[1; 100])].concat();
        assert!(short(&whole[..50]).contains("announces 108 bytes, 29 are there"));
    }

    #[test]
    fn a_preallocated_copy_is_not_complete() {
        let mut bytes = mp4(&[7; 60]);
        let length = bytes.len();
        bytes[30..].fill(0);
        assert_eq!(bytes.len(), length);
        assert!(matches!(seen(&bytes), Container::Short(_)));
        assert!(short(&[0; 4096]).contains("zeros"));
        // Padding behind a complete file is harmless.
        assert_eq!(seen(&[mp4(&[7; 60]), vec![0; 512]].concat()), Container::Complete);
    }

    #[test]
    fn matroska_sizes_must_fit_where_they_are_known() {
        assert_eq!(seen(&mkv(Some(4), &[0; 4])), Container::Complete);
        assert!(short(&mkv(Some(9), &[0; 4])).contains("cut short"));
        assert_eq!(seen(&mkv(None, &[0; 4])), Container::Unknown);
        assert!(short(&mkv(Some(4), &[0; 4])[..7]).contains("only the file's head"));
    }

    #[test]
    fn a_wav_from_a_pipe_has_no_sizes_to_go_by() {
        let mut bytes = wav(&[7; 60]);
        bytes[4..8].fill(0xff);
        assert_eq!(seen(&bytes), Container::Unknown);
    }

    #[test]
    fn what_is_no_recording_is_named() {
        let named = |bytes: &[u8]| match seen(bytes) {
            Container::NotMedia(what) => what,
            other => panic!("{other:?}"),
        };
        assert!(named(b"").contains("empty"));
        assert!(named(b"%PDF-1.7 ...").contains("PDF"));
        assert!(named(b"version https://git-lfs.github.com/spec/v1\noid").contains("git lfs pull"));
        assert!(named("Xin chào các bạn".as_bytes()).contains("text"));
        // A transport stream is nothing of these.
        assert_eq!(seen(&[0x47, 0x40, 0x11, 0x10, 0x00, 0x42]), Container::Unknown);
    }
}
