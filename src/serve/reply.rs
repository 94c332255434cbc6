//! The answer to one request. Text is compressed whole; everything else leaves in pieces, so that memory is bounded by
//! the number of clients and not by the size of lectures. An object that is replaced while it is read is read again, or,
//! once bytes have left, the connection is cut: a client never gets half of two versions.

use super::request::{self, Target, Wanted};
use super::{Site, kind};
use crate::error::{Error, Kind, Result};
use crate::pages::{csp, csp_of_any_version};
use crate::progress::Ctx;
use crate::store::{Caching, Key, Meta, Store};
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use std::ops::Range;
use std::sync::Arc;

/// Bytes read from the store at once: a second of a fast link, and four disk read-aheads.
const PIECE: u64 = 256 << 10;
/// Longer text is sent as it is: compressing holds it in memory twice. The playlists of a ten-hour lecture are 400 kB.
const GZIP_MOST: u64 = 8 << 20;
/// Shorter text does not get smaller by gzip's 20 bytes of frame.
const GZIP_LEAST: u64 = 128;
/// An object that changes under each of so many reads is being written in place, which stores do not do.
const TRIES: u32 = 4;

/// Answers every request; what goes wrong inside is told to the technician, not to the client.
pub async fn reply(site: &Site, ctx: &Ctx, request: Request) -> Response {
    let (method, path) = (request.method(), request.uri().path());
    let mut response = match *method {
        Method::GET | Method::HEAD => match request::target(path) {
            Target::Object(key) => {
                let head = *method == Method::HEAD;
                match object(site, &key, head, request.headers()).await {
                    Ok(Some(response)) => response,
                    Ok(None) => missing(site, path).await,
                    Err(e) => {
                        ctx.warn(format!("cannot serve {key}: {}", e.report()));
                        match e.kind() {
                            Kind::NotFound | Kind::Denied => plain(StatusCode::NOT_FOUND),
                            Kind::Unavailable | Kind::Conflict => plain(StatusCode::SERVICE_UNAVAILABLE),
                            _ => plain(StatusCode::INTERNAL_SERVER_ERROR),
                        }
                    }
                }
            }
            Target::Impossible => plain(StatusCode::NOT_FOUND),
        },
        // A page of another origin asks before it sends a Range or a condition.
        Method::OPTIONS => with(
            empty(StatusCode::NO_CONTENT),
            &[
                (header::ALLOW, "GET, HEAD, OPTIONS"),
                (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, OPTIONS"),
                (header::ACCESS_CONTROL_ALLOW_HEADERS, "Range, If-Range, If-None-Match"),
                (header::ACCESS_CONTROL_MAX_AGE, "86400"),
            ],
        ),
        _ => with(plain(StatusCode::METHOD_NOT_ALLOWED), &[(header::ALLOW, "GET, HEAD, OPTIONS")]),
    };
    // Lectures are public and may be played from any site; a type is what we say it is.
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::ACCESS_CONTROL_EXPOSE_HEADERS, "Accept-Ranges, Content-Length, Content-Range, ETag"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// `/course` is where `/course/` is meant; everything else is not there.
async fn missing(site: &Site, path: &str) -> Response {
    let Target::Object(index) = request::target(&format!("{path}/")) else { return plain(StatusCode::NOT_FOUND) };
    let last = path.rsplit('/').next().unwrap_or_default();
    // Relative, so that it holds behind a proxy's prefix; "./" keeps a colon in a name from being a scheme.
    match (HeaderValue::try_from(format!("./{last}/")), find(site, &index).await) {
        (Ok(location), Ok(Some(_))) if !last.is_empty() => {
            let mut response = plain(StatusCode::MOVED_PERMANENTLY);
            response.headers_mut().insert(header::LOCATION, location);
            response
        }
        _ => plain(StatusCode::NOT_FOUND),
    }
}

/// Where an object's bytes are.
enum Source<'a> {
    Made(&'a [u8]),
    Stored(&'a Arc<dyn Store>),
}

struct Found<'a> {
    meta: Meta,
    caching: Caching,
    mime: &'static str,
    bytes: Source<'a>,
}

async fn find<'a>(site: &'a Site, key: &Key) -> Result<Option<Found<'a>>> {
    if let Some(page) = site.made.get(key.as_str()) {
        let meta = Meta { bytes: page.bytes.len() as u64, version: crate::units::Digest::of(&page.bytes).to_string() };
        return Ok(Some(Found { meta, caching: page.caching, mime: page.content_type, bytes: Source::Made(&page.bytes) }));
    }
    let Some(meta) = site.store.head(key).await? else { return Ok(None) };
    let (caching, mime) = (kind::caching(key.as_str()), key.content_type());
    Ok(Some(Found { meta, caching, mime, bytes: Source::Stored(&site.store) }))
}

