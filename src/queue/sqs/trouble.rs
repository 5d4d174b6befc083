//! What is wrong with SQS, in one sentence each: what failed on what, and what to do about it.

use super::failed::{Failed, Verdict};
use crate::aws::Unreached;
use crate::queue::QueueError;

/// What was to be done with a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doing {
    Consume,
    Look,
    Create,
    Publish,
}

impl Doing {
    fn verb(self) -> &'static str {
        match self {
            Doing::Consume => "consumed",
            Doing::Look => "looked at",
            Doing::Create => "created",
            Doing::Publish => "sent to",
        }
    }

    fn rights(self) -> &'static str {
        match self {
            Doing::Consume => "sqs:ReceiveMessage, sqs:DeleteMessage and sqs:ChangeMessageVisibility",
            Doing::Look => "sqs:GetQueueAttributes",
            Doing::Create => "sqs:CreateQueue",
            Doing::Publish => "sqs:SendMessage",
        }
    }
}

/// A request about a queue failed.
pub(super) fn failed(doing: Doing, queue: &str, at: &str, failed: &Failed) -> QueueError {
    let text = match failed {
        Failed::Refused(refusal) => match refusal.verdict() {
            Verdict::NoQueue => return missing(at, &[queue]),
            verdict => refused(doing, queue, at, verdict),
        },
        Failed::Strange(_) => {
            format!("what answers at {at} is not SQS; look at SQS_ENDPOINT and SQS_QUEUE_URL: is that the right port?")
        }
        Failed::Unreached(why, _) => unreached(at, *why),
        Failed::Credentials(_) => "AWS's default chain found no credentials for SQS: set AWS_ACCESS_KEY_ID and \
                                   AWS_SECRET_ACCESS_KEY, or give this machine a profile or a role"
            .to_owned(),
    };
    QueueError::new(text).because(failed.cause())
}

fn refused(doing: Doing, queue: &str, at: &str, verdict: Verdict) -> String {
    match verdict {
        Verdict::UnknownKey => format!("SQS at {at} does not know our access key; look at AWS_ACCESS_KEY_ID"),
        Verdict::WrongSecret => {
            format!("the secret key does not fit the access key for SQS at {at}; look at AWS_SECRET_ACCESS_KEY")
        }
        Verdict::Expired => format!("the temporary credentials for SQS at {at} have expired; renew them"),
        Verdict::Denied => {
            format!("SQS at {at} does not let us use the queue {queue}; grant {} on it", doing.rights())
        }
        Verdict::WrongClock => format!("the clock of this machine is not that of SQS at {at}; set it right (NTP)"),
        Verdict::WrongRegion => format!("the queue {queue} is not at {at}; look at its region in SQS_QUEUE_URL"),
        Verdict::Encryption => format!(
            "the key of the encrypted queue {queue} cannot be used; grant kms:Decrypt on it (and kms:GenerateDataKey to send)"
        ),
        Verdict::OverLimit => format!(
            "more messages of the queue {queue} are held than SQS allows (120,000); the workers go on when some of them are \
             stored"
        ),
        Verdict::Throttled => {
            format!("SQS at {at} has more requests to the queue {queue} than it allows; the worker slows down")
        }
        Verdict::JustDeleted => format!(
            "the queue {queue} was deleted less than a minute ago, and SQS at {at} does not create it anew before that is over"
        ),
        Verdict::Busy => format!("SQS at {at} is in trouble"),
        Verdict::TooLong => format!("SQS at {at} does not take a message that long to the queue {queue}"),
        Verdict::NoQueue | Verdict::Refused => format!("the queue {queue} at {at} cannot be {}", doing.verb()),
    }
}

fn unreached(at: &str, why: Unreached) -> String {
    let address = "look at SQS_ENDPOINT and SQS_QUEUE_URL";
    match why {
        Unreached::Refused => format!("SQS at {at} cannot be reached: nothing listens there; start it, or {address}"),
        Unreached::Unresolved => format!("the name of SQS at {at} cannot be resolved; {address}"),
        Unreached::NoConnection => {
            format!("SQS at {at} cannot be reached: no connection comes about; {address}, and at what is in between")
        }
        Unreached::Late => format!("SQS at {at} does not answer in time (SQS_TIMEOUT_MS)"),
        Unreached::Broken | Unreached::HungUp => {
            format!(
                "the connection to SQS at {at} broke before the end of an answer; if that stays so, {address}: http or https?"
            )
        }
        Unreached::NotTls => {
            format!("what listens at {at} does not speak TLS; begin SQS_ENDPOINT or SQS_QUEUE_URL with http://")
        }
        Unreached::UnknownIssuer => {
            format!("SQS at {at} has a certificate of a CA that we do not trust; name that CA in SQS_CA_FILE")
        }
        Unreached::WrongName => format!("SQS at {at} has a certificate for another name; {address}"),
        Unreached::Expired => {
            format!("SQS at {at} has a certificate that is not valid now; renew it, or set this machine's clock right")
        }
        Unreached::Tls => format!("TLS with SQS at {at} fails"),
        Unreached::NotHttp => format!("what listens at {at} does not answer in HTTP; {address}: http or https?"),
        Unreached::Unsendable => format!("a request to SQS at {at} cannot be made"),
        Unreached::Unknown => format!("there was no answer of SQS at {at}"),
    }
}

/// None of what is to be consumed exists.
pub(super) fn missing(at: &str, queues: &[&str]) -> QueueError {
    let (what, them) = if queues.len() == 1 { ("no queue", "it") } else { ("none of the queues", "them") };
    QueueError::new(format!(
        "SQS at {at} has {what} {}; create {them}, or set SQS_QUEUE_URL or SQS_CREATE_QUEUES",
        queues.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::chain;
    use crate::queue::sqs::failed::Refusal;

    fn said(doing: Doing, code: &str) -> String {
        let refusal = Refusal { status: 400, code: code.into(), message: "words of SQS".into() };
        chain(&failed(doing, "q", "http://sqs", &Failed::Refused(refusal)))
    }

    #[test]
    fn sentences_name_what_to_look_at() {
        assert_eq!(
            said(Doing::Consume, "InvalidClientTokenId"),
            "SQS at http://sqs does not know our access key; look at AWS_ACCESS_KEY_ID: InvalidClientTokenId: words of SQS"
        );
        for (doing, code, word) in [
            (Doing::Consume, "SignatureDoesNotMatch", "AWS_SECRET_ACCESS_KEY"),
            (Doing::Consume, "AccessDenied", "sqs:ReceiveMessage"),
            (Doing::Look, "AccessDenied", "sqs:GetQueueAttributes"),
            (Doing::Publish, "AccessDenied", "sqs:SendMessage"),
            (Doing::Consume, "QueueDoesNotExist", "has no queue q; create it, or set SQS_QUEUE_URL"),
            (Doing::Consume, "OverLimit", "120,000"),
            (Doing::Create, "InvalidParameterValue", "cannot be created"),
        ] {
            let said = said(doing, code);
            assert!(said.contains(word), "{said}");
        }
        let tls = Failed::Unreached(Unreached::UnknownIssuer, "invalid peer certificate".into());
        assert!(chain(&failed(Doing::Consume, "q", "https://sqs", &tls)).contains("SQS_CA_FILE"));
        assert!(chain(&missing("http://sqs", &["a", "b"])).contains("none of the queues a, b; create them"));
    }
}
