//! What a learner's browser meets at a bucket: the objects of a store fetched over plain HTTP without keys, as a page of
//! another origin would. Blocking. Whether the objects are right is [`crate::publish`]'s question, not this one's.

use super::{Finding, Level};
use crate::store::{Caching, Key};
use crate::uri::percent_encode;
use std::time::Duration;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// One object to look at, and how it should come.
#[derive(Debug, Clone)]
pub struct Sample {
    pub key: Key,
    pub caching: Caching,
    /// It should come as gzip.
    pub packed: bool,
    /// Players ask for parts of it.
    pub ranged: bool,
}

/// One object of each sort that a learner meets; of what a store lacks, none.
pub fn samples(keys: &[Key], packs: impl Fn(&Key) -> bool) -> Vec<Sample> {
    use Caching::{Immutable, Revalidate};
    let file = |key: &str| key.rsplit('/').next().unwrap_or_default().to_string();
    let of_course = |key: &str| key.split('/').count() == 2 && !key.starts_with("blobs/") && !key.starts_with("courses/");
    let named = |start: &'static str, end: &'static str| move |key: &str| key.starts_with(start) && key.ends_with(end);
    type Sort<'a> = (&'a dyn Fn(&str) -> bool, Caching);
    let sorts: [Sort<'_>; 16] = [
        (&|k| k == "index.html", Revalidate),
        (&named("app-", ".js"), Immutable),
        (&named("hls-", ".js"), Immutable),
        (&named("words-", ".json"), Immutable),
        (&|k| k == "sw.js", Revalidate),
        // It moves learners to a new release, and drops their copies of what was withdrawn.
        (&named("courses/", "/current.json"), Revalidate),
        (&|k| of_course(k) && file(k) == "index.html", Revalidate),
        (&|k| of_course(k) && file(k) != "index.html" && k.ends_with(".html"), Revalidate),
        (&|k| of_course(k) && file(k) == "search.json", Revalidate),
        (&|k| of_course(k) && k.ends_with(".m3u8"), Revalidate),
        (&|k| of_course(k) && file(k).starts_with("search-"), Immutable),
        (&named("blobs/", ".m3u8"), Immutable),
        (&named("blobs/", ".mp4"), Immutable),
        (&named("blobs/", ".webp"), Immutable),
        (&named("blobs/", ".vtt"), Immutable),
        (&named("blobs/", ".json"), Immutable),
    ];
    let sample = |(sort, caching): &Sort<'_>| {
        let key = keys.iter().find(|k| sort(k.as_str()))?;
        Some(Sample { key: key.clone(), caching: *caching, packed: packs(key), ranged: key.as_str().ends_with(".mp4") })
    };
    sorts.iter().filter_map(sample).collect()
}

/// The site that asks, in `Origin`.
const ORIGIN: &str = "https://player.example";
const SOURCE: &str = "docs/operations.md";

/// An answer's head.
struct Answer {
    status: u16,
    headers: ureq::http::HeaderMap,
    /// Of the first bytes of the body.
    read: usize,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }
    /// The first part of a value: `text/html` of `text/html; charset=utf-8`.
    fn main(&self, name: &str) -> Option<String> {
        Some(self.header(name)?.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
    }
}

