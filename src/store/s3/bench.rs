//! An S3 server in this process (s3s-fs) that can be told to behave as other services do, and to fail at any request.

use super::place::{Access, Sse};
use super::retry::Retry;
use super::*;
use crate::clock::TestClock;
use crate::progress::{Ctx, Event, Progress};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use hyper::header::{CONTENT_LENGTH, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use s3s::dto::*;
use s3s::service::S3Service;
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};
use s3s_fs::FileSystem;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize};

/// How the server differs from Amazon's, and what it has seen.
#[derive(Default)]
pub struct Manners {
    /// Overwrites whatever the condition says, as Garage does.
    pub ignores_conditions: AtomicBool,
    pub refuses_checksums: AtomicBool,
    /// Requests that carry bytes and are still taken; `None`: all.
    pub budget: Mutex<Option<usize>>,
    /// What is refused for the budget's sake is said to be a bad link's fault.
    pub times_out: AtomicBool,
    /// The next so many requests that carry bytes are answered with 503.
    pub slow_downs: AtomicUsize,
    /// Most rows of a list in one answer; 0: the service's own.
    pub page: AtomicUsize,
    /// Unfinished uploads of anybody, as the bucket's list has them; `None`: the service has no such list.
    pub strangers: Mutex<Option<Vec<Stranger>>>,
    pub parts: Mutex<Vec<i32>>,
    pub puts: Mutex<Vec<Seen>>,
    /// What goes wrong at which request, of those since [`Bench::plan`].
    planned: Mutex<Option<(usize, Wrong)>>,
    requests: AtomicUsize,
    /// Every request is refused with this status and code; HEAD, as of every service, without a body that could say the code.
    pub refuses: Mutex<Option<(u16, &'static str)>>,
    /// Looks at the bucket after every request that may have changed it, before the answer goes out.
    pub look: Mutex<Option<Look>>,
    /// Why looks panicked.
    pub met: Mutex<Vec<String>>,
}

pub type Look = Arc<dyn Fn() -> futures_util::future::BoxFuture<'static, ()> + Send + Sync>;

/// An unfinished upload that somebody else has begun.
#[derive(Debug, Clone, PartialEq)]
pub struct Stranger {
    pub key: String,
    pub id: String,
    pub begun: SystemTime,
    /// When each of its parts was put.
    pub parts: Vec<SystemTime>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    pub key: String,
    pub content_type: Option<String>,
    pub cache_control: Option<String>,
    pub content_encoding: Option<String>,
    pub encryption: Option<String>,
    pub md5: bool,
    pub sha256: bool,
}

/// How a request goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// 500, and nothing has happened.
    Fails,
    /// 503 SlowDown.
    Busy,
    /// The connection ends before anything has happened.
    Cut,
    /// It is done, and the connection ends before the answer: a time-out.
    AnswerLost,
    /// The connection ends in the middle of the answer's body.
    AnswerCut,
    /// What writes is acknowledged and never done.
    Lies,
    /// This and every later request: the link is dead, or the publisher.
    Dead,
}

struct Service {
    inner: FileSystem,
    /// One conditional put at a time. Two of one key would both find the condition met, or leave the bytes of one beside the checksum of
    /// the other; no service does that.
    puts: tokio::sync::Mutex<()>,
    root: PathBuf,
    manners: Arc<Manners>,
}

