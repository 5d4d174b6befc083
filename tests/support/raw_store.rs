//! What every `RawStore` must do, whatever it is made of. A place is given as several stores opened on it, each like the
//! one of a process of its own.

use std::any::Any;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use xray_processor_worker::digest::Sha256;
use xray_processor_worker::object::Object;
use xray_processor_worker::store::{Created, Existing, RawStore, Replaced, Tag};

pub type Store = Arc<dyn RawStore>;

/// Several stores opened and made ready on one place that was empty.
pub struct Place {
    pub stores: Vec<Store>,
    /// What has to live as long, a directory or a server.
    pub _held: Box<dyn Any + Send + Sync>,
}

impl Place {
    fn store(&self) -> &Store {
        &self.stores[0]
    }

    fn nth(&self, i: usize) -> Store {
        self.stores[i % self.stores.len()].clone()
    }
}

pub fn object(key: &str, body: &str) -> Arc<Object> {
    let body = Bytes::copy_from_slice(body.as_bytes());
    Arc::new(Object { key: key.into(), sha256: Sha256::of(&body), body, metadata: Vec::new() })
}

pub async fn create(store: &Store, key: &str, body: &str) -> Created {
    store.create(&[object(key, body)]).await.remove(0).unwrap()
}

pub async fn read(store: &Store, key: &str) -> Option<Existing> {
    store.read(&[key.to_owned()]).await.remove(0).unwrap()
}

pub async fn replace(store: &Store, key: &str, body: &str, tag: &Tag) -> Replaced {
    store.replace(&[(object(key, body), tag.clone())]).await.remove(0).unwrap()
}

async fn body(store: &Store, key: &str) -> String {
    String::from_utf8(read(store, key).await.unwrap().body.to_vec()).unwrap()
}

pub async fn a_key_is_created_once(place: &Place) {
    let (store, key) = (place.store(), "runs/2026/01/31/r.json");
    assert!(read(store, key).await.is_none());
    assert_eq!(create(store, key, "one").await, Created::Created);
    assert_eq!(create(store, key, "one").await, Created::Exists);
    assert_eq!(create(&place.nth(1), key, "two").await, Created::Exists);
    let existing = read(&place.nth(2), key).await.unwrap();
    assert_eq!((existing.body.as_ref(), existing.legacy), (&b"one"[..], false));
}

pub async fn only_what_was_read_is_replaced(place: &Place) {
    let (store, key) = (place.store(), "runs/2026/01/31/r.json");
    create(store, key, "one").await;
    let one = read(store, key).await.unwrap().tag;
    assert_eq!(replace(store, key, "two", &one).await, Replaced::Replaced);
    let two = read(store, key).await.unwrap().tag;
    assert_ne!(one, two);
    assert_eq!(replace(&place.nth(1), key, "three", &one).await, Replaced::Changed);
    assert_eq!(body(store, key).await, "two");
    assert_eq!(replace(&place.nth(1), key, "three", &two).await, Replaced::Replaced);
    assert_eq!(body(store, key).await, "three");
    assert_eq!(replace(store, "runs/2026/01/31/none.json", "x", &two).await, Replaced::Changed);
    assert!(read(store, "runs/2026/01/31/none.json").await.is_none(), "nothing is written over nothing");
}

pub async fn answers_are_in_the_order_of_the_group(place: &Place) {
    let store = place.store();
    assert!(store.create(&[]).await.is_empty());
    assert!(store.read(&[]).await.is_empty());
    assert!(store.replace(&[]).await.is_empty());
    let key = |i: usize| format!("decisions/2026/{:02}/{:02}/{i}.json", i % 12 + 1, i % 28 + 1);
    let objects: Vec<_> = (0..1000).map(|i| object(&key(i), &i.to_string())).collect();
    let odd: Vec<_> = objects.iter().skip(1).step_by(2).cloned().collect();
    assert!(store.create(&odd).await.into_iter().all(|answer| answer.unwrap() == Created::Created));
    for (i, answer) in store.create(&objects).await.into_iter().enumerate() {
        assert_eq!(answer.unwrap(), if i % 2 == 0 { Created::Created } else { Created::Exists }, "{i}");
    }
    let keys: Vec<_> = (0..1000).map(|i| if i % 3 == 0 { format!("runs/none/{i}.json") } else { key(i) }).collect();
    let mut tagged = Vec::new();
    for (i, found) in store.read(&keys).await.into_iter().enumerate() {
        let found = found.unwrap();
        assert_eq!(found.is_none(), i % 3 == 0, "{i}");
        if let Some(found) = found {
            assert_eq!(found.body, i.to_string());
            let tag = if i % 2 == 0 { found.tag } else { Tag("\"5d41402abc4b2a76b9719d911017c592\"".into()) };
            tagged.push((i, (object(&key(i), "new"), tag)));
        }
    }
    let group: Vec<_> = tagged.iter().map(|(_, replacement)| replacement.clone()).collect();
    for ((i, _), answer) in tagged.iter().zip(store.replace(&group).await) {
        assert_eq!(answer.unwrap(), if i % 2 == 0 { Replaced::Replaced } else { Replaced::Changed }, "{i}");
    }
}

