//! Names that survive every disk a course passes through. A Vietnamese name typed on a Mac comes decomposed (NFD), the
//! same name typed on Windows composed (NFC): here they are one name. What FAT, NTFS, a shell or a URL would choke on is
//! replaced. All pure.

use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

/// Bytes of a file name: 255 is the limit of ext4, NTFS and most others; 55 are left for a suffix and a temporary name.
pub const LONGEST: usize = 200;

/// Bytes of an id: it becomes a part of web addresses that people read out.
const LONGEST_ID: usize = 60;

/// Device names that Windows keeps for itself, with any extension.
const RESERVED: [&str; 4] = ["con", "prn", "aux", "nul"];

/// A safe file name for `name` (one path component, any characters). Idempotent; never empty; at most [`LONGEST`] bytes;
/// the extension is kept.
pub fn safe(name: &str) -> String {
    let replaced: String = name
        .chars()
        .filter(|c| !invisible(*c))
        .map(|c| match c {
            '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|' | '\u{fffd}' => '_',
            c if c.is_control() => '_',
            c if c.is_whitespace() => ' ',
            c => c,
        })
        .collect();
    let composed: String = replaced.nfc().collect();
    let mut name = tidy(&composed);
    let leading = name.len() - name.trim_start_matches('.').len();
    name.replace_range(..leading, &"_".repeat(leading));
    if name.is_empty() {
        name = "recording".into();
    }
    if reserved(&name) {
        name.insert(0, '_');
    }
    cut(&name, LONGEST)
}

/// `name` with `-suffix` before its extension, still within [`LONGEST`].
pub fn with_suffix(name: &str, suffix: &str) -> String {
    let (stem, extension) = split(name);
    let room = LONGEST - suffix.len() - 1 - extension.len();
    format!("{}-{suffix}{extension}", tidy(prefix(stem, room)))
}

/// Two names with one key are one name on a disk that ignores case (FAT, NTFS, APFS) or normalises.
pub fn key(name: &str) -> String {
    name.nfc().flat_map(char::to_lowercase).nfc().collect()
}

/// An id of `a-z 0-9 -` from a title or name: diacritics go, `đ` becomes `d`. Empty where nothing is left.
pub fn slug(text: &str) -> String {
    let mut id = String::new();
    for c in text.nfd().filter(|c| !is_combining_mark(*c)) {
        match c {
            'đ' | 'Đ' => id.push('d'),
            c if c.is_ascii_alphanumeric() => id.push(c.to_ascii_lowercase()),
            _ if !id.is_empty() && !id.ends_with('-') => id.push('-'),
            _ => {}
        }
        if id.len() >= LONGEST_ID {
            break;
        }
    }
    id.trim_end_matches('-').to_string()
}

/// `wanted`, or with the first free number behind it: `tim-mach-2`.
pub fn free(wanted: &str, taken: impl Fn(&str) -> bool) -> String {
    if !taken(wanted) {
        return wanted.to_string();
    }
    (2u64..).map(|n| format!("{wanted}-{n}")).find(|id| !taken(id)).expect("there are more numbers than lectures")
}

/// What a learner reads for a file name: without extension, underscores as spaces.
pub fn title(name: &str) -> String {
    let composed: String = name.nfc().collect();
    let (stem, _) = split(&composed);
    let words = stem.replace('_', " ").split_whitespace().collect::<Vec<_>>().join(" ");
    if words.is_empty() { stem.to_string() } else { words }
}

/// Stem and extension with its dot; an extension is at most 16 bytes without spaces.
pub fn split(name: &str) -> (&str, &str) {
    match name.rfind('.') {
        Some(dot) if dot > 0 && name.len() - dot <= 16 && !name[dot..].contains(' ') && dot + 1 < name.len() => name.split_at(dot),
        _ => (name, ""),
    }
}

/// In the order in which a person counts: `Bài 2` before `Bài 10`.
pub fn natural(a: &str, b: &str) -> std::cmp::Ordering {
    fn parts(s: &str) -> Vec<(String, u128)> {
        let mut parts: Vec<(String, u128)> = vec![(String::new(), 0)];
        let mut digits = String::new();
        for c in key(s).chars().chain(['\0']) {
            if c.is_ascii_digit() && digits.len() < 30 {
                digits.push(c);
                continue;
            }
            let last = parts.last_mut().expect("never empty");
            if !digits.is_empty() {
                last.1 = digits.parse().expect("at most 30 digits");
                digits.clear();
                parts.push((c.to_string(), 0));
            } else {
                last.0.push(c);
            }
        }
        parts
    }
    parts(a).cmp(&parts(b)).then_with(|| a.cmp(b))
}