impl Service {
    /// A folder is no object.
    fn file(&self, bucket: &str, key: &str) -> S3Result<()> {
        match self.root.join(bucket).join(key).is_dir() {
            true => Err(s3_error!(NoSuchKey)),
            false => Ok(()),
        }
    }
    fn spend(&self) -> S3Result<()> {
        if self.manners.slow_downs.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok() {
            return Err(s3_error!(SlowDown));
        }
        match &mut *self.manners.budget.lock().unwrap() {
            Some(0) => Err(self.spent()),
            Some(n) => {
                *n -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
    fn spent(&self) -> s3s::S3Error {
        match self.manners.times_out.load(Ordering::SeqCst) {
            true => s3_error!(RequestTimeout),
            false => s3_error!(AccessDenied, "the test's budget is spent"),
        }
    }
    fn checksum(&self, given: &Option<String>) -> S3Result<()> {
        match given.is_some() && self.manners.refuses_checksums.load(Ordering::SeqCst) {
            true => Err(s3_error!(InvalidArgument, "Unsupported header 'x-amz-checksum-sha256' received for this API call.")),
            false => Ok(()),
        }
    }
    /// Rows of a list that come in one answer.
    fn page(&self) -> usize {
        match self.manners.page.load(Ordering::SeqCst) {
            0 => 1000,
            n => n,
        }
    }
    fn stranger(&self, id: &str) -> Option<Stranger> {
        self.manners.strangers.lock().unwrap().iter().flatten().find(|s| s.id == id).cloned()
    }
}

#[async_trait::async_trait]
impl S3 for Service {
    async fn get_object(&self, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        self.file(&req.input.bucket, &req.input.key)?;
        self.inner.get_object(req).await
    }
    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        self.file(&req.input.bucket, &req.input.key)?;
        self.inner.head_object(req).await
    }
    async fn put_object(&self, mut req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        self.spend()?;
        self.checksum(&req.input.checksum_sha256)?;
        let ignored = self.manners.ignores_conditions.load(Ordering::SeqCst);
        let conditional = ignored || req.input.if_match.is_some() || req.input.if_none_match.is_some();
        if ignored {
            (req.input.if_match, req.input.if_none_match) = (None, None);
        }
        let i = &req.input;
        self.manners.puts.lock().unwrap().push(Seen {
            key: i.key.clone(),
            content_type: i.content_type.as_ref().map(|t| t.to_string()),
            cache_control: i.cache_control.clone(),
            content_encoding: i.content_encoding.as_ref().map(|t| t.to_string()),
            encryption: i.server_side_encryption.as_ref().map(|t| t.as_str().to_string()),
            md5: i.content_md5.is_some(),
            sha256: i.checksum_sha256.is_some(),
        });
        let _alone = if conditional { Some(self.puts.lock().await) } else { None };
        self.inner.put_object(req).await
    }
    async fn delete_object(&self, req: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.inner.delete_object(req).await
    }
    async fn list_objects_v2(&self, mut req: S3Request<ListObjectsV2Input>) -> S3Result<S3Response<ListObjectsV2Output>> {
        req.input.max_keys = Some(self.page() as i32);
        let bucket = self.root.join(&req.input.bucket);
        let mut listed = self.inner.list_objects_v2(req).await?;
        // As other services do; that of an object in parts is something else.
        for object in listed.output.contents.iter_mut().flatten().filter(|o| o.size.is_some_and(|n| n <= 8 << 20)) {
            let bytes = object.key.as_ref().and_then(|key| std::fs::read(bucket.join(key)).ok());
            object.e_tag = bytes.map(|b| ETag::Strong(body::md5_hex(&b)));
        }
        Ok(listed)
    }
    async fn create_multipart_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        if *self.manners.budget.lock().unwrap() == Some(0) {
            return Err(self.spent());
        }
        self.checksum(&req.input.checksum_algorithm.as_ref().map(|a| a.as_str().to_string()))?;
        let i = &req.input;
        self.manners.puts.lock().unwrap().push(Seen {
            key: i.key.clone(),
            content_type: i.content_type.as_ref().map(|t| t.to_string()),
            cache_control: i.cache_control.clone(),
            content_encoding: i.content_encoding.as_ref().map(|t| t.to_string()),
            encryption: i.server_side_encryption.as_ref().map(|t| t.as_str().to_string()),
            md5: true,
            sha256: i.checksum_algorithm.is_some(),
        });
        self.inner.create_multipart_upload(req).await
    }
    async fn upload_part(&self, req: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        self.spend()?;
        self.checksum(&req.input.checksum_sha256)?;
        let number = req.input.part_number;
        let sent = self.inner.upload_part(req).await?;
        self.manners.parts.lock().unwrap().push(number);
        Ok(sent)
    }
    async fn list_parts(&self, req: S3Request<ListPartsInput>) -> S3Result<S3Response<ListPartsOutput>> {
        let (page, after) = (self.page(), req.input.part_number_marker.unwrap_or(0));
        let mut listed = match self.stranger(&req.input.upload_id) {
            Some(stranger) => {
                let part = |(i, at): (usize, &SystemTime)| Part {
                    part_number: Some(i as i32 + 1),
                    last_modified: Some((*at).into()),
                    size: Some(5 << 20),
                    ..Default::default()
                };
                let parts = Some(stranger.parts.iter().enumerate().map(part).collect());
                S3Response::new(ListPartsOutput { parts, ..Default::default() })
            }
            None => self.inner.list_parts(req).await?,
        };
        let mut parts = listed.output.parts.take().unwrap_or_default();
        parts.sort_by_key(|p| p.part_number);
        parts.retain(|p| p.part_number.is_some_and(|n| n > after));
        listed.output.is_truncated = Some(parts.len() > page);
        parts.truncate(page);
        listed.output.next_part_number_marker = parts.last().and_then(|p| p.part_number);
        listed.output.parts = Some(parts);
        Ok(listed)
    }
    async fn list_multipart_uploads(&self, req: S3Request<ListMultipartUploadsInput>) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        let Some(mut all) = self.manners.strangers.lock().unwrap().clone() else {
            return Err(s3_error!(NotImplemented, "ListMultipartUploads is not implemented yet"));
        };
        let i = req.input;
        let after = (i.key_marker.unwrap_or_default(), i.upload_id_marker.unwrap_or_default());
        all.sort_by(|a, b| (&a.key, &a.id).cmp(&(&b.key, &b.id)));
        all.retain(|s| s.key.starts_with(&i.prefix.clone().unwrap_or_default()) && (s.key.clone(), s.id.clone()) > after);
        let truncated = all.len() > self.page();
        all.truncate(self.page());
        let row = |s: &Stranger| MultipartUpload {
            key: Some(s.key.clone()),
            upload_id: Some(s.id.clone()),
            initiated: Some(s.begun.into()),
            ..Default::default()
        };
        Ok(S3Response::new(ListMultipartUploadsOutput {
            uploads: Some(all.iter().map(row).collect()),
            is_truncated: Some(truncated),
            next_key_marker: all.last().map(|s| s.key.clone()),
            next_upload_id_marker: all.last().map(|s| s.id.clone()),
            ..Default::default()
        }))
    }
    async fn complete_multipart_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        self.inner.complete_multipart_upload(req).await
    }
    async fn abort_multipart_upload(&self, req: S3Request<AbortMultipartUploadInput>) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        if self.stranger(&req.input.upload_id).is_some() {
            self.manners.strangers.lock().unwrap().iter_mut().for_each(|all| all.retain(|s| s.id != req.input.upload_id));
            return Ok(S3Response::new(AbortMultipartUploadOutput::default()));
        }
        self.inner.abort_multipart_upload(req).await
    }
}

