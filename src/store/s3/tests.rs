//! The S3 store against a server in this process (s3s-fs) that can be told to behave as other services do; and, through
//! the environment, against a real one (`make test-s3`).

use super::place::{Access, Sse};
use super::*;
use crate::progress::{Ctx, Event, Progress};
use crate::store::Body;
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};
use s3s_fs::FileSystem;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize};

/// How the server differs from Amazon's, and what it has seen.
#[derive(Default)]
struct Manners {
    /// Overwrites whatever the condition says, as Garage does.
    ignores_conditions: AtomicBool,
    refuses_checksums: AtomicBool,
    /// Requests that carry bytes and are still taken; `None`: all.
    budget: Mutex<Option<usize>>,
    /// The next so many requests that carry bytes are answered with 503.
    slow_downs: AtomicUsize,
    parts: Mutex<Vec<i32>>,
    puts: Mutex<Vec<Seen>>,
}

#[derive(Debug, Clone, PartialEq)]
struct Seen {
    key: String,
    content_type: Option<String>,
    cache_control: Option<String>,
    content_encoding: Option<String>,
    encryption: Option<String>,
    md5: bool,
    sha256: bool,
}

struct Service {
    inner: FileSystem,
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
            Some(0) => Err(s3_error!(AccessDenied, "the test's budget is spent")),
            Some(n) => {
                *n -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
    fn checksum(&self, given: &Option<String>) -> S3Result<()> {
        match given.is_some() && self.manners.refuses_checksums.load(Ordering::SeqCst) {
            true => Err(s3_error!(InvalidArgument, "Unsupported header 'x-amz-checksum-sha256' received for this API call.")),
            false => Ok(()),
        }
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
        if self.manners.ignores_conditions.load(Ordering::SeqCst) {
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
        self.inner.put_object(req).await
    }
    async fn delete_object(&self, req: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.inner.delete_object(req).await
    }
    async fn list_objects_v2(&self, req: S3Request<ListObjectsV2Input>) -> S3Result<S3Response<ListObjectsV2Output>> {
        self.inner.list_objects_v2(req).await
    }
    async fn create_multipart_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        self.checksum(&req.input.checksum_algorithm.as_ref().map(|a| a.as_str().to_string()))?;
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
        self.inner.list_parts(req).await
    }
    async fn complete_multipart_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        self.inner.complete_multipart_upload(req).await
    }
    async fn abort_multipart_upload(&self, req: S3Request<AbortMultipartUploadInput>) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
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

/// A running server with an empty bucket `lectures`, and stores in it. Ends with the test.
struct Bench {
    dir: tempfile::TempDir,
    endpoint: String,
    manners: Arc<Manners>,
    said: Arc<Said>,
}

#[derive(Default)]
struct Said(Mutex<Vec<String>>);
impl Progress for Said {
    fn event(&self, event: Event) {
        if let Event::Note { message } | Event::Warning { message } = event {
            self.0.lock().unwrap().push(message);
        }
    }
}

impl Bench {
    async fn new() -> Bench {
        Bench::with(None).await
    }

    /// With HTTPS by a certificate of the test's own, written to `ca.pem`.
    async fn secure() -> Bench {
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
        let dir = tempfile::tempdir().unwrap();
        let (root, manners) = (dir.path().join("s3"), Arc::new(Manners::default()));
        std::fs::create_dir_all(root.join("lectures")).unwrap();
        let inner = FileSystem::new(&root).unwrap();
        let mut builder = s3s::service::S3ServiceBuilder::new(Service { inner, root, manners: manners.clone() });
        builder.set_auth(Keys);
        let service = builder.build();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let endpoint = if tls.is_some() { format!("https://localhost:{port}") } else { format!("http://127.0.0.1:{port}") };
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (service, tls) = (service.clone(), tls.clone());
                tokio::spawn(async move {
                    use hyper_util::rt::TokioIo;
                    let http = hyper::server::conn::http1::Builder::new();
                    match tls {
                        None => drop(http.serve_connection(TokioIo::new(tcp), service).await),
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(tcp).await {
                                drop(http.serve_connection(TokioIo::new(stream), service).await);
                            }
                        }
                    }
                });
            }
        });
        Bench { dir, endpoint, manners, said: Arc::default() }
    }

    fn access(&self, key: &str, secret: &str) -> Access {
        Access {
            endpoint: Some(self.endpoint.clone()),
            region: "us-east-1".into(),
            path_style: true,
            ca_bundle: None,
            sse: None,
            credentials: SharedCredentialsProvider::new(Credentials::new(key, secret, None, None, "test")),
        }
    }

    fn store_with(&self, name: &str, access: Access, uplink: Option<crate::units::Bitrate>) -> S3Store {
        let ctx = Ctx { progress: self.said.clone(), ..Ctx::silent() };
        let store = S3Store::new(name, Via { ctx, uplink, work: Some(self.dir.path().join("work")) }).unwrap();
        let live = store.with_access(access).unwrap();
        assert!(store.live.set(live).is_ok());
        store
    }

    fn store(&self) -> S3Store {
        self.store_with("s3://lectures/courses", self.access("us", "secret"), None)
    }

    /// That sends one thing after the other, so that what was under way when it failed is known.
    fn one_by_one(&self) -> S3Store {
        let store = self.store();
        store.live.get().unwrap().lanes.slow_down();
        store
    }

    fn uploads(&self) -> usize {
        std::fs::read_dir(self.dir.path().join("work/uploads")).map_or(0, Iterator::count)
    }
}

