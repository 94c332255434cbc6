//! Percent-encoding of names in URLs, RFC 3986 section 2.1.

/// What a URL path means, or `None` where an escape is broken or the result is not UTF-8.
pub fn percent_decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        if b == b'%' {
            let (high, low) = (bytes.next()? as char, bytes.next()? as char);
            out.push((high.to_digit(16)? * 16 + low.to_digit(16)?) as u8);
        } else {
            out.push(b);
        }
    }
    String::from_utf8(out).ok()
}

/// A name as it stands in a URL's path; `/` stays.
pub fn percent_encode(name: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~' | b'/');
    name.bytes().map(|b| if plain(b) { (b as char).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        assert_eq!(percent_encode("a b/ü.m3u8"), "a%20b/%C3%BC.m3u8");
        for name in ["a b/ü.m3u8", "100 %", "#?&=+", "plain-._~"] {
            assert_eq!(percent_decode(&percent_encode(name)).as_deref(), Some(name));
        }
        for broken in ["%", "%4", "%zz", "a%f", "%FF"] {
            assert_eq!(percent_decode(broken), None, "{broken}");
        }
    }
}
