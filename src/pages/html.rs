//! From strings that anybody wrote to markup that only we wrote.

use super::code::{csp, lecture_style, style};

/// Text or a double-quoted attribute's value. Control characters, which HTML forbids, are dropped.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() && c != '\n' && c != '\t' => {}
            c => out.push(c),
        }
    }
    out
}

/// An author's words in a line of ours: directional overrides inside end with the element.
pub fn isolate(text: &str) -> String {
    format!("<bdi>{}</bdi>", escape(&closed(text)))
}

/// With as many ends of directional isolates as beginnings. The end of a `<bdi>` is to browsers one more such end: it would close what the
/// author left open, and leave the element's own open to the line's end; one end too many would close that too early.
pub fn closed(text: &str) -> String {
    let mut open = 0;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\u{2066}'..='\u{2068}' => open += 1,
            '\u{2069}' if open == 0 => continue,
            '\u{2069}' => open -= 1,
            _ => {}
        }
        out.push(c);
    }
    out.extend(std::iter::repeat_n('\u{2069}', open));
    out
}

/// One part of a path as it stands in a URL, so that an id with a space, `#`, `?` or `/` stays one part.
pub fn part(id: &str) -> String {
    let mut out = String::with_capacity(id.len());
    for b in id.bytes() {
        match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(b as char),
            _ => out.push_str(&format!("%{b:02X}")),
        }
    }
    out
}

/// A reference that a browser only fetches: relative, http or https. `None` for `javascript:` and every other scheme.
pub fn safe_uri(uri: &str) -> Option<String> {
    // Browsers drop tabs and line feeds inside a scheme, and controls and blanks before it.
    let plain: String = uri.chars().filter(|c| !c.is_control()).collect();
    let plain = plain.trim();
    let first = plain.split(['/', '?', '#']).next().unwrap_or("");
    let scheme = first.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
    matches!(scheme.as_deref(), None | Some("http" | "https")).then(|| escape(plain))
}

/// The parts of a whole document that are not its body.
pub struct Head<'a> {
    /// BCP 47.
    pub language: &'a str,
    /// Plain text.
    pub title: &'a str,
    /// Plain text for sites that link here; empty: none.
    pub description: &'a str,
    /// Address of a picture for them, relative to the page.
    pub poster: Option<&'a str>,
    /// Where this page lies, where that is known: such sites fetch no picture whose address is relative.
    pub address: Option<String>,
    /// Of `<body>`, one word of ours.
    pub class: &'a str,
}

/// The class of lecture pages, which have the player.
pub const LECTURE: &str = "lecture";

/// A whole document. `body` is markup.
pub fn document(head: &Head, body: &str) -> String {
    let mut out = format!(
        "<!doctype html>\n<html lang=\"{}\">\n<head>\n<meta charset=\"utf-8\">\n<meta http-equiv=\"Content-Security-Policy\" content=\"{}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"referrer\" content=\"no-referrer\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{}</title>\n<link rel=\"icon\" href=\"data:,\">\n",
        escape(head.language),
        csp(),
        escape(head.title),
    );
    let address = head.address.as_deref().and_then(safe_uri).unwrap_or_default();
    let poster = head.poster.map(|p| absolute(head.address.as_deref(), p));
    for (property, content) in [
        ("og:type", if head.class == LECTURE { "video.other" } else { "website" }.to_string()),
        ("og:title", escape(head.title)),
        ("og:description", escape(head.description)),
        ("og:url", address),
        ("og:image", poster.as_deref().and_then(safe_uri).unwrap_or_default()),
    ] {
        if !content.is_empty() {
            out += &format!("<meta property=\"{property}\" content=\"{content}\">\n");
        }
    }
    out += &format!("<style>{}</style>\n", style());
    if head.class == LECTURE {
        out += &format!("<style>{}</style>\n", lecture_style());
    }
    out += &format!("</head>\n<body class=\"{}\">\n{body}</body>\n</html>\n", escape(head.class));
    out
}

/// `../blobs/x` seen from a page at that address; as it is where no address is known, or where it goes elsewhere.
fn absolute(page: Option<&str>, uri: &str) -> String {
    let Some(page) = page else { return uri.to_string() };
    let (mut folder, mut rest) = (page.rsplit_once('/').map_or("", |(folder, _)| folder), uri);
    if rest.contains("://") {
        return uri.to_string();
    }
    while let Some(up) = rest.strip_prefix("../") {
        (folder, rest) = (folder.rsplit_once('/').map_or("", |(folder, _)| folder), up);
    }
    format!("{folder}/{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_found_from_where_the_page_lies() {
        let page = Some("https://learn.example.vn/kho/tim/bai.html");
        assert_eq!(absolute(page, "../blobs/ef/ef01.webp"), "https://learn.example.vn/kho/blobs/ef/ef01.webp");
        assert_eq!(absolute(page, "https://cdn.example/x.webp"), "https://cdn.example/x.webp");
        assert_eq!(absolute(None, "../blobs/x.webp"), "../blobs/x.webp");
    }

    #[test]
    fn what_an_author_leaves_open_ends_with_his_words() {
        assert_eq!(closed("a \u{202e}\u{2066}b\u{2067}c\u{2069}"), "a \u{202e}\u{2066}b\u{2067}c\u{2069}\u{2069}");
        assert_eq!(closed("\u{2069}a\u{2068}b\u{2069}\u{2069}"), "a\u{2068}b\u{2069}");
    }

    #[test]
    fn only_fetching_schemes_are_linked() {
        for good in ["x.pdf", "../blobs/ab/cd.pdf", "https://example.org/a?b=c:d", "a/b:c", "?q=a:b"] {
            assert!(safe_uri(good).is_some(), "{good}");
        }
        for bad in [
            "javascript:alert(1)",
            " JavaScript:alert(1)",
            "java\tscript:alert(1)",
            "\u{1}javascript:1",
            "data:text/html,x",
            "vbscript:x",
            "blob:x",
        ] {
            assert_eq!(safe_uri(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_id_stays_one_part_of_a_path() {
        assert_eq!(part("bài 1/2?#"), "b%C3%A0i%201%2F2%3F%23");
    }
}