/// One key, and Amazon's answer to any other.
struct Keys;
#[async_trait::async_trait]
impl s3s::auth::S3Auth for Keys {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<s3s::auth::SecretKey> {
        match access_key {
            "us" => Ok("secret".into()),
            _ => Err(s3_error!(InvalidAccessKeyId)),
        }
    }
}

type Answer = Result<Response<s3s::Body>, Box<dyn std::error::Error + Send + Sync>>;

/// One request, and a look at what it has done.
async fn answer(service: S3Service, manners: Arc<Manners>, request: Request<hyper::body::Incoming>) -> Answer {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let answer = as_planned(service, manners.clone(), request).await;
    let look = manners.look.lock().unwrap().clone().filter(|_| !reads);
    if let Some(look) = look
        && let Err(e) = tokio::spawn(look()).await
    {
        let why = e.into_panic();
        let text = why.downcast_ref::<String>().cloned().or_else(|| why.downcast_ref::<&str>().map(|s| s.to_string()));
        manners.met.lock().unwrap().push(text.unwrap_or_default());
    }
    answer
}

async fn as_planned(service: S3Service, manners: Arc<Manners>, request: Request<hyper::body::Incoming>) -> Answer {
    let n = manners.requests.fetch_add(1, Ordering::SeqCst);
    let wrong = match *manners.planned.lock().unwrap() {
        Some((at, wrong)) if n == at || (n > at && wrong == Wrong::Dead) => Some(wrong),
        _ => None,
    };
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let refused = |status: StatusCode, code: &str| {
        let text = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>planted</Message></Error>");
        Response::builder().status(status).body(s3s::Body::from(text)).map_err(Into::into)
    };
    let cut = || Err("planted".into());
    if let Some((status, code)) = *manners.refuses.lock().unwrap() {
        return refused(StatusCode::from_u16(status)?, code);
    }
    match wrong {
        Some(Wrong::Fails) => refused(StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
        Some(Wrong::Busy) => refused(StatusCode::SERVICE_UNAVAILABLE, "SlowDown"),
        Some(Wrong::Cut | Wrong::Dead) => cut(),
        Some(Wrong::AnswerLost) => service.call(request.map(s3s::Body::from)).await.map_err(Into::into).and_then(|_| cut()),
        Some(Wrong::AnswerCut) => {
            let mut answer = service.call(request.map(s3s::Body::from)).await?;
            // What is no stream goes out in one piece or not at all.
            if hyper::body::Body::size_hint(answer.body()).exact().is_some() {
                return cut();
            }
            let length = answer.headers().get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok()).unwrap_or(0);
            answer.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length + 9));
            Ok(answer)
        }
        Some(Wrong::Lies) if !reads => {
            let (method, asks) = (request.method().clone(), request.uri().query().unwrap_or_default().to_string());
            // It is sent whole, and thrown away.
            let mut body = request.into_body();
            while std::future::poll_fn(|cx| hyper::body::Body::poll_frame(std::pin::Pin::new(&mut body), cx)).await.is_some() {}
            let text = match (&method, asks.contains("uploads")) {
                (&Method::POST, true) => "<InitiateMultipartUploadResult><UploadId>lie</UploadId></InitiateMultipartUploadResult>",
                (&Method::POST, false) => "<CompleteMultipartUploadResult><ETag>&quot;lie&quot;</ETag></CompleteMultipartUploadResult>",
                _ => "",
            };
            let status = if method == Method::DELETE { StatusCode::NO_CONTENT } else { StatusCode::OK };
            Response::builder().status(status).header("ETag", "\"lie\"").body(s3s::Body::from(text.to_string())).map_err(Into::into)
        }
        _ => service.call(request.map(s3s::Body::from)).await.map_err(Into::into),
    }
}

