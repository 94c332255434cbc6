//! What a service or a network said, as an error that says what, where and what to do, and whether trying again can help.

use super::net::Trouble;
use crate::error::{Error, Kind};
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::date_time::{DateTime, Format};
use std::error::Error as StdError;
use std::time::{Duration, SystemTime};

/// Whether the same request may succeed later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    No,
    Soon,
    /// The service has too much to do.
    Slower,
}

/// The [`Failure::code`] of an answer that is none of S3's.
pub const UNREADABLE: &str = "Unreadable";

/// A request that failed.
#[derive(Debug)]
pub struct Failure {
    pub error: Error,
    pub again: Again,
    /// S3's own word for it, where there is one.
    pub code: String,
    /// HTTP status; 0 where there was no answer.
    pub status: u16,
}

/// What was asked of whom.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The right that the request needs, as policies name it: `s3:PutObject`.
    pub action: &'static str,
    /// `s3://bucket/key`
    pub object: &'a str,
    pub bucket: &'a str,
    /// The endpoint, or Amazon's region.
    pub host: &'a str,
    pub region: &'a str,
}

/// Reads an SDK error.
pub fn failure<E>(asked: &Asked, e: SdkError<E, HttpResponse>) -> Failure
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    let raw = e.raw_response();
    let status = raw.map_or(0, |r| r.status().as_u16());
    let header = |name: &str| raw.and_then(|r| r.headers().get(name)).map(str::to_string);
    let answer = Answer {
        status,
        code: e.code().unwrap_or_default().to_string(),
        message: e.message().unwrap_or_default().to_string(),
        region: header("x-amz-bucket-region"),
        date: header("date"),
    };
    // Services differ in the names of their answers' parts; asking again brings the same.
    if (200..300).contains(&status) && DisplayErrorContext(&e).to_string().contains("error parsing XML") {
        let error = Error::new(Kind::Failed, format!("{} answers {} in a form that cannot be read", asked.host, asked.action));
        return Failure { error: error.caused_by(words(&e)), again: Again::No, code: UNREADABLE.into(), status };
    }
    match &e {
        SdkError::ServiceError(_) | SdkError::ResponseError(_) if status >= 300 => answered(asked, answer),
        SdkError::ResponseError(_) => {
            let error = Error::new(Kind::Unavailable, format!("the answer of {} about {} was cut off", asked.host, asked.object));
            Failure { error: error.caused_by(words(&e)), again: Again::Soon, code: answer.code, status }
        }
        SdkError::DispatchFailure(d) => match d.as_connector_error() {
            Some(cause) => unanswered(asked, cause),
            None => unanswered(asked, &e),
        },
        _ => unanswered(asked, &e),
    }
}

