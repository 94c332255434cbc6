//! `rivulet serve` as a browser meets it: the real binary on a free loopback port, ureq as the client.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use ureq::http::Response;
use ureq::{Agent, Body};

struct Site {
    child: Child,
    url: String,
    agent: Agent,
    dir: tempfile::TempDir,
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve(dir: &Path, arguments: &[&str]) -> (Child, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_rivulet"))
        .args(["serve", "--listen", "127.0.0.1:0"])
        .args(arguments)
        .arg(dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (child, line.trim().to_string())
}

/// Bytes that differ everywhere, so that a wrong offset shows.
fn media(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i as u32).wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect()
}

impl Site {
    /// A store with one course: a page, a playlist, and a blob longer than what the server reads at once.
    fn store() -> Site {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("store");
        for (name, bytes) in [
            ("courses/tim/current.json", b"{\"release\":1}".to_vec()),
            ("blobs/ab/abcd.mp4", media(1_000_003)),
            ("blobs/ab/handout.html", b"<script>1</script>".to_vec()),
            ("index.html", b"<!doctype html>".repeat(40)),
            ("tim/index.html", b"<!doctype html>course".to_vec()),
            ("tim/b\u{e0}i 1.m3u8", b"#EXTM3U\n#EXT-X-VERSION:7\n".repeat(100)),
            ("tim/c-vi.vtt", b"WEBVTT\n".to_vec()),
            ("tim/empty.txt", Vec::new()),
            (".secret", b"secret".to_vec()),
            ("../outside.txt", b"outside".to_vec()),
        ] {
            let path = root.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        std::os::unix::fs::symlink("../outside.txt", root.join("link.txt")).unwrap();
        std::os::unix::fs::symlink("..", root.join("up")).unwrap();
        Self::over(dir, "store")
    }

    fn over(dir: tempfile::TempDir, below: &str) -> Site {
        let (child, url) = serve(&dir.path().join(below), &[]);
        // ureq must show what was sent: no redirects followed, no errors made of statuses.
        let agent = Agent::config_builder().max_redirects(0).http_status_as_error(false).accept_encoding("").build().into();
        Site { child, url, agent, dir }
    }

    fn get(&self, path: &str, headers: &[(&str, &str)]) -> Response<Body> {
        self.ask("GET", path, headers)
    }

    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Response<Body> {
        let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.agent.run(request.body(()).unwrap()).unwrap()
    }

    /// Head and body as they are on the wire; clients tidy `..` away and undo gzip.
    fn wire(&self, method: &str, path: &str, headers: &str) -> (String, Vec<u8>) {
        let address = self.url.trim_start_matches("http://").trim_end_matches('/');
        let mut tcp = std::net::TcpStream::connect(address).unwrap();
        write!(tcp, "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}\r\n").unwrap();
        let mut answer = Vec::new();
        tcp.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|w| w == b"\r\n\r\n").expect("a head") + 4;
        let body = answer.split_off(end);
        (String::from_utf8(answer).unwrap(), body)
    }
}

fn header<'a>(response: &'a Response<Body>, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |v| v.to_str().unwrap())
}

fn body(response: &mut Response<Body>) -> Vec<u8> {
    response.body_mut().with_config().limit(1 << 30).read_to_vec().unwrap()
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(bytes).read_to_end(&mut plain).unwrap();
    plain
}

const BLOB: &str = "blobs/ab/abcd.mp4";
const PLAYLIST: &str = "tim/b%C3%A0i%201.m3u8";

#[test]
fn ranges_give_exactly_the_bytes_asked_for() {
    let site = Site::store();
    let all = media(1_000_003);
    let mut whole = site.get(BLOB, &[]);
    assert_eq!((whole.status().as_u16(), header(&whole, "content-length")), (200, "1000003"));
    assert_eq!((header(&whole, "content-type"), header(&whole, "accept-ranges")), ("video/mp4", "bytes"));
    assert_eq!(body(&mut whole), all);
    // One byte, across the pieces that the server reads, to the end, the last ones.
    for (range, from, to) in [
        ("bytes=0-0", 0, 1),
        ("bytes=262000-790000", 262_000, 790_001),
        ("bytes=999999-", 999_999, 1_000_003),
        ("bytes=-10", 999_993, 1_000_003),
    ] {
        let mut part = site.get(BLOB, &[("range", range)]);
        assert_eq!(part.status(), 206, "{range}");
        assert_eq!(header(&part, "content-range"), format!("bytes {from}-{}/1000003", to - 1));
        assert_eq!(header(&part, "content-length"), (to - from).to_string());
        assert_eq!(body(&mut part), all[from..to], "{range}");
    }
    let beyond = site.get(BLOB, &[("range", "bytes=1000003-")]);
    assert_eq!((beyond.status().as_u16(), header(&beyond, "content-range")), (416, "bytes */1000003"));
    // Several ranges are not spoken: the whole is the legal answer.
    assert_eq!(site.get(BLOB, &[("range", "bytes=0-1,4-5")]).status(), 200);
    let mut empty = site.get("tim/empty.txt", &[]);
    assert_eq!((empty.status().as_u16(), body(&mut empty).len()), (200, 0));
}

