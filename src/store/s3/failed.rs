//! How a request failed, in plain terms. What that means is decided in [`fault`](super::fault).

use crate::aws::{Unreached, no_credentials, root_cause, unreached};
use crate::hidden::without_secrets;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use chrono::{DateTime, Utc};
use std::error::Error;

/// A request that did not do what it was to do.
#[derive(Debug)]
pub(super) enum Failed {
    /// There was an answer, of the wrong kind.
    Answered(Box<Answer>),
    /// There was none, or not to its end. The request may have taken effect.
    Unreached(Unreached, String),
    /// It could not be signed: AWS's chain found no credentials.
    Credentials(String),
    /// What is there is longer than we would read.
    TooLarge {
        /// How much we would.
        limit: u64,
    },
}

/// What of an answer helps to say what is wrong.
#[derive(Debug, Clone, Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// The `Code` of an error as S3 answers it; `None`: it did not answer like S3.
    pub(super) code: Option<String>,
    pub(super) message: Option<String>,
    pub(super) content_type: Option<String>,
    /// The region that it says is the right one.
    pub(super) region: Option<String>,
    /// The host that it says is the right one.
    pub(super) host: Option<String>,
    /// The object that it blames.
    pub(super) key: Option<String>,
    /// Its clock.
    pub(super) server_time: Option<DateTime<Utc>>,
    /// It spoke plain HTTP only to say that it wants TLS.
    pub(super) wants_tls: bool,
}

impl Answer {
    /// A good answer that lacks what S3 always gives, so that nothing proves that anything was stored.
    pub(super) fn strange(status: u16, content_type: Option<&str>) -> Failed {
        let content_type = content_type.map(str::to_owned);
        Failed::Answered(Box::new(Answer { status, content_type, ..Answer::default() }))
    }

    /// One object was refused in an answer about many.
    pub(super) fn refused(code: Option<&str>, message: Option<&str>) -> Failed {
        let (code, message) = (code.map(|text| shortened(text, 100)), message.map(|text| shortened(text, 300)));
        Failed::Answered(Box::new(Answer { status: 400, code, message, ..Answer::default() }))
    }

    /// An answer of the wrong kind whose body has been read.
    pub(super) fn in_full(response: &HttpResponse, body: &[u8]) -> Failed {
        let body = String::from_utf8_lossy(body);
        let (code, message) = (xml_text(&body, "Code"), xml_text(&body, "Message"));
        Failed::Answered(Box::new(Answer::read(response, &body, code, message)))
    }

    fn of(response: &HttpResponse, code: Option<&str>, message: Option<&str>) -> Self {
        let body = response.body().bytes().map(String::from_utf8_lossy).unwrap_or_default();
        Answer::read(response, &body, code, message)
    }

    fn read(response: &HttpResponse, body: &str, code: Option<&str>, message: Option<&str>) -> Self {
        let header = |name| response.headers().get(name);
        let time = |text: &str| DateTime::parse_from_rfc3339(text).or_else(|_| DateTime::parse_from_rfc2822(text)).ok();
        // Where there is none, the SDK makes one up for some answers.
        let code = code.filter(|_| body.contains("<Code>"));
        let said = xml_text(body, "ServerTime").and_then(time).or_else(|| header("date").and_then(time));
        Answer {
            status: response.status().as_u16(),
            code: code.map(|text| shortened(text, 100)),
            message: message.map(|text| shortened(text, 300)),
            content_type: header("content-type").map(|text| shortened(text, 60)),
            region: header("x-amz-bucket-region").or_else(|| xml_text(body, "Region")).map(|text| shortened(text, 100)),
            host: xml_text(body, "Endpoint").map(|text| shortened(text, 300)),
            key: xml_text(body, "Key").map(str::to_owned),
            server_time: said.map(|time| time.to_utc()),
            wants_tls: body.contains("HTTP request to an HTTPS server") || body.contains("plain HTTP request was sent"),
        }
    }

    /// `HTTP 403 AccessDenied: Access Denied.`
    fn cause(&self) -> String {
        let mut text = format!("HTTP {}", self.status);
        for (before, part) in [(" ", &self.code), (": ", &self.message)] {
            if let Some(part) = part.as_deref().filter(|part| !part.is_empty()) {
                text.push_str(before);
                text.push_str(part);
            }
        }
        text
    }
}

impl Failed {
    /// From the SDK's error.
    pub(super) fn of<E>(error: SdkError<E, HttpResponse>) -> Failed
    where
        E: Error + ProvideErrorMetadata + 'static,
    {
        match &error {
            SdkError::ServiceError(refusal) => {
                let meta = refusal.err();
                return Failed::Answered(Box::new(Answer::of(refusal.raw(), meta.code(), meta.message())));
            }
            SdkError::TimeoutError(_) => return Failed::Unreached(Unreached::Late, root_cause(&error)),
            _ => {}
        }
        match no_credentials(&error) {
            Some(cause) => Failed::Credentials(cause),
            None => Failed::Unreached(unreached(&error), root_cause(&error)),
        }
    }

    /// It could not even be put together.
    pub(super) fn unsendable(cause: String) -> Failed {
        Failed::Unreached(Unreached::Unsendable, cause)
    }

    /// The answer, if it has this status.
    pub(super) fn status(&self) -> Option<u16> {
        match self {
            Failed::Answered(answer) => Some(answer.status),
            _ => None,
        }
    }

    /// The code of the answer.
    pub(super) fn code(&self) -> Option<&str> {
        match self {
            Failed::Answered(answer) => answer.code.as_deref(),
            _ => None,
        }
    }

    /// The server's clock, where ours is too far from it.
    pub(super) fn skewed(&self) -> Option<DateTime<Utc>> {
        match self {
            Failed::Answered(answer) if self.code() == Some("RequestTimeTooSkewed") => answer.server_time,
            _ => None,
        }
    }

    /// What is known of it in the words of server or library, without advice.
    pub(super) fn cause(&self) -> String {
        match self {
            Failed::Answered(answer) => answer.cause(),
            Failed::Unreached(_, cause) | Failed::Credentials(cause) => cause.clone(),
            Failed::TooLarge { limit } => format!("more than {limit} bytes"),
        }
    }
}

/// The text of the first element of this name. Enough for the flat errors of S3.
fn xml_text<'a>(body: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = body.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    Some(text.trim()).filter(|text| !text.is_empty() && text.len() <= 1024)
}

/// In one line and bounded: it comes from a server that may be anything.
fn shortened(text: &str, chars: usize) -> String {
    without_secrets(text)
        .chars()
        .map(|char| if char.is_control() { ' ' } else { char })
        .take(chars)
        .collect::<String>()
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements() {
        let body = "<?xml version=\"1.0\"?><Error><Code>X</Code><Region> eu-west-1 </Region><Key></Key></Error>";
        assert_eq!(xml_text(body, "Region"), Some("eu-west-1"));
        assert_eq!((xml_text(body, "Key"), xml_text(body, "Host"), xml_text("<Region>", "Region")), (None, None, None));
        assert_eq!(shortened(" a\r\nb\u{1b}[31m ", 5), "a  b");
    }

    #[test]
    fn causes() {
        let answer = |code: &str, message: &str| Answer {
            status: 403,
            code: Some(code.into()),
            message: Some(message.into()),
            ..Answer::default()
        };
        assert_eq!(answer("AccessDenied", "No.").cause(), "HTTP 403 AccessDenied: No.");
        assert_eq!(answer("AccessDenied", "").cause(), "HTTP 403 AccessDenied");
        assert_eq!(Answer { status: 200, ..Answer::default() }.cause(), "HTTP 200");
    }
}
