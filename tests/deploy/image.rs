//! The image without containers: the binary and its entry point in a root directory that has what the image would have, and
//! nothing else, as another user, as process 1, with nothing to write to.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::files::{read, said, tool, variables};
use crate::support::worker::Server;

const BINARY: &str = env!("CARGO_BIN_EXE_xray-processor-worker");
/// What every Debian has, the slim image too.
const ESSENTIAL: [&str; 2] = ["libc6", "libgcc-s1"];

fn instruction(name: &str) -> String {
    let text = read("Dockerfile").replace("\\\n", " ");
    let line = text.lines().rfind(|line| line.starts_with(&format!("{name} "))).unwrap_or_else(|| panic!("no {name}"));
    line[name.len() + 1..].to_owned()
}

/// The words of an instruction that is an array.
fn words(text: &str) -> Vec<String> {
    serde_json::from_str(&text[text.find('[').unwrap()..]).unwrap()
}

/// The libraries it is linked with, the loader included.
fn libraries() -> Vec<PathBuf> {
    let lines = said(Command::new("ldd").arg(BINARY));
    let paths = lines.split_whitespace().filter(|word| word.starts_with('/'));
    paths.map(PathBuf::from).collect()
}

/// A root directory of the image.
struct Root(TempDir);

impl Root {
    fn new() -> Root {
        assert!(
            rustix::process::geteuid().is_root(),
            "other users and process 1 are made by root alone: run this as root"
        );
        let root = Root(tempfile::tempdir().unwrap());
        let binary = root.path("usr/local/bin/xray-processor-worker");
        fs::hard_link(BINARY, &binary).or_else(|_| fs::copy(BINARY, &binary).map(drop)).unwrap();
        for library in libraries() {
            fs::copy(&library, root.path(library.strip_prefix("/").unwrap().to_str().unwrap())).unwrap();
        }
        let certificates = "etc/ssl/certs/ca-certificates.crt";
        fs::copy(Path::new("/").join(certificates), root.path(certificates)).unwrap();
        let data = root.path("data");
        fs::create_dir(&data).unwrap();
        let (user, group) = user();
        chown(&data, Some(user), Some(group)).unwrap();
        for dir in ["", "usr", "usr/local", "usr/local/bin"] {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(root.0.path().join(dir), fs::Permissions::from_mode(0o755)).unwrap();
        }
        root
    }

    /// A path in it, in a directory that is there.
    fn path(&self, path: &str) -> PathBuf {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    /// These words in it as a container would run them: the image's user and variables, process 1, read only but for the volume.
    fn run(&self, words: &[String], env: &[(&str, &str)]) -> Command {
        let root = self.0.path().to_str().unwrap();
        let script = "mount --bind \"$1\" \"$1\" && mount --bind \"$1/data\" \"$1/data\" && mount -o remount,ro,bind \"$1\" \
                      && root=$1 user=$2 && shift 2 && exec chroot --userspec=\"$user\" \"$root\" \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--fork", "--kill-child", "/bin/sh", "-c", script, "sh", root]);
        let (user, group) = user();
        command.arg(format!("{user}:{group}")).args(words);
        command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.envs(variables(&instruction("ENV"))).envs(env.iter().copied());
        command.stdin(Stdio::null());
        command
    }
}

/// The numbers of the image's user and group.
fn user() -> (u32, u32) {
    let user = instruction("USER");
    let (user, group) = user.split_once(':').unwrap();
    (user.parse().unwrap(), group.parse().unwrap())
}

/// The process that `unshare` started.
fn child(of: u32) -> i32 {
    loop {
        let children = fs::read_to_string(format!("/proc/{of}/task/{of}/children")).unwrap();
        if let Some(child) = children.split_whitespace().next() {
            return child.parse().unwrap();
        }
    }
}

#[test]
fn each_library_comes_from_a_package_that_the_image_has() {
    let text = read("Dockerfile").replace("\\\n", " ");
    let installed = text.split("--no-install-recommends ").nth(1).unwrap().split("&&").next().unwrap().to_owned();
    let installed: Vec<&str> = installed.split_whitespace().collect();
    assert!(installed.contains(&"ca-certificates"));
    for library in libraries() {
        // Below /lib it is not known by that name where /lib is a link.
        let real = library.canonicalize().unwrap();
        let package = said(
            Command::new("dpkg-query").arg("-S").arg(real.file_name().map(|name| Path::new("*").join(name)).unwrap()),
        );
        let owner = package.split(':').next().unwrap();
        assert!(installed.contains(&owner) || ESSENTIAL.contains(&owner), "{} is in {owner}", library.display());
    }
}

