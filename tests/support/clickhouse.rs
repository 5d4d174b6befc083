//! A database on the ClickHouse of this test binary, read and written over HTTP without the worker's help.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use serde::de::DeserializeOwned;
use serde_json::Value;
use xray_processor_worker::config::{self, Config};
use xray_processor_worker::store::MetricsStore;
use xray_processor_worker::store::clickhouse::ClickHouseTables;

use super::model::{DecisionId, DecisionRow, Row, RunRow, StepRow};
use super::servers::Server;

/// A database of a server.
#[derive(Debug, Clone)]
pub struct Database {
    pub url: String,
    pub name: String,
}

impl Database {
    /// One that is not there yet, on the server that all tests of this binary share.
    pub fn fresh() -> Database {
        Database::on(Server::shared("clickhouse"))
    }

    /// One that is not there yet.
    pub fn on(server: &Server) -> Database {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let url = format!("http://{}:{}/", server.env("CLICKHOUSE_HOST"), server.env("CLICKHOUSE_PORT"));
        Database { url, name: format!("t{}", NEXT.fetch_add(1, Ordering::Relaxed)) }
    }

    /// The worker's settings for it.
    pub fn settings(&self) -> config::ClickHouse {
        let url = self.url.trim_end_matches('/').to_owned();
        config::ClickHouse { url, database: self.name.clone(), ..Config::default().clickhouse }
    }

    /// Its tables, opened by the worker and made ready.
    pub async fn tables(&self) -> ClickHouseTables {
        let tables = ClickHouseTables::new(&self.settings()).unwrap();
        tables.prepare().await.unwrap();
        tables
    }

    /// What the server answers, or its words of refusal.
    pub fn try_query(&self, sql: &str) -> Result<String, String> {
        let settings =
            "date_time_output_format=iso&output_format_json_quote_64bit_integers=0&default_format=JSONEachRow";
        let url = format!("{}?{settings}&mutations_sync=2", self.url);
        let request = reqwest::Client::new().post(url).body(sql.replace("{db}", &self.name));
        block_on(async {
            let response = request.send().await.map_err(|error| error.to_string())?;
            let good = response.status().is_success();
            let text = response.text().await.map_err(|error| error.to_string())?;
            if good { Ok(text) } else { Err(text) }
        })
    }

    /// The answer to a query that must succeed; `{db}` stands for the database.
    pub fn query(&self, sql: &str) -> String {
        self.try_query(sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Its rows.
    pub fn rows<T: DeserializeOwned>(&self, sql: &str) -> Vec<T> {
        let answer = self.query(sql);
        answer
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
            .collect()
    }

    /// A table of the model's rows, read with `FINAL`.
    pub fn table<K: Ord, R: Row + DeserializeOwned>(&self, id: impl Fn(&R) -> K) -> BTreeMap<K, R> {
        let sql = format!("SELECT {} FROM {{db}}.{} FINAL", R::COLUMNS.join(", "), R::TABLE);
        let mut found = BTreeMap::new();
        for row in self.rows::<R>(&sql) {
            let shown = row.shown();
            assert!(found.insert(id(&row), row).is_none(), "a second row in {}: {shown:?}", R::TABLE);
        }
        found
    }

    pub fn decision_events(&self) -> BTreeMap<DecisionId, DecisionRow> {
        self.table(DecisionRow::id)
    }

    pub fn steps(&self) -> BTreeMap<String, StepRow> {
        self.table(|row: &StepRow| row.step_id.clone())
    }

    pub fn runs(&self) -> BTreeMap<String, RunRow> {
        self.table(|row: &RunRow| row.run_id.clone())
    }

    /// The versions of a derived table by key, as embedded tables show them: 64 hex digits.
    pub fn versions(&self, table: &str, key: &str) -> BTreeMap<String, String> {
        let sql = format!(
            "SELECT {key} AS key, lower(hex(reverse(reinterpretAsFixedString(version)))) AS version FROM {{db}}.{table} FINAL"
        );
        let text = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
        self.rows::<Value>(&sql).iter().map(|row| (text(row, "key"), text(row, "version"))).collect()
    }
}

/// Runs a future to its end, on a thread of its own: tests may be inside a runtime already.
pub fn block_on<T: Send>(future: impl Future<Output = T> + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope
            .spawn(|| tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future));
        thread.join().unwrap()
    })
}
