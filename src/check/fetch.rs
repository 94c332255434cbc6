//! Where playlists and media come from: a directory or an HTTP server, behind one seam. Both resolve references, read
//! small texts whole and media by byte range, and bound what they read.

use super::m3u8::Range;
use crate::error::{Error, Kind, Result, ResultExt};
use crate::uri::percent_decode;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

/// A playlist of a day in 1 s segments is 8 MB.
const MOST_TEXT: u64 = 16 << 20;
/// One segment: 10 s at 50 Mbit/s is 63 MB. What is larger is refused rather than held in memory.
const MOST_MEDIA: u64 = 256 << 20;

/// Reads what a playlist names. Locations are opaque strings that `resolve` makes.
pub trait Fetch {
    /// The location of a reference found in the text at `base`.
    fn resolve(&self, base: &str, reference: &str) -> Result<String>;
    /// A playlist or caption text, whole.
    fn text(&self, at: &str) -> Result<Vec<u8>>;
    /// Media: a range, or all of a small resource. A range past the end gives the bytes that are there.
    fn bytes(&self, at: &str, range: Option<Range>) -> Result<Vec<u8>>;
    /// Length in bytes, where it can be known without reading.
    fn size(&self, at: &str) -> Option<u64>;
    /// How each location was served; empty for files.
    fn served(&self) -> BTreeMap<String, Served> {
        BTreeMap::new()
    }
}

/// What an HTTP server said about one location.
#[derive(Debug, Clone, Default)]
pub struct Served {
    pub text: bool,
    pub content_type: Option<String>,
    pub content_encoding: Option<String>,
    /// Where it was sent on to.
    pub redirect: Option<String>,
    /// A range was asked for and all was sent.
    pub ignored_range: bool,
}

/// Files below one directory, and nothing outside it.
pub struct DirFetch {
    root: PathBuf,
}

impl DirFetch {
    pub fn new(dir: &Path) -> Result<Self> {
        let root = dir
            .canonicalize()
            .map_err(|e| Error::bad_media(format!("no playlist or package: cannot open the directory {}", dir.display())).caused_by(e))?;
        Ok(DirFetch { root })
    }

    fn open(&self, at: &str) -> Result<std::fs::File> {
        let path = self.root.join(at);
        // A link may lead outside even where the name does not.
        let real = path.canonicalize().doing(|| format!("cannot open {at}"))?;
        if !real.starts_with(&self.root) {
            return Err(Error::new(Kind::Denied, format!("{at} leads outside {}", self.root.display())));
        }
        let file = std::fs::File::open(&real).doing(|| format!("cannot open {at}"))?;
        match file.metadata().doing(|| format!("cannot look at {at}"))?.is_file() {
            true => Ok(file),
            false => Err(Error::failed(format!("{at} is not a file"))),
        }
    }
}

impl Fetch for DirFetch {
    fn resolve(&self, base: &str, reference: &str) -> Result<String> {
        let outside = || Error::new(Kind::Denied, format!("\"{reference}\" leads outside the directory that is checked"));
        if has_scheme(reference) || reference.starts_with('/') {
            return Err(outside());
        }
        let reference = reference.split(['?', '#']).next().unwrap_or_default();
        // What is not valid stays, and is not found.
        let reference = percent_decode(reference).unwrap_or_else(|| reference.to_string());
        let mut parts: Vec<String> = base.split('/').map(str::to_string).collect();
        parts.pop();
        for part in Path::new(&reference).components() {
            match part {
                Component::Normal(name) => parts.push(name.to_string_lossy().into_owned()),
                Component::CurDir => {}
                Component::ParentDir if !parts.is_empty() => drop(parts.pop()),
                _ => return Err(outside()),
            }
        }
        Ok(parts.join("/"))
    }

    fn text(&self, at: &str) -> Result<Vec<u8>> {
        let mut text = Vec::new();
        self.open(at)?.take(MOST_TEXT + 1).read_to_end(&mut text).doing(|| format!("cannot read {at}"))?;
        match text.len() as u64 > MOST_TEXT {
            true => Err(Error::failed(format!("{at} is larger than {MOST_TEXT} bytes"))),
            false => Ok(text),
        }
    }