#[test]
fn a_range_of_another_version_is_not_mixed_in() {
    let site = Site::store();
    let tag = header(&site.get(BLOB, &[]), "etag").to_string();
    assert_eq!(site.get(BLOB, &[("range", "bytes=0-9"), ("if-range", &tag)]).status(), 206);
    assert_eq!(site.get(BLOB, &[("range", "bytes=0-9"), ("if-range", "\"other\"")]).status(), 200);
    assert_eq!(site.get(BLOB, &[("range", "bytes=0-9"), ("if-range", "Wed, 21 Oct 2026 07:28:00 GMT")]).status(), 200);
    // A replaced object has a new tag.
    let path = site.dir.path().join("store").join(BLOB);
    std::fs::write(path.with_extension("new"), media(1_000_004)).unwrap();
    std::fs::rename(path.with_extension("new"), &path).unwrap();
    assert_eq!(site.get(BLOB, &[("range", "bytes=0-9"), ("if-range", &tag)]).status(), 200);
}

#[test]
fn what_a_client_has_is_not_sent_again() {
    let site = Site::store();
    for path in [BLOB, PLAYLIST, ""] {
        for encoding in ["identity", "gzip"] {
            let first = site.get(path, &[("accept-encoding", encoding)]);
            let tag = header(&first, "etag").to_string();
            assert!(tag.starts_with('"') && tag.ends_with('"'), "a strong tag: {tag}");
            let mut again = site.get(path, &[("accept-encoding", encoding), ("if-none-match", &format!("\"x\", W/{tag}"))]);
            assert_eq!((again.status().as_u16(), header(&again, "etag")), (304, tag.as_str()), "{path}");
            assert_eq!(header(&again, "cache-control"), header(&first, "cache-control"));
            assert_eq!(body(&mut again).len(), 0);
        }
    }
    assert_eq!(site.get(BLOB, &[("if-none-match", "\"other\"")]).status(), 200);
}

#[test]
fn text_is_compressed_for_those_who_take_it() {
    let site = Site::store();
    let plain = b"#EXTM3U\n#EXT-X-VERSION:7\n".repeat(100);
    let (head, sent) = site.wire("GET", &format!("/{PLAYLIST}"), "Accept-Encoding: gzip, br\r\n");
    for line in [
        "content-encoding: gzip",
        "content-type: application/vnd.apple.mpegurl",
        "vary: Accept-Encoding",
        &format!("content-length: {}", sent.len()),
    ] {
        assert!(head.lines().any(|l| l == line), "{line} in {head}");
    }
    assert_eq!(gunzip(&sent), plain);
    assert!(sent.len() * 10 < plain.len());
    // The two encodings are two representations, with two tags.
    let mut identity = site.get(PLAYLIST, &[("accept-encoding", "gzip;q=0")]);
    assert_eq!((header(&identity, "content-encoding"), header(&identity, "vary")), ("", "Accept-Encoding"));
    assert!(!head.contains(header(&identity, "etag")));
    assert_eq!(body(&mut identity), plain);
    // A range counts in plain bytes; media is compressed already.
    let mut part = site.get(PLAYLIST, &[("accept-encoding", "gzip"), ("range", "bytes=0-6")]);
    assert_eq!((part.status().as_u16(), header(&part, "content-encoding")), (206, ""));
    assert_eq!(body(&mut part), b"#EXTM3U");
    assert_eq!(header(&site.get(BLOB, &[("accept-encoding", "gzip")]), "content-encoding"), "");
}

#[test]
fn a_head_is_a_get_without_the_body() {
    let site = Site::store();
    for path in [BLOB, PLAYLIST, "tim/empty.txt"] {
        for encoding in ["identity", "gzip"] {
            let ask = |method| site.wire(method, &format!("/{path}"), &format!("Accept-Encoding: {encoding}\r\n"));
            let ((get, sent), (head, nothing)) = (ask("GET"), ask("HEAD"));
            let fields =
                |head: &str| head.lines().filter(|l| !l.starts_with("date:")).map(String::from).collect::<std::collections::BTreeSet<_>>();
            assert_eq!(fields(&head), fields(&get), "{path} {encoding}");
            assert!(head.contains(&format!("content-length: {}\r\n", sent.len())) && nothing.is_empty(), "{head}");
        }
    }
    assert_eq!(site.ask("HEAD", "gone.mp4", &[]).status(), 404);
}

#[test]
fn only_what_never_changes_is_kept_without_asking() {
    let site = Site::store();
    assert_eq!(header(&site.get(BLOB, &[]), "cache-control"), "public, max-age=31536000, immutable");
    for path in ["", "tim/", PLAYLIST, "courses/tim/current.json"] {
        assert_eq!(header(&site.get(path, &[]), "cache-control"), "no-cache", "{path}");
    }
}

