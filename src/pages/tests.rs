use super::media::{CaptionsView, MediaView, NativeView, RungView, SlideView, VoiceView};
use super::*;
use crate::units::Digest;
use proptest::prelude::*;

fn lecture(id: &str, title: &str) -> LectureView {
    LectureView {
        id: id.into(),
        title: title.into(),
        presenter: Some("BS. Nguyễn Thị Hà".into()),
        duration_s: 3900.0,
        master_uri: format!("{id}.m3u8"),
        ways: vec![WayView { name: "360p".into(), bytes: 21_300_000 }, WayView { name: "720p".into(), bytes: 58_000_001 }],
        whole: Some(FileView { title: format!("{id}.mp4"), uri: "../blobs/cd/cdef.mp4".into(), bytes: 9_420_000 }),
        files: vec![FileView { title: "Tóm tắt".into(), uri: "../blobs/ab/abcd.pdf".into(), bytes: 1_200_000 }],
        prerequisites: Vec::new(),
        poster: Some("../blobs/ef/ef01.webp".into()),
        media: media(),
        search: Some("search-0123456789abcdef.json".into()),
    }
}

fn media() -> MediaView {
    MediaView {
        voice: Some(VoiceView {
            uri: "../blobs/0a/0a11.mp4".into(),
            codec: "opus".into(),
            rate_hz: 48_000,
            bytes: 9_000_000,
            first: 800,
            segments: vec![(13_000, 288_000), (14_000, 288_000)],
            init: vec![1; 650],
            head: vec![2; 13_000],
        }),
        native: Some(NativeView { playlist: "../blobs/0b/0b11.m3u8".into(), file: "../blobs/0b/0b12.mp4".into() }),
        video: Some("../blobs/0c/0c11.m3u8".into()),
        rungs: vec![
            RungView { name: "360p".into(), height: 360, bytes: 12_300_000, average_bps: 25_000, peak_bps: 50_000 },
            RungView { name: "720p".into(), height: 720, bytes: 49_000_001, average_bps: 90_000, peak_bps: 200_000 },
        ],
        slides: vec![SlideView {
            uri: "../blobs/0d/0d11.webp".into(),
            start_s: 0.0,
            bytes: 30_000,
            width: 1280,
            height: 720,
            title: Some("Sóng P".into()),
        }],
        captions: vec![CaptionsView { language: "vi".into(), uri: "../blobs/0e/0e11.vtt".into(), bytes: 4_000 }],
        package: Some(("../blobs/0f/0f11.json".into(), 20_000)),
    }
}

fn course() -> CourseView {
    let mut second = lecture("suy-tim", "Suy tim");
    second.prerequisites = vec!["ecg-1".into(), "gone".into()];
    CourseView {
        titles: Titles::new(),
        id: "tim-mach".into(),
        title: "Tim mạch cơ bản".into(),
        language: "vi".into(),
        licence: "CC BY 4.0".into(),
        address: Some("https://learn.example.vn/".into()),
        release: 3,
        modules: vec![
            ModuleView { id: "m1".into(), title: "Điện tâm đồ".into(), lectures: vec![lecture("ecg-1", "ECG: sóng P"), second] },
            ModuleView { id: "m2".into(), title: "Thực hành".into(), lectures: vec![lecture("ca-1", "Ca lâm sàng 1")] },
        ],
    }
}

/// The markup, with blanks for the blanks that break no line.
fn text(page: &Page) -> String {
    String::from_utf8(page.bytes.clone()).unwrap().replace('\u{a0}', " ")
}

