//! The service, once it is known how to reach it: single requests, tried again where that helps, with their checksums.

use super::body::{Payload, Sums};
use super::errors::{Again, Asked, Failure, failure};
use super::lanes::Lanes;
use super::net::{Meter, Wire};
use super::pace::Pace;
use super::place::{Access, Place, Sse};
use super::retry::Retry;
use crate::clock::SystemClock;
use crate::error::{Error, Kind, Result};
use crate::progress::Ctx;
use crate::store::{Acknowledged, Caching, Key, Precondition};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Config, Region, RequestChecksumCalculation, ResponseChecksumValidation, StalledStreamProtectionConfig,
};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::types::ServerSideEncryption;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::BeforeTransmitInterceptorContextMut;
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What is kept beside an object's bytes.
#[derive(Debug, Clone)]
pub struct Labels {
    pub content_type: &'static str,
    pub caching: Caching,
    /// Of text that is stored as gzip: its plain length.
    pub packed_from: Option<u64>,
}

/// The user metadata that holds a packed text's plain length, for HEAD.
pub const PLAIN_BYTES: &str = "plain-bytes";

/// The SDK names itself in two headers, one of them for browsers; small objects pay for each.
#[derive(Debug)]
struct OneUserAgent;

#[dyn_dispatch_hint]
impl Intercept for OneUserAgent {
    fn name(&self) -> &'static str {
        "OneUserAgent"
    }
    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        context.request_mut().headers_mut().remove("x-amz-user-agent");
        Ok(())
    }
}

/// See the module.
pub struct Live {
    pub client: Client,
    pub place: Place,
    pub access: Access,
    pub lanes: Lanes,
    pub retry: Retry,
    pub ctx: Ctx,
    /// Where journals of large uploads are.
    pub journals: PathBuf,
    /// Of large objects that are on their way, by whole key: bytes of the parts that the service has.
    parts: Mutex<HashMap<String, Acknowledged>>,
    /// The service has refused SHA-256 checksums: Content-MD5 alone.
    md5_only: AtomicBool,
}

impl Live {
    pub fn new(place: Place, access: Access, pace: Option<Arc<Pace>>, meter: Arc<Meter>, journals: PathBuf, ctx: Ctx) -> Result<Live> {
        let wire = Wire::new(access.ca_bundle.as_deref(), pace, meter.clone())?;
        let mut config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(wire)
            .region(Region::new(access.region.clone()))
            .credentials_provider(access.credentials.clone())
            .force_path_style(access.path_style)
            // Its least is 1 byte a second over 5 s, which a part on a link of 10 kbit/s shared by others misses.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .timeout_config(TimeoutConfig::disabled())
            // Trailing checksums (aws-chunked) are refused by many services; ours are known beforehand and go in headers.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenSupported)
            .retry_config(RetryConfig::disabled())
            .interceptor(OneUserAgent);
        if let Some(url) = &access.endpoint {
            config = config.endpoint_url(url);
        }
        Ok(Live {
            client: Client::from_conf(config.build()),
            place,
            access,
            lanes: Lanes::new(meter),
            retry: Retry::new(None, Arc::new(SystemClock)),
            ctx,
            journals,
            parts: Mutex::default(),
            md5_only: AtomicBool::new(false),
        })
    }

    pub fn full(&self, key: &Key) -> String {
        self.place.full(key.as_str())
    }

    /// One request, again and again while that may help. `name` is the whole key; empty for the bucket itself.
    pub async fn call<T, E, F>(&self, action: &'static str, name: &str, request: impl Fn() -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        self.attempt(action, name, || async { request().await.map_err(Refused::Sdk) }).await
    }

    /// The same for requests that may fail on this side too.
    pub async fn attempt<T, E, F>(&self, action: &'static str, name: &str, request: impl Fn() -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Refused<E>>>,
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let (object, host) = (format!("s3://{}/{name}", self.place.bucket), self.access.host());
        let asked = Asked { action, object: &object, bucket: &self.place.bucket, host: &host, region: &self.access.region };
        let tried = || async {
            request().await.map_err(|e| match e {
                Refused::Sdk(e) => failure(&asked, e),
                Refused::Here(error, again) => Failure { error, again, code: String::new(), status: 0 },
            })
        };
        self.retry.run(&self.ctx, || self.lanes.slow_down(), tried).await
    }

    /// Puts one object in one request; gives its ETag as it came.
    pub async fn put(
        &self,
        name: &str,
        payload: &Payload,
        sums: &Sums,
        labels: &Labels,
        when: &Precondition,
    ) -> Result<Option<String>, Failure> {
        self.with_checksums(|sha256| self.put_once(name, payload, sums, labels, when, sha256)).await
    }

    /// What [`Store::acknowledged`](crate::store::Store::acknowledged) tells.
    pub fn acknowledged(&self, name: &str) -> Acknowledged {
        self.parts(|parts| parts.get(name).copied().unwrap_or_default())
    }

