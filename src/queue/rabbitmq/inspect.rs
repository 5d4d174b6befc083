//! What `check` asks RabbitMQ. Takes no message.

use super::connect::{Connected, connect_any};
use super::hosts::Hosts;
use super::trouble;
use crate::causes;
use crate::check::Findings;
use crate::config::Rabbitmq;
use crate::span::span;
use lapin::options::{BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, LongString};
use lapin::{Channel, Queue};

/// Arguments of a queue that take messages away which the worker has not seen, and what each does.
const LOSING: [(&str, &str); 4] = [
    ("x-message-ttl", "messages expire, seen or not"),
    ("x-max-length", "the oldest are dropped when it is full"),
    ("x-max-length-bytes", "the oldest are dropped when it is full"),
    ("x-expires", "it is deleted when nobody uses it for a while"),
];

/// All of it.
pub async fn inspect(settings: &Rabbitmq) -> Findings {
    let mut found = Findings::about("rabbitmq");
    let connected = match Hosts::new(settings) {
        Ok(hosts) => connect_any(&hosts, 0, "check").await,
        Err(error) => Err(error),
    };
    let connected = match connected {
        Ok((_, connected)) => connected,
        Err(error) => {
            found.fail(causes::chain(&error));
            return found;
        }
    };
    let host = &connected.host;
    found.ok(format!("{host} answers and lets {} into the vhost {:?}", host.user(), host.vhost()));
    let mut there = 0;
    for name in &settings.queues {
        there += u32::from(queue(&connected, settings, name, &mut found).await);
    }
    if there == 0 && settings.declare == "no" {
        found.fail(trouble::missing(&host.to_string(), &names(settings)).to_string());
    }
    found.ok(format!(
        "RABBITMQ_CONSUMER_TIMEOUT_MS is {}; AMQP does not tell the broker's consumer_timeout, which must not be smaller \
         (`rabbitmqctl environment`), nor which policies dead-letter or expire messages (`rabbitmqctl list_policies`)",
        span(settings.consumer_timeout.as_secs_f64())
    ));
    // Fails where the broker ends it first.
    connected.connection.close(200, "checked".into()).await.ok();
    found
}

fn names(settings: &Rabbitmq) -> Vec<&str> {
    settings.queues.iter().map(String::as_str).collect()
}

/// Whether it is there.
async fn queue(connected: &Connected, settings: &Rabbitmq, name: &str, found: &mut Findings) -> bool {
    let host = &connected.host;
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    match declare(connected, name, passive, FieldTable::default()).await {
        Ok((channel, queue)) => {
            let (ready, consumers) = (queue.message_count(), queue.consumer_count());
            found.ok(format!("queue {name}: {ready} messages are ready, {consumers} consumers"));
            may_consume(connected, channel, name, ready, found).await;
            arguments(connected, name, found).await;
            true
        }
        Err(error) if trouble::is_missing(&error) => {
            match settings.declare {
                "no" => found.warn(
                    format!("there is no queue {name}"),
                    "it is waited for: create it, or set RABBITMQ_QUEUES or RABBITMQ_DECLARE",
                ),
                kind => found.ok(format!(
                    "there is no queue {name} yet; a worker creates it if it may ({kind}, RABBITMQ_DECLARE)"
                )),
            }
            false
        }
        Err(error) => {
            found.fail(causes::chain(&trouble::not_consuming(host, name, &error)));
            true
        }
    }
}

async fn declare(
    connected: &Connected,
    name: &str,
    options: QueueDeclareOptions,
    arguments: FieldTable,
) -> Result<(Channel, Queue), lapin::Error> {
    let channel = connected.connection.create_channel().await?;
    let queue = channel.queue_declare(name.into(), options, arguments).await?;
    Ok((channel, queue))
}