/// Without scripts, their data and the style, and without the values of attributes: the values are quoted, and a quote in what an
/// author wrote is escaped, so the next quote is ours.
fn bare(html: &str) -> String {
    let mut out = String::new();
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        out += &rest[..at];
        rest = &rest[at..];
        let mut quoted = false;
        let end = rest.find(|c| {
            quoted ^= c == '"';
            c == '>' && !quoted
        });
        let (tag, after) = rest.split_at(end.unwrap() + 1);
        out.extend(tag.split('"').step_by(2));
        rest = after;
        for (begin, end) in [("<script", "</script>"), ("<style", "</style>")] {
            if tag.starts_with(begin) {
                rest = rest.split_once(end).unwrap().1;
            }
        }
    }
    out + rest
}

/// The tags with the names of their attributes.
fn skeleton(html: &str) -> Vec<String> {
    bare(html).split('<').skip(1).map(|tag| tag.split('>').next().unwrap().to_string()).collect()
}

#[test]
fn every_page_of_a_course_is_where_the_store_expects_it() {
    let keys: Vec<String> = course_pages(&course()).into_iter().map(|p| p.key).collect();
    assert_eq!(keys, ["tim-mach/index.html", "tim-mach/ecg-1.html", "tim-mach/suy-tim.html", "tim-mach/ca-1.html"]);
    assert!(course_pages(&course()).iter().all(|p| p.caching == Caching::Revalidate));
}

#[test]
fn a_lecture_page_says_what_it_costs_and_leads_on() {
    let page = text(&course_pages(&course())[2]);
    for expected in [
        "\"master\":\"suy-tim.m3u8\"",
        "<bdi>BS. Nguyễn Thị Hà</bdi> · <span data-w=\"{s3900}\">1 giờ 05 phút</span>",
        "<td data-w=\"{slides_way}\">Tiếng và trang chiếu</td><td data-w=\"{b9030000}\">9,1 MB</td>",
        ">Video, nhẹ nhất (360p)</td><td data-w=\"{b21300000}\">22 MB</td>",
        ">Video, rõ nhất (720p)</td><td data-w=\"{b58000001}\">59 MB</td>",
        "<option value=\"=720p\" data-w=\"{video_way}, {sharpest} (720p) · {b58000001}\">Video, rõ nhất (720p) · 59 MB</option>",
        "<small data-w=\"{s3900} · {b9030000}\">1 giờ 05 phút · 9,1 MB</small>",
        "<option value=\"slides\" data-w=\"{slides_way} · {b9030000}\">Tiếng và trang chiếu · 9,1 MB</option>",
        "<meta property=\"og:image\" content=\"https://learn.example.vn/blobs/ef/ef01.webp\">",
        "<meta property=\"og:url\" content=\"https://learn.example.vn/tim-mach/suy-tim.html\">",
        "<meta property=\"og:type\" content=\"video.other\">",
        "href=\"../blobs/ab/abcd.pdf\" download",
        "<a class=\"previous\" rel=\"prev\" href=\"ecg-1.html\">",
        "<a class=\"next\" rel=\"next\" href=\"ca-1.html\">",
        "<li><a href=\"ecg-1.html\"><bdi>ECG: sóng P</bdi></a></li>",
        "CC BY 4.0",
        "Bản phát hành 3",
    ] {
        assert!(page.contains(expected), "{expected} in {page}");
    }
    // The first has nothing before it, the last nothing after.
    assert!(!text(&course_pages(&course())[1]).contains("rel=\"prev\""));
    assert!(!text(&course_pages(&course())[3]).contains("rel=\"next\""));
}

#[test]
fn pages_hold_no_address_of_their_host_and_find_their_assets() {
    let names: Vec<String> = assets().into_iter().map(|p| p.key).collect();
    for page in course_pages(&course()).iter().chain([&index_page(&[])]) {
        let html = text(page);
        for quote in ["href=\"", "src=\"", "\"hls\":\"", "\"app\":\"", "\"worker\":\""] {
            for link in html.split(quote).skip(1).map(|rest| rest.split('"').next().unwrap()) {
                assert!(!link.starts_with('/') && !link.contains("://"), "{link} in {}", page.key);
                if let Some(asset) = link.rsplit('/').next().filter(|n| n.starts_with("app-") || n.starts_with("hls-") || *n == "sw.js") {
                    assert_eq!(link, format!("../{asset}"));
                    assert!(names.contains(&asset.to_string()), "{asset}");
                }
            }
        }
    }
}

