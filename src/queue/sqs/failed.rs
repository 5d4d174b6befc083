//! How a request to SQS failed, in plain terms. What that means to people is said in [`trouble`](super::trouble).

use crate::aws::{self, Unreached, root_cause, unreached};
use crate::hidden::without_secrets;
use aws_sdk_sqs::config::http::HttpResponse;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::types::BatchResultErrorEntry;
use std::error::Error;

/// A request that did not do what it was to do.
#[derive(Debug)]
pub(super) enum Failed {
    /// SQS refused it.
    Refused(Refusal),
    /// There was an answer, which is none of SQS's.
    Strange(u16),
    /// There was none, or not to its end. The request may have taken effect.
    Unreached(Unreached, String),
    /// It could not be signed: AWS's chain found no credentials.
    Credentials(String),
}

/// What SQS answered.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) code: String,
    pub(super) message: String,
}

/// What a refusal is about, as far as one would act differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    NoQueue,
    /// A queue of that name was deleted less than a minute ago.
    JustDeleted,
    UnknownKey,
    WrongSecret,
    Expired,
    Denied,
    WrongClock,
    WrongRegion,
    Encryption,
    /// More messages are held, by all workers, than SQS lets them.
    OverLimit,
    Throttled,
    TooLong,
    /// The server is in trouble.
    Busy,
    Refused,
}

use Verdict as V;

/// Codes of SQS, by its JSON protocol and by the one before (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/>),
/// without what stands before a dot.
const CODES: &[(&str, Verdict)] = &[
    ("QueueDoesNotExist", V::NoQueue),
    ("NonExistentQueue", V::NoQueue),
    ("QueueDeletedRecently", V::JustDeleted),
    ("InvalidClientTokenId", V::UnknownKey),
    ("UnrecognizedClientException", V::UnknownKey),
    ("InvalidAccessKeyId", V::UnknownKey),
    ("SignatureDoesNotMatch", V::WrongSecret),
    ("InvalidSignatureException", V::WrongSecret),
    ("IncompleteSignature", V::WrongSecret),
    ("ExpiredToken", V::Expired),
    ("ExpiredTokenException", V::Expired),
    ("AccessDenied", V::Denied),
    ("AccessDeniedException", V::Denied),
    ("NotAuthorized", V::Denied),
    ("OptInRequired", V::Denied),
    ("RequestExpired", V::WrongClock),
    ("RequestTimeTooSkewed", V::WrongClock),
    ("InvalidAddress", V::WrongRegion),
    ("KmsAccessDenied", V::Encryption),
    ("KmsDisabled", V::Encryption),
    ("KmsInvalidKeyUsage", V::Encryption),
    ("KmsInvalidState", V::Encryption),
    ("KmsNotFound", V::Encryption),
    ("KmsOptInRequired", V::Encryption),
    ("KmsThrottled", V::Throttled),
    ("OverLimit", V::OverLimit),
    ("RequestThrottled", V::Throttled),
    ("Throttling", V::Throttled),
    ("ThrottlingException", V::Throttled),
    ("TooManyRequestsException", V::Throttled),
    ("BatchRequestTooLong", V::TooLong),
    ("InternalError", V::Busy),
    ("InternalFailure", V::Busy),
    ("ServiceUnavailable", V::Busy),
];

