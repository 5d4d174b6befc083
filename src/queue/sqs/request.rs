//! The requests that a queue is worked on with.

use super::failed::{Failed, Verdict};
use super::ledger::{Act, Outcome};
use super::message::{ATTRIBUTES, TYPE};
use super::source::Source;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, Message,
    QueueAttributeName,
};
use std::sync::Arc;
use std::time::Duration;

/// What is told about a queue.
#[derive(Debug)]
pub(super) struct Attributes {
    /// Messages that are there, given out or not.
    pub(super) messages: u64,
    /// As JSON.
    pub(super) redrive_policy: Option<String>,
    /// How long a message is kept.
    pub(super) retention: Option<Duration>,
}

/// Receives up to so many messages, each hidden from others for a while.
pub(super) async fn poll(
    client: &Client,
    source: &Source,
    messages: usize,
    wait: Duration,
    visibility: Duration,
) -> Result<Vec<Message>, Failed> {
    let request = client
        .receive_message()
        .queue_url(&source.url)
        .max_number_of_messages(i32::try_from(messages).unwrap_or(1))
        .wait_time_seconds(seconds(wait))
        .visibility_timeout(seconds(visibility))
        .set_message_system_attribute_names(Some(ATTRIBUTES.to_vec()))
        .message_attribute_names(TYPE);
    let answer = request.send().await.map_err(Failed::of)?;
    Ok(answer.messages.unwrap_or_default())
}

/// Tells SQS something about up to ten messages, and what became of each. `Err`: of all of them the same.
pub(super) async fn tell(
    client: &Client,
    source: &Source,
    act: Act,
    messages: &[(u64, Arc<str>)],
    visibility: Duration,
) -> Result<Vec<(u64, Outcome)>, Failed> {
    match tell_at_once(client, source, act, messages, visibility).await {
        // Which one it is about is not said.
        Err(failed) if failed.verdict() == Some(Verdict::Refused) => {
            let mut outcomes = Vec::with_capacity(messages.len());
            for message in messages {
                let alone = std::slice::from_ref(message);
                match tell_at_once(client, source, act, alone, visibility).await {
                    Ok(outcome) => outcomes.extend(outcome),
                    Err(failed) if failed.verdict() == Some(Verdict::Refused) => {
                        outcomes.push((message.0, Outcome::Gone))
                    }
                    Err(failed) => return Err(failed),
                }
            }
            Ok(outcomes)
        }
        told => told,
    }
}

async fn tell_at_once(
    client: &Client,
    source: &Source,
    act: Act,
    messages: &[(u64, Arc<str>)],
    visibility: Duration,
) -> Result<Vec<(u64, Outcome)>, Failed> {
    let (done, failed): (Vec<_>, _) = match act {
        Act::Delete => {
            let entry = |(id, handle): &(u64, Arc<str>)| {
                DeleteMessageBatchRequestEntry::builder().id(id.to_string()).receipt_handle(&**handle).build()
            };
            let entries: Result<Vec<_>, _> = messages.iter().map(entry).collect();
            let entries = entries.map_err(Failed::unsendable)?;
            let request = client.delete_message_batch().queue_url(&source.url).set_entries(Some(entries));
            let answer = request.send().await.map_err(Failed::of)?;
            (answer.successful.into_iter().map(|entry| entry.id).collect(), answer.failed)
        }
        Act::Renew | Act::Return => {
            let hidden = if act == Act::Renew { seconds(visibility) } else { 0 };
            let entry = |(id, handle): &(u64, Arc<str>)| {
                let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(id.to_string());
                entry.receipt_handle(&**handle).visibility_timeout(hidden).build()
            };
            let entries: Result<Vec<_>, _> = messages.iter().map(entry).collect();
            let entries = entries.map_err(Failed::unsendable)?;
            let request = client.change_message_visibility_batch().queue_url(&source.url).set_entries(Some(entries));
            let answer = request.send().await.map_err(Failed::of)?;
            (answer.successful.into_iter().map(|entry| entry.id).collect(), answer.failed)
        }
    };
    Ok(messages.iter().map(|(id, _)| (*id, outcome(&id.to_string(), &done, &failed))).collect())
}

/// What is refused for what it is will be again: a handle that has expired, a message that was deleted before. Of what is not
/// spoken of at all it was no SQS that spoke.
fn outcome(id: &str, done: &[String], failed: &[BatchResultErrorEntry]) -> Outcome {
    match failed.iter().find(|entry| entry.id() == id) {
        None if done.iter().any(|done| done == id) => Outcome::Done,
        None => Outcome::Again,
        Some(entry) => match Failed::entry(entry).verdict() {
            Some(Verdict::Refused | Verdict::NoQueue) => Outcome::Gone,
            _ => Outcome::Again,
        },
    }
}

/// Asks about the queue itself.
pub(super) async fn look(client: &Client, source: &Source) -> Result<Attributes, Failed> {
    let request = client.get_queue_attributes().queue_url(&source.url).attribute_names(QueueAttributeName::All);
    let attributes = request.send().await.map_err(Failed::of)?.attributes.unwrap_or_default();
    let number = |name: QueueAttributeName| attributes.get(&name).and_then(|text| text.parse::<u64>().ok());
    let messages = [
        QueueAttributeName::ApproximateNumberOfMessages,
        QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
        QueueAttributeName::ApproximateNumberOfMessagesDelayed,
    ];
    Ok(Attributes {
        messages: messages.into_iter().filter_map(number).sum(),
        redrive_policy: attributes.get(&QueueAttributeName::RedrivePolicy).cloned(),
        retention: number(QueueAttributeName::MessageRetentionPeriod).map(Duration::from_secs),
    })
}

/// Creates the queue. One of that name that is there already, whatever its attributes, is as good.
pub(super) async fn create(client: &Client, source: &Source) -> Result<(), Failed> {
    let mut request = client.create_queue().queue_name(&*source.name);
    if source.is_fifo() {
        request = request.attributes(QueueAttributeName::FifoQueue, "true");
    }
    match request.send().await.map_err(Failed::of) {
        Err(Failed::Refused(refusal)) if refusal.code.ends_with("QueueNameExists") => Ok(()),
        created => created.map(drop),
    }
}

/// SQS counts whole ones.
fn seconds(time: Duration) -> i32 {
    i32::try_from(time.as_millis().div_ceil(1000)).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_entries_are_tried_again() {
        let entry = |id: &str, code: &str, ours: bool| {
            BatchResultErrorEntry::builder().id(id).code(code).sender_fault(ours).build().unwrap()
        };
        let failed = [
            entry("1", "InternalError", false),
            entry("2", "ReceiptHandleIsInvalid", true),
            entry("3", "RequestThrottled", true),
            entry("4", "MessageNotInflight", true),
        ];
        let outcomes: Vec<_> =
            ["0", "1", "2", "3", "4", "5"].iter().map(|id| outcome(id, &["0".into()], &failed)).collect();
        let [done, again, gone] = [Outcome::Done, Outcome::Again, Outcome::Gone];
        assert_eq!(outcomes, [done, again, gone, again, gone, again]);
    }

    #[test]
    fn whole_seconds() {
        assert_eq!([0, 1, 1000, 1001].map(|ms| seconds(Duration::from_millis(ms))), [0, 1, 1, 2]);
    }
}
