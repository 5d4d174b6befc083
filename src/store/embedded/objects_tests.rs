//! What is particular to files; what all stores have in common is tested in `tests/s3/contract.rs`.

use super::FileObjects;
use crate::digest::Sha256;
use crate::object::Object;
use crate::store::{Class, Created, RawStore, Replaced, StoreError, Tag};
use bytes::Bytes;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

fn object(key: &str, body: &str) -> Arc<Object> {
    let body = Bytes::copy_from_slice(body.as_bytes());
    Arc::new(Object { key: key.into(), sha256: Sha256::of(&body), body, metadata: Vec::new() })
}

fn tag(body: &str) -> Tag {
    Tag(Sha256::of(body.as_bytes()).to_string())
}

fn open(dir: &Path) -> FileObjects {
    FileObjects::open(dir, true, 1 << 20).unwrap()
}

async fn create(store: &FileObjects, key: &str, body: &str) -> Result<Created, StoreError> {
    store.create(&[object(key, body)]).await.remove(0)
}

async fn replace(store: &FileObjects, key: &str, body: &str, expected: &str) -> Result<Replaced, StoreError> {
    store.replace(&[(object(key, body), tag(expected))]).await.remove(0)
}

fn temporary_files(dir: &Path) -> usize {
    let scratches = fs::read_dir(dir.join("tmp")).unwrap();
    scratches.map(|scratch| fs::read_dir(scratch.unwrap().path()).unwrap().count()).sum()
}

#[tokio::test]
async fn creates_once_reads_and_replaces() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let key = "runs/2026/01/31/r.json";
    assert_eq!(create(&store, key, "one").await.unwrap(), Created::Created);
    assert_eq!(fs::read(dir.path().join("objects").join(key)).unwrap(), b"one", "a plain file under its key");
    assert_eq!(create(&store, key, "two").await.unwrap(), Created::Exists);
    let found = store.read(&[key.into(), "runs/2026/01/31/none.json".into(), "steps/none.json".into()]).await;
    let found: Vec<_> = found.into_iter().map(Result::unwrap).collect();
    let existing = found[0].as_ref().unwrap();
    assert_eq!((existing.body.as_ref(), &existing.tag, existing.legacy), (&b"one"[..], &tag("one"), false));
    assert!(found[1].is_none() && found[2].is_none());
    assert_eq!(replace(&store, key, "three", "two").await.unwrap(), Replaced::Changed);
    assert_eq!(replace(&store, key, "three", "one").await.unwrap(), Replaced::Replaced);
    assert_eq!(replace(&store, "steps/none.json", "x", "one").await.unwrap(), Replaced::Changed);
    assert_eq!(fs::read(dir.path().join("objects").join(key)).unwrap(), b"three");
    store.probe().await.unwrap();
    assert_eq!(temporary_files(dir.path()), 0);
}

#[tokio::test]
async fn a_large_group_over_many_directories_is_answered_in_order() {
    for durable in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let store = FileObjects::open(dir.path(), durable, 1 << 20).unwrap();
        let key = |i: usize| format!("decisions/2026/{:02}/{:02}/{i}.json", i % 12 + 1, i % 28 + 1);
        let objects: Vec<_> = (0..300).map(|i| object(&key(i), &i.to_string())).collect();
        let (even, odd): (Vec<_>, Vec<_>) = objects.iter().cloned().enumerate().partition(|(i, _)| i % 2 == 0);
        let group = |half: Vec<(usize, Arc<Object>)>| half.into_iter().map(|(_, object)| object).collect::<Vec<_>>();
        assert!(store.create(&group(odd)).await.into_iter().all(|answer| answer.unwrap() == Created::Created));
        for (i, answer) in store.create(&objects).await.into_iter().enumerate() {
            assert_eq!(answer.unwrap(), if i % 2 == 0 { Created::Created } else { Created::Exists });
        }
        assert!(store.create(&group(even)).await.into_iter().all(|answer| answer.unwrap() == Created::Exists));
        let tagged: Vec<_> = objects.iter().map(|object| (object.clone(), Tag(object.sha256.to_string()))).collect();
        assert!(store.replace(&tagged).await.into_iter().all(|answer| answer.unwrap() == Replaced::Replaced));
        assert_eq!(temporary_files(dir.path()), 0);
    }
}

#[tokio::test]
async fn leftovers_of_the_dead_are_removed_and_those_of_the_living_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let dead = dir.path().join("tmp/1234-dead");
    fs::create_dir_all(&dead).unwrap();
    fs::write(dead.join("7"), "half").unwrap();
    let living = open(dir.path());
    assert!(!dead.exists());
    let other = open(dir.path());
    create(&living, "runs/a.json", "a").await.unwrap();
    create(&other, "runs/b.json", "b").await.unwrap();
    drop((living, other));
    assert_eq!(fs::read_dir(dir.path().join("tmp")).unwrap().count(), 0, "each tidies up after itself");
}

#[tokio::test]
async fn failures_say_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let long = "x".repeat(300);
    let answers = store.create(&[object(&format!("runs/{long}"), "x"), object("runs/a.json", "a")]).await;
    assert_eq!(answers[0].as_ref().unwrap_err().class, Class::Item);
    assert_eq!(*answers[1].as_ref().unwrap(), Created::Created, "its neighbour is stored");

    fs::write(dir.path().join("objects/steps"), "a file in the place of a directory").unwrap();
    let error = create(&store, "steps/2026/a.json", "a").await.unwrap_err();
    assert_eq!(error.class, Class::Us, "{}", error.chain());

    fs::remove_dir_all(dir.path().join("objects")).unwrap();
    let error = create(&store, "runs/a.json", "a").await.unwrap_err();
    assert_eq!(error.class, Class::Us);
    assert!(error.chain().contains("is gone"), "{}", error.chain());
    assert!(!dir.path().join("objects").exists(), "not begun anew behind everybody's back");
    assert_eq!(store.probe().await.unwrap_err().class, Class::Us);
}

#[tokio::test]
async fn a_directory_without_rights_or_a_file_in_its_place_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    for place in [file.clone(), file.join("below")] {
        let error = FileObjects::open(&place, true, 1 << 20).unwrap_err();
        assert_eq!(error.class, Class::Us, "{}", error.chain());
    }
    let store = open(dir.path());
    fs::create_dir(dir.path().join("objects/runs")).unwrap();
    let locked = dir.path().join("objects/runs");
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o500)).unwrap();
    if fs::write(locked.join("try"), "").is_ok() {
        return; // root may do anything
    }
    let error = create(&store, "runs/a.json", "a").await.unwrap_err();
    assert_eq!(error.class, Class::Us);
    assert!(error.to_string().contains("permission denied"), "{error}");
}

#[tokio::test]
async fn what_nobody_of_us_wrote_is_not_read_whole() {
    let dir = tempfile::tempdir().unwrap();
    let store = FileObjects::open(dir.path(), true, 1 << 20).unwrap();
    let key = "decisions/2026/01/31/huge.json".to_owned();
    store.create(&[object(&key, "x"), object("decisions/2026/01/31/small.json", "y")]).await;
    fs::OpenOptions::new().write(true).open(dir.path().join("objects").join(&key)).unwrap().set_len(1 << 40).unwrap();
    let answers = store.read(&[key, "decisions/2026/01/31/small.json".to_owned()]).await;
    let error = answers[0].as_ref().unwrap_err();
    assert!(error.class == Class::Item && error.to_string().contains("1099511627776 bytes"), "{error:?}");
    assert!(answers[1].is_ok());
}