/// Inline stand the scripts of the start and the style, which the policy names by digest, and data that nothing runs.
#[test]
fn nothing_runs_inline_but_the_loader() {
    for page in course_pages(&course()) {
        let html = text(&page);
        assert!(html.contains(&format!("<meta http-equiv=\"Content-Security-Policy\" content=\"{}\">", csp())));
        assert!(!csp().contains("unsafe") && !html.contains(" style=") && !html.contains(" onclick="));
        let styles: Vec<&str> = html.split("<style>").skip(1).filter_map(|s| s.split("</style>").next()).collect();
        let wanted = [code::style(), code::lecture_style()];
        assert_eq!(styles, wanted[..if html.contains("id=\"player\"") { 2 } else { 1 }], "{}", page.key);
        for script in html.split("<script").skip(1) {
            let own = script.strip_prefix('>').and_then(|s| s.split("</script>").next());
            let inline = own.is_some_and(|s| [code::first(), code::loader(), code::COME].contains(&s));
            let data = script.starts_with(" type=\"application/json\"");
            assert!(inline || data || script.starts_with(" src=\"../app-"), "{}", page.key);
        }
    }
}

/// What a first visit fetches before it can sound, as it is sent: this page, and no other file.
#[test]
fn a_page_with_its_voice_is_small() {
    use std::io::Write;
    let mut long = course();
    let media = &mut long.modules[0].lectures[0].media;
    let voice = media.voice.as_mut().unwrap();
    // An hour in segments of 6 s, 60 slides, and bytes that do not compress.
    let noise = |n: usize, seed: u64| {
        let mut x = seed;
        std::iter::repeat_with(move || {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (x >> 40) as u8
        })
        .take(n)
    };
    voice.head = noise(20_000, 7).collect();
    voice.segments = noise(600, 8).map(|b| (13_000 + b as u64 * 9, 288_000 + b as u64 % 3 * 2880)).collect();
    media.slides = (0..60)
        .map(|i| SlideView {
            uri: format!("../blobs/aa/{}.webp", Digest::of(&[i])),
            start_s: i as f64 * 60.0,
            title: Some(format!("Trang số {i}: xử trí ban đầu")),
            ..media.slides[0].clone()
        })
        .collect();
    let page = &course_pages(&long)[1];
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&page.bytes).unwrap();
    let sent = gzip.finish().unwrap().len();
    let begin = text(page).find("class=\"voice\"").unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&page.bytes[..begin]).unwrap();
    let begin = gzip.finish().unwrap().len();
    println!("a lecture of an hour: {} bytes, {sent} compressed, {begin} up to the first sound", page.bytes.len());
    assert!(sent < 45_000, "{sent}");
    // Ten packets of 1,448 bytes, less the headers.
    assert!(begin < 13_600, "{begin}");
}

#[test]
fn what_an_author_left_out_leaves_no_empty_words() {
    let mut bare = CourseView { licence: String::new(), ..course() };
    bare.modules.truncate(1);
    bare.modules[0].title = bare.title.clone();
    for page in course_pages(&bare) {
        assert!(!text(&page).contains("Giấy phép"), "{}", page.key);
    }
    let list = text(&course_pages(&bare)[0]);
    assert_eq!((list.matches("<h1>").count(), list.matches("<h2>").count()), (1, 0));
}

#[test]
fn the_small_file_can_be_kept_and_says_what_it_costs() {
    let page = text(&course_pages(&course())[1]);
    let link = "<a href=\"../blobs/cd/cdef.mp4\" download=\"ecg-1.mp4\" data-w=\"{whole}\">Cả bài";
    assert!(page.contains(link) && page.contains("9,5 MB"), "{page}");
}

