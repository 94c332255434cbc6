//! From strings that anybody wrote to markup that only we wrote.

use super::CSP;

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
    format!("<bdi>{}</bdi>", escape(text))
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

/// A whole document. `title` is plain text; `body` is markup; `root` leads to the store's root (`../`).
pub fn document(language: &str, title: &str, root: &str, style: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"{}\">\n<head>\n<meta charset=\"utf-8\">\n<meta http-equiv=\"Content-Security-Policy\" content=\"{CSP}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"referrer\" content=\"no-referrer\">\n\
         <title>{}</title>\n<link rel=\"icon\" href=\"data:,\">\n<link rel=\"stylesheet\" href=\"{root}{style}\">\n</head>\n<body>\n{body}</body>\n</html>\n",
        escape(language),
        escape(title),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

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