/// Marks that no one sees: direction overrides (a known trick to hide an extension), zero-width, byte order mark.
fn invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{ad}')
}

/// Windows drops trailing dots and spaces silently; leading spaces are a trap in every shell.
fn tidy(name: &str) -> String {
    name.trim_start_matches(' ').trim_end_matches(['.', ' ']).to_string()
}

fn reserved(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or(name).trim_end().to_lowercase();
    let numbered = |port: &str| {
        stem.strip_prefix(port).is_some_and(|n| n.chars().count() == 1 && n.contains(|c: char| c.is_ascii_digit() || "¹²³".contains(c)))
    };
    RESERVED.contains(&stem.as_str()) || numbered("com") || numbered("lpt")
}

/// The longest beginning of `text` within `room` bytes that ends between characters.
fn prefix(text: &str, room: usize) -> &str {
    let mut end = room.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn cut(name: &str, room: usize) -> String {
    if name.len() <= room {
        return name.to_string();
    }
    let (stem, extension) = split(name);
    format!("{}{extension}", tidy(prefix(stem, room - extension.len())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_safe_name_is_safe_everywhere(name in "(?s).{0,300}") {
            let safe = safe(&name);
            prop_assert!(!safe.is_empty() && safe.len() <= LONGEST);
            prop_assert!(!safe.contains(|c: char| c.is_control() || "/\\:*?\"<>|".contains(c)));
            prop_assert!(!safe.starts_with(['.', ' ']) && !safe.ends_with(['.', ' ']));
            prop_assert!(!reserved(&safe));
            prop_assert_eq!(&safe.nfc().collect::<String>(), &safe);
            prop_assert_eq!(&super::safe(&safe), &safe, "safe is idempotent");
        }
        #[test]
        fn composed_and_decomposed_are_one_name(name in "[aăâbcdđeêghiklmnoôơpqrstuưvxyàáảãạ0-9 ._-]{1,40}") {
            prop_assert_eq!(safe(&name.nfd().collect::<String>()), safe(&name.nfc().collect::<String>()));
            prop_assert_eq!(key(&name.nfd().collect::<String>()), key(&name.to_uppercase()));
        }
        #[test]
        fn a_suffix_keeps_the_extension_and_the_limit(name in "[a-zđ]{1,250}") {
            let named = with_suffix(&safe(&format!("{name}.mp4")), "1a2b3c4d");
            prop_assert!(named.len() <= LONGEST && named.ends_with("-1a2b3c4d.mp4"));
        }
        #[test]
        fn an_id_is_plain(text in "(?s).{0,200}") {
            let id = slug(&text);
            prop_assert!(id.len() <= LONGEST_ID && id.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'));
            prop_assert!(!id.starts_with('-') && !id.ends_with('-') && !id.contains("--"));
            prop_assert_eq!(slug(&id), id);
        }
    }

    #[test]
    fn vietnamese_reads_well_as_an_id() {
        assert_eq!(slug("Bài 3: Đặt ống nội khí quản"), "bai-3-dat-ong-noi-khi-quan");
        assert_eq!(slug(&"Đường thở".nfd().collect::<String>()), "duong-tho");
        assert_eq!(slug("講義"), "");
    }

    #[test]
    fn names_that_bite() {
        assert_eq!(safe("../../etc/passwd"), "___.._etc_passwd");
        assert_eq!(safe(".hidden.mp4"), "_hidden.mp4");
        assert_eq!(safe("CON.mp4"), "_CON.mp4");
        assert_eq!(safe("com1"), "_com1");
        assert_eq!(safe("comma.mp4"), "comma.mp4");
        assert_eq!(safe("tim mạch. "), "tim mạch");
        assert_eq!(safe("a\u{202e}4pm.exe"), "a4pm.exe");
        assert_eq!(safe("..."), "recording");
        assert_eq!(safe("Buổi 1: hỏi/đáp?.mp4"), "Buổi 1_ hỏi_đáp_.mp4");
    }

    #[test]
    fn people_count_two_before_ten() {
        let mut names = vec!["Bài 10.mp4", "bài 2.mp4", "Bài 1.mp4", "an.mp4"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(names, ["an.mp4", "Bài 1.mp4", "bài 2.mp4", "Bài 10.mp4"]);
    }

    #[test]
    fn a_taken_id_gets_a_number() {
        assert_eq!(free("tim", |id| ["tim", "tim-2"].contains(&id)), "tim-3");
    }
}
