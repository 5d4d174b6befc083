//! The tables as an audit sees them.

use super::fault::Fault;
use super::recompute::{KEYS_AT_ONCE, found};
use super::tables::ClickHouseTables;
use super::{derived, fact_rows, removal, sql};
use crate::event::Kind;
use crate::store::audit::{
    Among, DeadLetterRow, DerivedPage, FactRow, Keys, Layer, Rows, TableAudit, fact_table, fact_time,
};
use crate::store::{StoreError, Touched};
use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use clickhouse::Row;
use futures_util::{StreamExt, TryStreamExt};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::time::Duration;

#[derive(Row, Deserialize)]
struct StoredLetter {
    sha256: String,
    code: String,
    reason: String,
    source: String,
    kind: String,
    s3_key: String,
    bytes: u64,
    first: i64,
    redriven: Option<i64>,
}

#[derive(Row, Deserialize)]
struct Pair {
    run_id: String,
    step_id: String,
}

fn iso(millis: i64) -> String {
    DateTime::from_timestamp_millis(millis).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Millis, true)
}

impl From<StoredLetter> for DeadLetterRow {
    fn from(row: StoredLetter) -> DeadLetterRow {
        DeadLetterRow {
            sha256: row.sha256,
            code: row.code,
            reason: row.reason,
            source: row.source,
            kind: row.kind,
            s3_key: row.s3_key,
            bytes: row.bytes,
            first_seen: iso(row.first),
            redriven_at: row.redriven.map(iso),
        }
    }
}

#[async_trait]
impl TableAudit for ClickHouseTables {
    async fn months(&self, kind: Kind) -> Result<Vec<u32>, StoreError> {
        let (table, time) = (fact_table(kind), fact_time(kind));
        let query =
            self.connection.query(&format!("SELECT DISTINCT toYYYYMM({time}) AS month FROM {table} ORDER BY month"));
        self.noted(self.connection.rows("find the months", query).await).await
    }

    fn facts(&self, kind: Kind, among: Among) -> Rows<FactRow> {
        fact_rows::stream(&self.connection, kind, &among).map_err(StoreError::from).boxed()
    }

    async fn linked_steps(&self, run_id: &str) -> Result<Vec<String>, StoreError> {
        let sql = "SELECT DISTINCT step_id FROM
                   (SELECT step_id FROM run_steps WHERE run_id = ? UNION ALL SELECT step_id FROM steps WHERE run_id = ?)";
        let query = self.connection.query(sql).bind(run_id).bind(run_id);
        self.noted(self.connection.rows("find the steps of a run", query).await).await
    }

    fn letters(&self, these: Option<Vec<String>>) -> Rows<DeadLetterRow> {
        let columns = "sha256, code, reason, source, kind, s3_key, bytes, toUnixTimestamp64Milli(first_seen) AS first,
                       toUnixTimestamp64Milli(redriven_at) AS redriven";
        let query = match these {
            None => self.connection.query(&format!("SELECT {columns} FROM dead_letters FINAL ORDER BY s3_key")),
            Some(these) if these.is_empty() => return futures_util::stream::empty().boxed(),
            Some(these) => {
                let sql = format!("SELECT {columns} FROM dead_letters FINAL WHERE sha256 IN ? ORDER BY s3_key");
                self.connection.query(&sql).bind(these)
            }
        };
        let rows = self.connection.stream::<StoredLetter>("read dead letters", query);
        rows.map_ok(DeadLetterRow::from).map_err(StoreError::from).boxed()
    }

