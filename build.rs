//! Which commit this is, for `--version` and the metric `xray_build_info`: `XRAY_REVISION` where whoever builds knows, else
//! in a release what git says of this directory, else nothing. Git is asked for releases only, or each commit would have
//! everything compiled anew.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=XRAY_REVISION");
    let told = std::env::var("XRAY_REVISION").ok().filter(|told| !told.is_empty());
    let release = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let revision = told.or_else(|| release.then(of_git).flatten()).unwrap_or_else(|| "unknown".into());
    println!("cargo:rustc-env=XRAY_REVISION={revision}");
}

/// The commit that is checked out, and whether anything else is.
fn of_git() -> Option<String> {
    // What is unpacked below another repository is none of its commits.
    let top = git(&["rev-parse", "--show-toplevel"])?;
    let here = std::env::var("CARGO_MANIFEST_DIR").ok()?;
    if Path::new(&top).canonicalize().ok()? != Path::new(&here).canonicalize().ok()? {
        return None;
    }
    let head = git(&["rev-parse", "--git-path", "logs/HEAD"])?;
    for path in [head.as_str(), "src", "schema", "Cargo.toml", "Cargo.lock"] {
        println!("cargo:rerun-if-changed={path}");
    }
    git(&["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"])
}

fn git(words: &[&str]) -> Option<String> {
    let output = Command::new("git").args(words).output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok().map(|text| text.trim().to_owned())
}
