//! Two walks in the order of keys, side by side.

use crate::store::StoreError;
use crate::store::audit::{DeadLetterRow, FactRow, Listed, Rows};
use futures_util::StreamExt;
use std::cmp::Ordering;

/// What stands under one key.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair<R> {
    /// The key.
    pub key: String,
    /// The object, where there is one.
    pub object: Option<Listed>,
    /// The rows that name it; several only where decisions conflict.
    pub rows: Vec<R>,
}

/// Something that belongs to a key.
pub trait Keyed {
    /// The key.
    fn key(&self) -> &str;
}

impl Keyed for FactRow {
    fn key(&self) -> &str {
        &self.key
    }
}

impl Keyed for DeadLetterRow {
    fn key(&self) -> &str {
        &self.s3_key
    }
}

/// Objects and rows, both in the order of keys, joined by key.
pub struct Pairs<R> {
    objects: Rows<Listed>,
    rows: Rows<R>,
    object: Option<Listed>,
    row: Option<R>,
    begun: bool,
}

impl<R> std::fmt::Debug for Pairs<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pairs").finish_non_exhaustive()
    }
}

impl<R: Keyed> Pairs<R> {
    /// Joins these.
    pub fn new(objects: Rows<Listed>, rows: Rows<R>) -> Self {
        Pairs { objects, rows, object: None, row: None, begun: false }
    }

    /// The next key; `None` at the end of both.
    pub async fn next(&mut self) -> Result<Option<Pair<R>>, StoreError> {
        if !self.begun {
            self.begun = true;
            self.object = self.objects.next().await.transpose()?;
            self.row = self.rows.next().await.transpose()?;
        }
        let order = match (&self.object, &self.row) {
            (None, None) => return Ok(None),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(object), Some(row)) => object.key.as_str().cmp(row.key()),
        };
        let mut pair = Pair { key: String::new(), object: None, rows: Vec::new() };
        if order.is_le() {
            pair.object = std::mem::replace(&mut self.object, self.objects.next().await.transpose()?);
        }
        pair.key = match (&pair.object, &self.row) {
            (Some(object), _) => object.key.clone(),
            (None, Some(row)) => row.key().to_owned(),
            (None, None) => String::new(),
        };
        if order.is_ge() {
            while self.row.as_ref().is_some_and(|row| row.key() == pair.key) {
                let next = self.rows.next().await.transpose()?;
                pair.rows.extend(std::mem::replace(&mut self.row, next));
            }
        }
        Ok(Some(pair))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;
    use futures_util::stream;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[derive(Debug, Clone, PartialEq)]
    struct Row(String, u8);

    impl Keyed for Row {
        fn key(&self) -> &str {
            &self.0
        }
    }

    fn listed(key: &str) -> Listed {
        Listed { key: key.to_owned(), bytes: 0, modified: DateTime::UNIX_EPOCH }
    }

    fn rows<T: Clone + Send + Sync + 'static>(items: Vec<T>) -> Rows<T> {
        stream::iter(items.into_iter().map(Ok)).boxed()
    }

    proptest! {
        #[test]
        fn every_key_comes_once_in_order_with_all_that_is_its(
            keys in proptest::collection::btree_set("[a-c]{1,3}", 0..12),
            mut found in proptest::collection::vec(("[a-c]{1,3}", any::<u8>()), 0..24),
        ) {
            found.sort_by(|one, other| one.0.cmp(&other.0));
            let found: Vec<Row> = found.into_iter().map(|(key, number)| Row(key, number)).collect();
            let mut expected: BTreeMap<String, Pair<Row>> = BTreeMap::new();
            let empty = |key: &str| Pair { key: key.to_owned(), object: None, rows: Vec::new() };
            for key in &keys {
                expected.entry(key.clone()).or_insert_with(|| empty(key)).object = Some(listed(key));
            }
            for row in &found {
                expected.entry(row.0.clone()).or_insert_with(|| empty(&row.0)).rows.push(row.clone());
            }
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let joined = runtime.block_on(async {
                let objects: Vec<Listed> = keys.iter().map(|key| listed(key)).collect();
                let mut pairs = Pairs::new(rows(objects), rows(found));
                let mut joined = Vec::new();
                while let Some(pair) = pairs.next().await.unwrap() {
                    joined.push(pair);
                }
                joined
            });
            prop_assert_eq!(joined, expected.into_values().collect::<Vec<_>>());
        }
    }
}
