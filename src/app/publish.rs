//! An input put on the broker.

use super::producer::AnyProducer;
use crate::config::Config;
use crate::exit::Failure;
use crate::feed::Input;
use crate::progress;
use crate::publish::{Destinations, Published, publish as publish_all};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::time::sleep;

/// A broker that confirms nothing for so long is worth a word.
const SILENCE: Duration = Duration::from_secs(10);
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// Publishes a file, or standard input for `-`, and returns how many messages went to each destination, all confirmed.
pub async fn publish(config: &Config, file: &Path, rate: Option<u32>) -> Result<BTreeMap<String, u64>, Failure> {
    let without = "QUEUE_TYPE is memory, which has no broker to publish to: set QUEUE_TYPE to one, or use `run --input` or \
                   POST /ingest";
    let (producer, to) = AnyProducer::start(config, without)?;
    let Input::Text { reader, bytes, .. } = Input::open(file).await? else {
        return Err(Failure::failed("an input that is opened is text"));
    };
    let (published, destinations) = (Published::default(), Destinations::new(&to));
    let confirmed = || published.confirmed.load(Relaxed);
    let outcome = tokio::select! {
        outcome = publish_all(&producer, &destinations, reader, rate, &published) => outcome,
        never = say_if_stalled(&published) => match never {},
        never = progress::show(&confirmed, "messages published", &published.read, bytes) => match never {},
    };
    outcome.map_err(|error| {
        Failure::failed(format!(
            "{error}; {} messages are confirmed, and publishing all of it again does no harm",
            confirmed()
        ))
    })
}

async fn say_if_stalled(published: &Published) -> Infallible {
    loop {
        published.stalled(SILENCE).await;
        progress::warn(&format!(
            "the broker has confirmed nothing for {} s: it may be away, or short of memory or disk; waiting",
            SILENCE.as_secs()
        ));
        sleep(SAY_AGAIN).await;
    }
}
