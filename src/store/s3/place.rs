//! Which bucket, where, and who we are: `s3://bucket/prefix` and the settings that other S3 tools read, from the environment
//! and from `~/.aws/config` and `~/.aws/credentials`, in their order of precedence (docs/s3.md lists them).

use crate::error::{Error, Kind, Result, ResultExt};
use crate::store::Key;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_runtime::env_config::file::EnvConfigFiles;
use aws_runtime::env_config::section::EnvConfigSections;
use aws_runtime::env_config::{EnvConfigValue, source};
use aws_types::os_shim_internal::{Env, Fs};
use std::path::PathBuf;

/// A bucket and the folder in it that is the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub bucket: String,
    /// Empty, or ending in `/`.
    pub prefix: String,
}

impl Place {
    /// Reads `s3://bucket` or `s3://bucket/prefix`.
    pub fn parse(name: &str) -> Result<Place> {
        let wrong =
            |why: &str| Error::usage(format!("\"{name}\" does not name a store: {why}")).hint("it is s3://BUCKET or s3://BUCKET/FOLDER");
        let rest = name.strip_prefix("s3://").ok_or_else(|| wrong("it does not begin with s3://"))?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
        if !(3..=63).contains(&bucket.len()) || !bucket.bytes().all(plain) {
            return Err(wrong("a bucket's name has 3 to 63 letters, digits, dots and hyphens"));
        }
        let prefix = match prefix.trim_end_matches('/') {
            "" => String::new(),
            prefix => format!("{}/", Key::new(prefix).map_err(|e| wrong("its folder is not a name in a bucket").caused_by(e))?),
        };
        Ok(Place { bucket: bucket.to_string(), prefix })
    }
    /// The object's whole name in the bucket.
    pub fn full(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.prefix.trim_end_matches('/'))
    }
}

/// Encryption at rest that is asked of the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sse {
    Aes256,
    /// With the service's default key, or the one named.
    Kms(Option<String>),
}

/// How the service is reached, and as whom.
#[derive(Debug, Clone)]
pub struct Access {
    /// `None`: Amazon's own, by region.
    pub endpoint: Option<String>,
    pub region: String,
    /// The bucket in the path, not in the host name.
    pub path_style: bool,
    /// PEM file of authorities to trust instead of the system's.
    pub ca_bundle: Option<PathBuf>,
    pub sse: Option<Sse>,
    pub credentials: SharedCredentialsProvider,
}

impl Access {
    /// What this process was given.
    pub async fn of_process() -> Result<Access> {
        Access::load(&Env::real(), &Fs::real()).await
    }

