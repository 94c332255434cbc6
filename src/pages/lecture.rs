//! The page that plays one lecture, in a course or of a bare package.

use super::html::{document, escape, isolate, part, safe_uri};
use super::words::Words;
use super::{CourseView, LectureView, Names, Page, assets, lists};

/// `<course>/<lecture>.html`
pub(super) fn lecture_page(
    course: &CourseView,
    lecture: &LectureView,
    before: Option<&LectureView>,
    after: Option<&LectureView>,
    names: &Names,
) -> Page {
    let words = Words::of(&course.language);
    let mut body = format!("<header><a href=\"index.html\">‹ {}</a></header>\n<main>\n", isolate(&course.title));
    body += &player(lecture, words, "../", names);
    body += &about(lecture, words);
    body += &prerequisites(course, lecture, words);
    body += &downloads(lecture, words);
    body += "<nav class=\"steps\">\n";
    for (class, word, other) in [("previous", words.previous, before), ("next", words.next, after)] {
        if let Some(other) = other {
            let (href, title) = (part(&other.id), isolate(&other.title));
            body += &format!("<a class=\"{class}\" rel=\"{}\" href=\"{href}.html\"><small>{word}</small> {title}</a>\n", &class[..4]);
        }
    }
    body += &format!("</nav>\n</main>\n{}<script src=\"../{}\" defer></script>\n", lists::colophon(course, words), names.script);
    let title = format!("{} · {}", lecture.title, course.title);
    Page::html(format!("{}/{}.html", course.id, lecture.id), document(&course.language, &title, "../", &names.style, &body))
}

/// `index.html` for a package that is in no course, with the assets it needs.
pub fn package_pages(lecture: &LectureView) -> Vec<Page> {
    let mut pages = assets();
    let names = Names::of(&pages);
    let words = Words::of("en");
    let body = format!(
        "<main>\n{}{}{}</main>\n<script src=\"{}\" defer></script>\n",
        player(lecture, words, "", &names),
        about(lecture, words),
        downloads(lecture, words),
        names.script
    );
    pages.push(Page::html("index.html".into(), document("en", &lecture.title, "", &names.style, &body)));
    pages
}

/// The picture's place. The script shows the button; without a script there is a link that native players open.
fn player(lecture: &LectureView, words: &Words, root: &str, names: &Names) -> String {
    let Some(source) = safe_uri(&lecture.master_uri) else { return format!("<p class=\"note\">{}</p>\n", words.broken) };
    let mut facts = Vec::new();
    if lecture.duration_s > 0.0 {
        facts.push(words.length(lecture.duration_s));
    }
    if let Some(least) = lecture.ways.iter().map(|w| w.bytes).min() {
        facts.push(format!("{} {}", words.from, words.megabytes(least)));
    }
    format!(
        "<div class=\"player\" id=\"player\" data-src=\"{source}\" data-hls=\"{root}{}\" data-loading=\"{}\" data-offline=\"{}\" data-broken=\"{}\" \
         data-unsupported=\"{}\">\n<video id=\"video\" controls playsinline preload=\"none\" hidden></video>\n\
         <button type=\"button\" id=\"play\" hidden><span class=\"word\">{}</span> <small>{}</small></button>\n\
         <noscript><a href=\"{source}\">{}</a></noscript>\n</div>\n<p class=\"note\" id=\"note\" role=\"status\" hidden></p>\n",
        names.hls,
        escape(words.loading),
        escape(words.offline),
        escape(words.broken),
        escape(words.unsupported),
        words.play,
        facts.join(" · "),
        words.no_script,
    )
}

/// Title, presenter, length and what each way of watching costs.
fn about(lecture: &LectureView, words: &Words) -> String {
    let mut facts = Vec::new();
    facts.extend(lecture.presenter.as_deref().map(isolate));
    if lecture.duration_s > 0.0 {
        facts.push(words.length(lecture.duration_s));
    }
    let mut out = format!("<h1>{}</h1>\n", isolate(&lecture.title));
    if !facts.is_empty() {
        out += &format!("<p class=\"facts\">{}</p>\n", facts.join(" · "));
    }
    if !lecture.ways.is_empty() {
        out += &format!(
            "<section>\n<h2>{}</h2>\n<table>\n<thead><tr><th>{}</th><th>{}</th></tr></thead>\n<tbody>\n",
            words.data, words.way, words.size
        );
        for way in &lecture.ways {
            out += &format!("<tr><td>{}</td><td>{}</td></tr>\n", isolate(&way.name), words.megabytes(way.bytes));
        }
        out += &format!("</tbody>\n</table>\n<p class=\"hint\">{}</p>\n</section>\n", words.data_note);
    }
    out
}

fn prerequisites(course: &CourseView, lecture: &LectureView, words: &Words) -> String {
    let all = || course.modules.iter().flat_map(|m| &m.lectures);
    let known = lecture.prerequisites.iter().filter_map(|id| all().find(|l| l.id == *id));
    let links: Vec<String> = known.map(|l| format!("<li><a href=\"{}.html\">{}</a></li>\n", part(&l.id), isolate(&l.title))).collect();
    match links.is_empty() {
        true => String::new(),
        false => format!("<section>\n<h2>{}</h2>\n<ul>\n{}</ul>\n</section>\n", words.before, links.concat()),
    }
}

fn downloads(lecture: &LectureView, words: &Words) -> String {
    if lecture.files.is_empty() && lecture.whole.is_none() {
        return String::new();
    }
    let mut out = format!("<section>\n<h2>{}</h2>\n<ul>\n", words.files);
    if let Some(whole) = &lecture.whole
        && let Some(uri) = safe_uri(&whole.uri)
    {
        let name = escape(&whole.title);
        out += &format!(
            "<li><a href=\"{uri}\" download=\"{name}\">{}</a> <small>{}</small></li>\n",
            words.whole,
            words.megabytes(whole.bytes)
        );
    }
    for file in &lecture.files {
        let title = isolate(&file.title);
        let name = safe_uri(&file.uri).map_or_else(|| title.clone(), |uri| format!("<a href=\"{uri}\" download>{title}</a>"));
        out += &format!("<li>{name} <small>{}</small></li>\n", words.megabytes(file.bytes));
    }
    out + "</ul>\n</section>\n"
}
