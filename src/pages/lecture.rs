//! The page that plays one lecture, in a course or of a bare package. `?embed` in its address leaves the player alone: for
//! frames in other sites.

use super::code::{COME, first, list_words, loader};
use super::html::{Head, LECTURE, document, escape, isolate, part, safe_uri};
use super::media::{MediaView, script_json};
use super::words::{Words, bytes, seconds};
use super::{CourseView, LectureView, Names, Page, assets, lists};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// `<course>/<lecture>.html`
pub(super) fn lecture_page(
    course: &CourseView,
    lecture: &LectureView,
    before: Option<&LectureView>,
    after: Option<&LectureView>,
    names: &Names,
) -> Page {
    let words = Words::of(&course.language);
    let mut body = format!(
        "<header><a class=\"up\" href=\"index.html\"><span aria-hidden=\"true\">‹</span> {}</a></header>\n",
        course.titled(&course.title)
    );
    body += &format!("<main>\n{}{}", player(lecture, words), start(Some(course), lecture, "../", names));
    let out = format!("a href=\"{}.html\" target=\"_blank\" rel=\"noopener\"", part(&lecture.id));
    body += &format!("<p class=\"out\">{}</p>\n", words.tag_of(&out, "{open_page}"));
    body += &about(Some(course), lecture, words);
    body += &tools(lecture, words, true);
    body += &prerequisites(course, lecture, words);
    body += &downloads(lecture, words);
    body += "<nav class=\"steps\">\n";
    for (class, other) in [("previous", before), ("next", after)] {
        if let Some(other) = other {
            let (href, title) = (part(&other.id), course.titled(&other.title));
            let word = words.tag_of("small", &format!("{{{class}}}"));
            body += &format!("<a class=\"{class}\" rel=\"{}\" href=\"{href}.html\">{word} {title}</a>\n", &class[..4]);
        }
    }
    body += &format!("</nav>\n</main>\n{}{}", lists::colophon(course, words), rest(Some(course), lecture, words, "../", names));
    let title = format!("{} · {}", lecture.title, course.title);
    let head = Head {
        language: &course.language,
        title: &title,
        description: &description(lecture, words),
        poster: lecture.poster.as_deref(),
        address: course.page_address(&lecture.id),
        class: LECTURE,
    };
    Page::html(format!("{}/{}.html", course.id, lecture.id), document(&head, &body))
}

/// `index.html` for a package that is in no course, with the assets it needs.
pub fn package_pages(lecture: &LectureView) -> Vec<Page> {
    let mut pages = assets();
    let names = Names::of(&pages);
    let words = Words::of("en");
    let body = format!(
        "<main>\n{}{}{}{}{}</main>\n{}",
        player(lecture, words),
        start(None, lecture, "", &names),
        about(None, lecture, words),
        tools(lecture, words, false),
        downloads(lecture, words),
        rest(None, lecture, words, "", &names)
    );
    let head = Head {
        language: "en",
        title: &lecture.title,
        description: &description(lecture, words),
        poster: None,
        address: None,
        class: LECTURE,
    };
    pages.push(Page::html("index.html".into(), document(&head, &body)));
    pages
}

/// Presenter, length and the least price, as plain text.
fn description(lecture: &LectureView, words: &Words) -> String {
    let mut facts: Vec<String> = lecture.presenter.clone().into_iter().collect();
    if lecture.duration_s > 0.0 {
        facts.push(words.length(lecture.duration_s));
    }
    facts.extend(lists::least(lecture).map(|b| format!("{} {}", words.from, words.megabytes(b))));
    facts.join(" · ")
}

/// A button of the player with a drawn sign; its words are for screen readers and for pointers that rest on it.
fn key(id: &str, words: &str, sign: &str) -> String {
    let words = escape(words);
    format!("<button type=\"button\" id=\"{id}\" aria-label=\"{words}\" title=\"{words}\" disabled>{sign}</button>\n")
}

fn sign(path: &str) -> String {
    format!("<svg viewBox=\"0 0 24 24\" aria-hidden=\"true\"><path d=\"{path}\"/></svg>")
}

