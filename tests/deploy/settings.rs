//! Every setting that is named where one deploys is one of the worker's, and its value is right.

use std::ffi::OsString;

use xray_processor_worker::config::{Config, Sources, load};

use crate::compose::{Composed, DEPLOYMENTS};
use crate::files::{read, variables};

/// The configuration of these variables; `Err` names what is wrong, an unknown name included.
fn loaded(variables: &[(String, String)]) -> Result<Config, String> {
    let env = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect();
    let loaded = load(&Sources { env, ..Sources::default() }).map_err(|problems| problems.to_string())?;
    let known = |name: &str| {
        loaded.resolved.iter().any(|it| it.env == name || name.strip_suffix("_FILE").is_some_and(|name| name == it.env))
    };
    let unknown: Vec<&str> = variables.iter().map(|(name, _)| name.as_str()).filter(|name| !known(name)).collect();
    let unused: Vec<&String> = loaded.warnings.iter().collect();
    match (unknown.is_empty(), unused.is_empty()) {
        (true, true) => Ok(loaded.config),
        _ => Err(format!("unknown: {unknown:?} {unused:?}")),
    }
}

fn check(what: &str, variables: &[(String, String)]) -> Config {
    loaded(variables).unwrap_or_else(|problem| panic!("{what}: {problem}"))
}

/// Whole seconds behind a word in a manifest.
fn seconds(text: &str, before: &str) -> u128 {
    let rest = text.split(before).nth(1).unwrap_or_else(|| panic!("no {before}"));
    let digits: String = rest.trim_start().chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

#[test]
fn compose() {
    for files in DEPLOYMENTS {
        let composed = Composed::of(files);
        for (name, service) in composed.ours() {
            let config = check(&format!("{files:?} {name}"), &composed.variables(name).into_iter().collect::<Vec<_>>());
            let kind = config.queue.kind.to_string();
            assert!(files.contains(&kind.as_str()) || kind == "memory", "{files:?}: {kind}");
            if name == "worker" {
                let grace = service["stop_grace_period"].as_str().unwrap();
                assert!(
                    seconds(&format!("={grace}"), "=") > config.timeouts.shutdown.as_millis() / 1000,
                    "{files:?}: {grace}"
                );
            }
        }
    }
}

#[test]
fn image() {
    let dockerfile = read("Dockerfile");
    let (_, lines) = dockerfile.rsplit_once("\nFROM ").unwrap();
    let set: Vec<String> = lines.lines().filter_map(|line| line.strip_prefix("ENV ")).map(str::to_owned).collect();
    let config = check("Dockerfile", &variables(&set.join("\n")));
    assert!(config.http.addr.ip().is_unspecified(), "from outside a container its loopback address cannot be reached");
}

#[test]
fn kubernetes() {
    let all = [read("deploy/kubernetes/settings.env"), read("deploy/kubernetes/secrets.env")].join("\n");
    let config = check("deploy/kubernetes", &variables(&all));
    let grace = seconds(&read("deploy/kubernetes/deployment.yaml"), "terminationGracePeriodSeconds:");
    assert!(grace > config.timeouts.shutdown.as_millis() / 1000);
}

#[test]
fn systemd() {
    let config = check("deploy/systemd", &variables(&read("deploy/systemd/worker.env")));
    let stop = seconds(&read("deploy/systemd/xray-processor-worker.service"), "TimeoutStopSec=");
    assert!(stop > config.timeouts.shutdown.as_millis() / 1000);
}

/// This test fails where it should.
#[test]
fn what_is_misspelt_is_found() {
    for (name, value) in
        [("CLICKHOUSE_HSOT", "a"), ("HTTP_ADR", "0.0.0.0:1"), ("LOG_LEVELS", "info"), ("QUEUE_TYPE", "kafak")]
    {
        let problem = loaded(&[(name.into(), value.into())]).unwrap_err();
        assert!(problem.contains(name), "{problem}");
    }
}
