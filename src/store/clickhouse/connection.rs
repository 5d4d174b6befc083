//! Requests to the server: their settings, their timeout, what becomes of their errors.

use super::fault::Fault;
use super::tls;
use crate::config;
use clickhouse::query::Query;
use clickhouse::{Client, Compression, RowOwned, RowRead, RowWrite};
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use secrecy::ExposeSecret;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// The settings that what we say depends on, whatever the defaults of the server's version and of the user's profile
/// are. One that the server does not know does not apply to it, and is left out.
const SETTINGS: &[(&str, &str)] = &[
    // An answer of 200 means done. (Since 26.2 the default is to answer before that.)
    ("async_insert", "0"),
    ("wait_end_of_query", "1"),
    ("distributed_foreground_insert", "1"),
    // Repeating an insert is harmless, and a block that was inserted once may have been deleted since.
    ("insert_deduplicate", "0"),
    ("deduplicate_insert", "disable"),
    ("deduplicate_insert_select", "disable"),
    // Lists of keys are part of the query.
    ("max_query_size", "67108864"),
    // Standard meanings.
    ("join_use_nulls", "0"),
    ("transform_null_in", "0"),
    ("group_by_use_nulls", "0"),
    ("prefer_column_name_to_alias", "0"),
    ("final", "0"),
    ("do_not_merge_across_partitions_select_final", "0"),
    ("use_query_cache", "0"),
    ("aggregate_functions_null_for_empty", "0"),
    ("limit", "0"),
    ("offset", "0"),
    // A limit that is reached is an error, never a part of the answer: half a sum is a wrong number.
    ("timeout_overflow_mode", "throw"),
    ("read_overflow_mode", "throw"),
    ("read_overflow_mode_leaf", "throw"),
    ("group_by_overflow_mode", "throw"),
    ("join_overflow_mode", "throw"),
    ("set_overflow_mode", "throw"),
    ("distinct_overflow_mode", "throw"),
    ("sort_overflow_mode", "throw"),
    ("result_overflow_mode", "throw"),
    ("transfer_overflow_mode", "throw"),
];

/// A server, and the database on it that is ours.
pub(super) struct Connection {
    client: Client,
    url: String,
    database: String,
    timeout: Duration,
    /// The client with the settings that this server knows; set once they are known.
    ready: OnceLock<Client>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("url", &self.url).field("database", &self.database).finish_non_exhaustive()
    }
}

impl Connection {
    /// To the server that the configuration names. Speaks to nobody yet.
    pub(super) fn new(config: &config::ClickHouse) -> Result<Self, Fault> {
        // The server sees the end of a query first, and says so.
        let server_limit = format!("{:.3}", config.timeout.mul_f64(0.9).as_secs_f64());
        let client = tls::client(&config.url, config.ca_file.as_deref())?
            .with_url(&config.url)
            .with_user(&config.user)
            .with_password(config.password.expose_secret())
            .with_compression(Compression::Lz4)
            .with_product_info(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
            .with_setting("max_execution_time", server_limit);
        Ok(Connection {
            client,
            url: config.url.clone(),
            database: config.database.clone(),
            timeout: config.timeout,
            ready: OnceLock::new(),
        })
    }

    pub(super) fn database(&self) -> &str {
        &self.database
    }

    /// How long one request may take.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Learns which settings the server knows. Before that, and for what is not in our database, they are left out.
    pub(super) async fn make_ready(&self) -> Result<(), Fault> {
        if self.ready.get().is_some() {
            return Ok(());
        }
        let doing = "read the settings of the server";
        let names: Vec<&str> = SETTINGS.iter().map(|(name, _)| *name).collect();
        let sql = "SELECT name FROM system.settings WHERE name IN ?";
        let known: Vec<String> = self.done(doing, self.client.query(sql).bind(names).fetch_all()).await?;
        let ready = SETTINGS
            .iter()
            // That one is of the HTTP interface, and older servers do not list it among the others.
            .filter(|(name, _)| *name == "wait_end_of_query" || known.iter().any(|known| known == name))
            .fold(self.client.clone().with_database(&self.database), |client, (name, value)| {
                client.with_setting(*name, *value)
            });
        self.ready.set(ready).ok();
        Ok(())
    }

    /// What is known of columns may be out of date: look again.
    pub(super) async fn forget_columns(&self) {
        if let Some(client) = self.ready.get() {
            client.clear_cached_metadata().await;
        }
    }

    /// For our database.
    fn ours(&self) -> &Client {
        self.ready.get().unwrap_or(&self.client)
    }

    /// A query in our database.
    pub(super) fn query(&self, sql: &str) -> Query {
        self.ours().query(sql)
    }

    /// A query outside our database.
    pub(super) fn query_server(&self, sql: &str) -> Query {
        self.client.query(sql)
    }

    /// Runs a query for its effect.
    pub(super) async fn execute(&self, doing: &str, query: Query) -> Result<(), Fault> {
        self.done(doing, query.execute()).await
    }

    /// Runs a query for its rows.
    pub(super) async fn rows<T: RowOwned + RowRead>(&self, doing: &str, query: Query) -> Result<Vec<T>, Fault> {
        self.done(doing, query.fetch_all()).await
    }

    /// Runs a query for more rows than may be held, handed over as they come. The server may take its time for all of
    /// them, but not for the next.
    pub(super) fn stream<T: RowOwned + RowRead + Send + 'static>(
        self: &Arc<Self>,
        doing: &'static str,
        query: Query,
    ) -> BoxStream<'static, Result<T, Fault>> {
        let query = query.with_setting("max_execution_time", "0").with_setting("wait_end_of_query", "0");
        let connection = Arc::clone(self);
        let begin = async move {
            let cursor = query.fetch::<T>().map_err(|error| Fault::new(doing, &connection.url, &error))?;
            Ok(stream::try_unfold((connection, cursor), move |(connection, mut cursor)| async move {
                let row = connection.done(doing, cursor.next()).await?;
                Ok(row.map(|row| (row, (connection, cursor))))
            }))
        };
        stream::once(begin).try_flatten().boxed()
    }

    /// Inserts rows, all in one request.
    pub(super) async fn insert<'a, T: RowWrite>(&self, table: &str, rows: &[T::Value<'a>]) -> Result<(), Fault>
    where
        T::Value<'a>: Sync,
    {
        if rows.is_empty() {
            return Ok(());
        }
        let doing = format!("insert into {table}");
        self.done(&doing, async {
            let mut insert = self.ours().insert::<T>(table).await?;
            for row in rows {
                insert.write(row).await?;
            }
            insert.end().await
        })
        .await
    }

    async fn done<T>(
        &self,
        doing: &str,
        request: impl Future<Output = Result<T, clickhouse::error::Error>>,
    ) -> Result<T, Fault> {
        let began = Instant::now();
        let answer = timeout(self.timeout, request).await;
        tracing::debug!(doing, took_ms = began.elapsed().as_secs_f64() * 1000.0, "request to clickhouse");
        match answer {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(Fault::new(doing, &self.url, &error)),
            Err(_) => Err(Fault::late(doing, &self.url, Some(self.timeout))),
        }
    }
}