    fn bytes(&self, at: &str, range: Option<Range>) -> Result<Vec<u8>> {
        let mut file = self.open(at)?;
        let size = file.metadata().doing(|| format!("cannot look at {at}"))?.len();
        let range = range.unwrap_or(Range { offset: 0, length: size });
        if range.length > MOST_MEDIA {
            return Err(Error::failed(format!("a piece of {} bytes of {at} is larger than {MOST_MEDIA} bytes", range.length)));
        }
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(range.offset)).doing(|| format!("cannot read {at}"))?;
        file.take(range.length).read_to_end(&mut bytes).doing(|| format!("cannot read {at}"))?;
        Ok(bytes)
    }

    fn size(&self, at: &str) -> Option<u64> {
        Some(self.open(at).ok()?.metadata().ok()?.len())
    }
}

/// `http:`, `data:`, ...
fn has_scheme(text: &str) -> bool {
    text.split_once(':').is_some_and(|(s, _)| {
        s.starts_with(|c: char| c.is_ascii_alphabetic()) && s.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
    })
}

/// RFC 3986 5.2 for http(s) bases, without the query of the base.
pub fn join_url(base: &str, reference: &str) -> String {
    if has_scheme(reference) {
        return reference.to_string();
    }
    let (scheme, rest) = base.split_once("://").unwrap_or(("http", base));
    if let Some(network) = reference.strip_prefix("//") {
        return format!("{scheme}://{network}");
    }
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (reference, query) = match reference.find(['?', '#']) {
        Some(at) => reference.split_at(at),
        None => (reference, ""),
    };
    let whole = match reference.strip_prefix('/') {
        Some(absolute) => absolute.to_string(),
        None => format!("{}{reference}", &path[..path.rfind('/').map_or(0, |at| at + 1)]),
    };
    let mut parts = Vec::new();
    for part in whole.split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("{scheme}://{host}/{}{query}", parts.join("/"))
}

/// A location for messages: without query, which may hold a signature.
pub fn redacted(at: &str) -> &str {
    if at.contains("://") { at.split('?').next().unwrap_or(at) } else { at }
}

/// An HTTP server. Redirects are followed, as players do, and kept as findings.
pub struct HttpFetch {
    agent: ureq::Agent,
    served: RefCell<BTreeMap<String, Served>>,
}

impl HttpFetch {
    /// Limits suit the far servers that this tool is for: 20 s for an answer, two minutes for a segment.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(Duration::from_secs(20)))
            .timeout_recv_response(Some(Duration::from_secs(20)))
            .timeout_recv_body(Some(Duration::from_secs(120)))
            .user_agent(concat!("rivulet-check/", env!("CARGO_PKG_VERSION")))
            .build()
            .into();
        HttpFetch { agent, served: RefCell::default() }
    }

    fn get(&self, at: &str, text: bool, range: Option<Range>) -> Result<Vec<u8>> {
        let shown = redacted(at);
        let mut url = at.to_string();
        let mut redirect = None;
        for _ in 0..6 {
            let mut request = self.agent.get(&url).header("Accept-Encoding", if text { "gzip" } else { "identity" });
            if let Some(range) = range {
                let last = range.offset.saturating_add(range.length).saturating_sub(1);
                request = request.header("Range", format!("bytes={}-{last}", range.offset));
            }
            let mut response = request.call().map_err(|e| Error::new(Kind::Unavailable, format!("cannot reach {shown}")).caused_by(e))?;
            let header = |name: &str| response.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_string);
            let status = response.status().as_u16();
            if let (301 | 302 | 303 | 307 | 308, Some(location)) = (status, header("location")) {
                url = join_url(&url, &location);
                redirect.get_or_insert(redacted(&url).to_string());
                continue;
            }
            match status {
                200 | 206 => {}
                404 | 410 => return Err(Error::new(Kind::NotFound, format!("{shown}: the server says {status}, not there"))),
                401 | 403 => return Err(Error::new(Kind::Denied, format!("{shown}: the server says {status}, not allowed"))),
                _ => return Err(Error::new(Kind::Unavailable, format!("{shown}: the server says {status}"))),
            }
            let ignored_range = range.is_some() && status == 200;
            self.served.borrow_mut().entry(at.to_string()).or_insert_with(|| Served {
                text,
                content_type: header("content-type"),
                content_encoding: header("content-encoding"),
                redirect: redirect.take(),
                ignored_range,
            });
            let limit = if text { MOST_TEXT } else { MOST_MEDIA };
            let body = response.body_mut().with_config().limit(limit).read_to_vec();
            let body = body.map_err(|e| Error::new(Kind::Unavailable, format!("cannot read all of {shown}")).caused_by(e))?;
            let packed = response.headers().get("content-encoding").is_some_and(|e| e.as_bytes().eq_ignore_ascii_case(b"gzip"));
            let body = if packed {
                unpack(&body, limit).map_err(|e| Error::failed(format!("{shown}: its gzip is broken")).caused_by(e))?
            } else {
                body
            };
            return Ok(match range {
                Some(r) if ignored_range => {
                    let from = (r.offset as usize).min(body.len());
                    body[from..from.saturating_add(r.length as usize).min(body.len())].to_vec()
                }
                _ => body,
            });
        }
        Err(Error::new(Kind::Unavailable, format!("{shown}: more than five redirects")))
    }
}