/// Looks at every sample below `base` (a URL that ends in `/`), trusting `authorities` (DER; Mozilla's if empty).
pub fn check(base: &str, samples: &[Sample], authorities: &[Vec<u8>]) -> Vec<Finding> {
    let roots = match authorities {
        [] => RootCerts::WebPki,
        some => some.iter().map(|one| Certificate::from_der(one).to_owned()).collect::<Vec<_>>().into(),
    };
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .allow_non_standard_methods(true)
        .tls_config(TlsConfig::builder().root_certs(roots).build())
        .timeout_connect(Some(Duration::from_secs(20)))
        .timeout_recv_response(Some(Duration::from_secs(30)))
        .timeout_recv_body(Some(Duration::from_secs(60)))
        .user_agent(concat!("rivulet-check/", env!("CARGO_PKG_VERSION")))
        .build()
        .into();
    let mut found = Vec::new();
    let local = ["http://127.", "http://localhost", "http://[::1]"].iter().any(|l| base.starts_with(l));
    if base.starts_with("http://") && !local {
        let what = "is not HTTPS: browsers then allow no offline copies, and the network can change what learners see";
        found.push(finding("web-https", Level::Should, base, what.into()));
    }
    for sample in samples {
        let url = format!("{base}{}", percent_encode(sample.key.as_str()));
        match one(&agent, sample, &url, &mut found) {
            Ok(true) => {}
            // A bucket that is private is so for every object: once is enough.
            Ok(false) => break,
            Err(e) => {
                found.push(finding("web-reach", Level::Must, &url, format!("cannot be reached as a browser would: {e}")));
                break;
            }
        }
    }
    // One cause, one line: the objects after the first only repeat it.
    let mut seen = std::collections::BTreeSet::new();
    found.retain(|f: &Finding| f.level == Level::Must || seen.insert((f.rule, f.message.clone())));
    found
}

/// Whether the next is worth looking at.
fn one(agent: &ureq::Agent, sample: &Sample, url: &str, found: &mut Vec<Finding>) -> Result<bool, ureq::Error> {
    let whole = get(agent, url, None)?;
    if whole.status != 200 {
        found.push(finding("web-public", Level::Must, url, not_public(whole.status)));
        return Ok(!matches!(whole.status, 401 | 403));
    }
    headers(sample, url, &whole, found);
    if sample.ranged {
        let part = get(agent, url, Some("bytes=0-99"))?;
        if part.status != 206 || part.header("content-range").is_none_or(|r| !r.starts_with("bytes 0-99/")) || part.read != 100 {
            let what = format!(
                "a range of 100 bytes is answered with status {} and {} bytes: players fetch media by ranges",
                part.status, part.read
            );
            found.push(finding("web-range", Level::Must, url, what));
        }
    }
    preflight(agent, url, found)?;
    Ok(true)
}

fn not_public(status: u16) -> String {
    match status {
        401 | 403 => format!(
            "status {status}: learners may not read it. Allow s3:GetObject to everybody by the bucket's policy and turn off \"block public access\", \
             or keep the bucket private and let learners in by `rivulet serve s3://...`"
        ),
        404 => "status 404: it is not at this address".into(),
        301 | 302 | 307 | 308 => format!("status {status}: sent elsewhere, which costs a slow link a round trip for every object"),
        _ => format!("status {status}"),
    }
}

fn headers(sample: &Sample, url: &str, answer: &Answer, found: &mut Vec<Finding>) {
    let mut say = |rule, level, message: String| found.push(finding(rule, level, url, message));
    let wanted = sample.key.content_type().split(';').next().unwrap_or_default();
    if answer.main("content-type").as_deref() != Some(wanted) {
        let is = answer.header("content-type").unwrap_or("no type");
        say(
            "web-type",
            Level::Must,
            format!(
                "comes as {is}, not as {wanted}: players and browsers refuse it. Publish with --refresh, or look at what stands before the bucket"
            ),
        );
    }
    let cached = answer.header("cache-control").unwrap_or_default().to_ascii_lowercase();
    match sample.caching {
        Caching::Immutable if !cached.contains("immutable") => {
            say("web-caching", Level::Should, format!("Cache-Control is \"{cached}\", not immutable: learners fetch again what they have"))
        }
        Caching::Revalidate if !cached.contains("no-cache") && !cached.contains("no-store") && !cached.contains("max-age=0") => say(
            "web-caching",
            Level::Must,
            format!("Cache-Control is \"{cached}\", not no-cache: learners may see an old release for long"),
        ),
        Caching::Revalidate if answer.header("etag").is_none() && answer.header("last-modified").is_none() => {
            say("web-caching", Level::Should, "has neither ETag nor Last-Modified: it is sent whole at every visit".into())
        }
        _ => {}
    }
    if sample.packed && answer.main("content-encoding").as_deref() != Some("gzip") {
        say("web-gzip", Level::Should, "does not come as gzip: text costs learners several times the bytes".into());
    }
    if answer.header("access-control-allow-origin").is_none_or(|o| o != "*" && o != ORIGIN) {
        say(
            "web-cors",
            Level::Should,
            "has no Access-Control-Allow-Origin: pages of other sites cannot play it. Set the bucket's CORS rules".into(),
        );
    }
}

