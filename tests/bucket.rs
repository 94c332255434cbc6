//! The real binary and a bucket: killed in the middle of a large object and at fifty requests, behind a proxy, and met with what
//! services refuse. The service is s3s-fs in this process, which can hold any request back.

#[allow(dead_code, reason = "each test binary uses its part")]
mod whole;

use hyper::body::{Body, Frame};
use hyper::{Request, Response};
use s3s::service::S3Service;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::pin::Pin;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll};
use whole::{Run, fixture, small_profile};

/// Where a request that is held back stays.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Stays {
    /// Nothing of it is done.
    Unread,
    /// The service has half of its body, and gets no more until the publisher is gone.
    HalfRead,
    /// All of it is done, and nobody is told.
    Done,
}

/// What a request is held back by: what has passed, its method and target.
type Holds = Box<dyn Fn(&[String], &str) -> Option<Stays> + Send>;

/// What the service has been asked, and which requests never get an answer.
#[derive(Default)]
struct Desk {
    /// `PUT /lectures/c/blobs/...?partNumber=3&...`, of all that were let through.
    passed: Vec<String>,
    held: Vec<String>,
    hold: Option<Holds>,
    /// Connections that have carried parts of large objects.
    carriers: BTreeSet<usize>,
    /// Closed with this desk.
    open: tokio::sync::watch::Sender<()>,
}

struct Bucket {
    dir: tempfile::TempDir,
    port: u16,
    desk: Arc<(Mutex<Desk>, Condvar)>,
    _runtime: tokio::runtime::Runtime,
}

async fn answer(
    service: S3Service,
    desk: Arc<(Mutex<Desk>, Condvar)>,
    connection: usize,
    request: Request<hyper::body::Incoming>,
) -> Result<Response<s3s::Body>, s3s::HttpError> {
    let line = format!("{} {}", request.method(), request.uri());
    let stays = {
        let mut now = desk.0.lock().unwrap();
        if part_number(&line).is_some() {
            now.carriers.insert(connection);
        }
        now.hold.as_ref().and_then(|hold| hold(&now.passed, &line))
    };
    let tell = || {
        let mut now = desk.0.lock().unwrap();
        if stays.is_some() { &mut now.held } else { &mut now.passed }.push(line.clone());
        desk.1.notify_all();
    };
    match stays {
        None => {
            tell();
            service.call(request.map(s3s::Body::from)).await
        }
        Some(Stays::Unread) => {
            tell();
            std::future::pending().await
        }
        Some(Stays::HalfRead) => {
            let half = request.body().size_hint().lower() / 2;
            tell();
            let mut open = desk.0.lock().unwrap().open.subscribe();
            let gone = Box::pin(async move { while open.changed().await.is_ok() {} });
            let body = |inner| s3s::Body::http_body(Stalled { inner, half, read: 0, gone });
            service.call(request.map(body)).await
        }
        Some(Stays::Done) => {
            drop(service.call(request.map(s3s::Body::from)).await);
            tell();
            std::future::pending().await
        }
    }
}

/// A body of which the second half is read when its sender is gone: never.
struct Stalled {
    inner: hyper::body::Incoming,
    half: u64,
    read: u64,
    gone: Pin<Box<dyn Future<Output = ()> + Send + Sync>>,
}

impl Body for Stalled {
    type Data = <hyper::body::Incoming as Body>::Data;
    type Error = hyper::Error;
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Self::Data>, hyper::Error>>> {
        if self.read >= self.half {
            std::task::ready!(self.gone.as_mut().poll(cx));
            self.half = u64::MAX;
        }
        let frame = std::task::ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if let Some(Ok(Some(bytes))) = frame.as_ref().map(|f| f.as_ref().map(|f| f.data_ref())) {
            self.read += bytes.len() as u64;
        }
        Poll::Ready(frame)
    }
}

