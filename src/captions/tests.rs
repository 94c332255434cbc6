use super::*;
use encoding_rs::WINDOWS_1258;
use proptest::prelude::*;

const SRT: &str = "1\n00:00:01,000 --> 00:00:03,500\nXin chào các bác sĩ\n\n2\n00:00:04,000 --> 00:00:06,000\nBệnh viêm phổi ở trẻ em\nĐường thở, suy hô hấp\n";

fn fitted(text: &str) -> Fitted {
    read("vi", "a.srt", text.as_bytes()).unwrap().fit(0, 60_000)
}

fn spans(f: &Fitted) -> Vec<(u64, u64)> {
    f.cues.iter().map(|c| (c.start_ms, c.end_ms)).collect()
}

/// The cue texts, each in one line.
fn texts(f: &Fitted) -> Vec<String> {
    f.cues.iter().map(|c| c.lines.join("|")).collect()
}

fn utf16(text: &str, big: bool) -> Vec<u8> {
    text.encode_utf16().flat_map(|u| if big { u.to_be_bytes() } else { u.to_le_bytes() }).collect()
}

/// As Windows writes it: the letter, then its tone as a mark of its own, where the code page has no whole letter.
fn windows_1258(text: &str) -> Vec<u8> {
    use unicode_normalization::UnicodeNormalization;
    let mut out = Vec::new();
    for c in text.chars() {
        let letter = c.to_string();
        let (whole, _, bad) = WINDOWS_1258.encode(&letter);
        if !bad {
            out.extend_from_slice(&whole);
            continue;
        }
        let parts: Vec<char> = c.nfd().collect();
        let (tone, letter): (Vec<char>, Vec<char>) =
            parts.iter().partition(|c| matches!(c, '\u{300}' | '\u{301}' | '\u{303}' | '\u{309}' | '\u{323}'));
        let letter: String = letter.iter().collect::<String>().nfc().collect();
        for part in [letter, tone.iter().collect()] {
            let (bytes, _, bad) = WINDOWS_1258.encode(&part);
            assert!(!bad, "{c} {part:?}");
            out.extend_from_slice(&bytes);
        }
    }
    out
}

/// The same Vietnamese text out of every encoding, letter for letter.
#[test]
fn every_encoding_gives_the_same_text() {
    let plain = fitted(SRT);
    assert_eq!(texts(&plain), ["Xin chào các bác sĩ", "Bệnh viêm phổi ở trẻ em|Đường thở, suy hô hấp"]);
    assert!(plain.repairs.is_empty(), "{:?}", plain.repairs);
    let files = [
        ("BOM", [&b"\xef\xbb\xbf"[..], SRT.as_bytes()].concat()),
        ("LE BOM", [&b"\xff\xfe"[..], &utf16(SRT, false)].concat()),
        ("BE BOM", [&b"\xfe\xff"[..], &utf16(SRT, true)].concat()),
        ("LE", utf16(SRT, false)),
        ("BE", utf16(SRT, true)),
        ("1258", windows_1258(SRT)),
        ("NFD", {
            use unicode_normalization::UnicodeNormalization;
            SRT.nfd().collect::<String>().into_bytes()
        }),
        ("CRLF", SRT.replace('\n', "\r\n").into_bytes()),
        ("CR", SRT.replace('\n', "\r").into_bytes()),
    ];
    for (name, bytes) in files {
        let read = read("vi", "a.srt", &bytes).unwrap_or_else(|e| panic!("{name}: {}", e.report())).fit(0, 60_000);
        assert_eq!(read.cues, plain.cues, "{name}");
        let told = matches!(name, "LE BOM" | "BE BOM" | "LE" | "BE" | "1258" | "NFD");
        assert_eq!(!read.repairs.is_empty(), told, "{name}: {:?}", read.repairs);
    }
    assert!(!windows_1258(SRT).is_ascii() && std::str::from_utf8(&windows_1258(SRT)).is_err());
}