    async fn load(env: &Env, fs: &Fs) -> Result<Access> {
        let files =
            source::load(env, fs, &EnvConfigFiles::default()).await.kind(Kind::Usage, || "cannot read the AWS profile files".into())?;
        let profiles = EnvConfigSections::parse(files).kind(Kind::Usage, || "cannot read the AWS profile files".into())?;
        let selected = profiles.selected_profile().to_string();
        if env.get("AWS_PROFILE").is_ok() && profiles.get_profile(&selected).is_none() {
            let have: Vec<&str> = profiles.profiles().collect();
            let hint = format!("the profiles there are: {}", if have.is_empty() { "none".to_string() } else { have.join(", ") });
            return Err(
                Error::usage(format!("AWS_PROFILE names \"{selected}\", which is not in ~/.aws/config or ~/.aws/credentials")).hint(hint)
            );
        }
        let value = |variable: &'static str, key: &'static str| {
            let (text, _) = EnvConfigValue::new().env(variable).profile(key).service_id("S3").load(env, Some(&profiles))?;
            Some(text.trim().to_string()).filter(|t| !t.is_empty())
        };
        let set = |variable: &str| env.get(variable).ok().map(|t| t.trim().to_string()).filter(|t| !t.is_empty());
        let ignored = value("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "ignore_configured_endpoint_urls");
        let endpoint = value("AWS_ENDPOINT_URL", "endpoint_url").filter(|_| ignored.as_deref() != Some("true"));
        if let Some(url) = &endpoint {
            check_endpoint(url)?;
        }
        let region = value("AWS_REGION", "region").or_else(|| set("AWS_DEFAULT_REGION"));
        let style = set("RIVULET_S3_ADDRESSING").or_else(|| nested(profiles.get("s3"), "addressing_style"));
        let path_style = match style.as_deref() {
            Some("path") => true,
            Some("virtual") => false,
            None | Some("auto") => endpoint.as_deref().is_some_and(|url| !is_amazon(url)),
            Some(other) => return Err(Error::usage(format!("RIVULET_S3_ADDRESSING is \"{other}\"")).hint("it is path, virtual or auto")),
        };
        Ok(Access {
            endpoint,
            // Services with an endpoint of their own mostly take this name; Amazon answers with the right one.
            region: region.unwrap_or_else(|| "us-east-1".into()),
            path_style,
            ca_bundle: value("AWS_CA_BUNDLE", "ca_bundle").map(PathBuf::from),
            sse: set("RIVULET_S3_SSE").map(|t| sse(&t)).transpose()?,
            credentials: credentials(env, &profiles, &selected)?,
        })
    }

    /// Where the store's objects are on the web, as the SDK addresses them.
    pub fn web(&self, place: &Place) -> String {
        let amazon = || format!("https://s3.{}.amazonaws.com", self.region);
        let url = self.endpoint.clone().unwrap_or_else(amazon);
        let (url, bucket, prefix) = (url.trim_end_matches('/'), &place.bucket, &place.prefix);
        // A dot in a bucket's name does not fit into a certificate for one label; the SDK goes by the path then, too.
        match url.split_once("://") {
            Some((scheme, host)) if !self.path_style && !bucket.contains('.') => format!("{scheme}://{bucket}.{host}/{prefix}"),
            _ => format!("{url}/{bucket}/{prefix}"),
        }
    }

    /// The host that is talked to, for messages.
    pub fn host(&self) -> String {
        self.endpoint.clone().unwrap_or_else(|| format!("Amazon S3, region {}", self.region))
    }
}

fn check_endpoint(url: &str) -> Result<()> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    match rest.is_some_and(|r| !r.is_empty() && !r.contains([' ', '?', '#', '@'])) {
        true => Ok(()),
        false => {
            Err(Error::usage(format!("AWS_ENDPOINT_URL is \"{url}\"")).hint("it is like https://s3.example.org or http://127.0.0.1:9000"))
        }
    }
}

fn is_amazon(url: &str) -> bool {
    let host = url.split("://").nth(1).unwrap_or(url).split(['/', ':']).next().unwrap_or_default();
    host.ends_with(".amazonaws.com") || host.ends_with(".amazonaws.com.cn")
}

fn sse(text: &str) -> Result<Sse> {
    match text.split_once("aws:kms") {
        _ if text == "AES256" => Ok(Sse::Aes256),
        Some(("", "")) => Ok(Sse::Kms(None)),
        Some(("", key)) if key.len() > 1 && key.starts_with(':') => Ok(Sse::Kms(Some(key[1..].to_string()))),
        _ => Err(Error::usage(format!("RIVULET_S3_SSE is \"{text}\"")).hint("it is AES256, aws:kms or aws:kms:KEY")),
    }
}

/// A value below another one of a profile (`s3 =` and indented lines).
fn nested(block: Option<&str>, name: &str) -> Option<String> {
    let lines = block?.lines().filter_map(|l| l.split_once('='));
    lines.filter(|(key, _)| key.trim() == name).map(|(_, v)| v.trim().to_string()).find(|v| !v.is_empty())
}

