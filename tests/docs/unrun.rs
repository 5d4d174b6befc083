//! Commands that no test can run, checked as far as they can be: that what they name is there and takes what it is told.

use std::path::Path;
use std::process::Command;

use crate::markdown::{Block, read, root};
use crate::support::worker::{output, worker};

/// Checks each line of a block.
pub fn check(block: &Block) {
    for line in block.commands.lines() {
        let line = line.split(" #").next().unwrap().trim();
        if !line.is_empty() {
            checked(line).unwrap_or_else(|problem| panic!("{}: {line}: {problem}", block.place));
        }
    }
}

fn checked(line: &str) -> Result<(), String> {
    let (variables, words) = taken_apart(line);
    settings(&variables.into_iter().filter(|(name, _)| *name != "PATH").collect::<Vec<_>>())?;
    match &words[..] {
        [] => Ok(()),
        ["cargo", "build", args @ ..] => features(args),
        ["cargo", "run", args @ ..] => {
            let at = args.iter().position(|word| *word == "--").ok_or("no -- before what the worker is told")?;
            features(&args[..at])?;
            arguments(&args[at + 1..])
        }
        ["xray-processor-worker", args @ ..] => arguments(args),
        ["docker", "compose", args @ ..] => compose(args),
        [script, ..] if script.contains('/') => executable(script),
        _ => Err("this test knows no way to check it".into()),
    }
}

/// Cargo.toml has these features.
fn features(args: &[&str]) -> Result<(), String> {
    let asked = args.windows(2).filter(|pair| pair[0] == "--features").flat_map(|pair| pair[1].split(','));
    let cargo = read("Cargo.toml");
    let unknown = asked.filter(|name| !cargo.contains(&format!("\n{name} = "))).collect::<Vec<_>>().join(", ");
    unknown.is_empty().then_some(()).ok_or(format!("no feature {unknown}"))
}

/// The assignments at the front, and the words after them.
fn taken_apart(line: &str) -> (Vec<(&str, &str)>, Vec<&str>) {
    let mut words: Vec<&str> = line.split_whitespace().skip_while(|word| *word == "export").collect();
    let first = words.iter().position(|word| !word.contains('=')).unwrap_or(words.len());
    let rest = words.split_off(first);
    (words.iter().filter_map(|word| word.split_once('=')).collect(), rest)
}

/// Settings of these names are known, and none is passed over.
fn settings(variables: &[(&str, &str)]) -> Result<(), String> {
    if variables.is_empty() {
        return Ok(());
    }
    let dir = tempfile::tempdir().unwrap();
    let mut command = worker(dir.path(), &["config"]);
    let found = output(command.envs(variables.iter().copied()));
    let (stdout, stderr) = (String::from_utf8_lossy(&found.stdout), String::from_utf8_lossy(&found.stderr));
    let known = variables.iter().all(|(name, _)| stdout.contains(name));
    (found.status.success() && stderr.is_empty() && known).then_some(()).ok_or(format!("{stdout}{stderr}"))
}

/// The command and its options are there.
fn arguments(args: &[&str]) -> Result<(), String> {
    let dir = tempfile::tempdir().unwrap();
    let found = output(&mut worker(dir.path(), &[args, &["--help"]].concat()));
    found.status.success().then_some(()).ok_or(String::from_utf8_lossy(&found.stderr).into_owned())
}

/// Compose reads these files, and knows what is to be run of them.
fn compose(args: &[&str]) -> Result<(), String> {
    let files: Vec<&str> = args.chunks(2).take_while(|pair| pair[0] == "-f").flatten().copied().collect();
    let mut command = Command::new(root().join("tests/servers/tools"));
    command.args(["run", "docker-compose"]).args(&files).args(["--profile", "*", "config", "--services"]);
    let found = output(command.current_dir(root()));
    if !found.status.success() {
        return Err(String::from_utf8_lossy(&found.stderr).into_owned());
    }
    let services = String::from_utf8(found.stdout).unwrap();
    let known = |service: &str| services.lines().any(|line| line == service);
    match &args[files.len()..] {
        ["up", "--build"] | ["up", "--build", "--wait"] | ["down"] | ["down", "-v"] => Ok(()),
        ["run", "--rm", service] if known(service) => Ok(()),
        ["exec", service, "xray-processor-worker", args @ ..] if known(service) => arguments(args),
        rest => Err(format!("{rest:?} is not known here")),
    }
}

fn executable(script: &str) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt as _;
    let path = root().join(Path::new(script));
    let found = path.metadata().map_err(|error| error.to_string())?;
    (found.permissions().mode() & 0o111 != 0).then_some(()).ok_or("cannot be run".into())
}

/// This test fails where it should.
#[test]
fn what_is_wrong_is_found() {
    for line in [
        "QUEUE_TYPE=kafak xray-processor-worker run",
        "KAFKA_BROKER=kafka:9092 xray-processor-worker run",
        "xray-processor-worker run --embeded",
        "docker compose -f compose/nothing.yml up --build",
        "docker compose -f compose/base.yml run --rm nothing",
        "cargo build --features kafak",
        "tests/nothing",
        "rm -r data",
    ] {
        assert!(checked(line).is_err(), "{line}");
    }
    for line in ["export QUEUE_TYPE=kafka", "cargo run --release --locked -- demo", "tests/run"] {
        assert_eq!(checked(line), Ok(()), "{line}");
    }
}
