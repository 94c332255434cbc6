//! The HTTP client under the SDK: sockets, TLS, proxy. It is ours so that every byte on a socket is counted and paced
//! ([`super::pace`]), and so that a link of 10 kbit/s is not taken for a dead one: a connection ends when nothing at all
//! has moved for [`SILENCE`], or when the kernel has had no acknowledgement for [`UNACKNOWLEDGED`].

use super::mend;
use super::pace::Pace;
use crate::error::{Error, Kind, Result, ResultExt};
use aws_smithy_runtime_api::client::http::{HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use hyper::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

/// For a TCP connection to one address: three lost SYNs at 1, 3 and 7 s, and a far link's round trips.
const CONNECT: Duration = Duration::from_secs(20);
/// Nothing sent and nothing received for so long: the other side is alive (keep-alive says so) but does not answer.
const SILENCE: Duration = Duration::from_secs(300);
/// Data sent and not acknowledged for so long: the link is dead, `TCP_USER_TIMEOUT`.
const UNACKNOWLEDGED: Duration = Duration::from_secs(120);
/// Unsent bytes that the kernel may hold for one socket: more would hide how fast the link is.
const UNSENT: u32 = 32 << 10;
/// A proxy's answer to CONNECT.
const PROXY_ANSWER: usize = 8 << 10;

/// What went wrong before there was an answer.
#[derive(Debug)]
pub enum Trouble {
    /// The host has no address.
    Name(String),
    /// Nothing takes connections there.
    Refused(String),
    /// No answer in time, or no way to it.
    Unreachable(String),
    /// The proxy is away, or did not get through.
    Proxy(String),
    /// The proxy will not, however often it is asked.
    ProxyRefuses(String),
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Trouble::Name(t) | Trouble::Refused(t) | Trouble::Unreachable(t) | Trouble::Proxy(t) | Trouble::ProxyRefuses(t) => {
                f.write_str(t)
            }
        }
    }
}
impl std::error::Error for Trouble {}

