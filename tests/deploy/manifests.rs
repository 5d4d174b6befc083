//! Kubernetes' manifests and the systemd unit, as the tools that read them see them.

use std::fs;
use std::process::Command;

use crate::files::{VERSION, file, read, said, tool};

const RULE: &str = "monitoring/prometheusrule.yaml";
const RULE_HEAD: &str = "\
# Made of alerts.yml: UPDATE_DOCS=1 cargo test --test deploy
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: xray-processor-worker
spec:
";

/// The pod, the Service and the rest by the schemas of Kubernetes; kinds of others are only put together.
#[test]
fn kubernetes_takes_them() {
    let dir = tempfile::tempdir().unwrap();
    for (at, from, kinds) in [
        ("deploy/kubernetes", "1.27", 6),
        ("deploy/kubernetes", "1.37", 6),
        ("monitoring", "1.37", 3),
        ("deploy/kubernetes/autoscaling", "1.37", 1),
    ] {
        let built = said(&mut tool("kustomize", &["build", at]));
        assert_eq!(built.matches("\nkind: ").count() + usize::from(built.starts_with("kind: ")), kinds, "{built}");
        let path = dir.path().join("built.yaml");
        fs::write(&path, built).unwrap();
        said(&mut tool("kubernetes-validate", &["--strict", "--version", from, path.to_str().unwrap()]));
    }
}

#[test]
fn the_pod_is_what_the_image_is() {
    let built = said(&mut tool("kustomize", &["build", "deploy/kubernetes"]));
    let user = read("Dockerfile").lines().find_map(|line| line.strip_prefix("USER ").map(str::to_owned)).unwrap();
    let user = user.split(':').next().unwrap();
    for line in [
        &format!("image: xray-processor-worker:{VERSION}"),
        &format!("runAsUser: {user}"),
        "runAsNonRoot: true",
        "readOnlyRootFilesystem: true",
        "enableServiceLinks: false",
        "path: /healthz",
        "path: /readyz",
    ] {
        assert!(built.contains(line), "no {line}");
    }
}

/// What selects pods and names none, or others, does nothing, and nobody says so.
#[test]
fn each_selector_finds_the_pod() {
    let label = "app.kubernetes.io/name: xray-processor-worker";
    let mut built = said(&mut tool("kustomize", &["build", "deploy/kubernetes"]));
    built.push_str("---\n");
    built.push_str(&said(&mut tool("kustomize", &["build", "monitoring"])));
    for kind in ["Service", "Deployment", "PodDisruptionBudget", "PodMonitor"] {
        let begin = format!("\nkind: {kind}\n");
        let document = built.split("---\n").find(|document| document.contains(&begin));
        let (_, spec) = document.and_then(|it| it.split_once("\nspec:")).unwrap_or_else(|| panic!("no {kind}"));
        let selector = spec.split_once("\n  selector:").unwrap_or_else(|| panic!("{kind} has no selector")).1;
        let words: Vec<&str> = selector.lines().map(str::trim).filter(|line| !line.is_empty()).take(2).collect();
        assert!(words[0] == label || words == ["matchLabels:", label], "{kind}: {words:?}");
    }
}

/// One list of alerts: the operator's form of it is made of it.
#[test]
fn the_rule_is_the_alerts() {
    let alerts = read("monitoring/alerts.yml");
    let groups = &alerts[alerts.find("groups:").unwrap()..];
    let indented = groups.lines().map(|line| if line.is_empty() { String::new() } else { format!("  {line}") });
    let rule = format!("{RULE_HEAD}{}\n", indented.collect::<Vec<_>>().join("\n"));
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(file(RULE), &rule).unwrap();
    }
    assert!(read(RULE) == rule, "{RULE} is not made of alerts.yml: UPDATE_DOCS=1 cargo test --test deploy");
}

#[test]
fn systemd_takes_the_unit() {
    let dir = tempfile::tempdir().unwrap();
    let name = "xray-processor-worker.service";
    let unit = read(&format!("deploy/systemd/{name}"));
    let unit = unit.replace("/usr/local/bin/xray-processor-worker", env!("CARGO_BIN_EXE_xray-processor-worker"));
    let path = dir.path().join(name);
    fs::write(&path, unit).unwrap();
    let analyze = |args: &[&str]| Command::new("systemd-analyze").args(args).arg(&path).output().unwrap();
    let verified = analyze(&["verify", "--man=no"]);
    let complaints = String::from_utf8_lossy(&verified.stderr);
    // Other units of the machine are none of ours.
    let ours: Vec<&str> = complaints.lines().filter(|line| line.contains(name)).collect();
    assert!(verified.status.success() && ours.is_empty(), "{complaints}");
    // From 0, safe, to 10.
    let safe = analyze(&["security", "--offline=true", "--no-pager", "--threshold=20"]);
    assert!(safe.status.success(), "{}", String::from_utf8_lossy(&safe.stdout));
}
