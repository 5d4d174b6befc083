use super::*;

const STORES: [&str; 2] = ["objects", "database"];

fn registered() -> (Registry, Metrics, Budget, Health) {
    let (mut registry, budget, health) = (Registry::default(), Budget::new(10, 1 << 20), Health::default());
    let metrics = Metrics::register(&mut registry, QueueType::Memory, &STORES, &budget, &health);
    (registry, metrics, budget, health)
}

fn has(registry: &Registry, line: &str) -> bool {
    text(registry).unwrap().lines().any(|present| present == line)
}

#[test]
fn every_series_is_there_at_zero_with_its_documented_name() {
    let (registry, ..) = registered();
    for line in [
        r#"xray_events_received_total{queue="memory",kind="decision"} 0"#,
        r#"xray_events_received_total{queue="memory",kind="unknown"} 0"#,
        "xray_events_stored_total 0",
        r#"xray_dead_letters_total{code="empty"} 0"#,
        r#"xray_dead_letters_total{code="store_refused"} 0"#,
        "xray_redeliveries_total 0",
        "xray_in_flight_messages 0",
        "xray_in_flight_bytes 0",
        "xray_oldest_unacked_seconds 0.0",
        r#"xray_flush_seconds_count{stage="derived"} 0"#,
        "xray_flush_events_count 0",
        r#"xray_store_errors_total{store="objects",retryable="true"} 0"#,
        r#"xray_store_errors_total{store="database",retryable="false"} 0"#,
        r#"xray_store_up{store="objects"} 0"#,
        "xray_end_to_end_seconds_count 0",
    ] {
        assert!(has(&registry, line), "{line} in\n{}", text(&registry).unwrap());
    }
}

#[test]
fn every_sample_belongs_to_a_family_with_help_and_type() {
    let text = text(&registered().0).unwrap();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        for announced in [format!("# HELP {family} "), format!("# TYPE {family} ")] {
            assert_eq!(text.lines().filter(|line| line.starts_with(&announced)).count(), 1, "{announced}");
        }
    }
}

#[test]
fn kafka_does_not_tell_of_redeliveries() {
    let (mut registry, budget, health) = (Registry::default(), Budget::new(10, 1 << 20), Health::default());
    Metrics::register(&mut registry, QueueType::Kafka, &STORES, &budget, &health);
    assert!(!text(&registry).unwrap().contains("redeliveries"));
}

#[test]
fn counts_arrive() {
    let (registry, metrics, budget, health) = registered();
    metrics.received(Some(Kind::Run), 1);
    metrics.received(None, 1);
    metrics.stored(7);
    metrics.dead_letter(Code::NotJson);
    metrics.redelivered();
    metrics.flush(Stage::Facts, 0.007, 42);
    metrics.flush(Stage::Derived, 0.007, 42);
    metrics.store_failed("database", true);
    metrics.end_to_end(4.0);
    metrics.end_to_end(-60.0);
    health.dependency("database").up();
    assert!(!text(&registry).unwrap().contains("xray_queue_lag_messages"), "not known yet");
    metrics.lag(Some(12));
    let hold = budget.hold(1000);
    for line in [
        r#"xray_events_received_total{queue="memory",kind="run"} 1"#,
        r#"xray_events_received_total{queue="memory",kind="unknown"} 1"#,
        "xray_events_stored_total 7",
        r#"xray_dead_letters_total{code="not_json"} 1"#,
        "xray_redeliveries_total 1",
        r#"xray_flush_seconds_bucket{le="0.005",stage="facts"} 0"#,
        r#"xray_flush_seconds_bucket{le="0.01",stage="facts"} 1"#,
        "xray_flush_events_sum 42.0",
        r#"xray_store_errors_total{store="database",retryable="true"} 1"#,
        r#"xray_end_to_end_seconds_bucket{le="2.5"} 1"#,
        r#"xray_end_to_end_seconds_bucket{le="5.0"} 2"#,
        "xray_end_to_end_seconds_sum 4.0",
        r#"xray_store_up{store="database"} 1"#,
        r#"xray_store_up{store="objects"} 0"#,
        "xray_queue_lag_messages 12",
        "xray_in_flight_messages 1",
        "xray_in_flight_bytes 2024",
    ] {
        assert!(has(&registry, line), "{line} in\n{}", text(&registry).unwrap());
    }
    drop(hold);
    assert!(has(&registry, "xray_in_flight_messages 0"));
}

#[test]
fn the_heavy_lane_counts_who_is_in_it() {
    let (registry, metrics, ..) = registered();
    let guests = [metrics.enter_heavy_lane(), metrics.enter_heavy_lane()];
    assert!(has(&registry, "xray_heavy_lane_messages 2"));
    drop(guests);
    assert!(has(&registry, "xray_heavy_lane_messages 0"));
}

#[test]
fn a_broker_is_up_or_not_and_a_queue_of_our_own_is_neither() {
    assert!(!text(&registered().0).unwrap().contains("xray_queue_up"));
    let (mut registry, budget, health) = (Registry::default(), Budget::new(10, 1 << 20), Health::default());
    Metrics::register(&mut registry, QueueType::Nats, &STORES, &budget, &health);
    assert!(has(&registry, r#"xray_queue_up{queue="nats"} 0"#));
    health.dependency("nats").up();
    assert!(has(&registry, r#"xray_queue_up{queue="nats"} 1"#));
}

#[test]
fn the_build_and_the_process_are_there() {
    let text = text(&registered().0).unwrap();
    let build = format!(r#"xray_build_info{{version="{}",revision=""#, env!("CARGO_PKG_VERSION"));
    for begin in [
        &*build,
        "process_cpu_seconds_total ",
        "process_start_time_seconds ",
        "process_resident_memory_bytes ",
        "process_virtual_memory_bytes ",
        "process_open_fds ",
        "process_max_fds ",
    ] {
        assert!(text.lines().any(|line| line.starts_with(begin)), "{begin} in\n{text}");
    }
}