/// Unpacks at most `limit` bytes: a small answer must not fill the memory.
fn unpack(packed: &[u8], limit: u64) -> std::io::Result<Vec<u8>> {
    let mut out = Vec::new();
    flate2::read::MultiGzDecoder::new(packed).take(limit).read_to_end(&mut out)?;
    Ok(out)
}

impl Fetch for HttpFetch {
    fn resolve(&self, base: &str, reference: &str) -> Result<String> {
        let url = join_url(base, reference);
        match url.starts_with("http://") || url.starts_with("https://") {
            true => Ok(url),
            false => Err(Error::failed(format!("\"{reference}\" is not an http address"))),
        }
    }
    fn text(&self, at: &str) -> Result<Vec<u8>> {
        self.get(at, true, None)
    }
    fn bytes(&self, at: &str, range: Option<Range>) -> Result<Vec<u8>> {
        match range {
            Some(Range { length: 0, .. }) => Ok(Vec::new()),
            range => self.get(at, false, range),
        }
    }
    fn size(&self, at: &str) -> Option<u64> {
        let response = self.agent.head(at).header("Accept-Encoding", "identity").call().ok()?;
        (response.status() == 200).then(|| response.headers().get("content-length")?.to_str().ok()?.parse().ok())?
    }
    fn served(&self) -> BTreeMap<String, Served> {
        self.served.borrow().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_resolve_as_browsers_do() {
        let base = "https://h.example/a/b/master.m3u8?sig=1";
        for (reference, url) in [
            ("v.m3u8", "https://h.example/a/b/v.m3u8"),
            ("../x/v.m3u8?q=1", "https://h.example/a/x/v.m3u8?q=1"),
            ("/v.m3u8", "https://h.example/v.m3u8"),
            ("//cdn.example/v", "https://cdn.example/v"),
            ("http://other/v", "http://other/v"),
        ] {
            assert_eq!(join_url(base, reference), url);
        }
    }

    // A playlist of a stranger must not make us read the machine's files.
    #[test]
    fn nothing_outside_the_directory_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("in");
        std::fs::create_dir(&inside).unwrap();
        std::fs::write(dir.path().join("secret"), "s").unwrap();
        std::fs::write(inside.join("a b"), "ok").unwrap();
        std::os::unix::fs::symlink(dir.path().join("secret"), inside.join("link")).unwrap();
        let fetch = DirFetch::new(&inside).unwrap();
        for reference in ["../secret", "/etc/passwd", "x/../../secret", "file:///etc/passwd", "%2e%2e/secret"] {
            assert_eq!(fetch.resolve("m.m3u8", reference).unwrap_err().kind(), Kind::Denied, "{reference}");
        }
        assert_eq!(fetch.text("link").unwrap_err().kind(), Kind::Denied);
        assert_eq!(fetch.text(&fetch.resolve("m.m3u8", "./a%20b?v=1").unwrap()).unwrap(), b"ok");
        assert_eq!(fetch.bytes("a b", Some(Range { offset: 1, length: 9 })).unwrap(), b"k");
    }
}