async fn object(site: &Site, key: &Key, head: bool, headers: &HeaderMap) -> Result<Option<Response>> {
    for _ in 0..TRIES {
        let Some(found) = find(site, key).await? else { return Ok(None) };
        if let Some(response) = answer(&found, key, head, headers).await? {
            return Ok(Some(response));
        }
    }
    Err(Error::new(Kind::Conflict, format!("{key} changes faster than it can be read")))
}

/// `None` if the object was replaced meanwhile.
async fn answer(found: &Found<'_>, key: &Key, head: bool, headers: &HeaderMap) -> Result<Option<Response>> {
    let length = found.meta.bytes;
    let asked = |name: HeaderName| headers.get(name).and_then(|v| v.to_str().ok());
    let text = kind::is_text(found.mime);
    let (tag, gzip_tag) = (etag(&found.meta.version, ""), etag(&found.meta.version, "-gz"));
    // A range counts in the bytes of the plain object. RFC 9110 defines it for GET alone.
    let ranged = asked(header::RANGE).filter(|_| !head && asked(header::IF_RANGE).is_none_or(|t| t == tag));
    let gzip =
        text && ranged.is_none() && (GZIP_LEAST..=GZIP_MOST).contains(&length) && request::accepts_gzip(asked(header::ACCEPT_ENCODING));

    let mut common = HeaderMap::new();
    let mut set = |name: HeaderName, value: &str| drop(HeaderValue::try_from(value).map(|v| common.insert(name, v)));
    set(header::ETAG, if gzip { &gzip_tag } else { &tag });
    set(header::ACCEPT_RANGES, "bytes");
    set(
        header::CACHE_CONTROL,
        match found.caching {
            Caching::Immutable => "public, max-age=31536000, immutable",
            Caching::Revalidate => "no-cache",
        },
    );
    if text {
        set(header::VARY, "Accept-Encoding");
    }
    let respond = |status: StatusCode, more: &[(HeaderName, String)], body: Body| {
        let mut response = Response::new(body);
        *response.status_mut() = status;
        response.headers_mut().extend(common.clone());
        for (name, value) in more {
            drop(HeaderValue::try_from(value).map(|v| response.headers_mut().insert(name, v)));
        }
        response
    };
    if asked(header::IF_NONE_MATCH).is_some_and(|tags| request::names_one_of(tags, &[&tag, &gzip_tag])) {
        return Ok(Some(respond(StatusCode::NOT_MODIFIED, &[], Body::empty())));
    }

    let mut about = vec![(header::CONTENT_TYPE, found.mime.to_string())];
    if kind::is_document(found.mime) {
        // What an author uploaded (a blob) has no policy of its own.
        let says_its_own = matches!(found.bytes, Source::Stored(_)) && !key.as_str().starts_with("blobs/");
        about.push((header::CONTENT_SECURITY_POLICY, if says_its_own { csp_of_any_version() } else { csp().to_string() }));
        about.push((header::REFERRER_POLICY, "no-referrer".to_string()));
    }
    let (status, part) = match request::range(ranged, length) {
        Wanted::Whole => (StatusCode::OK, 0..length),
        Wanted::Part(part) => {
            about.push((header::CONTENT_RANGE, format!("bytes {}-{}/{length}", part.start, part.end - 1)));
            (StatusCode::PARTIAL_CONTENT, part)
        }
        Wanted::Unsatisfiable => {
            let refused = with(plain(StatusCode::RANGE_NOT_SATISFIABLE), &[(header::CACHE_CONTROL, "no-cache")]);
            return Ok(Some(with(refused, &[(header::CONTENT_RANGE, &format!("bytes */{length}"))])));
        }
    };
    if !gzip {
        about.push((header::CONTENT_LENGTH, (part.end - part.start).to_string()));
        let body = match &found.bytes {
            _ if head => Body::empty(),
            Source::Made(bytes) => Body::from(bytes[part.start as usize..part.end as usize].to_vec()),
            Source::Stored(store) if part.end - part.start > PIECE => pieces(Arc::clone(store), key.clone(), found.meta.clone(), part),
            Source::Stored(store) => match unchanged(store.as_ref(), key, &found.meta, part).await? {
                Some(bytes) => Body::from(bytes),
                None => return Ok(None),
            },
        };
        return Ok(Some(respond(status, &about, body)));
    }
    let plain = match &found.bytes {
        Source::Made(bytes) => bytes.to_vec(),
        Source::Stored(store) => match unchanged(store.as_ref(), key, &found.meta, part).await? {
            Some(bytes) => bytes,
            None => return Ok(None),
        },
    };
    let small = crate::offload::blocking(move || Ok(compress(&plain))).await?;
    about.push((header::CONTENT_ENCODING, "gzip".to_string()));
    about.push((header::CONTENT_LENGTH, small.len().to_string()));
    Ok(Some(respond(status, &about, if head { Body::empty() } else { Body::from(small) })))
}