/// Each fault of real files: what comes of it, and that it is said.
#[test]
fn faults_are_put_right_and_said() {
    type Case = (&'static str, &'static str, &'static [(u64, u64)], &'static str);
    let cases: &[Case] = &[
        ("dots in SRT", "1\n00:00:01.000 --> 00:00:02.000\na\n", &[(1000, 2000)], "dots in times"),
        ("commas in WebVTT", "WEBVTT\n\n00:01,000 --> 00:02,500\na\n", &[(1000, 2500)], "commas in times"),
        ("no hours in SRT", "1\n00:01,000 --> 00:02,000\na\n", &[(1000, 2000)], "missing hours"),
        ("no milliseconds", "1\n00:00:01 --> 00:00:02\na\n", &[(1000, 2000)], "missing milliseconds"),
        ("odd spelling", "1\n0:0:1,5 -> 0:00:02,75\na\n", &[(1500, 2750)], "misspelt times"),
        (
            "no empty lines",
            "1\n00:00:01,000 --> 00:00:02,000\na\n2\n00:00:03,000 --> 00:00:04,000\nb\n00:00:05,000 --> 00:00:06,000\nc\n",
            &[(1000, 2000), (3000, 4000), (5000, 6000)],
            "missing empty line",
        ),
        ("an empty line in a cue", "1\n00:00:01,000 --> 00:00:02,000\na\n\nb\n", &[(1000, 2000)], "empty line inside"),
        (
            "overlap",
            "1\n00:00:01,000 --> 00:00:04,000\na\n\n2\n00:00:03,000 --> 00:00:05,000\nb\n",
            &[(1000, 3000), (3000, 5000)],
            "overlaps",
        ),
        ("together", "1\n00:00:01,000 --> 00:00:04,000\na\n\n2\n00:00:01,100 --> 00:00:05,000\nb\n", &[(1000, 5000)], "joined"),
        (
            "out of order",
            "1\n00:00:05,000 --> 00:00:06,000\na\n\n2\n00:00:01,000 --> 00:00:02,000\nb\n",
            &[(1000, 2000), (5000, 6000)],
            "out of order",
        ),
        (
            "past the end",
            "1\n00:00:59,000 --> 00:01:09,000\na\n\n2\n00:01:01,000 --> 00:01:02,000\nb\n",
            &[(59_000, 60_000)],
            "past the lecture's end",
        ),
        ("negative length", "1\n00:00:05,000 --> 00:00:04,000\nabc\n", &[(5000, 6000)], "given a length"),
        (
            "no length",
            "1\n00:00:05,000 --> 00:00:05,000\nabc\n\n2\n00:00:05,500 --> 00:00:07,000\nd\n",
            &[(5000, 5500), (5500, 7000)],
            "given a length",
        ),
        ("empty cue", "1\n00:00:01,000 --> 00:00:02,000\n\n2\n00:00:03,000 --> 00:00:04,000\nb\n", &[(3000, 4000)], "without text"),
        ("arrow in text", "1\n00:00:01,000 --> 00:00:02,000\nA --> B\n", &[(1000, 2000)], "arrow"),
        ("font tags", "1\n00:00:01,000 --> 00:00:02,000\n{\\an8}<font color=\"#ff0\">a</font>\n", &[(1000, 2000)], "markup"),
        ("styles", "WEBVTT\n\nSTYLE\n::cue { color: red }\n\n00:01.000 --> 00:02.000\na\n", &[(1000, 2000)], "styles"),
        ("unknown settings", "WEBVTT\n\n00:01.000 --> 00:02.000 size:50% flash:yes\na\n", &[(1000, 2000)], "settings"),
        ("bad times", "1\n00:00:01,000 --> 00:00:02,000\na\n\n2\n00:xx --> 00:yy\nb\n", &[(1000, 2000)], "cannot be read"),
    ];
    for (name, text, wanted, said) in cases {
        let found = fitted(text);
        assert_eq!(spans(&found), *wanted, "{name}");
        assert!(found.repairs.iter().any(|r| r.contains(said)), "{name}: {:?}", found.repairs);
        assert!(webvtt(&found.cues).matches("-->").count() == wanted.len(), "{name}");
    }
}

#[test]
fn a_sentence_says_how_often_and_where() {
    let found = fitted("1\n00:00:01.000 --> 00:00:02.000\na\n\n2\n00:00:03.000 --> 00:00:04.000\nb\n");
    assert_eq!(found.repairs, ["a.srt: dots in times became commas (2 times, first at line 2)"]);
}