/// Keys from the environment, else from the profile, else from the profile's `credential_process`.
fn credentials(env: &Env, profiles: &EnvConfigSections, selected: &str) -> Result<SharedCredentialsProvider> {
    let variable = |name: &str| env.get(name).ok().filter(|t| !t.is_empty());
    let from_environment = (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY"), variable("AWS_SESSION_TOKEN"));
    let of_profile = |name: &str| profiles.get(name).filter(|t| !t.is_empty()).map(str::to_string);
    let from_profile = (of_profile("aws_access_key_id"), of_profile("aws_secret_access_key"), of_profile("aws_session_token"));
    for (source, (key, secret, token)) in [("environment", from_environment), ("profile", from_profile)] {
        match (key, secret) {
            (Some(key), Some(secret)) => return Ok(SharedCredentialsProvider::new(Credentials::new(key, secret, token, None, source))),
            (None, None) => {}
            _ => {
                return Err(Error::usage(format!("only one of access key and secret key is set in the {source}"))
                    .hint("set both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"));
            }
        }
    }
    if let Some(command) = of_profile("credential_process") {
        return Ok(SharedCredentialsProvider::new(Process { command }));
    }
    Err(Error::new(Kind::Denied, format!("no keys for S3: not in the environment, and not in the AWS profile \"{selected}\"")).hint(
        "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write them to ~/.aws/credentials and name the profile in AWS_PROFILE; \
         for a login by SSO or a role run `eval \"$(aws configure export-credentials --format env)\"` first",
    ))
}

/// A profile's `credential_process`: a command that prints keys as JSON; run again when they end.
#[derive(Debug)]
struct Process {
    command: String,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Printed {
    access_key_id: String,
    secret_access_key: String,
    session_token: Option<String>,
    expiration: Option<String>,
}

impl Process {
    async fn run(&self) -> Result<Credentials, CredentialsError> {
        let output = tokio::process::Command::new("sh").arg("-c").arg(&self.command).kill_on_drop(true).output().await;
        let output = output.map_err(CredentialsError::provider_error)?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_string();
            return Err(CredentialsError::provider_error(format!("the profile's credential_process failed: {said}")));
        }
        let printed: Printed = serde_json::from_slice(&output.stdout).map_err(CredentialsError::provider_error)?;
        let ends = printed.expiration.as_deref().and_then(|t| {
            let at = aws_smithy_types::DateTime::from_str(t, aws_smithy_types::date_time::Format::DateTimeWithOffset).ok()?;
            std::time::SystemTime::try_from(at).ok()
        });
        Ok(Credentials::new(printed.access_key_id, printed.secret_access_key, printed.session_token, ends, "credential_process"))
    }
}

impl ProvideCredentials for Process {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.run())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn load(env: &[(&str, &str)], files: &[(&str, &str)]) -> Result<Access> {
        let env: Vec<_> = env.iter().copied().chain([("HOME", "/home/a")]).collect();
        Access::load(&Env::from_slice(&env), &Fs::from_slice(files)).await
    }
    async fn key(access: &Access) -> String {
        access.credentials.provide_credentials().await.unwrap().access_key_id().to_string()
    }

    #[test]
    fn a_store_is_a_bucket_and_a_folder() {
        let place = Place::parse("s3://courses/vi/2026/").unwrap();
        assert_eq!((place.bucket.as_str(), place.prefix.as_str(), place.full("a/b").as_str()), ("courses", "vi/2026/", "vi/2026/a/b"));
        assert_eq!(Place::parse("s3://courses").unwrap().to_string(), "s3://courses/");
        for wrong in ["s3:/x", "s3://", "s3://a", "s3://has space", "s3://ok-bucket/../up", "s3://ok-bucket//x"] {
            assert_eq!(Place::parse(wrong).unwrap_err().kind(), Kind::Usage, "{wrong}");
        }
    }

    #[tokio::test]
    async fn the_environment_goes_before_the_profile_and_a_service_s_own_value_before_the_general() {
        let config = "[default]\nregion = eu-west-1\n[profile uni]\nregion = ap-southeast-1\nservices = ours\nca_bundle = /etc/ours.pem\ns3 =\n  addressing_style = virtual\n[services ours]\ns3 =\n  endpoint_url = https://s3.uni.example\n";
        let secrets =
            "[default]\naws_access_key_id = D\naws_secret_access_key = s\n[uni]\naws_access_key_id = U\naws_secret_access_key = s\n";
        let files = [("/home/a/.aws/config", config), ("/home/a/.aws/credentials", secrets)];
        let plain = load(&[], &files).await.unwrap();
        assert_eq!((plain.region.as_str(), plain.endpoint.as_deref(), plain.path_style), ("eu-west-1", None, false));
        assert_eq!(key(&plain).await, "D");
        let uni = load(&[("AWS_PROFILE", "uni")], &files).await.unwrap();
        assert_eq!(
            (uni.region.as_str(), uni.endpoint.as_deref(), uni.path_style),
            ("ap-southeast-1", Some("https://s3.uni.example"), false)
        );
        assert_eq!((key(&uni).await.as_str(), uni.ca_bundle.as_deref()), ("U", Some(std::path::Path::new("/etc/ours.pem"))));
        let keys =
            [("AWS_ACCESS_KEY_ID", "E"), ("AWS_SECRET_ACCESS_KEY", "s"), ("AWS_ENDPOINT_URL", "http://a:1"), ("AWS_REGION", "garage")];
        let env = load(&keys, &files).await.unwrap();
        assert_eq!((env.region.as_str(), env.endpoint.as_deref(), env.path_style), ("garage", Some("http://a:1"), true));
        assert_eq!(key(&env).await, "E");
        let own =
            load(&[keys.as_slice(), &[("AWS_ENDPOINT_URL_S3", "http://b:2"), ("RIVULET_S3_ADDRESSING", "virtual")]].concat(), &files).await;
        assert_eq!(own.map(|a| (a.endpoint, a.path_style)).unwrap(), (Some("http://b:2".into()), false));
    }

    #[tokio::test]
    async fn what_is_missing_or_wrong_is_said_with_a_way_out() {
        let none = load(&[], &[]).await.unwrap_err();
        assert!(none.kind() == Kind::Denied && none.report().contains("AWS_ACCESS_KEY_ID"), "{none:?}");
        assert!(load(&[("AWS_PROFILE", "nobody")], &[]).await.unwrap_err().report().contains("\"nobody\""));
        let half = load(&[("AWS_ACCESS_KEY_ID", "E")], &[]).await.unwrap_err();
        assert!(half.report().contains("AWS_SECRET_ACCESS_KEY"), "{half:?}");
        let keys = [("AWS_ACCESS_KEY_ID", "E"), ("AWS_SECRET_ACCESS_KEY", "s")];
        for (name, value) in [("AWS_ENDPOINT_URL", "s3.example.org"), ("RIVULET_S3_SSE", "yes"), ("RIVULET_S3_ADDRESSING", "odd")] {
            let e = load(&[keys.as_slice(), &[(name, value)]].concat(), &[]).await.unwrap_err();
            assert!(e.kind() == Kind::Usage && e.report().contains(value), "{e:?}");
        }
    }

    #[tokio::test]
    async fn a_browser_finds_objects_where_the_service_has_them() {
        let keys = [("AWS_ACCESS_KEY_ID", "E"), ("AWS_SECRET_ACCESS_KEY", "s")];
        let place = Place::parse("s3://lectures/vi").unwrap();
        let amazon = load(&[keys.as_slice(), &[("AWS_REGION", "ap-southeast-1")]].concat(), &[]).await.unwrap();
        assert_eq!(amazon.web(&place), "https://lectures.s3.ap-southeast-1.amazonaws.com/vi/");
        assert_eq!(amazon.web(&Place::parse("s3://a.b.c").unwrap()), "https://s3.ap-southeast-1.amazonaws.com/a.b.c/");
        let own = load(&[keys.as_slice(), &[("AWS_ENDPOINT_URL", "http://127.0.0.1:9000/")]].concat(), &[]).await.unwrap();
        assert_eq!(own.web(&place), "http://127.0.0.1:9000/lectures/vi/");
    }

    #[test]
    fn encryption_is_named_as_the_service_names_it() {
        assert_eq!(sse("AES256").unwrap(), Sse::Aes256);
        assert_eq!(sse("aws:kms").unwrap(), Sse::Kms(None));
        assert_eq!(sse("aws:kms:arn:aws:kms:x").unwrap(), Sse::Kms(Some("arn:aws:kms:x".into())));
    }

    #[tokio::test]
    async fn a_command_may_give_the_keys() {
        let config = "[default]\ncredential_process = echo '{\"Version\":1,\"AccessKeyId\":\"P\",\"SecretAccessKey\":\"s\",\"Expiration\":\"2030-01-01T00:00:00Z\"}'\n";
        let access = load(&[], &[("/home/a/.aws/config", config)]).await.unwrap();
        let keys = access.credentials.provide_credentials().await.unwrap();
        assert!(keys.access_key_id() == "P" && keys.expiry().is_some());
    }
}