fn key(name: &str) -> Key {
    Key::new(name).unwrap()
}

/// Bytes that do not repeat part by part.
fn film(path: &Path, bytes: usize) -> (Digest, u64) {
    let all: Vec<u8> = (0..bytes as u64).map(|i| ((i * 2_654_435_761) >> 13) as u8).collect();
    std::fs::write(path, &all).unwrap();
    (Digest::of(&all), bytes as u64)
}

async fn put_film(store: &S3Store, path: &Path, sha256: Digest, bytes: u64) -> Result<Meta> {
    store.put(&key("blobs/film.mp4"), Body::File { path, sha256, bytes }, Caching::Immutable, Precondition::None).await
}

#[tokio::test]
async fn a_bucket_keeps_the_contract() {
    let bench = Bench::new().await;
    super::super::contract::check(&bench.store()).await;
    assert_eq!(bench.store().conditions().await.unwrap(), Conditions::Honoured);
    assert!(bench.said.0.lock().unwrap().is_empty());
}

/// Another service's bucket, named in the environment: `tests/s3.sh` starts them.
#[tokio::test]
async fn a_bucket_of_a_real_service_keeps_the_contract() {
    let Ok(name) = std::env::var("RIVULET_TEST_S3") else { return };
    let store = S3Store::new(&format!("{name}/contract-{}", std::process::id()), Via::new(&Ctx::silent())).unwrap();
    super::super::contract::check(&store).await;
    eprintln!("{name}: conditions are {:?}", store.conditions().await.unwrap());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("film");
    let (sha256, bytes) = film(&path, 12_000_000);
    put_film(&store, &path, sha256, bytes).await.unwrap();
    assert!(store.get(&key("blobs/film.mp4"), None).await.unwrap() == std::fs::read(&path).unwrap());
    for crate::store::Listed { key, .. } in store.list("").await.unwrap() {
        store.delete(&key).await.unwrap();
    }
}

#[tokio::test]
async fn a_service_that_ignores_conditions_is_found_out_and_still_keeps_the_contract() {
    let bench = Bench::new().await;
    bench.manners.ignores_conditions.store(true, Ordering::SeqCst);
    let store = bench.store();
    super::super::contract::check(&store).await;
    assert_eq!(store.conditions().await.unwrap(), Conditions::Ignored);
    let said = bench.said.0.lock().unwrap();
    assert!(said.len() == 1 && said[0].contains("conditional writes"), "{said:?}");
}

#[tokio::test]
async fn text_is_stored_small_and_comes_back_plain() {
    let bench = Bench::new().await;
    let store = bench.store();
    let text = "<p>bài giảng</p>".repeat(500);
    let page = key("sepsis/index.html");
    let put = store.put(&page, Body::Bytes(text.as_bytes()), Caching::Revalidate, Precondition::None).await.unwrap();
    assert_eq!((put.bytes, store.head(&page).await.unwrap()), (text.len() as u64, Some(put.clone())));
    assert_eq!(store.get(&page, None).await.unwrap(), text.as_bytes());
    assert_eq!(store.get(&page, Some(4..9)).await.unwrap(), &text.as_bytes()[4..9]);
    let listed = store.list("sepsis/").await.unwrap();
    assert!(listed[0].bytes < put.bytes / 20, "{listed:?}");
    let seen = bench.manners.puts.lock().unwrap()[0].clone();
    assert_eq!(
        seen,
        Seen {
            key: "courses/sepsis/index.html".into(),
            content_type: Some("text/html; charset=utf-8".into()),
            cache_control: Some("no-cache".into()),
            content_encoding: Some("gzip".into()),
            encryption: None,
            md5: true,
            sha256: true,
        }
    );
    // The same text again is the same object.
    let again = store.put(&page, Body::Bytes(text.as_bytes()), Caching::Revalidate, Precondition::None).await.unwrap();
    assert_eq!(again, put);
}

