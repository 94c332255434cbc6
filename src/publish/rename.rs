//! A package's playlists name its own files; in a store they must name blobs. Pure text: only URIs change.

use crate::error::{Error, Kind, Result};

/// The playlist with every URI (lines that are URIs, and `URI="..."` attributes) replaced by what `to` gives for it.
/// Absolute URIs stay. Fails (`Corrupt`) at the first for which `to` has nothing.
pub fn rename_uris(playlist: &str, to: &dyn Fn(&str) -> Option<String>) -> Result<String> {
    let rename = |uri: &str| match is_absolute(uri) {
        true => Ok(uri.to_string()),
        false => to(uri).ok_or_else(|| Error::new(Kind::Corrupt, format!("a playlist names {uri}, which is not there"))),
    };
    let mut out = String::with_capacity(playlist.len() * 2);
    for line in playlist.lines() {
        match line.strip_prefix('#') {
            Some(tag) => {
                out.push('#');
                let mut rest = tag;
                while let Some((before, uri, after)) = next_uri(rest) {
                    out.push_str(before);
                    out.push_str(&rename(uri)?);
                    rest = after;
                }
                out.push_str(rest);
            }
            None if line.trim().is_empty() => out.push_str(line),
            None => out.push_str(&rename(line.trim())?),
        }
        out.push('\n');
    }
    Ok(out)
}

/// The relative URIs of a playlist, in order.
pub fn uris(playlist: &str) -> Vec<String> {
    let found = std::cell::RefCell::new(Vec::new());
    let note = |uri: &str| {
        found.borrow_mut().push(uri.to_string());
        Some(String::new())
    };
    // The closure knows every URI, so this cannot fail.
    let _ = rename_uris(playlist, &note);
    found.into_inner()
}

/// Text up to and with `URI="`, the value, and the rest from its closing quote; only where an attribute is named so, not
/// inside another one's quotes and not in `X-ASSET-URI`.
fn next_uri(text: &str) -> Option<(&str, &str, &str)> {
    const ATTRIBUTE: &str = "URI=\"";
    let mut quoted = false;
    for (i, c) in text.char_indices() {
        let begins = i > 0 && matches!(text.as_bytes()[i - 1], b':' | b',');
        if !quoted && begins && text[i..].starts_with(ATTRIBUTE) {
            let value = i + ATTRIBUTE.len();
            let end = value + text[value..].find('"')?;
            return Some((&text[..value], &text[value..end], &text[end..]));
        }
        quoted ^= c == '"';
    }
    None
}

fn is_absolute(uri: &str) -> bool {
    let scheme = uri.split(['/', '?', '#']).next().and_then(|first| first.split_once(':')).map(|(s, _)| s);
    scheme.is_some_and(|s| s.starts_with(|c: char| c.is_ascii_alphabetic())) || uri.starts_with('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_change_and_nothing_else_does() {
        let text = concat!(
            "#EXTM3U\n#EXT-X-MAP:URI=\"v.mp4\",BYTERANGE=\"700@0\"\n#EXTINF:4.0,v.mp4\n#EXT-X-BYTERANGE:9@700\nv.mp4\n\n",
            "#EXT-X-MEDIA:TYPE=AUDIO,NAME=\"a,URI=\",URI=\"a.m3u8\"\n#EXT-X-DATERANGE:ID=\"v.mp4\",X-ASSET-URI=\"v.mp4\"\n",
            "#EXT-X-KEY:METHOD=NONE,URI=\"data:x\"\nhttps://h/v.mp4\n/abs.mp4\n"
        );
        let renamed = rename_uris(text, &|uri| Some(format!("../x/{uri}"))).unwrap();
        let expected = text
            .replace("MAP:URI=\"v.mp4\"", "MAP:URI=\"../x/v.mp4\"")
            .replace("\nv.mp4\n", "\n../x/v.mp4\n")
            .replace(",URI=\"a.m3u8\"", ",URI=\"../x/a.m3u8\"");
        assert_eq!(renamed, expected);
        assert_eq!(uris(text), ["v.mp4", "v.mp4", "a.m3u8"]);
    }

    #[test]
    fn a_uri_that_nobody_knows_is_refused() {
        assert_eq!(rename_uris("#EXTM3U\ngone.mp4\n", &|_| None).unwrap_err().kind(), Kind::Corrupt);
    }
}
