//! One place has the version, and a build says which it is.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::files::{VERSION, file, read, said};
use crate::support::worker::ran;

#[test]
fn the_version_is_that_of_cargo_toml_everywhere() {
    let changes = read("CHANGELOG.md");
    let newest = changes.lines().find_map(|line| line.strip_prefix("## ")).unwrap();
    assert!(newest.starts_with(&format!("{VERSION} ")) || newest == "Unreleased", "CHANGELOG.md begins with {newest}");
    for path in ["compose/base.yml", "compose/embedded.yml", "deploy/kubernetes/kustomization.yaml", "docs/deploy.md"] {
        let text = read(path);
        let mut tags = text.split("xray-processor-worker:").skip(1).chain(text.split("newTag: ").skip(1)).peekable();
        assert!(tags.peek().is_some(), "{path} names no image");
        for tag in tags.filter(|tag| tag.starts_with(|char: char| char.is_ascii_digit())) {
            assert!(tag.starts_with(VERSION), "{path} has another version: {}", tag.lines().next().unwrap());
        }
    }
}

/// The image is compiled with the oldest Rust that will do, which is what CI tests with.
#[test]
fn the_image_is_compiled_with_the_oldest_rust() {
    let oldest = env!("CARGO_PKG_RUST_VERSION");
    let dockerfile = read("Dockerfile");
    let rust = dockerfile.lines().find_map(|line| line.strip_prefix("FROM rust:")).unwrap();
    assert!(rust.starts_with(&format!("{oldest}.")), "FROM rust:{rust}, and rust-version is {oldest}");
}

#[test]
fn a_binary_says_which_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (code, stdout, _) = ran(dir.path(), &["--version"]);
    assert_eq!(code, 0);
    let rest = stdout
        .strip_prefix(&format!("xray-processor-worker {VERSION} (revision "))
        .unwrap_or_else(|| panic!("{stdout}"));
    assert!(rest.contains("; queues ") && rest.contains("memory") && rest.ends_with(")\n"), "{stdout}");
}

/// What the build script says of a directory in a release.
fn revision(script: &Path, dir: &Path, told: Option<&str>) -> String {
    let mut command = Command::new(script);
    command.current_dir(dir).env_remove("XRAY_REVISION").env("CARGO_MANIFEST_DIR", dir).env("PROFILE", "release");
    if let Some(told) = told {
        command.env("XRAY_REVISION", told);
    }
    let text = said(&mut command);
    text.lines().find_map(|line| line.strip_prefix("cargo:rustc-env=XRAY_REVISION=")).unwrap().to_owned()
}

#[test]
fn a_release_knows_its_commit_and_a_tarball_knows_none() {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("build-script");
    said(Command::new("rustc").args(["--edition", "2024", "-o"]).arg(&script).arg(file("build.rs")));

    let repository = dir.path().join("repository");
    let unpacked = repository.join("unpacked");
    fs::create_dir_all(&unpacked).unwrap();
    fs::write(repository.join("Cargo.toml"), "one").unwrap();
    assert_eq!(revision(&script, &repository, None), "unknown");
    let git = |words: &[&str]| {
        let name = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"];
        said(Command::new("git").args(name).args(words).current_dir(&repository))
    };
    git(&["init", "-q"]);
    git(&["add", "."]);
    git(&["commit", "-q", "-m", "one"]);
    let commit = git(&["rev-parse", "--short=12", "HEAD"]);
    assert_eq!(revision(&script, &repository, None), commit.trim());
    assert_eq!(revision(&script, &repository, Some("told")), "told");
    // Below a repository that is another's.
    assert_eq!(revision(&script, &unpacked, None), "unknown");
    fs::write(repository.join("Cargo.toml"), "two").unwrap();
    assert_eq!(revision(&script, &repository, None), format!("{}-dirty", commit.trim()));
}