/// These bytes, if the object still has this version after they were read.
async fn unchanged(store: &dyn Store, key: &Key, meta: &Meta, part: Range<u64>) -> Result<Option<Vec<u8>>> {
    let length = part.end - part.start;
    let bytes = if length == 0 { Vec::new() } else { store.get(key, Some(part)).await? };
    let same = bytes.len() as u64 == length && store.head(key).await?.as_ref() == Some(meta);
    Ok(same.then_some(bytes))
}

/// A body that reads as the client does.
fn pieces(store: Arc<dyn Store>, key: Key, meta: Meta, part: Range<u64>) -> Body {
    let stream = futures_util::stream::try_unfold(part, move |left| {
        let (store, key, meta) = (Arc::clone(&store), key.clone(), meta.clone());
        async move {
            if left.is_empty() {
                return Ok(None);
            }
            let end = left.end.min(left.start + PIECE);
            match unchanged(store.as_ref(), &key, &meta, left.start..end).await? {
                Some(bytes) => Ok(Some((Bytes::from(bytes), end..left.end))),
                None => Err(Error::new(Kind::Conflict, format!("{key} was replaced while it was sent"))),
            }
        }
    });
    Body::from_stream(stream)
}

fn compress(plain: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::with_capacity(plain.len() / 3), flate2::Compression::default());
    encoder.write_all(plain).and_then(|()| encoder.finish()).expect("a Vec takes every byte")
}

/// A strong tag. Versions are a store's own text; what a tag may not hold is replaced by its digest.
fn etag(version: &str, suffix: &str) -> String {
    match version.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b',') {
        true => format!("\"{version}{suffix}\""),
        false => format!("\"{}{suffix}\"", crate::units::Digest::of(version.as_bytes())),
    }
}

fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// An answer without an object: its status in words.
fn plain(status: StatusCode) -> Response {
    let mut response = with(empty(status), &[(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")]);
    *response.body_mut() = Body::from(format!("{status}\n"));
    response
}

fn with(mut response: Response, headers: &[(HeaderName, &str)]) -> Response {
    for (name, value) in headers {
        drop(HeaderValue::try_from(*value).map(|v| response.headers_mut().insert(name, v)));
    }
    response
}
