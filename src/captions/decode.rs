//! Bytes to text. A byte order mark is believed; without one, NULs betray UTF-16, what is legal UTF-8 is UTF-8, and the rest
//! can only be Windows-1258, the code page of Vietnamese Windows.

use super::Notes;
use encoding_rs::{UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1258};
use unicode_normalization::UnicodeNormalization;

/// The text in NFC with `\n` line ends; `Err` says why there is none, as the end of a sentence that begins with the file's name.
pub(super) fn text(bytes: &[u8], repairs: &mut Notes) -> Result<String, String> {
    let text = match bytes {
        [0xef, 0xbb, 0xbf, rest @ ..] => utf8(rest, repairs)?,
        [0xff, 0xfe, rest @ ..] => utf16(rest, false, repairs)?,
        [0xfe, 0xff, rest @ ..] => utf16(rest, true, repairs)?,
        _ => match nuls(bytes) {
            Some(big) => utf16(bytes, big, repairs)?,
            None => utf8(bytes, repairs)?,
        },
    };
    let composed: String = text.nfc().collect();
    if composed != text {
        repairs.add("letters and their marks were joined (Unicode NFC)", 0);
    }
    let lines = composed.replace("\r\n", "\n").replace('\r', "\n");
    let plain: String = lines.chars().filter(|c| matches!(c, '\n' | '\t') || !c.is_control() && *c != '\u{feff}').collect();
    if plain.len() != lines.len() {
        repairs.add("control characters were removed", 0);
    }
    Ok(plain)
}

/// Whether this is UTF-16 without a mark, and big endian: digits and arrows of cue times have a NUL in every pair, always on
/// the same side.
fn nuls(bytes: &[u8]) -> Option<bool> {
    let count = |odd: usize| bytes.iter().skip(odd).step_by(2).filter(|b| **b == 0).count();
    let (even, odd) = (count(0), count(1));
    let pairs = bytes.len() / 2;
    let most = even.max(odd);
    (most * 5 > pairs && most > 10 * even.min(odd)).then_some(even > odd)
}

fn utf16(bytes: &[u8], big: bool, repairs: &mut Notes) -> Result<String, String> {
    let encoding = if big { UTF_16BE } else { UTF_16LE };
    let (text, broken) = encoding.decode_without_bom_handling(bytes);
    let damage = text.chars().filter(|c| *c == '\u{fffd}').count();
    if broken && damage * 10 > text.chars().count() {
        return Err(" is not text: it looks like UTF-16 and is not".into());
    }
    repairs.add(if big { "read as UTF-16, big endian" } else { "read as UTF-16, little endian" }, 0);
    if broken {
        repairs.add("characters that are broken in the file were replaced", 0);
    }
    Ok(text.into_owned())
}

fn utf8(bytes: &[u8], repairs: &mut Notes) -> Result<String, String> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Ok(text.to_string());
    }
    // Legal sequences of several bytes do not come about by chance: a few broken ones among many are damage.
    let mut good = 0;
    let mut bad = 0;
    for chunk in bytes.utf8_chunks() {
        good += chunk.valid().chars().filter(|c| !c.is_ascii()).count();
        bad += usize::from(!chunk.invalid().is_empty());
    }
    if good > 4 * bad {
        repairs.add("characters that are broken in the file were replaced", 0);
        return Ok(UTF_8.decode_without_bom_handling(bytes).0.into_owned());
    }
    let (text, _) = WINDOWS_1258.decode_without_bom_handling(bytes);
    // Bytes that the code page does not define come out as C1 controls.
    let undefined = text.chars().position(|c| matches!(c, '\0'..='\u{8}' | '\u{80}'..='\u{9f}' | '\u{fffd}'));
    if let Some(at) = undefined {
        let line = 1 + text.chars().take(at).filter(|c| *c == '\n').count();
        return Err(format!(":{line}: this is neither UTF-8 nor UTF-16 nor Windows-1258 text"));
    }
    repairs.add("read as Windows-1258", 0);
    Ok(text.into_owned())
}
