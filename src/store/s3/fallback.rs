//! Writes to a server that ignores conditions: look, then write.
//!
//! Between the two nobody else of this process writes the same key. Another process may, and then the later of the two
//! writes stays: as good as it gets on such a server.

use super::failed::Failed;
use super::request::{Bucket, Condition, Put};
use crate::object::Object;
use std::hash::{DefaultHasher, Hash, Hasher};
use tokio::sync::Mutex;

/// Twice as many as there are writes at once, so that they seldom wait for each other.
const STRIPES: u64 = 256;

/// One turn for each key, a few keys sharing one.
#[derive(Debug)]
pub(super) struct Fallback {
    turns: Vec<Mutex<()>>,
}

impl Default for Fallback {
    fn default() -> Self {
        Fallback { turns: (0..STRIPES).map(|_| Mutex::default()).collect() }
    }
}

impl Fallback {
    /// Like [`Bucket::put`] with a condition, except that it is we who check it.
    pub(super) async fn put(&self, bucket: &Bucket, object: &Object, condition: Condition<'_>) -> Result<Put, Failed> {
        let _turn = match self.turns.get(stripe(&object.key)) {
            Some(turn) => Some(turn.lock().await),
            None => None,
        };
        let found = bucket.tag(&object.key).await?;
        let met = match condition {
            Condition::None => true,
            Condition::Absent => found.is_none(),
            Condition::Holds(tag) => found.as_ref() == Some(tag),
        };
        if met { bucket.put(object, Condition::None).await } else { Ok(Put::Refused) }
    }
}

fn stripe(key: &str) -> usize {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    (hasher.finish() % STRIPES) as usize
}