#[test]
fn another_site_may_play_a_lecture() {
    let site = Site::store();
    let part = site.get(BLOB, &[("range", "bytes=0-1"), ("origin", "https://lms.example")]);
    assert_eq!(header(&part, "access-control-allow-origin"), "*");
    for exposed in ["Content-Range", "Content-Length", "ETag"] {
        assert!(header(&part, "access-control-expose-headers").contains(exposed));
    }
    let asked = site.ask("OPTIONS", BLOB, &[("origin", "https://lms.example"), ("access-control-request-headers", "range")]);
    assert_eq!(asked.status(), 204);
    assert!(
        header(&asked, "access-control-allow-headers").contains("Range") && header(&asked, "access-control-allow-methods").contains("GET")
    );
}

#[test]
fn a_page_runs_nothing_but_what_its_origin_wrote() {
    let site = Site::store();
    let page = site.get("", &[]);
    let policy = header(&page, "content-security-policy");
    // Which scripts and styles, the page says by itself: it may be older than this binary.
    assert!(policy.contains("object-src 'none'") && policy.contains("media-src 'self' blob:") && !policy.contains("unsafe"), "{policy}");
    assert!(!["default-src", "script-src", "style-src"].iter().any(|d| policy.contains(d)), "{policy}");
    assert_eq!(header(&page, "x-content-type-options"), "nosniff");
    assert_eq!(header(&page, "content-type"), "text/html; charset=utf-8");
    // What an author uploaded says nothing by itself, so the header has to.
    let policy = header(&site.get("blobs/ab/handout.html", &[]), "content-security-policy").to_string();
    assert!(policy.contains("script-src 'self' 'sha256-") && !policy.contains("unsafe"), "{policy}");
}

#[test]
fn nothing_outside_the_store_and_nothing_hidden_is_served() {
    let site = Site::store();
    for path in [
        "/../outside.txt",
        "/tim/../../outside.txt",
        "/%2e%2e/outside.txt",
        "/..%2foutside.txt",
        "/..%5coutside.txt",
        "//outside.txt",
        "/link.txt",
        "/up/outside.txt",
        "/.secret",
        "/%2esecret",
        "/blobs",
        "/blobs/",
        "/index.html%00.txt",
    ] {
        let (head, body) = site.wire("GET", path, "");
        assert!(head.starts_with("HTTP/1.1 404 "), "{path}: {head}");
        assert_eq!(body, b"404 Not Found\n", "{path}");
    }
}

#[test]
fn a_wrong_address_or_method_is_answered_in_plain_words() {
    let site = Site::store();
    let mut gone = site.get("tim/gone.html", &[]);
    assert_eq!((gone.status().as_u16(), header(&gone, "content-type")), (404, "text/plain; charset=utf-8"));
    assert_eq!(body(&mut gone), b"404 Not Found\n");
    for method in ["DELETE", "PUT"] {
        let refused = site.ask(method, BLOB, &[]);
        assert_eq!((refused.status().as_u16(), header(&refused, "allow")), (405, "GET, HEAD, OPTIONS"), "{method}");
    }
    // A course without its slash is found all the same, behind any prefix.
    let moved = site.get("tim", &[]);
    assert_eq!((moved.status().as_u16(), header(&moved, "location")), (301, "./tim/"));
    assert_eq!(body(&mut site.get("tim/", &[])), b"<!doctype html>course");
}

#[test]
fn a_bare_package_gets_a_page_that_plays_it() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("tieng Viet")).unwrap();
    std::fs::write(dir.path().join("tieng Viet/master.m3u8"), "#EXTM3U\n").unwrap();
    let site = Site::over(dir, "tieng Viet");
    let page = String::from_utf8(body(&mut site.get("", &[]))).unwrap();
    assert!(page.contains("tieng Viet") && page.contains("\"master\":\"master.m3u8\""));
    for quote in ["\"hls\":\"", "\"app\":\""] {
        let asset = page.split(quote).nth(1).unwrap().split('"').next().unwrap();
        let mut found = site.get(asset, &[]);
        assert_eq!((found.status().as_u16(), header(&found, "cache-control")), (200, "public, max-age=31536000, immutable"), "{asset}");
        assert!(body(&mut found).len() > 500);
    }
    assert_eq!(body(&mut site.get("master.m3u8", &[])), b"#EXTM3U\n");
}

#[test]
fn a_directory_that_is_neither_a_store_nor_a_package_is_not_shown_to_the_network() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("private.txt"), "x").unwrap();
    let run =
        |dir: &Path| Command::new(env!("CARGO_BIN_EXE_rivulet")).args(["serve", "--listen", "127.0.0.1:0"]).arg(dir).output().unwrap();
    let refused = run(dir.path());
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("holds neither courses nor a package"));
    assert!(refused.stdout.is_empty());
    assert_eq!(run(&dir.path().join("gone")).status.code(), Some(1));
}

#[test]
fn the_address_is_data_and_a_signal_ends_it_well() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("master.m3u8"), "#EXTM3U\n").unwrap();
    let (mut child, line) = serve(dir.path(), &["--json"]);
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["type"], "serving");
    assert_eq!(ureq::get(line["url"].as_str().unwrap()).call().unwrap().status(), 200);
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