pub async fn any_key_that_events_can_have(place: &Place) {
    let ids = [
        "6ba7b810-9dad-11d1-80b4-00c04fd430c8".to_owned(),
        "%C3%BC%20%2B%25".into(),
        "..%2F..%2Fx".into(),
        "%2E%2E".into(),
        "%2E".into(),
        ".hidden".into(),
        "-".into(),
        "~".into(),
        "%00".into(),
        "a%5Cb".into(),
        "con.json".into(),
        format!("!{}", "0123456789abcdef".repeat(4)),
        "a".repeat(200),
        "%F0%9F%A6%80".repeat(16),
    ];
    let objects: Vec<_> = ids.iter().map(|id| object(&format!("decisions/2026/01/31/{id}.json"), id)).collect();
    for answer in place.store().create(&objects).await {
        assert_eq!(answer.unwrap(), Created::Created);
    }
    let keys: Vec<_> = objects.iter().map(|object| object.key.clone()).collect();
    for (found, id) in place.nth(1).read(&keys).await.into_iter().zip(&ids) {
        assert_eq!(found.unwrap().unwrap().body, *id);
    }
}

pub async fn any_body(place: &Place) {
    let store = place.store();
    let bodies = [String::new(), "\u{0}\r\n".into(), "ü".repeat(100_000), "x".repeat(3 << 20)];
    for (i, content) in bodies.iter().enumerate() {
        let key = format!("runs/2026/01/31/{i}.json");
        assert_eq!(create(store, &key, content).await, Created::Created);
        assert!(body(store, &key).await == *content, "a body of {} bytes", content.len());
    }
}

pub async fn of_concurrent_creates_one_wins(place: &Place) {
    for round in 0..20 {
        let key = format!("runs/2026/01/{round:02}/r.json");
        let attempts = (0..16).map(|i| {
            let (store, key) = (place.nth(i), key.clone());
            tokio::spawn(async move { (i, create(&store, &key, &i.to_string()).await) })
        });
        let answers: Vec<_> = join_all(attempts).await.into_iter().map(Result::unwrap).collect();
        let winners: Vec<_> = answers.iter().filter(|(_, answer)| *answer == Created::Created).collect();
        assert_eq!(winners.len(), 1, "{answers:?}");
        assert_eq!(body(place.store(), &key).await, winners[0].0.to_string());
    }
}

pub async fn of_concurrent_replaces_one_wins(place: &Place) {
    for round in 0..20 {
        let key = format!("runs/2026/01/{round:02}/r.json");
        create(place.store(), &key, "old").await;
        let tag = read(place.store(), &key).await.unwrap().tag;
        let attempts = (0..16).map(|i| {
            let (store, key, tag) = (place.nth(i), key.clone(), tag.clone());
            tokio::spawn(async move { (i, replace(&store, &key, &i.to_string(), &tag).await) })
        });
        let answers: Vec<_> = join_all(attempts).await.into_iter().map(Result::unwrap).collect();
        let winners: Vec<_> = answers.iter().filter(|(_, answer)| *answer == Replaced::Replaced).collect();
        assert_eq!(winners.len(), 1, "{answers:?}");
        assert_eq!(body(place.store(), &key).await, winners[0].0.to_string());
    }
}

/// A counter that many raise by compare and swap ends at the number of successes.
pub async fn of_concurrent_replaces_none_is_lost(place: &Place) {
    let key = "runs/2026/01/31/counter.json";
    create(place.store(), key, "0").await;
    let tasks = (0..4).map(|i| {
        let store = place.nth(i);
        tokio::spawn(async move {
            let mut raised = 0;
            while raised < 20 {
                let found = read(&store, key).await.unwrap();
                let now: u32 = std::str::from_utf8(&found.body).unwrap().parse().unwrap();
                if replace(&store, key, &(now + 1).to_string(), &found.tag).await == Replaced::Replaced {
                    raised += 1;
                }
            }
        })
    });
    join_all(tasks).await.into_iter().for_each(|task| task.unwrap());
    assert_eq!(body(place.store(), key).await, "80");
}

pub async fn it_is_made_ready_any_number_of_times(place: &Place) {
    let store = place.store();
    create(store, "runs/2026/01/31/r.json", "one").await;
    let again: Vec<_> = join_all((0..8).map(|i| {
        let store = place.nth(i);
        tokio::spawn(async move { store.prepare().await })
    }))
    .await;
    again.into_iter().for_each(|answer| answer.unwrap().unwrap());
    store.probe().await.unwrap();
    assert_eq!(body(store, "runs/2026/01/31/r.json").await, "one");
}