#[test]
fn good_files_are_left_alone() {
    let text = "WEBVTT - tiêu đề\nKind: captions\n\nNOTE của tác giả\nhai dòng\n\nmở-đầu\n00:01.000 --> 00:02.000 line:0 align:start\n<v Hoa>Xin <b>chào</b> &amp; cảm ơn\n\n01:00.000 --> 01:02.000\nR&D: a < b\n";
    let found = read("vi", "a.vtt", text.as_bytes()).unwrap().fit(0, 100_000);
    assert!(found.repairs.is_empty() && found.warnings.is_empty(), "{found:?}");
    assert_eq!(texts(&found), ["<v Hoa>Xin <b>chào</b> &amp; cảm ơn", "R&amp;D: a &lt; b"]);
    assert_eq!(found.cues[0].settings, "line:0 align:start");
    let written = webvtt(&found.cues);
    assert!(
        written.starts_with("WEBVTT\nX-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:0\n\n00:00:01.000 --> 00:00:02.000 line:0 align:start\n")
    );
    // What was written is read back as it is, without a repair.
    let again = read("vi", "b.vtt", written.as_bytes()).unwrap().fit(0, 100_000);
    assert_eq!((webvtt(&again.cues), again.repairs.len()), (written, 0));
}

#[test]
fn long_and_quick_cues_are_warned_of_and_kept() {
    let found = fitted("1\n00:00:01,000 --> 00:00:02,000\na\nb\nc\n\n2\n00:00:03,000 --> 00:00:03,500\nmột câu dài không ai đọc kịp\n");
    assert_eq!((found.cues.len(), found.repairs.len(), found.warnings.len()), (2, 0, 2), "{found:?}");
}

/// A trim moves cues; those outside it go, those across its ends are cut.
#[test]
fn trims_shift_captions() {
    let text = "1\n00:00:01,000 --> 00:00:03,000\na\n\n2\n00:00:09,000 --> 00:00:11,000\nb\n\n3\n00:00:14,000 --> 00:00:16,000\nc\n\n4\n00:00:19,000 --> 00:00:22,000\nd\n";
    let found = read("vi", "a.srt", text.as_bytes()).unwrap().fit(10_000, 10_000);
    assert_eq!(spans(&found), [(0, 1000), (4000, 6000), (9000, 10_000)]);
    assert_eq!(found.repairs.len(), 2, "{:?}", found.repairs);
}

/// One clear sentence with the line, not a hundred.
#[test]
fn hopeless_files_are_refused_with_a_line() {
    for (bytes, wanted) in [
        (&b""[..], "a.srt is empty"),
        (b" \n\n", "a.srt is empty"),
        (b"WEBVTT\n\n", "a.srt:1: there is no cue"),
        (b"\n{\\rtf1 word}\nmore\n", "a.srt:2: this is neither WebVTT"),
        (b"1\n00:00:x --> 00:00:y\na\n", "a.srt:2: the times"),
        (b"a\nb\n\x8a\x8d\x9d\n", "a.srt:3: this is neither UTF-8"),
        (b"\0\0\0\x20ftypisom\0\0\0\0", "a.srt"),
    ] {
        let e = read("vi", "a.srt", bytes).unwrap_err();
        assert!(e.kind() == Kind::BadMedia && e.what().starts_with(wanted), "{bytes:?}: {}", e.what());
    }
}

#[test]
fn a_file_with_a_few_broken_letters_is_still_utf8() {
    let mut bytes = SRT.as_bytes().to_vec();
    let at = SRT.find('à').unwrap();
    bytes.remove(at);
    let found = read("vi", "a.srt", &bytes).unwrap().fit(0, 60_000);
    assert!(found.repairs.iter().any(|r| r.contains("broken")), "{:?}", found.repairs);
    assert_eq!(texts(&found)[1], "Bệnh viêm phổi ở trẻ em|Đường thở, suy hô hấp");
}

