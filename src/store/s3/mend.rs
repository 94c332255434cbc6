//! Answers that are right but for a name. The SDK refuses a list of parts whose outermost element is called otherwise than at
//! Amazon (moto 5: `ListPartsResponse`), though all that is in it is as it should be; without that list an upload that was cut
//! short would begin again.

use aws_sdk_s3::primitives::ByteStream;
use aws_smithy_types::body::SdkBody;
use hyper::header::{CONTENT_LENGTH, HeaderValue};
use hyper::{Method, Request, Response};
use std::error::Error as StdError;

const ROOT: &str = "ListPartsResult";
/// The default that S3 lists at once is 1,000 parts of about 400 bytes.
const MOST: usize = 4 << 20;

/// Whether a request asks which parts an upload has.
pub fn lists_parts(request: &Request<SdkBody>) -> bool {
    let named = |q: &str| q.split('&').any(|p| p.starts_with("uploadId="));
    request.method() == Method::GET && request.uri().query().is_some_and(named)
}

/// Gives a list of parts the name that the SDK knows.
pub async fn root(response: Response<SdkBody>) -> Result<Response<SdkBody>, Box<dyn StdError + Send + Sync>> {
    let length = response.headers().get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<usize>().ok());
    if !response.status().is_success() || length.is_some_and(|n| n > MOST) {
        return Ok(response);
    }
    let (mut head, body) = response.into_parts();
    let bytes = ByteStream::new(body).collect().await?.into_bytes();
    let Some(mended) = std::str::from_utf8(&bytes).ok().and_then(renamed) else {
        return Ok(Response::from_parts(head, SdkBody::from(bytes)));
    };
    head.headers.insert(CONTENT_LENGTH, HeaderValue::from(mended.len()));
    Ok(Response::from_parts(head, SdkBody::from(mended)))
}

/// The text with its outermost element called [`ROOT`]; `None` where it is, or is none that lists parts.
fn renamed(xml: &str) -> Option<String> {
    let begin = xml.match_indices('<').map(|(i, _)| i + 1).find(|i| xml[*i..].starts_with(|c: char| c.is_ascii_alphabetic()))?;
    let name = xml[begin..].split(|c: char| c.is_whitespace() || c == '>' || c == '/').next()?;
    let end = xml.rfind(&format!("</{name}"))? + 2;
    let other = name != ROOT && name.starts_with("List") && name.contains("Part");
    other.then(|| format!("{}{ROOT}{}{ROOT}{}", &xml[..begin], &xml[begin + name.len()..end], &xml[end + name.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_outermost_name_is_changed() {
        let moto =
            "<?xml version=\"1.0\"?>\n<ListPartsResponse xmlns=\"http://s3/\"><Part><PartNumber>1</PartNumber></Part></ListPartsResponse>";
        let amazon =
            "<?xml version=\"1.0\"?>\n<ListPartsResult xmlns=\"http://s3/\"><Part><PartNumber>1</PartNumber></Part></ListPartsResult>";
        assert_eq!(renamed(moto).as_deref(), Some(amazon));
        for other in [amazon, "<Error><Code>NoSuchUpload</Code></Error>", "", "<", "<ListPartsResponse>", "no XML"] {
            assert_eq!(renamed(other), None, "{other}");
        }
    }
}