impl Refusal {
    pub(super) fn verdict(&self) -> Verdict {
        let code = self.code.rsplit('.').next().unwrap_or_default();
        let known = CODES.iter().find(|(known, _)| *known == code).map(|(_, verdict)| *verdict);
        known.unwrap_or(match self.status {
            429 => V::Throttled,
            500.. => V::Busy,
            // The two say the same; servers other than AWS's may know only this.
            400 if self.message.contains("specified queue does not exist") => V::NoQueue,
            400 if self.message.contains("must be shorter than") || self.message.contains("MessageTooLong") => {
                V::TooLong
            }
            401 | 403 => V::Denied,
            _ => V::Refused,
        })
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
                let (status, meta) = (refusal.raw().status().as_u16(), refusal.err());
                match meta.code() {
                    Some(code) => Failed::Refused(Refusal {
                        status,
                        code: shortened(code, 100),
                        message: shortened(meta.message().unwrap_or_default(), 300),
                    }),
                    None => Failed::Strange(status),
                }
            }
            SdkError::ResponseError(answer) => Failed::Strange(answer.raw().status().as_u16()),
            SdkError::TimeoutError(_) => Failed::Unreached(Unreached::Late, root_cause(&error)),
            _ => match aws::no_credentials(&error) {
                Some(cause) => Failed::Credentials(cause),
                None => Failed::Unreached(unreached(&error), root_cause(&error)),
            },
        }
    }

    /// Of one message among others.
    pub(super) fn entry(entry: &BatchResultErrorEntry) -> Failed {
        let (code, message) = (entry.code(), entry.message().unwrap_or_default());
        let status = if entry.sender_fault() { 400 } else { 500 };
        Failed::Refused(Refusal { status, code: shortened(code, 100), message: shortened(message, 300) })
    }

    /// It could not even be put together.
    pub(super) fn unsendable(cause: impl Error) -> Failed {
        Failed::Unreached(Unreached::Unsendable, cause.to_string())
    }

    pub(super) fn verdict(&self) -> Option<Verdict> {
        match self {
            Failed::Refused(refusal) => Some(refusal.verdict()),
            _ => None,
        }
    }

    /// Whether it may just not happen again: then once is none.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Failed::Refused(refusal) => matches!(refusal.verdict(), V::Throttled | V::Busy | V::JustDeleted),
            Failed::Unreached(why, _) => matches!(why, Unreached::Broken | Unreached::Late | Unreached::NoConnection),
            Failed::Strange(status) => *status >= 500,
            Failed::Credentials(_) => false,
        }
    }

    /// What is known of it in the words of server or library, without advice.
    pub(super) fn cause(&self) -> String {
        match self {
            Failed::Refused(Refusal { code, message, .. }) if message.is_empty() => code.clone(),
            Failed::Refused(Refusal { code, message, .. }) => format!("{code}: {message}"),
            Failed::Strange(status) => format!("HTTP {status}"),
            Failed::Unreached(_, cause) | Failed::Credentials(cause) => cause.clone(),
        }
    }
}

/// In one line and bounded: it comes from a server that may be anything.
fn shortened(text: &str, chars: usize) -> String {
    let text = without_secrets(text);
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    text.chars().filter(|char| !char.is_control()).take(chars).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(status: u16, code: &str, message: &str) -> Verdict {
        Refusal { status, code: code.into(), message: message.into() }.verdict()
    }

    #[test]
    fn codes_of_both_protocols() {
        assert_eq!(verdict(400, "QueueDoesNotExist", ""), V::NoQueue);
        assert_eq!(verdict(400, "AWS.SimpleQueueService.NonExistentQueue", ""), V::NoQueue);
        assert_eq!(verdict(400, "InvalidParameterValue", "The specified queue does not exist."), V::NoQueue);
        assert_eq!(verdict(400, "AWS.SimpleQueueService.QueueDeletedRecently", ""), V::JustDeleted);
        assert_eq!(verdict(400, "KMS.ThrottlingException", ""), V::Throttled);
        assert_eq!(
            (verdict(503, "?", ""), verdict(429, "?", ""), verdict(403, "?", "")),
            (V::Busy, V::Throttled, V::Denied)
        );
        assert_eq!(verdict(400, "InvalidParameterValue", "Value for parameter"), V::Refused);
    }

    #[test]
    fn one_line() {
        let failed =
            Failed::Refused(Refusal { status: 400, code: "X".into(), message: shortened("a\r\n\u{1b}[31m  b", 99) });
        assert_eq!(failed.cause(), "X: a [31m b");
    }
}