/// The slide's place with the picture and the sound, and the keys below. The keys sleep until the script has come, in
/// their places, so that nothing moves.
fn player(lecture: &LectureView, words: &Words) -> String {
    let Some(_) = safe_uri(&lecture.master_uri) else { return format!("<p class=\"broken\">{}</p>\n", escape(&words.broken)) };
    let first = lecture.media.slides.first();
    let (width, height) = first.map_or((1280, 720), |s| (s.width.max(1), s.height.max(1)));
    let length = lecture.duration_s.max(0.0);
    let mut facts = Vec::new();
    if length > 0.0 {
        facts.push(seconds(length));
    }
    facts.extend(lists::least(lecture).map(bytes));
    let call = if lecture.media.voice.is_some() { &words.play } else { &words.watch };
    let mut out = format!(
        "<section id=\"player\" aria-label=\"{}\">\n<div id=\"stage\">\n<img id=\"slide\" width=\"{width}\" height=\"{height}\" alt=\"\">\n\
         <video id=\"video\" playsinline preload=\"none\" hidden></video>\n\
         <button type=\"button\" id=\"zoom\" aria-label=\"{1}\" title=\"{1}\" hidden>{2}</button>\n\
         <button type=\"button\" id=\"play\" hidden>{3}<span><b>{4}</b> {5}</span></button>\n\
         <p id=\"note\" role=\"status\" hidden></p>\n</div>\n<audio id=\"audio\" preload=\"auto\"></audio>\n",
        escape(&words.player),
        escape(&words.enlarge),
        sign("M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5"),
        sign("M8 5v14l11-7z"),
        escape(call),
        words.tag_of("small", &facts.join(" · ")),
    );
    if !lecture.media.captions.is_empty() {
        out += "<p id=\"line\" hidden></p>\n";
    }
    let zero = "0:00";
    out += &format!(
        "<div id=\"controls\">\n<div class=\"seek\"><span id=\"now\">{zero}</span><input id=\"seek\" type=\"range\" min=\"0\" max=\"{:.0}\" step=\"1\" \
         value=\"0\" aria-label=\"{}\" disabled><span id=\"all\">{}</span></div>\n<div class=\"keys\">\n",
        length.ceil().max(1.0),
        escape(&words.position),
        lists::clock(length),
    );
    out += &key("previous", &words.previous_slide, &sign("M7 5v14M18 5l-8 7 8 7z"));
    out += &key("back", &words.back, "<span aria-hidden=\"true\">−10</span>");
    out += &key("toggle", &words.play, &sign("M8 5v14l11-7z"));
    out += &key("forward", &words.forward, "<span aria-hidden=\"true\">+30</span>");
    out += &key("next", &words.next_slide, &sign("M17 5v14M6 5l8 7-8 7z"));
    out + "</div>\n</div>\n</section>\n"
}

/// Title and presenter.
fn about(course: Option<&CourseView>, lecture: &LectureView, words: &Words) -> String {
    let mut facts: Vec<String> = lecture.presenter.as_deref().map(isolate).into_iter().collect();
    if lecture.duration_s > 0.0 {
        facts.push(words.tag_of("span", &seconds(lecture.duration_s)));
    }
    let title = course.map_or_else(|| isolate(&lecture.title), |c| c.titled(&lecture.title));
    let mut out = format!("<h1>{title}</h1>\n");
    if !facts.is_empty() {
        out += &format!("<p class=\"facts\">{}</p>\n", facts.join(" · "));
    }
    out
}

