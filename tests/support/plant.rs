//! What plants faults in a package: edits of playlists, patches of boxes, additions.

use std::path::Path;

/// Replaces the first `from` in a text file.
pub fn edit(dir: &Path, file: &str, from: &str, to: &str) {
    let text = std::fs::read_to_string(dir.join(file)).unwrap();
    assert!(text.contains(from), "{file} has no {from:?}");
    std::fs::write(dir.join(file), text.replacen(from, to, 1)).unwrap();
}

/// Changes the master's attribute in the first line that has `mark`; `None` takes it out.
pub fn attribute(dir: &Path, mark: &str, name: &str, change: impl Fn(f64) -> Option<String>) {
    let text = std::fs::read_to_string(dir.join("master.m3u8")).unwrap();
    let mut done = false;
    let lines: Vec<String> = text
        .lines()
        .map(|line| {
            let Some(at) =
                line.find(&format!("{name}=")).filter(|at| !done && line.contains(mark) && matches!(line.as_bytes()[at - 1], b':' | b','))
            else {
                return line.to_string();
            };
            done = true;
            let end = line[at..].find(',').map_or(line.len(), |e| at + e);
            let value = line[at + name.len() + 1..end].parse().unwrap_or(0.0);
            match change(value) {
                Some(new) => format!("{}{name}={new}{}", &line[..at], &line[end..]),
                None => format!("{}{}", &line[..at], &line[(end + 1).min(line.len())..]),
            }
        })
        .collect();
    assert!(done, "no {name} in a line with {mark}");
    std::fs::write(dir.join("master.m3u8"), lines.join("\n") + "\n").unwrap();
}

/// Overwrites bytes `skip` after the n-th occurrence of a box's name.
pub fn patch(dir: &Path, file: &str, name: &[u8; 4], nth: usize, skip: isize, bytes: &[u8]) {
    let mut data = std::fs::read(dir.join(file)).unwrap();
    let at = (0..data.len() - 4).filter(|i| &data[*i..*i + 4] == name).nth(nth).expect("the box is there");
    let at = at.checked_add_signed(skip).unwrap();
    assert_ne!(&data[at..at + bytes.len()], bytes, "the patch changes nothing");
    data[at..at + bytes.len()].copy_from_slice(bytes);
    std::fs::write(dir.join(file), data).unwrap();
}

/// Puts lines at the end of the master.
pub fn append(dir: &Path, lines: &str) {
    let text = std::fs::read_to_string(dir.join("master.m3u8")).unwrap();
    std::fs::write(dir.join("master.m3u8"), format!("{text}{lines}\n")).unwrap();
}

/// Takes out of the master every line that has `mark`, and the line after it where it names a variant.
pub fn without(dir: &Path, mark: impl Fn(&str, &str) -> bool) {
    let text = std::fs::read_to_string(dir.join("master.m3u8")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let gone = |i: usize| lines.get(i).is_some_and(|l| l.starts_with("#EXT-X-") && mark(l, lines.get(i + 1).unwrap_or(&"")));
    let stream = |i: usize| lines[i].starts_with("#EXT-X-STREAM-INF");
    let kept: Vec<&str> = (0..lines.len()).filter(|i| !(gone(*i) || *i > 0 && gone(i - 1) && stream(i - 1))).map(|i| lines[i]).collect();
    assert!(kept.len() < lines.len(), "nothing was taken out");
    std::fs::write(dir.join("master.m3u8"), kept.join("\n") + "\n").unwrap();
}

/// Writes another value for H.264 in every CODECS of the master.
pub fn avc_is(dir: &Path, codec: impl Fn(&str) -> String) {
    let text = std::fs::read_to_string(dir.join("master.m3u8")).unwrap();
    let mut parts = text.split("avc1.");
    let mut out = parts.next().unwrap().to_string();
    parts.for_each(|p| out += &format!("{}{}", codec(&p[..6]), &p[6..]));
    std::fs::write(dir.join("master.m3u8"), out).unwrap();
}

pub const CUES: &str = "WEBVTT\nX-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:0\n\n00:00.000 --> 00:02.500\nXin chào\n";

/// Adds captions to the master.
pub fn captions(dir: &Path, text: &str, attributes: &str, seconds: u32) {
    append(dir, &format!("#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID=\"s\",NAME=\"Captions\",{attributes}URI=\"s.m3u8\""));
    let list = format!(
        "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:16\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXTINF:{seconds},\ns.vtt\n#EXT-X-ENDLIST\n"
    );
    std::fs::write(dir.join("s.m3u8"), list).unwrap();
    std::fs::write(dir.join("s.vtt"), text).unwrap();
}

/// Adds a variant of MPEG-TS segments, of 20 packets each.
pub fn transport_stream(dir: &Path, attributes: &str) {
    let packet = [&[0x47u8][..], &[0xff; 187]].concat();
    std::fs::write(dir.join("t.ts"), packet.repeat(20)).unwrap();
    let segments: String = [6, 6, 4].iter().map(|s| format!("#EXTINF:{s},\nt.ts\n")).collect();
    let head = "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:6\n#EXT-X-PLAYLIST-TYPE:VOD\n";
    std::fs::write(dir.join("t.m3u8"), format!("{head}{segments}#EXT-X-ENDLIST\n")).unwrap();
    append(dir, &format!("#EXT-X-STREAM-INF:BANDWIDTH=7520,AVERAGE-BANDWIDTH=5640,{attributes}\nt.m3u8"));
}

/// Plants a fault in a package's directory.
pub type Plant = fn(&Path);

pub fn webp(side: u32, grey: u8) -> Vec<u8> {
    let mut out = Vec::new();
    let pixels = vec![grey; (side * side * 3) as usize];
    image_webp::WebPEncoder::new(&mut out).encode(&pixels, side, side, image_webp::ColorType::Rgb8).unwrap();
    out
}

pub fn slide() -> rivulet::package::slides::Slide {
    rivulet::package::slides::Slide {
        file: rivulet::package::slides::file_name(0),
        start_s: 0.0,
        end_s: 16.0,
        steps_s: Vec::new(),
        title: None,
        text: String::new(),
        width: 16,
        height: 16,
        bytes: 100,
        score: Some(90.0),
        figure_score: None,
        x_height_px: None,
    }
}