impl Bucket {
    fn new() -> Bucket {
        use hyper_util::rt::TokioIo;
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("lectures")).unwrap();
        let mut builder = s3s::service::S3ServiceBuilder::new(s3s_fs::FileSystem::new(dir.path()).unwrap());
        builder.set_auth(s3s::auth::SimpleAuth::from_single("us", "secret"));
        let service = builder.build();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        let desk: Arc<(Mutex<Desk>, Condvar)> = Arc::default();
        let told = desk.clone();
        runtime.spawn(async move {
            for n in 0.. {
                let Ok((tcp, _)) = listener.accept().await else { return };
                let (service, told) = (service.clone(), told.clone());
                let answering = hyper::service::service_fn(move |request| answer(service.clone(), told.clone(), n, request));
                tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(tcp), answering));
            }
        });
        Bucket { dir, port, desk, _runtime: runtime }
    }

    /// From now on; forgets what was asked before.
    fn hold(&self, which: Option<Holds>) -> Desk {
        std::mem::replace(&mut *self.desk.0.lock().unwrap(), Desk { hold: which, ..Desk::default() })
    }

    fn wait_until(&self, what: impl Fn(&Desk) -> bool) {
        drop(self.desk.1.wait_while(self.desk.0.lock().unwrap(), |desk| !what(desk)).unwrap());
    }

    fn clear(&self) {
        std::fs::remove_dir_all(self.dir.path().join("lectures")).unwrap();
        std::fs::create_dir_all(self.dir.path().join("lectures")).unwrap();
    }
}

fn aws(command: &mut Command, port: u16) {
    for (name, _) in std::env::vars() {
        let proxy = name.to_ascii_lowercase().ends_with("_proxy");
        if proxy || name.starts_with("AWS_") {
            command.env_remove(name);
        }
    }
    command.env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}")).env("AWS_REGION", "us-east-1");
    command.env("AWS_ACCESS_KEY_ID", "us").env("AWS_SECRET_ACCESS_KEY", "secret");
}