/// Older browsers ask before they send a Range to another origin.
fn preflight(agent: &ureq::Agent, url: &str, found: &mut Vec<Finding>) -> Result<(), ureq::Error> {
    let request = ureq::http::Request::options(url)
        .header("Origin", ORIGIN)
        .header("Access-Control-Request-Method", "GET")
        .header("Access-Control-Request-Headers", "range")
        .body(())?;
    let answer = agent.run(request)?;
    let allowed =
        answer.headers().get("access-control-allow-headers").and_then(|v| v.to_str().ok()).unwrap_or_default().to_ascii_lowercase();
    if !answer.status().is_success() || !(allowed.contains("range") || allowed.contains('*')) {
        let what = "refuses the question whether another site may send Range: older browsers there cannot play it. Set AllowedHeaders in the bucket's CORS rules";
        found.push(finding("web-cors", Level::Should, url, what.into()));
    }
    Ok(())
}

fn get(agent: &ureq::Agent, url: &str, range: Option<&str>) -> Result<Answer, ureq::Error> {
    let encoding = if range.is_some() { "identity" } else { "gzip" };
    let mut request = agent.get(url).header("Origin", ORIGIN).header("Accept-Encoding", encoding);
    if let Some(range) = range {
        request = request.header("Range", range);
    }
    let mut response = request.call()?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    // Media are long; what counts is the head, and of a range how much of it comes.
    let read = match range {
        Some(_) => response.body_mut().with_config().limit(1 << 16).read_to_vec().map_or(0, |b| b.len()),
        None => 0,
    };
    Ok(Answer { status, headers, read })
}