/// A running server with an empty bucket `lectures`, and stores in it. Ends with the test.
pub struct Bench {
    pub dir: tempfile::TempDir,
    pub endpoint: String,
    pub manners: Arc<Manners>,
    pub said: Arc<Said>,
}

#[derive(Default)]
pub struct Said(pub Mutex<Vec<String>>);
impl Progress for Said {
    fn event(&self, event: Event) {
        if let Event::Note { message } | Event::Warning { message } = event {
            self.0.lock().unwrap().push(message);
        }
    }
}

impl Bench {
    pub async fn new() -> Bench {
        Bench::with(None).await
    }

    /// With HTTPS by a certificate of the test's own, written to `ca.pem`.
    pub async fn secure() -> Bench {
        let own = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
        let config = config.with_no_client_auth().with_single_cert(vec![own.cert.der().clone()], key).unwrap();
        let bench = Bench::with(Some(tokio_rustls::TlsAcceptor::from(Arc::new(config)))).await;
        std::fs::write(bench.dir.path().join("ca.pem"), own.cert.pem()).unwrap();
        bench
    }

    async fn with(tls: Option<tokio_rustls::TlsAcceptor>) -> Bench {
        use hyper_util::rt::TokioIo;
        let dir = tempfile::tempdir().unwrap();
        let (root, manners) = (dir.path().join("s3"), Arc::new(Manners::default()));
        std::fs::create_dir_all(root.join("lectures")).unwrap();
        let inner = FileSystem::new(&root).unwrap();
        let mut builder =
            s3s::service::S3ServiceBuilder::new(Service { inner, puts: tokio::sync::Mutex::default(), root, manners: manners.clone() });
        builder.set_auth(Keys);
        let service = builder.build();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let endpoint = if tls.is_some() { format!("https://localhost:{port}") } else { format!("http://127.0.0.1:{port}") };
        let told = manners.clone();
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (service, told, tls) = (service.clone(), told.clone(), tls.clone());
                let answering = hyper::service::service_fn(move |request| answer(service.clone(), told.clone(), request));
                tokio::spawn(async move {
                    let http = hyper::server::conn::http1::Builder::new();
                    match tls {
                        None => drop(http.serve_connection(TokioIo::new(tcp), answering).await),
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(tcp).await {
                                drop(http.serve_connection(TokioIo::new(stream), answering).await);
                            }
                        }
                    }
                });
            }
        });
        Bench { dir, endpoint, manners, said: Arc::default() }
    }

    pub fn access(&self, key: &str, secret: &str) -> Access {
        Access {
            endpoint: Some(self.endpoint.clone()),
            region: "us-east-1".into(),
            path_style: true,
            ca_bundle: None,
            sse: None,
            credentials: SharedCredentialsProvider::new(Credentials::new(key, secret, None, None, "test")),
        }
    }

    pub fn encrypting(&self) -> Access {
        Access { sse: Some(Sse::Aes256), ..self.access("us", "secret") }
    }

    pub fn store_with(&self, name: &str, access: Access, uplink: Option<crate::units::Bitrate>) -> S3Store {
        let ctx = Ctx { progress: self.said.clone(), ..Ctx::silent() };
        let store = S3Store::new(name, Via { ctx, uplink, work: Some(self.dir.path().join("work")) }).unwrap();
        let mut live = store.with_access(access).unwrap();
        // Tried again as often as ever, without the pauses.
        static COUNT: AtomicUsize = AtomicUsize::new(1);
        let seed = COUNT.fetch_add(1, Ordering::SeqCst) as u64;
        live.retry = Retry::new(Some(seed), Arc::new(TestClock::default()));
        assert!(store.live.set(live).is_ok());
        store
    }

    pub fn store(&self) -> S3Store {
        self.store_with("s3://lectures/courses", self.access("us", "secret"), None)
    }

    /// That sends one thing after the other, so that what was under way when it failed is known.
    pub fn one_by_one(&self) -> S3Store {
        let store = self.store();
        while store.live.get().unwrap().lanes.count() > 1 {
            store.live.get().unwrap().lanes.slow_down();
        }
        store
    }

    /// Unfinished uploads that this machine remembers.
    pub fn uploads(&self) -> usize {
        std::fs::read_dir(self.dir.path().join("work/uploads")).map_or(0, Iterator::count)
    }

    /// What goes wrong from now on; gives how many requests there were since the plan before.
    pub fn plan(&self, planned: Option<(usize, Wrong)>) -> usize {
        *self.manners.planned.lock().unwrap() = planned;
        self.manners.requests.swap(0, Ordering::SeqCst)
    }

    /// The store's objects as they lie in the bucket, by name, and where they lie.
    pub fn folder(&self) -> PathBuf {
        self.dir.path().join("s3/lectures/courses")
    }
}
