use prometheus_client::encoding::text::encode_registry;
use prometheus_client::registry::Registry;
use std::collections::HashSet;
use std::fmt;

/// The content type of [`text`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The metrics in the classic text format of Prometheus, which every scraper and `promtool check metrics` read.
pub fn text(registry: &Registry) -> Result<String, fmt::Error> {
    let mut open_metrics = String::new();
    encode_registry(&mut open_metrics, registry)?;
    Ok(classic(&open_metrics))
}

/// OpenMetrics announces a counter without the `_total` of its samples. The classic format knows no such family: it
/// would take the samples for another metric, without a type.
fn classic(open_metrics: &str) -> String {
    let counters: HashSet<&str> = open_metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ").and_then(|rest| rest.strip_suffix(" counter")))
        .collect();
    let mut text = String::with_capacity(open_metrics.len() + 2 * counters.len() * "_total".len());
    for line in open_metrics.lines() {
        match announced(line) {
            Some((name, rest)) if counters.contains(name) => {
                text.extend([&line[..line.len() - rest.len()], "_total", rest, "\n"]);
            }
            _ => text.extend([line, "\n"]),
        }
    }
    text
}

/// The name in a `# HELP` or `# TYPE` line, and what follows it.
fn announced(line: &str) -> Option<(&str, &str)> {
    let named = line.strip_prefix("# HELP ").or_else(|| line.strip_prefix("# TYPE "))?;
    named.find(' ').map(|end| named.split_at(end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::metrics::{counter::Counter, gauge::Gauge};

    #[test]
    fn counters_are_announced_by_the_name_of_their_samples() {
        let mut registry = Registry::default();
        let counter: Counter = Counter::default();
        counter.inc_by(3);
        registry.register("things", "Things, counted", counter);
        registry.register("things_now", "Things there now", Gauge::<i64>::default());
        assert_eq!(
            text(&registry).unwrap(),
            "# HELP things_total Things, counted.\n\
             # TYPE things_total counter\n\
             things_total 3\n\
             # HELP things_now Things there now.\n\
             # TYPE things_now gauge\n\
             things_now 0\n"
        );
    }
}