/// Bytes that all connections of one store have moved, TLS and headers included.
#[derive(Debug, Default)]
pub struct Meter {
    pub sent: AtomicU64,
    pub received: AtomicU64,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Wire {
    client: Client<HttpsConnector<Dial>, SdkBody>,
}

impl Wire {
    pub fn new(ca_bundle: Option<&Path>, pace: Option<Arc<Pace>>, meter: Arc<Meter>) -> Result<Wire> {
        let dial = Dial { pace, meter, proxies: Arc::new(Matcher::from_env()) };
        let https = HttpsConnectorBuilder::new().with_tls_config(tls(ca_bundle)?).https_or_http().enable_http1().wrap_connector(dial);
        let client = Client::builder(TokioExecutor::new())
            // Services close idle connections after 5 to 60 s; a request on a closed one fails and is tried again.
            .pool_idle_timeout(Duration::from_secs(20))
            .pool_timer(hyper_util::rt::TokioTimer::new())
            .build(https);
        Ok(Wire { client })
    }
}

const CA_BUNDLE: &str = "AWS_CA_BUNDLE names a file of certificates in PEM form";

/// The system's authorities, or Mozilla's where it has none; those of `ca_bundle` instead where one is named.
fn tls(ca_bundle: Option<&Path>) -> Result<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    match ca_bundle {
        Some(path) => {
            if roots.add_parsable_certificates(bundled(path)?).0 == 0 {
                return Err(Error::usage(format!("{} holds no certificate", path.display())).hint(CA_BUNDLE));
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Ok(config.kind(Kind::Bug, || "TLS without a version".into())?.with_root_certificates(roots).with_no_client_auth())
}

fn bundled(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = || format!("cannot read certificates from {}", path.display());
    let text = std::fs::read(path).doing(read).map_err(|e| e.hint(CA_BUNDLE))?;
    let all = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    all.map_err(|e| Error::usage(read()).caused_by(e.to_string()).hint(CA_BUNDLE))
}

/// The authorities that a browser on this network may trust: the system's and those of `ca_bundle`, DER.
pub fn authorities(ca_bundle: Option<&Path>) -> Result<Vec<Vec<u8>>> {
    let mut all = rustls_native_certs::load_native_certs().certs;
    all.extend(ca_bundle.map(bundled).transpose()?.unwrap_or_default());
    Ok(all.iter().map(|one| one.to_vec()).collect())
}

impl HttpClient for Wire {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Wire {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let client = self.client.clone();
        HttpConnectorFuture::new(async move {
            let mut request = request.try_into_http1x().map_err(|e| ConnectorError::user(e.into()))?;
            // They say which try it is; tries are counted elsewhere (retry.rs), and services ignore them.
            for unread in ["amz-sdk-request", "amz-sdk-invocation-id"] {
                request.headers_mut().remove(unread);
            }
            let lists_parts = mend::lists_parts(&request);
            let response = client.request(request).await.map_err(|e| ConnectorError::io(e.into()))?;
            let response = response.map(SdkBody::from_body_1_x);
            let response = if lists_parts { mend::root(response).await.map_err(ConnectorError::io)? } else { response };
            HttpResponse::try_from(response).map_err(|e| ConnectorError::other(e.into(), None))
        })
    }
}

/// Makes connections, through the proxy that the environment names where it names one.
#[derive(Debug, Clone)]
pub struct Dial {
    pace: Option<Arc<Pace>>,
    meter: Arc<Meter>,
    proxies: Arc<Matcher>,
}

impl tower_service::Service<Uri> for Dial {
    type Response = TokioIo<Socket>;
    type Error = Trouble;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Trouble>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Trouble>> {
        Poll::Ready(Ok(()))
    }
    fn call(&mut self, to: Uri) -> Self::Future {
        let dial = self.clone();
        Box::pin(async move { dial.open(&to).await.map(TokioIo::new) })
    }
}

impl Dial {
    async fn open(&self, to: &Uri) -> Result<Socket, Trouble> {
        let target = address(to);
        let Some(proxy) = self.proxies.intercept(to) else { return self.connect(&target).await };
        if proxy.uri().scheme_str() != Some("http") {
            let what = format!("the proxy {} is of a kind that is not known here; http:// proxies are", proxy.uri());
            return Err(Trouble::ProxyRefuses(what));
        }
        let at = address(proxy.uri());
        let mut socket = self.connect(&at).await.map_err(|e| Trouble::Proxy(format!("the proxy {at} cannot be used: {e}")))?;
        let mut ask = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
        if let Some(basic) = proxy.basic_auth().and_then(|v| v.to_str().ok()) {
            ask += &format!("Proxy-Authorization: {basic}\r\n");
        }
        let cut = |e: io::Error| Trouble::Proxy(format!("the proxy {at} cut the connection: {e}"));
        socket.write_all(format!("{ask}\r\n").as_bytes()).await.map_err(cut)?;
        let mut answer = Vec::new();
        // Byte by byte: what follows the empty line belongs to TLS.
        while !answer.ends_with(b"\r\n\r\n") && answer.len() < PROXY_ANSWER {
            answer.push(socket.read_u8().await.map_err(cut)?);
        }
        let first = String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_string();
        match first.split(' ').nth(1) {
            Some("200") => Ok(socket),
            // Of a password or a forbidden host; 502, 503 and 504 are of what lies behind it.
            Some(status) if status.len() == 3 && status.starts_with('4') => {
                Err(Trouble::ProxyRefuses(format!("the proxy {at} refuses {target}: {first}")))
            }
            _ => Err(Trouble::Proxy(format!("the proxy {at} does not get through to {target}: {first}"))),
        }
    }

    async fn connect(&self, to: &str) -> Result<Socket, Trouble> {
        let host = to.rsplit_once(':').map_or(to, |(host, _)| host);
        let addresses =
            tokio::net::lookup_host(to).await.map_err(|e| Trouble::Name(format!("the host name {host} has no address: {e}")))?;
        let mut last = Trouble::Name(format!("the host name {host} has no address"));
        for address in addresses {
            match tokio::time::timeout(CONNECT, TcpStream::connect(address)).await {
                Ok(Ok(tcp)) => {
                    set_up(&tcp);
                    return Ok(Socket::new(tcp, self.pace.clone(), self.meter.clone()));
                }
                Ok(Err(e)) if e.kind() == io::ErrorKind::ConnectionRefused => {
                    last = Trouble::Refused(format!("{to} ({address}) takes no connections"))
                }
                Ok(Err(e)) => last = Trouble::Unreachable(format!("{to} ({address}) cannot be reached: {e}")),
                Err(_) => last = Trouble::Unreachable(format!("{to} ({address}) does not answer within {} s", CONNECT.as_secs())),
            }
        }
        Err(last)
    }
}

/// `host:port`, with the scheme's port where none is given.
fn address(uri: &Uri) -> String {
    let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
    format!("{}:{port}", uri.host().unwrap_or_default())
}

/// A kernel that lacks one of these works without it.
fn set_up(tcp: &TcpStream) {
    let socket = socket2::SockRef::from(tcp);
    let keepalive = socket2::TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(20)).with_retries(4);
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_tcp_keepalive(&keepalive);
    let _ = socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
    let _ = socket.set_tcp_notsent_lowat(UNSENT);
}

/// A connection that is counted, paced, and ends when it has been silent too long.
#[derive(Debug)]
pub struct Socket {
    tcp: TcpStream,
    pace: Option<Arc<Pace>>,
    meter: Arc<Meter>,
    /// Until then this socket's writer waits for its turn.
    turn: Option<Pin<Box<Sleep>>>,
    moved: Instant,
    silence: Pin<Box<Sleep>>,
}

impl Socket {
    fn new(tcp: TcpStream, pace: Option<Arc<Pace>>, meter: Arc<Meter>) -> Socket {
        let moved = Instant::now();
        Socket { tcp, pace, meter, turn: None, moved, silence: Box::pin(tokio::time::sleep_until(moved + SILENCE)) }
    }
}

impl Connection for Socket {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        if let Poll::Ready(outcome) = Pin::new(&mut this.tcp).poll_read(cx, buf) {
            this.moved = Instant::now();
            this.meter.received.fetch_add((buf.filled().len() - before) as u64, Ordering::Relaxed);
            return Poll::Ready(outcome);
        }
        loop {
            ready!(this.silence.as_mut().poll(cx));
            let due = this.moved + SILENCE;
            if due <= Instant::now() {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer for {} s", SILENCE.as_secs()))));
            }
            this.silence.as_mut().reset(due);
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let leave = match &this.pace {
            None => bytes.len(),
            Some(_) if bytes.is_empty() => 0,
            Some(pace) => loop {
                if let Some(turn) = &mut this.turn {
                    ready!(turn.as_mut().poll(cx));
                    this.turn = None;
                }
                match pace.take(std::time::Instant::now(), bytes.len()) {
                    Ok(n) => break n,
                    Err(wait) => this.turn = Some(Box::pin(tokio::time::sleep(wait))),
                }
            },
        };
        let outcome = Pin::new(&mut this.tcp).poll_write(cx, &bytes[..leave]);
        let written = match &outcome {
            Poll::Ready(Ok(n)) => *n,
            _ => 0,
        };
        if let Some(pace) = &this.pace {
            pace.give_back(leave, written);
        }
        if written > 0 {
            this.moved = Instant::now();
            this.meter.sent.fetch_add(written as u64, Ordering::Relaxed);
        }
        outcome
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_flush(cx)
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of a connection by way of this proxy.
    async fn through(proxy: &str) -> Trouble {
        let proxies = Arc::new(Matcher::builder().http(proxy.to_string()).build());
        let dial = Dial { pace: None, meter: Arc::default(), proxies };
        dial.open(&Uri::from_static("http://store.invalid:9000/")).await.unwrap_err()
    }

    #[tokio::test]
    async fn only_a_proxy_that_says_no_is_not_asked_again() {
        for (answer, refuses) in [
            ("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", true),
            ("HTTP/1.1 403 Forbidden\r\n\r\n", true),
            ("HTTP/1.1 502 Bad Gateway\r\n\r\n", false),
            ("HTTP/1.0 503 Service Unavailable\r\n\r\n", false),
            ("HTTP/1.1 504 Gateway Timeout\r\n\r\n", false),
            // Cut off.
            ("HTTP/1.1 20", false),
        ] {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let at = format!("http://{}", listener.local_addr().unwrap());
            let answering = async {
                let mut tcp = listener.accept().await.unwrap().0;
                let mut asked = Vec::new();
                while !asked.ends_with(b"\r\n\r\n") {
                    asked.push(tcp.read_u8().await.unwrap());
                }
                tcp.write_all(answer.as_bytes()).await.unwrap();
            };
            let trouble = tokio::join!(through(&at), answering).0;
            assert_eq!(matches!(trouble, Trouble::ProxyRefuses(_)), refuses, "{answer}: {trouble:?}");
            assert_eq!(matches!(trouble, Trouble::Proxy(_)), !refuses, "{answer}: {trouble:?}");
        }
        assert!(matches!(through("http://127.0.0.1:1").await, Trouble::Proxy(_)), "away");
        assert!(matches!(through("socks5://127.0.0.1:1").await, Trouble::ProxyRefuses(_)));
    }
}