#[tokio::test]
async fn media_go_as_they_are_and_encryption_is_asked_for() {
    let bench = Bench::new().await;
    let store = bench.store_with("s3://lectures", Access { sse: Some(Sse::Aes256), ..bench.access("us", "secret") }, None);
    let voice = key("blobs/ab/a-opus.mp4");
    store.put(&voice, Body::Bytes(b"sound"), Caching::Immutable, Precondition::None).await.unwrap();
    let seen = bench.manners.puts.lock().unwrap()[0].clone();
    assert_eq!((seen.key.as_str(), seen.content_type.as_deref()), ("blobs/ab/a-opus.mp4", Some("audio/mp4")));
    assert_eq!(seen.cache_control.as_deref(), Some("public, max-age=31536000, immutable"));
    assert_eq!((seen.content_encoding, seen.encryption.as_deref()), (None, Some("AES256")));
}

#[tokio::test]
async fn a_service_without_checksums_is_sent_md5_and_it_is_said_once() {
    let bench = Bench::new().await;
    bench.manners.refuses_checksums.store(true, Ordering::SeqCst);
    let store = bench.store();
    let path = bench.dir.path().join("film");
    let (sha256, bytes) = film(&path, 9_000_000);
    put_film(&store, &path, sha256, bytes).await.unwrap();
    store.put(&key("a"), Body::Bytes(b"x"), Caching::Immutable, Precondition::None).await.unwrap();
    store.put(&key("b"), Body::Bytes(b"x"), Caching::Immutable, Precondition::None).await.unwrap();
    assert!(store.get(&key("blobs/film.mp4"), None).await.unwrap() == std::fs::read(&path).unwrap());
    let said = bench.said.0.lock().unwrap();
    assert!(said.len() == 1 && said[0].contains("Content-MD5"), "{said:?}");
    assert!(bench.manners.puts.lock().unwrap().iter().all(|p| p.md5 && !p.sha256));
}

/// The process is gone after some parts; the next one asks and sends the others only.
#[tokio::test]
async fn a_large_object_goes_on_where_it_was_stopped() {
    let bench = Bench::new().await;
    let path = bench.dir.path().join("film");
    let (sha256, bytes) = film(&path, 32_000_000);
    *bench.manners.budget.lock().unwrap() = Some(4);
    let stopped = put_film(&bench.one_by_one(), &path, sha256, bytes).await.unwrap_err();
    assert_eq!(stopped.kind(), Kind::Denied);
    assert_eq!((bench.manners.parts.lock().unwrap().as_slice(), bench.uploads()), ([1, 2, 3, 4].as_slice(), 1));
    assert_eq!(bench.store().tidy().await.unwrap(), 0, "an upload that may go on is not taken away");
    *bench.manners.budget.lock().unwrap() = None;
    let store = bench.store();
    put_film(&store, &path, sha256, bytes).await.unwrap();
    let mut parts = bench.manners.parts.lock().unwrap().clone();
    parts.sort();
    assert_eq!(parts, [1, 2, 3, 4, 5, 6, 7], "each once");
    assert!(bench.said.0.lock().unwrap().iter().any(|s| s.contains("going on")));
    assert!(store.get(&key("blobs/film.mp4"), None).await.unwrap() == std::fs::read(&path).unwrap());
    assert_eq!((bench.uploads(), store.head(&key("blobs/film.mp4")).await.unwrap().unwrap().bytes), (0, bytes));
}