/// Slides, ways of watching with what they cost, search, and keeping.
fn tools(lecture: &LectureView, words: &Words, keeping: bool) -> String {
    let media = &lecture.media;
    let mut out = String::new();
    if !media.slides.is_empty() {
        let label = escape(&words.slides);
        out += &format!("<section class=\"deck\" aria-label=\"{label}\" data-w=\"{{slides}}\">\n<ol id=\"strip\"></ol>\n</section>\n");
    }
    out += &format!("<div class=\"choices\">\n<label class=\"wide\">{}<select id=\"mode\" disabled>", words.tag_of("span", "{mode}"));
    let mut option = |value: &str, name: &str, price: Option<u64>| {
        let template = [name.to_string()].into_iter().chain(price.map(bytes)).collect::<Vec<_>>().join(" · ");
        out += &words.tag_of(&format!("option value=\"{}\"", escape(value)), &template);
    };
    if media.voice.is_some() || media.native.is_some() {
        option("slides", "{slides_way}", media.slides_bytes());
    }
    option("auto", "{auto}", None);
    for (i, (rung, way)) in media.rungs.iter().zip(&lecture.ways).enumerate() {
        option(&format!("={}", rung.name), &grade(media, i), Some(way.bytes));
    }
    out += "</select></label>\n";
    out += &format!("<label>{}<select id=\"speed\" disabled>", words.tag_of("span", "{speed}"));
    for speed in ["0.75", "1", "1.25", "1.5", "1.75", "2"] {
        let chosen = if speed == "1" { " selected" } else { "" };
        out += &words.tag_of(&format!("option value=\"{speed}\"{chosen}"), &format!("{{{speed}}}×"));
    }
    out += "</select></label>\n";
    if !media.captions.is_empty() {
        out += &format!("<label>{}<select id=\"cc\" disabled></select></label>\n", words.tag_of("span", "{captions}"));
    }
    out += &format!(
        "<label class=\"check\"><input id=\"saver\" type=\"checkbox\" disabled><span>{} {}</span></label>\n</div>\n",
        words.tag_of("span", "{save_data}"),
        words.tag_of("small", "{save_data_hint}")
    );
    if lecture.search.is_some() {
        out += &lists::search_form(words);
    }
    if keeping && media.voice.is_some() {
        out += &format!("<section id=\"keep\">\n{}\n</section>\n", words.tag_of("h2", "{offline}"));
    }
    let slides_way = media.slides_bytes().map(|b| (words.tag_of("td", "{slides_way}"), b));
    let rungs = lecture.ways.iter().enumerate().map(|(i, w)| match i < media.rungs.len() {
        true => (words.tag_of("td", &grade(media, i)), w.bytes),
        // Its own name, which is the profile's, where no more is known.
        false => (format!("<td>{} {}</td>", words.tag_of("span", "{video_way}"), isolate(&w.name)), w.bytes),
    });
    let row = |(name, price)| format!("<tr>{name}{}</tr>\n", words.tag_of("td", &bytes(price)));
    let rows: Vec<String> = slides_way.into_iter().chain(rungs).map(row).collect();
    if !rows.is_empty() {
        let [data, way, size, note] = [("h2", "{data}"), ("th", "{way}"), ("th", "{size}"), ("p class=\"hint\"", "{data_note}")]
            .map(|(open, template)| words.tag_of(open, template));
        let rows = rows.concat();
        out += &format!(
            "<section>\n{data}\n<table>\n<thead><tr>{way}{size}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n{note}\n</section>\n"
        );
    }
    out
}

/// A rung as learners call it: `Video, lightest (720p)`, as a template.
fn grade(media: &MediaView, index: usize) -> String {
    let grade = match index {
        0 => "lightest",
        i if i + 1 == media.rungs.len() => "sharpest",
        _ => "medium",
    };
    format!("{{video_way}}, {{{grade}}} ({}p)", media.rungs[index].height)
}

fn prerequisites(course: &CourseView, lecture: &LectureView, words: &Words) -> String {
    let links = lists::before(course, lecture);
    match links.is_empty() {
        true => String::new(),
        false => {
            let heading = words.tag_of("h2", "{before}");
            format!("<section>\n{heading}\n<ul>\n<li>{}</li>\n</ul>\n</section>\n", links.join("</li>\n<li>"))
        }
    }
}