    /// Counts bytes of parts that the service has, from these on; until what is given is dropped.
    pub fn count_parts(&self, name: &str, have: u64) -> Counted<'_> {
        self.parts(|parts| parts.insert(name.to_string(), Acknowledged { bytes: have, earlier: have }));
        Counted { live: self, name: name.to_string() }
    }

    fn parts<T>(&self, work: impl FnOnce(&mut HashMap<String, Acknowledged>) -> T) -> T {
        work(&mut self.parts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether SHA-256 checksums are sent: until the service refuses them.
    pub fn sha256(&self) -> bool {
        !self.md5_only.load(Ordering::Relaxed)
    }

    /// Runs a request with SHA-256 checksums, and without where the service does not take them, which is said once.
    pub async fn with_checksums<T, F>(&self, request: impl Fn(bool) -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let refused = match request(self.sha256()).await {
            Err(failure) if self.sha256() && refuses_checksums(&failure) => failure,
            outcome => return outcome,
        };
        let Ok(done) = request(false).await else { return Err(refused) };
        if !self.md5_only.swap(true, Ordering::Relaxed) {
            self.ctx
                .warn(format!("{} does not take SHA-256 checksums; what is sent is verified by Content-MD5 instead", self.access.host()));
        }
        Ok(done)
    }

    async fn put_once(
        &self,
        name: &str,
        payload: &Payload,
        sums: &Sums,
        labels: &Labels,
        when: &Precondition,
        sha256: bool,
    ) -> Result<Option<String>, Failure> {
        let outcome = self.attempt("s3:PutObject", name, || async {
            let body = payload.stream().await.map_err(|e| Refused::Here(e, Again::No))?;
            let (encryption, key) = self.encryption();
            let request = self
                .client
                .put_object()
                .bucket(&self.place.bucket)
                .key(name)
                .content_length(payload.len() as i64)
                .content_type(labels.content_type)
                .cache_control(cache_control(labels.caching))
                .set_content_encoding(labels.packed_from.map(|_| "gzip".into()))
                .set_metadata(labels.packed_from.map(|n| [(PLAIN_BYTES.to_string(), n.to_string())].into()))
                .content_md5(&sums.md5)
                .set_checksum_sha256(sha256.then(|| sums.sha256.clone()))
                .set_server_side_encryption(encryption)
                .set_ssekms_key_id(key)
                .set_if_none_match(matches!(when, Precondition::Absent).then(|| "*".to_string()))
                .set_if_match(match when {
                    Precondition::Version(version) => Some(format!("\"{version}\"")),
                    _ => None,
                })
                .body(body);
            let put = request.send().await.map_err(Refused::Sdk)?;
            match put.checksum_sha256() {
                Some(theirs) if theirs != sums.sha256 => {
                    Err(Refused::Here(Error::new(Kind::Unavailable, format!("{name} was damaged on its way")), Again::Soon))
                }
                _ => Ok(put.e_tag().map(str::to_string)),
            }
        });
        match outcome.await {
            // Amazon's answer where the object that should have a version is not there at all.
            Err(f) if f.status == 404 && f.code == "NoSuchKey" && matches!(when, Precondition::Version(_)) => {
                Err(Failure { error: Error::new(Kind::Conflict, format!("{name} was deleted by somebody else")), ..f })
            }
            outcome => outcome,
        }
    }

    pub fn encryption(&self) -> (Option<ServerSideEncryption>, Option<String>) {
        match &self.access.sse {
            None => (None, None),
            Some(Sse::Aes256) => (Some(ServerSideEncryption::Aes256), None),
            Some(Sse::Kms(key)) => (Some(ServerSideEncryption::AwsKms), key.clone()),
        }
    }
}

/// See [`Live::count_parts`].
pub struct Counted<'a> {
    live: &'a Live,
    name: String,
}

impl Counted<'_> {
    pub fn add(&self, bytes: u64) {
        self.live.parts(|parts| parts.entry(self.name.clone()).or_default().bytes += bytes);
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.live.parts(|parts| parts.remove(&self.name));
    }
}

/// Why a try failed: there, or here before anything was sent.
pub enum Refused<E> {
    Sdk(SdkError<E, HttpResponse>),
    Here(Error, Again),
}

pub fn cache_control(caching: Caching) -> &'static str {
    match caching {
        Caching::Immutable => "public, max-age=31536000, immutable",
        Caching::Revalidate => "no-cache",
    }
}

/// An answer that services give to a header that they do not know.
fn refuses_checksums(failure: &Failure) -> bool {
    let said = failure.error.report().to_ascii_lowercase();
    failure.again == Again::No
        && matches!(failure.status, 400 | 501)
        && (failure.code == "NotImplemented" || said.contains("checksum") || said.contains("header"))
}
