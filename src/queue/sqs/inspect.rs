//! What `check` asks SQS. Receives no message: that would count against its receive count.

use super::advice::advice;
use super::client::{Clients, Connection};
use super::failed::{Failed, Verdict};
use super::ledger::Act;
use super::request::{self, Attributes};
use super::source::Source;
use super::trouble::{self, Doing};
use crate::causes;
use crate::check::Findings;
use crate::config::Sqs;
use crate::span::span;

/// A handle of no message. Whoever may not delete is told so before it is looked at.
const NO_MESSAGE: &str = "xray-processor-worker-check";

/// All of it.
pub async fn inspect(settings: &Sqs) -> Findings {
    let mut found = Findings::about("sqs");
    let asked = super::sources(settings).and_then(|sources| Ok((sources, Clients::new(settings)?)));
    let (sources, clients) = match asked {
        Ok(asked) => asked,
        Err(error) => {
            found.fail(causes::chain(&error));
            return found;
        }
    };
    for source in &sources {
        match clients.of(source).await {
            Ok(connection) => queue(&connection, &clients.endpoint(source), source, settings, &mut found).await,
            Err(error) => found.fail(causes::chain(&error)),
        }
    }
    leases(settings, &mut found);
    found
}

async fn queue(connection: &Connection, at: &str, source: &Source, settings: &Sqs, found: &mut Findings) {
    let name = &source.label;
    let said = |doing: Doing, failed: &Failed| causes::chain(&trouble::failed(doing, name, at, failed));
    match request::look(&connection.calls, source).await {
        Ok(attributes) => {
            found.ok(format!("queue {name} at {at}: {} messages", attributes.messages));
            policies(name, &attributes, found);
        }
        Err(failed) => match failed.verdict() {
            Some(Verdict::NoQueue) if settings.create_queues => {
                return found
                    .ok(format!("there is no queue {name} yet; a worker creates it if it may (SQS_CREATE_QUEUES)"));
            }
            Some(Verdict::Denied) => {
                found.warn(said(Doing::Look, &failed), "a worker can do without, but does not know its lag then");
            }
            _ => return found.fail(said(Doing::Look, &failed)),
        },
    }
    let nothing = [(0, NO_MESSAGE.into())];
    let mut denied = false;
    for act in [Act::Delete, Act::Renew] {
        let told = request::tell(&connection.calls, source, act, &nothing, settings.visibility_timeout).await;
        if let Err(failed) = told
            && failed.verdict() == Some(Verdict::Denied)
        {
            denied = true;
            found.fail(said(Doing::Consume, &failed));
        }
    }
    if !denied {
        found.ok(format!("we may delete and renew messages of {name}"));
    }
}

fn policies(name: &str, attributes: &Attributes, found: &mut Findings) {
    for advice in advice(attributes) {
        // What to do stands behind the last full stop but one.
        let (what, todo) = advice.rsplit_once(". ").unwrap_or((&advice, "see docs/brokers.md"));
        found.warn(format!("queue {name}: {what}"), todo);
    }
}

/// Messages are renewed at half of their time, over requests that may take theirs.
fn leases(settings: &Sqs, found: &mut Findings) {
    let (hidden, request) = (settings.visibility_timeout, settings.timeout);
    let text = format!("messages are hidden for {} and renewed at half of that", span(hidden.as_secs_f64()));
    match request * 2 > hidden / 2 {
        true => found.warn(
            format!(
                "{text}, and a request may take {}: one that is slow can come too late",
                span(request.as_secs_f64())
            ),
            "raise SQS_VISIBILITY_TIMEOUT_MS to four times SQS_TIMEOUT_MS or more",
        ),
        false => found.ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Level;
    use crate::config::Config;
    use std::time::Duration;

    #[test]
    fn renewals_come_in_time() {
        let level = |millis: u64| {
            let visibility_timeout = Duration::from_millis(millis);
            let mut found = Findings::about("sqs");
            leases(&Sqs { visibility_timeout, ..Config::default().sqs }, &mut found);
            found.into_all().remove(0).level
        };
        assert_eq!([level(30_000), level(20_000), level(10_000)], [Level::Ok, Level::Ok, Level::Warn]);
    }

    #[test]
    fn policies_are_told_with_what_to_do() {
        let attributes = Attributes { messages: 0, redrive_policy: None, retention: Some(Duration::from_secs(60)) };
        let mut found = Findings::about("sqs");
        policies("q", &attributes, &mut found);
        let finding = found.into_all().remove(0);
        assert!(finding.text.ends_with("what is not stored by then is lost"), "{finding:?}");
        assert!(finding.advice.unwrap().starts_with("Raise it"));
    }
}
