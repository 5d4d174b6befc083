//! Settings from anybody's environment and files: refused or taken, never with a word of a secret.

use std::ffi::OsString;
use std::fs;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use xray_processor_worker::config::{Sources, load, render_json, render_text};

use crate::cases;
use crate::damage::damaged;

/// Stands in every value that may be a secret, and nowhere else.
const SECRET: &str = "hunter2";

const VALUES: &[&str] = &[
    "",
    " ",
    "0",
    "1",
    "-1",
    "007",
    "1e3",
    "99999999999999999999",
    "0x10",
    "true",
    "No",
    "null",
    "a",
    "a,b,,c",
    ",",
    "a=b;c=d",
    "=",
    ";",
    "a=",
    "10 MiB",
    "5 parsecs",
    "memory",
    "kafka",
    "rabbitmq",
    "sqs",
    "quorum",
    "scram-sha-256",
    "sasl_ssl",
    "localhost",
    "localhost:8080",
    "127.0.0.1:8080",
    "[::1]:80",
    "::1",
    "https://h:99999",
    "http://",
    "https://h/p?q#f",
    "tcp://10.0.0.1:9000",
    "amqp://h",
    "amqps://a,amqps://b/v",
    "amqp://%zz@h",
    "../x",
    "debug",
    "json",
    "\u{0}",
    "ü\n",
];

/// Values in which a secret may stand; only where it has no place at all is it nobody's.
const SECRETS: &[&str] = &[
    "hunter2",
    "https://user:hunter2@h",
    "https://hunter2@h:1/",
    "amqp://u:hunter2@h/v",
    "amqp://u:hunter2@h:x",
    "amqp://u:hunter2@",
    "sasl.password=hunter2",
    "sasl.password=hunter2;group.id=x",
];

/// Whether people put secrets into it.
fn is_private(name: &str) -> bool {
    let words = ["PASSWORD", "SECRET", "TOKEN", "ACCESS_KEY", "AMQP_URL", "PROPERTIES", "CLICKHOUSE_HOST", "ENDPOINT"];
    words.iter().any(|word| name.contains(word)) && !name.ends_with("_FILE")
}

/// Names of variables, with their places in the file.
fn names() -> Vec<(&'static str, &'static str)> {
    load(&Sources::default()).unwrap().resolved.iter().map(|it| (it.env, it.path)).collect()
}

fn value(name: &str) -> BoxedStrategy<String> {
    let plain = prop_oneof![4 => select(VALUES).prop_map(str::to_owned), 1 => "\\PC{0,30}"];
    // A host alone is no secret.
    let private = select(if name.contains("HOST") || name.contains("ENDPOINT") { &SECRETS[1..3] } else { SECRETS });
    if is_private(name) { prop_oneof![plain, private.prop_map(str::to_owned)].boxed() } else { plain.boxed() }
}

fn setting() -> impl Strategy<Value = (&'static str, &'static str, String)> {
    select(names()).prop_flat_map(|(env, path)| (Just(env), Just(path), value(env)))
}

/// What is said of it, in every way.
fn said(sources: &Sources) -> String {
    match load(sources) {
        Ok(loaded) => format!("{loaded:?}\n{}\n{}", render_text(&loaded), render_json(&loaded)),
        Err(problems) => format!("{problems:?}\n{problems}"),
    }
}

proptest! {
    #![proptest_config(cases(16))]

    #[test]
    fn any_environment(settings in prop::collection::vec(setting(), 0..8), odd in any::<Index>(), letter in "[A-Z_]?") {
        let mut env: Vec<(OsString, OsString)> =
            settings.iter().map(|(name, _, value)| (name.into(), value.into())).collect();
        // And one that is nearly right.
        let (mut name, _) = names()[odd.index(names().len())];
        name = name.strip_suffix('S').unwrap_or(name);
        env.push((format!("{name}{letter}").into(), "1".into()));
        let sources = Sources { env, ..Sources::default() };
        let text = said(&sources);
        prop_assert!(!text.contains(SECRET), "{}", text);
        prop_assert_eq!(text, said(&sources));
    }

    #[test]
    fn any_file(settings in prop::collection::vec(setting(), 0..6), quotes in any::<bool>(), text in damaged(Just(String::new()))) {
        let dir = tempfile::tempdir().unwrap();
        let line = |(_, path, value): &(&str, &str, String)| {
            let value = if quotes { format!("{value:?}") } else { value.clone() };
            format!("{path} = {value}\n").into_bytes()
        };
        let mut file: Vec<u8> = settings.iter().flat_map(line).collect();
        file.extend(text);
        fs::write(dir.path().join("xray.toml"), file).unwrap();
        let sources = Sources { file: Some(dir.path().join("xray.toml")), ..Sources::default() };
        let text = said(&sources);
        prop_assert!(!text.contains(SECRET), "{}", text);
        prop_assert_eq!(text, said(&sources));
    }
}