fn publish(run: &Run, bucket: &Bucket) -> Command {
    let mut command = run.command();
    aws(&mut command, bucket.port);
    command.current_dir(run.dir()).args(["--json", "publish", "course.toml", "--profile", "small.toml", "--to", "s3://lectures/c"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn good(output: Output) -> Output {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

/// A course of one short lecture with a handout; `None` where the fixtures were not made.
fn studio(handout: usize) -> Option<Run> {
    let recording = fixture("odd-vfr.mkv")?;
    let run = Run::new();
    small_profile(run.dir(), "small", 2.0);
    std::fs::copy(recording, run.dir().join("r.mkv")).unwrap();
    let bytes: Vec<u8> = (0..handout as u64).map(|i| ((i * 2_654_435_761) >> 13) as u8).collect();
    std::fs::write(run.dir().join("h.pdf"), bytes).unwrap();
    let text = "id = \"c\"\ntitle = \"C\"\nlanguage = \"vi\"\n[[lectures]]\nid = \"a\"\ntitle = \"A\"\nrecording = \"r.mkv\"\nhandout = \"h.pdf\"\n";
    std::fs::write(run.dir().join("course.toml"), text).unwrap();
    Some(run)
}

fn objects(bucket: &Bucket) -> BTreeMap<String, Vec<u8>> {
    let root = bucket.dir.path().join("lectures/c");
    let (mut all, mut folders) = (BTreeMap::new(), vec![root.clone()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(&root).unwrap().display().to_string();
            match path.is_dir() {
                true => folders.push(path),
                // Who was at work is no part of what learners see.
                false if name.starts_with("intents/") => {}
                false => drop(all.insert(name, std::fs::read(&path).unwrap())),
            }
        }
    }
    all
}

fn part_number(line: &str) -> Option<u32> {
    line.strip_prefix("PUT ")?.split(['?', '&']).find_map(|p| p.strip_prefix("partNumber="))?.parse().ok()
}

/// kill -9 while an object of 60 MB is on its way: the next run sends again what was under way, one part per connection at
/// most, and nothing else of it.
#[test]
fn of_a_large_object_one_part_per_connection_is_sent_twice_after_kill_nine() {
    let Some(run) = studio(60_000_000) else { return };
    let bucket = Bucket::new();
    // Six parts pass, then no more.
    bucket.hold(Some(Box::new(|passed, line| {
        let parts = passed.iter().filter(|l| part_number(l).is_some()).count();
        (part_number(line).is_some() && parts >= 6).then_some(Stays::Unread)
    })));
    let mut first = publish(&run, &bucket).spawn().unwrap();
    bucket.wait_until(|desk| desk.held.len() >= 4);
    first.kill().unwrap();
    first.wait().unwrap();
    let before = bucket.hold(None);
    let parts = |lines: &[String]| lines.iter().filter_map(|l| part_number(l)).collect::<BTreeSet<u32>>();
    assert_eq!(parts(&before.passed).len(), 6);
    let said = good(publish(&run, &bucket).output().unwrap());
    let said = String::from_utf8_lossy(&said.stdout);
    assert!(said.contains("of 12 parts were sent before"), "{said}");
    let after = bucket.hold(None).passed;
    assert_eq!(parts(&after).len(), after.iter().filter(|l| part_number(l).is_some()).count(), "none twice by the second run");
    let begun: BTreeSet<u32> = parts(&before.passed).union(&parts(&before.held)).copied().collect();
    assert_eq!(begun.union(&parts(&after)).copied().collect::<Vec<_>>(), (1..=12).collect::<Vec<_>>());
    let twice = begun.intersection(&parts(&after)).count();
    assert!(twice <= before.carriers.len(), "{twice} parts for the second time, {} connections", before.carriers.len());
    assert!(parts(&after).len() < 12, "it went on");
}

/// kill -9 at requests that a seed chooses, when the service has nothing of one, half of its body, or has done it: run again, and
/// the bucket is to the byte as if nothing had happened. `RIVULET_KILLS` says how many (`make test-s3`: 50).
#[test]
fn a_publisher_who_was_killed_at_any_request_leaves_no_trace() {
    let Some(run) = studio(1000) else { return };
    let bucket = Bucket::new();
    good(publish(&run, &bucket).output().unwrap());
    let undisturbed = objects(&bucket);
    bucket.clear();
    bucket.hold(None);
    good(publish(&run, &bucket).output().unwrap());
    let requests = bucket.hold(None).passed.len();
    assert!(requests > 30 && objects(&bucket) == undisturbed);
    let mut seed = 20_261u64;
    let kills = std::env::var("RIVULET_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(6);
    for _ in 0..kills {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let n = (seed >> 33) as usize % requests;
        let stays = [Stays::Unread, Stays::HalfRead, Stays::Done][(seed >> 20) as usize % 3];
        bucket.clear();
        bucket.hold(Some(Box::new(move |passed, _| (passed.len() >= n).then_some(stays))));
        let mut killed = publish(&run, &bucket).spawn().unwrap();
        bucket.wait_until(|desk| !desk.held.is_empty());
        killed.kill().unwrap();
        killed.wait().unwrap();
        bucket.hold(None);
        good(publish(&run, &bucket).output().unwrap());
        assert!(objects(&bucket) == undisturbed, "killed at request {n} of {requests}, {stays:?}");
    }
}

/// Reads a request's head, line by line.
fn head(stream: &TcpStream) -> Vec<String> {
    let lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    lines.take_while(|l| !l.is_empty()).collect()
}

/// Answers requests on one stream as an empty bucket does, until it ends.
fn empty_bucket(mut stream: TcpStream) {
    loop {
        let head = head(&stream);
        let Some(first) = head.first() else { return };
        let (status, text) = match first.contains("list-type=2") {
            true => ("200 OK", "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"),
            false => ("404 Not Found", "<Error><Code>NoSuchKey</Code></Error>"),
        };
        let body = if first.starts_with("HEAD") { "" } else { text };
        if write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).is_err() {
            return;
        }
    }
}

fn releases(proxy: &[(&str, String)], endpoint: &str) -> Output {
    let run = Run::new();
    let mut command = run.command();
    aws(&mut command, 0);
    command.env("AWS_ENDPOINT_URL", endpoint).envs(proxy.iter().map(|(name, value)| (*name, value.as_str())));
    command.args(["releases", "s3://lectures/c", "c"]).output().unwrap()
}

/// What Amazon answers where keys, clock, region, bucket or rights are wrong, word for word, and what is said then; and what has
/// no answer at all.
#[test]
fn every_refusal_says_what_and_where_and_what_to_do() {
    let answers: [(&str, &str, &str, &[&str]); 8] = [
        (
            "403 Forbidden",
            "",
            "<Code>InvalidAccessKeyId</Code><Message>The AWS Access Key Id you provided does not exist in our records.</Message>",
            &["does not know the access key", "AWS_ACCESS_KEY_ID"],
        ),
        (
            "403 Forbidden",
            "",
            "<Code>SignatureDoesNotMatch</Code><Message>The request signature we calculated does not match.</Message>",
            &["secret key", "AWS_SECRET_ACCESS_KEY"],
        ),
        (
            "403 Forbidden",
            "Date: Wed, 21 Oct 2015 07:28:00 GMT\r\n",
            "<Code>RequestTimeTooSkewed</Code><Message>The difference between the request time and the server's time is too large.</Message>",
            &["clock of this machine is wrong", "min ahead", "timedatectl"],
        ),
        ("403 Forbidden", "", "<Code>ExpiredToken</Code><Message>The provided token has expired.</Message>", &["expired", "log in again"]),
        ("404 Not Found", "", "<Code>NoSuchBucket</Code><Message>x</Message>", &["no bucket \"lectures\"", "AWS_ENDPOINT_URL"]),
        (
            "403 Forbidden",
            "",
            "<Code>AccessDenied</Code><Message>Access Denied</Message>",
            &["does not allow s3:ListBucket on s3://lectures/", "docs/operations.md"],
        ),
        (
            "301 Moved Permanently",
            "x-amz-bucket-region: eu-west-1\r\n",
            "<Code>PermanentRedirect</Code><Message>The bucket must be addressed using the specified endpoint.</Message>",
            &["not in the region \"us-east-1\"", "AWS_REGION=eu-west-1"],
        ),
        (
            "400 Bad Request",
            "",
            "<Code>AuthorizationHeaderMalformed</Code><Message>the region 'us-east-1' is wrong; expecting 'ap-southeast-1'</Message>",
            &["not in the region", "AWS_REGION=ap-southeast-1"],
        ),
    ];
    let mut wrong = Vec::new();
    let studio = studio(1000);
    for (status, headers, xml, words) in answers {
        let service = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://127.0.0.1:{}", service.local_addr().unwrap().port());
        std::thread::spawn(move || {
            for stream in service.incoming() {
                let mut stream = stream.unwrap();
                std::thread::spawn(move || {
                    while let Some(first) = head(&stream).first() {
                        // As every service: HEAD gets no body, so nothing that says why.
                        let body = match first.starts_with("HEAD") {
                            true => String::new(),
                            false => format!("<?xml version=\"1.0\"?><Error>{xml}</Error>"),
                        };
                        let _ = write!(stream, "HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len());
                    }
                });
            }
        });
        let here = Run::new();
        let commands: [(&Run, &[&str]); 4] = [
            (&here, &["check", "s3://lectures/c"]),
            (&here, &["releases", "s3://lectures/c", "c"]),
            (&here, &["rollback", "s3://lectures/c", "c"]),
            (studio.as_ref().unwrap_or(&here), &["publish", "course.toml", "--profile", "small.toml", "--to", "s3://lectures/c"]),
        ];
        // Of a bucket that is not there a HEAD says only that nothing is there; and `publish` wants its fixture.
        let met = if xml.contains("NoSuchBucket") { 1 } else { 3 + usize::from(studio.is_some()) };
        for (run, args) in &commands[..met] {
            let mut command = run.command();
            aws(&mut command, 0);
            let done = command.current_dir(run.dir()).env("AWS_ENDPOINT_URL", &endpoint).args(*args).output().unwrap();
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            let lacks: Vec<&&str> = words.iter().filter(|w| !said.contains(**w)).collect();
            if !lacks.is_empty() || done.status.code() == Some(0) {
                wrong.push(format!("{} {xml}: exit {:?}, lacks {lacks:?}: {said}", args[0], done.status.code()));
            }
        }
    }
    // Nobody there is `retry`'s and `errors`' own matter, since it is tried for two minutes; TLS that cannot be is said at once.
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("https://127.0.0.1:{}", plain.local_addr().unwrap().port());
    std::thread::spawn(move || {
        for stream in plain.incoming() {
            let _ = stream.unwrap().write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
        }
    });
    let done = check(&endpoint);
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    if done.status.code() != Some(5) || !said.contains("no secure connection") || !said.contains("http://") {
        wrong.push(format!("plain HTTP on a TLS port: {:?} {said}", done.status.code()));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

fn check(endpoint: &str) -> Output {
    let run = Run::new();
    let mut command = run.command();
    aws(&mut command, 0);
    command.env("AWS_ENDPOINT_URL", endpoint).args(["check", "s3://lectures/c"]).output().unwrap()
}

/// The usual variables: through the proxy by CONNECT, with its password; not where NO_PROXY names the host; and a proxy that
/// refuses is told apart from a service that cannot be reached.
#[test]
fn a_proxy_is_used_where_the_environment_names_one() {
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = proxy.local_addr().unwrap().port();
    let address = |user: &str| format!("http://{user}127.0.0.1:{port}");
    let serving = std::thread::spawn(move || {
        let mut asked = Vec::new();
        // One that lets through, one that does not.
        for refuses in [false, true] {
            let (mut stream, _) = proxy.accept().unwrap();
            asked.push(head(&stream));
            match refuses {
                false => {
                    stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").unwrap();
                    empty_bucket(stream);
                }
                true => stream.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n").unwrap(),
            }
        }
        (asked, proxy)
    });
    let through = releases(&[("HTTP_PROXY", address("u:p@"))], "http://store.invalid:9000");
    let said = String::from_utf8_lossy(&through.stderr);
    assert!(!said.contains("proxy") && !said.contains("reach"), "{said}");
    let refused = releases(&[("HTTPS_PROXY", address(""))], "https://store.invalid");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(5) && said.contains("407") && said.contains("HTTPS_PROXY"), "{said}");
    let (asked, proxy) = serving.join().unwrap();
    assert_eq!(asked[0][0], "CONNECT store.invalid:9000 HTTP/1.1");
    assert!(asked[0].iter().any(|l| l.eq_ignore_ascii_case("proxy-authorization: basic dTpw")), "{:?}", asked[0]);
    assert_eq!(asked[1][0], "CONNECT store.invalid:443 HTTP/1.1");

    let service = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://127.0.0.1:{}", service.local_addr().unwrap().port());
    std::thread::spawn(move || service.incoming().for_each(|s| drop(std::thread::spawn(move || empty_bucket(s.unwrap())))));
    let named = [("HTTP_PROXY", address("")), ("HTTPS_PROXY", address("")), ("NO_PROXY", "localhost,127.0.0.1".to_string())];
    let direct = releases(&named, &endpoint);
    assert_eq!(direct.status.code(), through.status.code(), "{}", String::from_utf8_lossy(&direct.stderr));
    proxy.set_nonblocking(true).unwrap();
    assert!(proxy.accept().is_err(), "the proxy was asked for what NO_PROXY names");
}

/// A bucket is served as a directory is: whole, by ranges, and only what there is.
#[test]
fn a_private_bucket_is_served() {
    let Some(run) = studio(3_000_000) else { return };
    let bucket = Bucket::new();
    good(publish(&run, &bucket).output().unwrap());
    let mut command = run.command();
    aws(&mut command, bucket.port);
    let mut server = command.args(["serve", "s3://lectures/c", "--listen", "127.0.0.1:0"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut url = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut url).unwrap();
    let url = url.trim();
    let handout = std::fs::read(run.dir().join("h.pdf")).unwrap();
    let name = objects(&bucket).into_iter().find(|(_, bytes)| *bytes == handout).unwrap().0;
    let asked = ureq::get(format!("{url}{name}")).header("Range", "bytes=1000000-2500000").call().unwrap();
    assert_eq!(asked.status(), 206);
    let mut part = Vec::new();
    asked.into_body().into_reader().read_to_end(&mut part).unwrap();
    assert!(part == handout[1_000_000..=2_500_000]);
    let page = ureq::get(format!("{url}c/a.html")).call().unwrap().into_body().read_to_string().unwrap();
    assert!(page.contains("<title>A"), "{}", &page[..200]);
    // Not open to the world: the service itself wants keys.
    assert!(ureq::get(format!("http://127.0.0.1:{}/lectures/c/{name}", bucket.port)).call().is_err());
    assert!(Path::new(&name).extension().is_some_and(|e| e == "pdf"));
    server.kill().unwrap();
    server.wait().unwrap();
}