#[test]
fn titles_in_other_languages_wait_for_the_learner() {
    let text = |all: &[(&str, &str)]| crate::course::Text(all.iter().map(|(l, t)| (l.to_string(), t.to_string())).collect());
    let texts = [
        text(&[("vi", "ECG: sóng P"), ("en", "ECG: \"P\" <wave>")]),
        text(&[("vi", "Thực hành")]),
        // One Vietnamese title, two English ones: it stays.
        text(&[("vi", "Bài 1"), ("en", "Lesson 1")]),
        text(&[("vi", "Bài 1"), ("en", "Lecture 1")]),
    ];
    let titles = titles_of(&texts, "vi");
    assert_eq!(titles.keys().collect::<Vec<_>>(), ["ECG: sóng P"]);
    let pages = course_pages(&CourseView { titles, ..course() });
    for page in &pages[..2] {
        let wanted = "<bdi data-titles=\"{&quot;en&quot;:&quot;ECG: \\&quot;P\\&quot; &lt;wave&gt;&quot;}\">ECG: sóng P</bdi>";
        assert!(super::tests::text(page).contains(wanted), "{}", super::tests::text(page));
    }
}

/// The script fills the same templates with another language's words.
#[test]
fn what_stands_in_a_page_is_what_its_template_makes() {
    let words = words::Words::of("vi");
    let mut pages = course_pages(&course());
    pages.push(withdrawn_page(&course(), "ecg-0"));
    let mut seen = 0;
    for page in &pages {
        let html = String::from_utf8(page.bytes.clone()).unwrap();
        for element in html.split(" data-w=\"").skip(1) {
            let (template, rest) = element.split_once('"').unwrap();
            assert!(!template.contains('&'), "{template}");
            let made = words.fill(template);
            assert!(!made.is_empty() && !made.contains(['{', '}']), "{template}");
            let before = &html[..element.as_ptr() as usize - html.as_ptr() as usize];
            let tag = &before[before.rfind('<').unwrap()..];
            // Said by a screen reader, or shown in an empty field; else read.
            let there = match tag.contains("aria-label=") || tag.contains("placeholder=") {
                true => tag.contains(&format!("=\"{made}\"")),
                false => rest.split_once('>').unwrap().1.split('<').next() == Some(made.as_str()),
            };
            assert!(there, "{template} in {tag}");
            seen += 1;
        }
        // What the page's own words are, and where others are found.
        let others = format!("\"languages\":{{\"en\":\"../{}\",\"vi\":\"\"}}", assets()[4].key);
        assert!(html.contains(&others), "{}", page.key);
    }
    assert!(seen > 100, "{seen}");
    // Before the voice each byte counts: the script knows the player's elements by their names.
    let page = text(&pages[1]);
    assert_eq!(page.split("class=\"voice\"").next().unwrap().matches("data-w").count(), 1);
}

#[test]
fn an_english_course_speaks_english() {
    let english = CourseView { language: "en-GB".into(), ..course() };
    let page = text(&course_pages(&english)[1]);
    assert!(page.contains("<html lang=\"en-GB\">") && page.contains("Play the lecture") && page.contains("1 h 05 min"));
    assert!(page.contains("\"decimal\":\".\""));
}

#[test]
fn an_unlinkable_download_is_named_but_not_linked() {
    let mut course = course();
    course.modules[0].lectures[0].files[0].uri = "javascript:alert(1)".into();
    let page = text(&course_pages(&course)[1]);
    assert!(page.contains("<li><bdi>Tóm tắt</bdi>") && !page.contains("javascript:"));
}