/// What any player needs of a file: header, blank line before each cue, times in order, rising and apart, text that holds no
/// arrow and no empty line. A reader of its own, so that the writer is not its own judge.
fn strict(text: &str, length_ms: u64) -> Result<usize, String> {
    let mut blocks = text.trim_end_matches('\n').split("\n\n");
    let head = blocks.next().unwrap_or_default();
    if head != "WEBVTT\nX-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:0" {
        return Err(format!("header {head:?}"));
    }
    let ms = |t: &str| -> Option<u64> {
        let b = t.as_bytes();
        let shape = b.len() >= 12 && b[b.len() - 4] == b'.' && b[b.len() - 7] == b':' && b[b.len() - 10] == b':';
        let digits: String = t.chars().filter(char::is_ascii_digit).collect();
        let n = digits.len();
        let of = |r: std::ops::Range<usize>| digits[r].parse::<u64>().ok();
        let (h, m, s, f) = (of(0..n.checked_sub(7)?)?, of(n - 7..n - 5)?, of(n - 5..n - 3)?, of(n - 3..n)?);
        (shape && m < 60 && s < 60).then_some(((h * 60 + m) * 60 + s) * 1000 + f)
    };
    let (mut last, mut count) = (0, 0);
    for block in blocks {
        let (timing, body) = block.split_once('\n').ok_or(format!("no text in {block:?}"))?;
        let parts: Vec<&str> = timing.split(' ').collect();
        let (Some(from), Some(to)) = (ms(parts[0]), parts.get(2).and_then(|t| ms(t))) else { return Err(format!("times {timing:?}")) };
        if parts[1] != "-->" || from < last || to <= from || to > length_ms {
            return Err(format!("times {timing:?} after {last}"));
        }
        if body.contains("-->") || body.lines().any(|l| l.trim().is_empty()) || body.contains(['\r', '\0']) {
            return Err(format!("text {body:?}"));
        }
        (last, count) = (to, count + 1);
    }
    Ok(count)
}

/// Lines of captions files, whole and broken, and rubbish between them.
fn line() -> impl Strategy<Value = String> {
    let time = (0u32..3, 0u32..70, 0u32..70, 0u32..1200, 0usize..4).prop_map(|(h, m, s, f, shape)| match shape {
        0 => format!("{h:02}:{m:02}:{s:02},{f:03}"),
        1 => format!("{m:02}:{s:02}.{f:03}"),
        2 => format!("{h}:{m}:{s}"),
        _ => format!("{h:02}:{m:02}:{s:02}.{f}"),
    });
    prop_oneof![
        4 => (time.clone(), prop_oneof![3 => Just("-->"), 1 => Just("->"), 1 => Just("—>")], time, prop_oneof![Just(""), Just(" line:0"), Just(" x:--> y")])
            .prop_map(|(a, arrow, b, rest)| format!("{a} {arrow} {b}{rest}")),
        2 => Just(String::new()),
        1 => (0u32..99).prop_map(|n| n.to_string()),
        1 => prop_oneof![Just("WEBVTT".into()), Just("NOTE x".into()), Just("STYLE".into()), Just("<v A>--> <b>".into()), Just("--->-->".into())],
        3 => "[a-zàđ<>&{}\\\\/: -]{0,20}",
    ]
}

proptest! {
    #[test]
    fn whatever_comes_in_what_goes_out_is_legal(lines in proptest::collection::vec(line(), 0..40), vtt: bool, from in 0u64..9_000, length in 1u64..4_000_000) {
        let text = format!("{}{}", if vtt { "WEBVTT\n\n" } else { "" }, lines.join("\n"));
        if let Ok(found) = read("vi", "x", text.as_bytes()) {
            let fitted = found.fit(from, length);
            let written = webvtt(&fitted.cues);
            prop_assert_eq!(strict(&written, length), Ok(fitted.cues.len()), "{}", written);
            if !fitted.cues.is_empty() {
                let again = read("vi", "x", written.as_bytes()).unwrap().fit(0, length);
                prop_assert_eq!(webvtt(&again.cues), written);
            }
        }
    }

    #[test]
    fn no_bytes_panic(bytes: Vec<u8>) {
        let _ = read("vi", "x", &bytes).map(|c| c.fit(0, 1000));
    }
}
