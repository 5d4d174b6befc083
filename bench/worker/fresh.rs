//! Stores in this process that nobody has used yet.

use std::sync::Arc;

use xray_processor_worker::pipeline::Stores;
use xray_processor_worker::store::RawStore;
use xray_processor_worker::store::s3::S3Objects;

use crate::support::bucket;
use crate::support::clickhouse::Database;
use crate::support::servers::Server;

/// A bucket, made ready.
pub async fn objects(server: &Server) -> S3Objects {
    let settings = bucket::settings(server);
    let store = S3Objects::open(&settings, 10 << 20).unwrap();
    // It creates its bucket.
    store.prepare().await.unwrap();
    store
}

/// A bucket and a database, made ready.
pub async fn stores(objects: &Server, tables: &Server) -> (Stores, Database) {
    let database = Database::on(tables);
    let tables = database.tables().await;
    (Stores { raw: Arc::new(self::objects(objects).await), metrics: Arc::new(tables) }, database)
}