/// Only where nothing would come: what came would cost a delivery attempt.
async fn may_consume(connected: &Connected, channel: Channel, name: &str, ready: u32, found: &mut Findings) {
    if ready > 0 {
        return;
    }
    let tag = format!("xray-check-{}", std::process::id());
    // A queue may be empty because workers keep up: what comes goes to them first, and one message comes here at most.
    let mut last = FieldTable::default();
    last.insert("x-priority".into(), AMQPValue::LongInt(-1000));
    channel.basic_qos(1, BasicQosOptions::default()).await.ok();
    let consumed = channel.basic_consume(name.into(), tag.into(), BasicConsumeOptions::default(), last).await;
    match consumed {
        Ok(_) => found.ok(format!("queue {name} may be consumed")),
        Err(error) => found.fail(causes::chain(&trouble::not_consuming(&connected.host, name, &error))),
    }
}

/// What a queue was made with is told to whoever declares it otherwise, which changes nothing: it is there.
async fn arguments(connected: &Connected, name: &str, found: &mut Findings) {
    for kind in ["quorum", "classic"] {
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString(LongString::from(kind)));
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        match declare(connected, name, durable, arguments).await {
            Ok(_) if kind == "classic" => {
                return found.warn(
                    format!("queue {name} is a classic queue, which is on one node and gone with its disk"),
                    "use quorum queues where losing messages matters",
                );
            }
            Ok(_) => return found.ok(format!("queue {name} is a quorum queue without further arguments")),
            Err(error) if trouble::is_other(&error) => {
                let text = error.to_string();
                // There are none of the other kind that would be told of first.
                if !text.contains("'x-queue-type'") {
                    return judge(name, &text, found);
                }
            }
            // Declaring asks for a right that consuming does not.
            Err(_) => return,
        }
    }
}

/// Of `inequivalent arg 'x-message-ttl' for queue …: received none but current is the value '60000' …`.
fn judge(name: &str, text: &str, found: &mut Findings) {
    let argument = text.split_once("arg '").and_then(|(_, rest)| rest.split_once('\'')).map(|(argument, _)| argument);
    let value = text.split_once("the value '").and_then(|(_, rest)| rest.split_once('\'')).map(|(value, _)| value);
    let (Some(argument), value) = (argument, value.unwrap_or("?")) else { return };
    let losing = LOSING.iter().find(|(losing, _)| *losing == argument).map(|(_, what)| *what);
    let limit = (argument == "x-delivery-limit").then(|| value.parse::<i64>().ok()).flatten();
    match (argument, losing, limit) {
        (_, Some(what), _) => {
            found.warn(format!("queue {name} has {argument}={value}: {what}"), "make it anew without");
        }
        (_, _, Some(limit)) if (0..100).contains(&limit) => found.warn(
            format!("queue {name} gives up on a message after {limit} deliveries (x-delivery-limit): crashes alone use that up"),
            "set it to 100 or more, or to -1: what is no event becomes a dead letter of the worker's own",
        ),
        ("durable", ..) => {
            found.warn(format!("queue {name} is not durable: it is gone with the broker"), "make it anew, durable");
        }
        _ => found.ok(format!("queue {name} has {argument}={value}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Level;

    #[test]
    fn arguments_that_fight_ours() {
        let said = |argument: &str, value: &str| {
            let text = format!(
                "PRECONDITION_FAILED - inequivalent arg '{argument}' for queue 'q' in vhost '/': received none but current is the \
                 value '{value}' of type 'signedint'"
            );
            let mut found = Findings::about("rabbitmq");
            judge("q", &text, &mut found);
            found.into_all().remove(0)
        };
        assert_eq!(
            said("x-message-ttl", "60000").text,
            "queue q has x-message-ttl=60000: messages expire, seen or not"
        );
        assert_eq!(said("x-delivery-limit", "3").level, Level::Warn);
        assert_eq!([said("x-delivery-limit", "-1").level, said("x-delivery-limit", "100").level], [Level::Ok; 2]);
        assert_eq!(said("durable", "false").level, Level::Warn);
        assert_eq!(said("x-single-active-consumer", "true").level, Level::Ok);
    }
}