#[test]
fn assets_are_named_by_their_bytes_and_bring_a_player_with_separate_voice() {
    let assets = assets();
    for asset in assets.iter().filter(|a| a.key != "sw.js") {
        let digest = Digest::of(&asset.bytes).to_string();
        assert!(asset.key.contains(&digest[..16]) && asset.caching == Caching::Immutable, "{}", asset.key);
    }
    // A service worker keeps its address for ever, so its bytes must not.
    assert!(assets.iter().any(|a| a.key == "sw.js" && a.caching == Caching::Revalidate));
    // hls.js's light build plays our packages without sound: it leaves alternate audio out.
    let hls = assets.iter().find(|a| a.key.starts_with("hls-")).unwrap();
    assert!(String::from_utf8_lossy(&hls.bytes).contains("audio-stream-controller"));
}

#[test]
fn a_package_has_a_page_of_its_own_with_everything_it_needs() {
    let pages = package_pages(&LectureView { master_uri: "master.m3u8".into(), ..lecture("index", "Bài") });
    let index = text(pages.iter().find(|p| p.key == "index.html").unwrap());
    assert!(index.contains("\"master\":\"master.m3u8\"") && index.contains(">59 MB</td>"));
    // It speaks English as it comes.
    let named = |p: &Page| index.contains(&format!("\"{}\"", p.key)) != p.key.starts_with("words-en-");
    assert!(pages.iter().filter(|p| p.key.contains("-")).all(named));
    assert!(index.contains("\"languages\":{\"en\":\"\",\"vi\":\"words-vi-"));
}

/// Every place where an author's words go.
fn filled_with(words: &str) -> Vec<Page> {
    let mut course = course();
    for slot in [&mut course.title, &mut course.licence] {
        *slot = words.into();
    }
    for module in &mut course.modules {
        module.title = format!("{words}.");
        for lecture in &mut module.lectures {
            lecture.title = words.into();
            lecture.presenter = Some(words.into());
            lecture.ways[0].name = words.into();
            lecture.files[0].title = words.into();
            lecture.media.slides[0].title = Some(words.into());
            lecture.media.rungs[0].name = words.into();
        }
    }
    let mut pages = course_pages(&course);
    pages.push(index_page(&[CourseSummary { id: "tim-mach".into(), title: words.into(), lectures: 3, duration_s: 9.0 }]));
    pages
}

#[test]
fn hostile_words_change_no_markup() {
    let plain = filled_with("x");
    for words in [
        "</bdi></title><script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "' onmouseover='alert(1)",
        "<!-- ",
        "]]>&lt;script&gt;",
        "\u{202e}txet\u{2066}",
        "\0\u{7}\u{1b}[31m",
    ] {
        for (page, reference) in filled_with(words).iter().zip(&plain) {
            assert_eq!(skeleton(&text(page)), skeleton(&text(reference)), "{words:?} in {}", page.key);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    // A name of control characters alone is an empty one, and has no description.
    fn any_words_change_no_markup(words in "(?s)x.{0,39}", id in "[^/]{1,12}") {
        let plain = filled_with("x");
        for (page, reference) in filled_with(&words).iter().zip(&plain) {
            prop_assert_eq!(skeleton(&text(page)), skeleton(&text(reference)));
        }
        let mut course = course();
        course.modules[0].lectures[0].id = id;
        for page in course_pages(&course) {
            prop_assert!(!text(&page).contains("href=\"\""));
        }
    }

    /// An override that an author wrote ends with the element around it.
    #[test]
    fn directional_controls_stay_inside_bdi_or_the_title(words in "[\u{202a}-\u{202e}\u{2066}-\u{2069}a-c]{1,8}") {
        for page in filled_with(&words) {
            let html = bare(&text(&page));
            let outside: String = html.split("<title>").flat_map(|p| p.split("</title>").last()).collect::<String>()
                .split("<bdi>").map(|p| p.split("</bdi>").last().unwrap()).collect();
            prop_assert_eq!(outside.find(|c| ('\u{202a}'..='\u{202e}').contains(&c) || ('\u{2066}'..='\u{2069}').contains(&c)), None);
        }
    }
}