/// What can be downloaded; all there is without a script.
fn downloads(lecture: &LectureView, words: &Words) -> String {
    let heading = words.tag_of("h2", "{files}");
    let mut out = format!("<section>\n{heading}\n<noscript><p>{}</p></noscript>\n<ul>\n", escape(&words.no_script));
    if let Some(whole) = &lecture.whole
        && let Some(uri) = safe_uri(&whole.uri)
    {
        let name = escape(&whole.title);
        let link = words.tag_of(&format!("a href=\"{uri}\" download=\"{name}\""), "{whole}");
        out += &format!("<li>{link} {}</li>\n", words.tag_of("small", &bytes(whole.bytes)));
    }
    for file in &lecture.files {
        let title = isolate(&file.title);
        let name = safe_uri(&file.uri).map_or_else(|| title.clone(), |uri| format!("<a href=\"{uri}\" download>{title}</a>"));
        out += &format!("<li>{name} {}</li>\n", words.tag_of("small", &bytes(file.bytes)));
    }
    if let Some(master) = safe_uri(&lecture.master_uri) {
        out += &format!("<li>{}</li>\n", words.tag_of(&format!("a href=\"{master}\""), "{no_script_hls}"));
    }
    out + "</ul>\n</section>\n"
}

/// What a visit begins with, right behind the player: where the first slide and the rest of the script are, the script that asks
/// for that slide, the first bytes of the voice, the script that plays them, and some seconds more of the voice. All up to those
/// is to fit into ten packets, which a server sends before the first answer to any.
fn start(course: Option<&CourseView>, lecture: &LectureView, root: &str, names: &Names) -> String {
    let Some(_) = safe_uri(&lecture.master_uri) else { return String::new() };
    let data = script_json(&json!({
        "course": course.map_or("", |c| &c.id),
        "lecture": lecture.id,
        "duration": lecture.duration_s,
        "slide": lecture.media.slides.first().map(|s| &s.uri),
        "app": format!("{root}{}", names.app),
    }));
    let (voice, pieces, rest) = lecture.media.voice_json();
    let json = |id: &str, text: &str| format!("<script type=\"application/json\" id=\"{id}\">{text}</script>\n");
    let run = |text: &str| format!("<script>{text}</script>\n");
    let piece = |text: &String| format!("<script type=\"application/json\" class=\"voice\">{text}</script>\n{}", run(COME));
    let pieces: String = pieces.iter().map(piece).collect();
    let rest = rest.map_or(String::new(), |rest| json("rest", &rest) + &run(COME));
    [json("data", &data), run(first()), json("voice", &voice), run(loader()), pieces, rest].concat()
}

/// All else that the page's script reads.
fn rest(course: Option<&CourseView>, lecture: &LectureView, words: &Words, root: &str, names: &Names) -> String {
    let Some(_) = safe_uri(&lecture.master_uri) else { return String::new() };
    let about: Value = json!({
        "release": course.map(|c| c.release),
        "title": lecture.title,
        "courseTitle": course.map_or("", |c| &c.title),
        "presenter": lecture.presenter,
        "master": lecture.master_uri,
        "poster": lecture.poster,
        "search": lecture.search,
        "floor": lecture.whole.as_ref().map(|w| json!([w.uri, w.bytes, w.title])),
        "hls": format!("{root}{}", names.hls),
        "worker": course.map(|_| format!("{root}{}", names.worker)),
        "languages": names.languages(words, root),
    });
    let about = lecture.media.data_json(about, words);
    format!("<script type=\"application/json\" id=\"about\">{about}</script>\n<script>{COME}</script>\n")
}

/// What the course page's script reads.
pub(super) fn course_data(course: &CourseView, words: &Words, names: &Names) -> String {
    let lectures = course.modules.iter().flat_map(|m| &m.lectures);
    let row = |l: &LectureView| json!([l.id, l.duration_s, l.media.kept_bytes()]);
    let about = json!({
        "course": course.id,
        "lectures": lectures.map(row).collect::<Vec<_>>(),
        "worker": format!("../{}", names.worker),
        "words": words.page.iter().filter(|(name, _)| list_words().contains(*name)).collect::<BTreeMap<_, _>>(),
        "decimal": words.decimal,
        "languages": names.languages(words, "../"),
    });
    format!(
        "<script type=\"application/json\" id=\"data\">{}</script>\n<script src=\"../{}\" defer></script>\n",
        script_json(&about),
        names.app
    )
}