#[tokio::test]
async fn it_works_read_only_as_nobody_and_as_process_1() {
    let root = Root::new();
    let entrypoint = words(&instruction("ENTRYPOINT"));
    let env = [
        ("XRAY_DATA_DIR", "/data"),
        ("INGEST_TOKEN", "t"),
        ("STATUS_TOKEN", "t"),
        ("LOG_FORMAT", "json"),
        ("HTTP_ADDR", "0.0.0.0:0"),
    ];
    let mut server = Server::spawn(root.run(&entrypoint, &env));
    let port = server.address.port();

    // As itself, without a single capability, and the first of its processes.
    let pid = child(server.process.0.id());
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    let (user, _) = self::user();
    assert!(field("Uid:").starts_with(&user.to_string()), "{status}");
    assert!(field("NSpid:").ends_with("\t1"), "{status}");
    assert_eq!(field("CapEff:"), "0000000000000000");

    let event = r#"{"id":"r","pipelineId":"p","status":"running","startedAt":"2026-01-31T12:00:00Z"}"#;
    let posted = reqwest::Client::new()
        .post(format!("http://127.0.0.1:{port}/ingest"))
        .header("authorization", "Bearer t")
        .header("content-type", "application/json")
        .body(event)
        .send()
        .await
        .unwrap();
    assert_eq!(posted.status(), 200);

    // As the image's health check asks, in a container of the same network.
    let at = format!("127.0.0.1:{port}");
    let healthy = || words(&instruction("HEALTHCHECK"));
    assert_eq!(said(&mut root.run(&healthy(), &[("HTTP_ADDR", &at)])), "ok\n");
    let ready: Value = serde_json::from_str(&said(
        &mut root.run(&[healthy(), vec!["--ready".into()]].concat(), &[("HTTP_ADDR", &at)]),
    ))
    .unwrap();
    assert_eq!(ready["ready"], true, "{ready}");

    // `docker stop`.
    kill_process(Pid::from_raw(pid).unwrap(), Signal::TERM).unwrap();
    assert!(server.process.ended().success());
    let nobody = root.run(&healthy(), &[("HTTP_ADDR", &at)]).output().unwrap();
    assert_eq!(nobody.status.code(), Some(1), "{}", String::from_utf8_lossy(&nobody.stderr));
    assert!(root.path("data/objects/runs/2026/01/31/r.json").exists());
}

/// What it trusts is the image's own list of authorities, to which a deployment may add a file.
#[test]
fn tls_works_in_it() {
    use crate::support::servers::Server as Servers;
    let root = Root::new();
    let s3 = Servers::start_with("versitygw", &["--tls"]);
    let ca = s3.running().ca.clone().unwrap();
    let url = format!("https://127.0.0.1:{}", s3.running().port);
    let words: Vec<String> = ["xray-processor-worker", "check"].map(String::from).into();
    let env = [
        ("MINIO_ENDPOINT", url.as_str()),
        ("MINIO_ACCESS_KEY", s3.env("MINIO_ACCESS_KEY")),
        ("MINIO_SECRET_KEY", s3.env("MINIO_SECRET_KEY")),
    ];
    let check = |root: &Root| String::from_utf8(root.run(&words, &env).output().unwrap().stdout).unwrap();
    let unknown = check(&root);
    assert!(unknown.contains("fail  s3") && unknown.contains("S3_CA_FILE"), "{unknown}");
    let trusted = root.path("etc/ssl/certs/ca-certificates.crt");
    fs::write(&trusted, [fs::read(&trusted).unwrap(), fs::read(ca).unwrap()].concat()).unwrap();
    let known = check(&root);
    assert!(known.contains("ok    s3") && !known.contains("fail  s3"), "{known}");
}

#[test]
fn the_dockerfile_is_in_order() {
    said(&mut tool("hadolint", &["Dockerfile"]));
}

/// Everything the build copies is let into it.
#[test]
fn what_is_copied_is_in_the_context() {
    let ignored = read(".dockerignore");
    for line in read("Dockerfile").lines().filter_map(|line| line.strip_prefix("COPY ")) {
        let words: Vec<&str> = line.split_whitespace().collect();
        if !line.starts_with("--from") {
            for source in &words[..words.len() - 1] {
                assert!(ignored.lines().any(|line| line == format!("!{source}")), "{source} is ignored");
            }
        }
    }
}