/// The whole chain in one line.
fn words(e: &(impl StdError + 'static)) -> String {
    DisplayErrorContext(e).to_string().split(" (").next().unwrap_or_default().to_string()
}

struct Answer {
    status: u16,
    code: String,
    message: String,
    region: Option<String>,
    date: Option<String>,
}

fn answered(asked: &Asked, answer: Answer) -> Failure {
    let Asked { action, object, bucket, host, region } = *asked;
    let fail = |kind, what: String| Error::new(kind, what);
    let said = match (answer.code.as_str(), answer.message.as_str()) {
        ("", "") => format!("HTTP status {}", answer.status),
        (code, "") => code.to_string(),
        (code, message) => format!("{code}: {message}"),
    };
    let (error, again) = match (answer.code.as_str(), answer.status) {
        ("NoSuchBucket", _) => (
            fail(Kind::NotFound, format!("there is no bucket \"{bucket}\" at {host}"))
                .hint("make the bucket first, or look at the name and at AWS_ENDPOINT_URL"),
            Again::No,
        ),
        ("NoSuchUpload", _) => (fail(Kind::NotFound, format!("the unfinished upload of {object} is gone")), Again::No),
        ("InvalidAccessKeyId" | "InvalidToken", _) => (
            fail(Kind::Denied, format!("{host} does not know the access key"))
                .hint("look at AWS_ACCESS_KEY_ID or AWS_PROFILE, and whether AWS_ENDPOINT_URL names the right service"),
            Again::No,
        ),
        ("ExpiredToken" | "TokenRefreshRequired" | "ExpiredTokenException", _) => {
            (fail(Kind::Denied, format!("the keys for {host} have expired")).hint("log in again to get new ones"), Again::No)
        }
        ("SignatureDoesNotMatch", _) => (
            fail(Kind::Denied, format!("{host} refuses the signature: the secret key does not belong to the access key"))
                .hint("copy AWS_SECRET_ACCESS_KEY again; a proxy that changes headers does the same"),
            Again::No,
        ),
        ("RequestTimeTooSkewed", _) => (
            fail(Kind::Denied, format!("the clock of this machine is wrong{}; {host} refuses requests", skew(answer.date.as_deref())))
                .hint("set the clock, for example with `timedatectl set-ntp true`, then run the same command again"),
            Again::No,
        ),
        ("AuthorizationHeaderMalformed" | "PermanentRedirect" | "TemporaryRedirect" | "IllegalLocationConstraintException", _)
        | (_, 301 | 307) => {
            let right = answer.region.or_else(|| expected(&answer.message)).filter(|r| r != region);
            let hint = match right {
                Some(right) => format!("set AWS_REGION={right}"),
                None => format!("set AWS_REGION to the bucket's region, and AWS_ENDPOINT_URL to its service ({said})"),
            };
            (fail(Kind::Usage, format!("the bucket \"{bucket}\" is not in the region \"{region}\"")).hint(hint), Again::No)
        }
        ("AccessDenied" | "AllAccessDisabled" | "AccountProblem", _) | (_, 401 | 403) => (
            fail(Kind::Denied, format!("{host} does not allow {action} on {object}")).hint(format!(
                "the key needs {action} on this bucket (docs/operations.md has the whole policy){}",
                if answer.status == 401 { "; the key itself may be wrong" } else { "" }
            )),
            Again::No,
        ),
        ("PreconditionFailed" | "ConditionalRequestConflict", _) | (_, 412) => {
            (fail(Kind::Conflict, format!("{object} was changed by somebody else")), Again::No)
        }
        ("QuotaExceeded" | "XMinioStorageFull" | "XMinioAdminBucketQuotaExceeded", _) | (_, 507) => {
            (fail(Kind::Limit, format!("{host} has no room for {object}")).hint("make room or raise the quota there"), Again::No)
        }
        ("BadDigest" | "XAmzContentSHA256Mismatch" | "XAmzContentChecksumMismatch" | "IncompleteBody", _) => {
            (fail(Kind::Unavailable, format!("{object} was damaged on its way to {host}")), Again::Soon)
        }
        ("SlowDown" | "ServiceUnavailable" | "Throttling" | "RequestLimitExceeded", _) | (_, 429 | 503) => {
            (fail(Kind::Unavailable, format!("{host} has too much to do ({said})")).hint("run the same command again later"), Again::Slower)
        }
        ("RequestTimeout" | "InternalError" | "OperationAborted", _) | (_, 408 | 500 | 502 | 504) => (
            fail(Kind::Unavailable, format!("{host} failed at {action} on {object}")).hint("run the same command again later"),
            Again::Soon,
        ),
        ("NoSuchKey" | "NotFound", _) | (_, 404 | 410) => (fail(Kind::NotFound, format!("{object} is not there")), Again::No),
        _ => (fail(Kind::Failed, format!("{host} refuses {action} on {object}")), Again::No),
    };
    Failure { error: error.caused_by(said), again, code: answer.code, status: answer.status }
}

/// `the region 'us-east-1' is wrong; expecting 'eu-west-1'`: the second.
fn expected(message: &str) -> Option<String> {
    let name = message.split("expecting '").nth(1)?.split('\'').next()?;
    Some(name.to_string()).filter(|n| !n.is_empty())
}

/// By how much this clock is off, from the answer's Date.
fn skew(date: Option<&str>) -> String {
    let theirs = date.and_then(|d| DateTime::from_str(d, Format::HttpDate).ok()).and_then(|d| SystemTime::try_from(d).ok());
    let Some(theirs) = theirs else { return String::new() };
    let minutes = |d: Duration| d.as_secs() / 60;
    match SystemTime::now().duration_since(theirs) {
        Ok(ahead) => format!(" ({} min ahead)", minutes(ahead)),
        Err(behind) => format!(" ({} min behind)", minutes(behind.duration())),
    }
}

/// No answer: the cause decides. Errors are looked for along the whole chain, inside I/O errors too.
fn unanswered(asked: &Asked, e: &(dyn StdError + 'static)) -> Failure {
    let host = asked.host;
    let unreachable = |what: String| Error::new(Kind::Unavailable, what);
    let mut said = String::new();
    let mut next = Some(e);
    let mut found = None;
    while let Some(cause) = next {
        said = cause.to_string();
        let inner = cause.downcast_ref::<std::io::Error>().and_then(|io| io.get_ref()).map(|inner| inner as &(dyn StdError + 'static));
        for one in [Some(cause), inner].into_iter().flatten() {
            if let Some(trouble) = one.downcast_ref::<Trouble>() {
                found = Some(of_trouble(host, trouble));
            } else if let Some(tls) = one.downcast_ref::<rustls::Error>() {
                found = Some(of_tls(host, tls));
            } else if let Some(keys) = one.downcast_ref::<aws_credential_types::provider::error::CredentialsError>() {
                let error = Error::new(Kind::Denied, "no keys for S3: the profile's credential_process does not give any");
                found = Some((error.caused_by(keys.source().map_or(keys.to_string(), |s| s.to_string())), Again::No));
            }
        }
        if found.is_some() {
            break;
        }
        next = cause.source().or(inner);
    }
    let (error, again) = found.unwrap_or_else(|| {
        let error = unreachable(format!("the connection to {host} broke at {} on {}", asked.action, asked.object));
        (error.caused_by(said).hint("run the same command again: it goes on from what is finished"), Again::Soon)
    });
    Failure { error, again, code: String::new(), status: 0 }
}

fn of_trouble(host: &str, trouble: &Trouble) -> (Error, Again) {
    let hint = match trouble {
        Trouble::Name(_) => "look at AWS_ENDPOINT_URL (or AWS_REGION) and at this machine's network",
        Trouble::Refused(_) => "look at the port in AWS_ENDPOINT_URL, and whether the service runs",
        Trouble::Unreachable(_) => "look at this machine's network and firewall; behind a proxy set HTTPS_PROXY",
        Trouble::Proxy(_) | Trouble::ProxyRefuses(_) => "look at HTTPS_PROXY, or name the host in NO_PROXY",
    };
    let error = Error::new(Kind::Unavailable, format!("cannot reach {host}")).caused_by(trouble.to_string()).hint(hint);
    // A proxy that refuses will do so again; a name may resolve and a service may start in a moment.
    (error, if matches!(trouble, Trouble::ProxyRefuses(_)) { Again::No } else { Again::Soon })
}

fn of_tls(host: &str, e: &rustls::Error) -> (Error, Again) {
    use rustls::CertificateError as C;
    let hint = match e {
        rustls::Error::InvalidCertificate(C::UnknownIssuer) => {
            "if the service or a proxy here has its own authority, put its certificate in a PEM file and name that in AWS_CA_BUNDLE"
        }
        rustls::Error::InvalidCertificate(C::Expired | C::ExpiredContext { .. } | C::NotValidYet | C::NotValidYetContext { .. }) => {
            "the certificate's time is over or not come: look at this machine's clock, then at the service"
        }
        rustls::Error::InvalidCertificate(C::NotValidForName | C::NotValidForNameContext { .. }) => {
            "the certificate is another host's: look at AWS_ENDPOINT_URL; for a bucket with dots set RIVULET_S3_ADDRESSING=path"
        }
        rustls::Error::InvalidMessage(_) => "the port does not speak TLS: perhaps AWS_ENDPOINT_URL is to begin with http://",
        _ => "look at the service's TLS",
    };
    let error = Error::new(Kind::Unavailable, format!("no secure connection to {host}")).caused_by(e.to_string()).hint(hint);
    (error, Again::No)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Asked = Asked { action: "s3:PutObject", object: "s3://b/k", bucket: "b", host: "https://s3.example", region: "us-east-1" };

    fn told(status: u16, code: &str, message: &str) -> Failure {
        let date = Some("Wed, 21 Oct 2015 07:28:00 GMT".to_string());
        answered(&ASKED, Answer { status, code: code.into(), message: message.into(), region: None, date })
    }

    #[test]
    fn each_refusal_says_what_to_do() {
        for (status, code, message, kind, words) in [
            (404, "NoSuchBucket", "", Kind::NotFound, "no bucket \"b\""),
            (403, "InvalidAccessKeyId", "", Kind::Denied, "AWS_ACCESS_KEY_ID"),
            (403, "SignatureDoesNotMatch", "", Kind::Denied, "AWS_SECRET_ACCESS_KEY"),
            (403, "AccessDenied", "", Kind::Denied, "s3:PutObject"),
            (403, "", "", Kind::Denied, "s3:PutObject"),
            (403, "RequestTimeTooSkewed", "", Kind::Denied, "min ahead"),
            (
                400,
                "AuthorizationHeaderMalformed",
                "the region 'us-east-1' is wrong; expecting 'eu-west-1'",
                Kind::Usage,
                "AWS_REGION=eu-west-1",
            ),
            (301, "", "", Kind::Usage, "AWS_REGION"),
            (507, "", "", Kind::Limit, "no room"),
            (412, "PreconditionFailed", "", Kind::Conflict, "somebody else"),
            (418, "Teapot", "short", Kind::Failed, "Teapot: short"),
        ] {
            let failure = told(status, code, message);
            assert_eq!((failure.error.kind(), failure.again), (kind, Again::No), "{code}");
            assert!(failure.error.report().contains(words), "{}", failure.error.report());
        }
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        assert_eq!(told(503, "SlowDown", "").again, Again::Slower);
        assert_eq!(told(500, "InternalError", "").again, Again::Soon);
        assert_eq!(told(400, "BadDigest", "").again, Again::Soon);
        let failure = unanswered(&ASKED, &std::io::Error::other(Trouble::Refused("a:1".into())));
        assert_eq!((failure.error.kind(), failure.again), (Kind::Unavailable, Again::Soon));
        for (trouble, again) in [(Trouble::Proxy("cut".into()), Again::Soon), (Trouble::ProxyRefuses("407".into()), Again::No)] {
            assert_eq!(unanswered(&ASKED, &std::io::Error::other(trouble)).again, again);
        }
        let tls = std::io::Error::other(rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer));
        let failure = unanswered(&ASKED, &tls);
        assert!(failure.again == Again::No && failure.error.report().contains("AWS_CA_BUNDLE"), "{:?}", failure.error);
    }
}