#[tokio::test]
async fn another_file_of_the_same_name_does_not_go_on_with_the_first_one_s_parts() {
    let bench = Bench::new().await;
    let path = bench.dir.path().join("film");
    let (sha256, bytes) = film(&path, 16_000_000);
    *bench.manners.budget.lock().unwrap() = Some(1);
    assert!(put_film(&bench.one_by_one(), &path, sha256, bytes).await.is_err());
    *bench.manners.budget.lock().unwrap() = None;
    let (sha256, bytes) = film(&path, 15_999_999);
    put_film(&bench.store(), &path, sha256, bytes).await.unwrap();
    assert!(bench.store().get(&key("blobs/film.mp4"), None).await.unwrap() == std::fs::read(&path).unwrap());
    let left: Vec<_> = std::fs::read_dir(bench.dir.path().join("s3")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(!left.iter().any(|n| n.to_string_lossy().contains("upload")), "the first upload is taken back: {left:?}");
}

/// An upload that the service has forgotten, and a journal whose object is there already.
#[tokio::test]
async fn what_the_journal_says_is_only_a_hint() {
    let bench = Bench::new().await;
    let path = bench.dir.path().join("film");
    let (sha256, bytes) = film(&path, 16_000_000);
    *bench.manners.budget.lock().unwrap() = Some(2);
    assert!(put_film(&bench.one_by_one(), &path, sha256, bytes).await.is_err());
    *bench.manners.budget.lock().unwrap() = None;
    for entry in std::fs::read_dir(bench.dir.path().join("s3")).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name().to_string_lossy().contains(".part-1") {
            std::fs::write(entry.path(), b"cut").unwrap();
        }
    }
    put_film(&bench.store(), &path, sha256, bytes).await.unwrap();
    assert!(bench.store().get(&key("blobs/film.mp4"), None).await.unwrap() == std::fs::read(&path).unwrap());
    assert_eq!(bench.uploads(), 0);
}

#[tokio::test]
async fn a_large_file_that_is_not_what_it_was_is_not_sent() {
    let bench = Bench::new().await;
    let path = bench.dir.path().join("film");
    let (_, bytes) = film(&path, 9_000_000);
    let refused = put_film(&bench.store(), &path, Digest::of(b"other"), bytes).await.unwrap_err();
    assert_eq!((refused.kind(), bench.manners.parts.lock().unwrap().len()), (Kind::Corrupt, 0));
}

#[tokio::test]
async fn wrong_keys_and_buckets_are_told_apart() {
    let bench = Bench::new().await;
    for (access, name, words) in [
        (bench.access("nobody", "secret"), "s3://lectures", "does not know the access key"),
        (bench.access("us", "wrong"), "s3://lectures", "AWS_SECRET_ACCESS_KEY"),
        (bench.access("us", "secret"), "s3://not-there", "no bucket \"not-there\""),
    ] {
        let e = bench.store_with(name, access, None).list("").await.unwrap_err();
        assert!(e.report().contains(words), "{}", e.report());
    }
}

#[tokio::test]
async fn an_authority_of_one_s_own_is_trusted_when_it_is_named_and_only_then() {
    let bench = Bench::secure().await;
    let trusting = Access { ca_bundle: Some(bench.dir.path().join("ca.pem")), ..bench.access("us", "secret") };
    let store = bench.store_with("s3://lectures", trusting, None);
    store.put(&key("a"), Body::Bytes(b"x"), Caching::Immutable, Precondition::None).await.unwrap();
    assert_eq!(store.get(&key("a"), None).await.unwrap(), b"x");
    let e = bench.store_with("s3://lectures", bench.access("us", "secret"), None).list("").await.unwrap_err();
    assert!(e.kind() == Kind::Unavailable && e.report().contains("AWS_CA_BUNDLE"), "{}", e.report());
}

#[tokio::test]
async fn a_service_that_asks_for_time_gets_it() {
    let bench = Bench::new().await;
    bench.manners.slow_downs.store(1, Ordering::SeqCst);
    let store = bench.store();
    store.put(&key("a"), Body::Bytes(b"x"), Caching::Immutable, Precondition::None).await.unwrap();
    assert_eq!(store.live.get().unwrap().lanes.count(), 1);
}

/// Refused connections and names without address end in exit code 5, and say where.
#[tokio::test]
async fn what_cannot_be_reached_is_said_with_its_place() {
    let bench = Bench::new().await;
    for (endpoint, words) in [("http://127.0.0.1:1", "takes no connections"), ("http://no-such-host.invalid", "has no address")] {
        let access = Access { endpoint: Some(endpoint.into()), ..bench.access("us", "secret") };
        let ctx = Ctx::silent();
        let live = Live::new(Place::parse("s3://lectures").unwrap(), access, None, Arc::default(), bench.dir.path().into(), ctx).unwrap();
        let asked =
            errors::Asked { action: "s3:ListBucket", object: "s3://lectures/", bucket: "lectures", host: endpoint, region: "us-east-1" };
        let e = live.client.list_objects_v2().bucket("lectures").send().await.unwrap_err();
        let failure = errors::failure(&asked, e);
        assert_eq!((failure.error.kind(), failure.again), (Kind::Unavailable, Again::Soon));
        assert!(failure.error.report().contains(words), "{}", failure.error.report());
    }
}