    fn layers(&self) -> &'static [Layer] {
        &[Layer::Groups, Layer::Totals, Layer::Links, Layer::Steps, Layer::Runs]
    }

    async fn derived(&self, layer: Layer, keys: &Keys) -> Result<DerivedPage, StoreError> {
        self.noted(derived::page(&self.connection, layer, keys).await).await
    }

    async fn changed_within(
        &self,
        touched: &Touched,
        (since, until): (DateTime<Utc>, DateTime<Utc>),
        own: &Touched,
    ) -> Result<Touched, StoreError> {
        let within = (since.timestamp_millis(), until.timestamp_millis());
        self.noted(self.changed(touched, within, own).await).await
    }

    async fn remove(&self, facts: &[FactRow]) -> Result<Touched, StoreError> {
        self.noted(removal::facts(&self.connection, facts).await).await
    }

    async fn remove_before(&self, day: NaiveDate, erase: bool) -> Result<u64, StoreError> {
        self.noted(removal::before(&self.connection, day, erase).await).await
    }

    async fn forget(&self, touched: &Touched) -> Result<Touched, StoreError> {
        let forget = async {
            removal::link_again(&self.connection, touched).await?;
            removal::derived(&self.connection, touched).await
        };
        self.noted(forget.await).await
    }

    fn late(&self) -> Duration {
        self.connection.timeout()
    }

    async fn remove_letters(&self, sha256: &[String]) -> Result<(), StoreError> {
        self.noted(removal::letters(&self.connection, sha256).await).await
    }

    async fn mark_redriven(&self, sha256: &[String], at: DateTime<Utc>) -> Result<(), StoreError> {
        let sql = "INSERT INTO dead_letters
                   SELECT sha256, code, reason, source, kind, s3_key, bytes, first_seen,
                          toNullable(fromUnixTimestamp64Milli(toInt64(?), 'UTC')), version + 1
                   FROM dead_letters FINAL WHERE sha256 IN ?";
        for sha256 in sha256.chunks(KEYS_AT_ONCE) {
            let query = self.connection.query(sql).bind(at.timestamp_millis()).bind(sha256);
            self.noted(self.connection.execute("mark dead letters", query).await).await?;
        }
        Ok(())
    }
}

impl ClickHouseTables {
    async fn changed(&self, touched: &Touched, (since, until): (i64, i64), own: &Touched) -> Result<Touched, Fault> {
        let steps: Vec<&str> = touched.all_steps().into_iter().collect();
        let runs: Vec<&str> = touched.runs.iter().map(String::as_str).collect();
        let links = "SELECT DISTINCT run_id, step_id FROM run_steps WHERE run_id IN ?";
        let links: Vec<Pair> = found(&self.connection, "find the steps of runs", links, &runs).await?;
        let of_steps =
            found::<super::recompute::Link>(&self.connection, "find links", sql::LINKS_OF_STEPS, &steps).await?;
        let all_steps: BTreeSet<&str> =
            steps.iter().copied().chain(links.iter().map(|link| link.step_id.as_str())).collect();
        let all_runs: BTreeSet<&str> =
            runs.iter().copied().chain(of_steps.iter().map(|link| link.run_id.as_str())).collect();
        let (all_steps, all_runs) = (Vec::from_iter(all_steps), Vec::from_iter(all_runs));

        let young = |table: &str, id: &str| {
            format!(
                "SELECT DISTINCT {id} FROM {table} WHERE {id} IN ?
                 AND toUnixTimestamp64Milli(updated_at) > {since} AND toUnixTimestamp64Milli(updated_at) <= {until}"
            )
        };
        let doing = "look for recent facts";
        let mut young_steps: Vec<String> =
            found(&self.connection, doing, &young("step_reports", "step_id"), &all_steps).await?;
        young_steps
            .extend(found::<String>(&self.connection, doing, &young("decision_events", "step_id"), &all_steps).await?);
        let young_runs: Vec<String> =
            found(&self.connection, doing, &young("run_reports", "run_id"), &all_runs).await?;
        let (mut young_steps, mut young_runs) = (BTreeSet::from_iter(young_steps), BTreeSet::from_iter(young_runs));
        let own_steps = own.all_steps();
        young_steps.retain(|step| !own_steps.contains(step.as_str()));
        young_runs.retain(|run| !own.runs.contains(run));
        let step_is_young = |step: &str| {
            young_steps.contains(step)
                || of_steps.iter().any(|link| link.step_id == step && young_runs.contains(&link.run_id))
        };
        let run_is_young = |run: &str| {
            young_runs.contains(run)
                || links.iter().any(|link| link.run_id == run && young_steps.contains(&link.step_id))
        };
        let kept = |ids: &[&str], young: &dyn Fn(&str) -> bool| {
            ids.iter().filter(|id| young(id)).map(|id| (*id).to_owned()).collect()
        };
        Ok(Touched { steps: kept(&steps, &step_is_young), runs: kept(&runs, &run_is_young), ..Touched::default() })
    }
}
