//! Logs: text on a terminal, JSON elsewhere, always on standard error. Standard output is for results.

use std::io::{IsTerminal, stderr};
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::util::TryInitError;
use tracing_subscriber::{Layer, layer::SubscriberExt, registry, util::SubscriberInitExt};

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object per line, the fields of an event at its top level.
    Json,
}

/// Starts logging for the whole process; fails where something logs already. Without a format, standard error decides:
/// text on a terminal, JSON elsewhere.
pub fn init(level: LevelFilter, format: Option<Format>) -> Result<(), TryInitError> {
    let terminal = stderr().is_terminal();
    let format = format.unwrap_or(if terminal { Format::Text } else { Format::Json });
    subscriber(level, format, terminal, stderr).try_init()
}

fn subscriber<W>(level: LevelFilter, format: Format, terminal: bool, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    // A line that cannot be written is lost: the alternative, complaining on standard error, panics where that is closed.
    let layer = fmt::layer().with_writer(writer).log_internal_errors(false);
    let layer = match format {
        Format::Json => layer.json().flatten_event(true).boxed(),
        Format::Text if terminal => layer.boxed(), // in colour unless NO_COLOR says otherwise
        Format::Text => layer.with_ansi(false).boxed(),
    };
    // What libraries do is of interest only where it goes wrong.
    let targets = Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        // Those of AWS warn at every attempt about what we say ourselves, once and with what to do.
        .with_target("aws_", level.min(LevelFilter::ERROR))
        // The client of RabbitMQ calls every closed channel an error; we look at each, and say it once.
        .with_target("lapin", LevelFilter::OFF)
        // And that of NATS every login that is refused.
        .with_target("async_nats", LevelFilter::OFF)
        .with_target(env!("CARGO_CRATE_NAME"), level);
    // Not the layer's own filter: that drops a line after each record of a library that it was asked about and refused.
    registry().with(targets).with(layer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::{Arc, Mutex};
    use tracing::callsite::{Callsite, Identifier};
    use tracing::dispatcher::get_default;
    use tracing::field::FieldSet;
    use tracing::metadata::Kind;
    use tracing::subscriber::Interest;
    use tracing::{Level, Metadata};

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(level: LevelFilter, format: Format, log: impl FnOnce()) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        tracing::subscriber::with_default(subscriber(level, format, false, move || writer.clone()), log);
        String::from_utf8(sink.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn json_has_the_fields_at_the_top() {
        let text = logged(LevelFilter::INFO, Format::Json, || tracing::info!(store = "objects", "is up again"));
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["message"], "is up again");
        assert_eq!(line["store"], "objects");
        assert_eq!(line["level"], "INFO");
    }

    #[test]
    fn libraries_speak_only_when_something_is_wrong() {
        let text = logged(LevelFilter::TRACE, Format::Text, || {
            tracing::trace!("ours");
            tracing::info!(target: "hyper::client", "theirs, chatty");
            tracing::warn!(target: "hyper::client", "theirs, wrong");
        });
        assert!(text.contains("ours") && text.contains("theirs, wrong"), "{text}");
        assert!(!text.contains("chatty") && !text.contains('\u{1b}'), "{text}");
    }

    /// As the bridge asks that brings in what libraries say through `log`, librdkafka's among them.
    #[test]
    fn what_is_refused_costs_nothing_that_follows() {
        struct Theirs;
        impl Callsite for Theirs {
            fn set_interest(&self, _: Interest) {}
            fn metadata(&self) -> &Metadata<'_> {
                &METADATA
            }
        }
        static METADATA: Metadata<'_> = {
            let fields = FieldSet::new(&[], Identifier(&Theirs));
            Metadata::new("event", "rdkafka", Level::INFO, None, None, None, fields, Kind::EVENT)
        };
        let text = logged(LevelFilter::INFO, Format::Text, || {
            tracing::info!("before");
            assert!(!get_default(|ours| ours.enabled(&METADATA)));
            tracing::info!("after");
        });
        assert!(text.contains("before") && text.contains("after"), "{text}");
    }

    #[test]
    fn error_silences_warnings_of_everyone() {
        let text = logged(LevelFilter::ERROR, Format::Text, || {
            tracing::warn!("ours");
            tracing::warn!(target: "hyper::client", "theirs");
        });
        assert_eq!(text, "");
    }
}