fn finding(rule: &'static str, level: Level, at: &str, message: String) -> Finding {
    Finding { rule, level, r#where: at.to_string(), message, source: SOURCE }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;
    use crate::store::s3::bench::Bench;
    use std::io::{Read, Write};

    /// Answers each request with what `answer` gives for its head; ends with the test process.
    fn server(answer: impl Fn(&str) -> String + Send + 'static) -> String {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/b/", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let (mut head, mut byte) = (Vec::new(), [0]);
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
                    head.push(byte[0]);
                }
                let _ = stream.write_all(answer(&String::from_utf8_lossy(&head)).as_bytes());
            }
        });
        url
    }

    #[test]
    fn one_of_each_sort_that_a_learner_meets_is_looked_at() {
        let kept = [
            ("app-0123456789abcdef.js", Caching::Immutable),
            ("blobs/aa/a.json", Caching::Immutable),
            ("blobs/aa/a.m3u8", Caching::Immutable),
            ("blobs/aa/a.mp4", Caching::Immutable),
            ("blobs/aa/a.vtt", Caching::Immutable),
            ("blobs/aa/a.webp", Caching::Immutable),
            ("c/a.html", Caching::Revalidate),
            ("c/a.m3u8", Caching::Revalidate),
            ("c/index.html", Caching::Revalidate),
            ("c/search-0123456789abcdef.json", Caching::Immutable),
            ("c/search.json", Caching::Revalidate),
            ("courses/c/current.json", Caching::Revalidate),
            ("hls-0123456789abcdef.js", Caching::Immutable),
            ("index.html", Caching::Revalidate),
            ("sw.js", Caching::Revalidate),
            ("words-en-0123456789abcdef.json", Caching::Immutable),
        ];
        let others = ["blobs/bb/b.mp4", "c/b.html", "courses/c/releases/1.json", "intents/x.json"];
        let keys: Vec<Key> = kept.iter().map(|k| k.0).chain(others).map(|k| Key::new(k).unwrap()).collect();
        let mut looked_at = samples(&keys, Key::is_text);
        looked_at.sort_by(|a, b| a.key.cmp(&b.key));
        let found: Vec<(&str, Caching)> = looked_at.iter().map(|s| (s.key.as_str(), s.caching)).collect();
        assert_eq!(found, kept);
        assert!(looked_at.iter().all(|s| s.packed == s.key.is_text() && s.ranged == s.key.as_str().ends_with(".mp4")));
    }

    fn two() -> Vec<Sample> {
        let of = |key: &str, caching, packed, ranged| Sample { key: Key::new(key).unwrap(), caching, packed, ranged };
        vec![of("c/a.m3u8", Caching::Revalidate, true, false), of("blobs/ab/v.mp4", Caching::Immutable, false, true)]
    }

    fn rules(found: &[Finding]) -> Vec<(&str, Level)> {
        found.iter().map(|f| (f.rule, f.level)).collect()
    }

    #[test]
    fn a_good_bucket_has_no_findings() {
        let url = server(|head| {
            let lower = head.to_ascii_lowercase();
            let (status, more, body) = match () {
                _ if head.starts_with("OPTIONS") => ("204 No Content", "Access-Control-Allow-Headers: range\r\n", String::new()),
                _ if lower.contains("range: bytes=0-99") => {
                    ("206 Partial Content", "Content-Type: video/mp4\r\nContent-Range: bytes 0-99/500\r\n", "x".repeat(100))
                }
                _ if head.contains("m3u8") => (
                    "200 OK",
                    "Content-Type: application/vnd.apple.mpegurl\r\nCache-Control: no-cache\r\nETag: \"1\"\r\nContent-Encoding: gzip\r\n",
                    "#".into(),
                ),
                _ => ("200 OK", "Content-Type: video/mp4\r\nCache-Control: public, max-age=31536000, immutable\r\n", "x".repeat(500)),
            };
            let length = body.len();
            format!(
                "HTTP/1.1 {status}\r\nAccess-Control-Allow-Origin: *\r\nContent-Length: {length}\r\nConnection: close\r\n{more}\r\n{body}"
            )
        });
        let found = check(&url, &two(), &[]);
        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn what_a_learner_would_meet_is_told() {
        let private = server(|_| "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".into());
        let found = check(&private, &two(), &[]);
        assert_eq!(rules(&found), [("web-public", Level::Must)]);
        assert!(found[0].message.contains("s3:GetObject"));

        let plain = server(|head| {
            let body = if head.starts_with("OPTIONS") { String::new() } else { "x".repeat(500) };
            format!(
                "HTTP/1.1 200 OK\r\nContent-Type: binary/octet-stream\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            )
        });
        let found = check(&plain, &two(), &[]);
        for rule in ["web-type", "web-caching", "web-gzip", "web-cors", "web-range"] {
            assert!(found.iter().any(|f| f.rule == rule), "{rule}: {found:?}");
        }
        assert_eq!(rules(&check("http://127.0.0.1:1/", &two(), &[])), [("web-reach", Level::Must)]);
        assert_eq!(rules(&check("nowhere/", &two(), &[])), [("web-reach", Level::Must)]);
    }

    /// The authorities that the store trusts are enough for its web side; without them that cannot be reached, which is a finding.
    #[tokio::test]
    async fn a_service_with_an_authority_of_its_own_is_looked_at() {
        let bench = Bench::secure().await;
        let mut access = bench.access("us", "secret");
        access.ca_bundle = Some(bench.dir.path().join("ca.pem"));
        let store = bench.store_with("s3://lectures", access, None);
        let (base, authorities) = (store.web().await.unwrap().unwrap(), store.authorities().await.unwrap());
        for (authorities, rule) in [(authorities, "web-public"), (Vec::new(), "web-reach")] {
            let base = base.clone();
            let found = tokio::task::spawn_blocking(move || check(&base, &two(), &authorities)).await.unwrap();
            assert_eq!(rules(&found), [(rule, Level::Must)], "{found:?}");
        }
    }
}
