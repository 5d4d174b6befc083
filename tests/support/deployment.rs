//! A worker's surroundings on real servers, told of them as deployments of today are.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use xray_processor_worker::config::S3;

use super::bucket;
use super::clickhouse::{Database, block_on};
use super::model::{State, diff};
use super::servers::Server;
use super::state::read_servers;
use super::worker::{output, worker};

/// A bucket and a database that nobody has used yet.
pub struct Deployment {
    pub s3: S3,
    pub database: Database,
    variables: Vec<(String, String)>,
}

impl Deployment {
    pub fn new(objects: &Server, tables: &Server) -> Deployment {
        let s3 = bucket::settings(objects);
        block_on(async { bucket::client(&s3).create_bucket().bucket(&s3.bucket).send().await.map(drop) }).unwrap();
        let database = Database::on(tables);
        let mut variables: Vec<(String, String)> =
            [objects, tables].iter().flat_map(|server| server.running().env.clone()).collect();
        variables.push(("MINIO_BUCKET".into(), s3.bucket.clone()));
        variables.push(("CLICKHOUSE_DATABASE".into(), database.name.clone()));
        Deployment { s3, database, variables }
    }

    pub fn worker(&self, dir: &Path, args: &[&str]) -> Command {
        let mut command = worker(dir, args);
        command.envs(self.variables.iter().cloned());
        command
    }

    pub fn input(&self, dir: &Path, input: &str) -> Command {
        self.worker(dir, &["run", "--input", input, "--output", "json"])
    }

    pub fn work_off(&self, dir: &Path, input: &str) -> Value {
        let output = output(&mut self.input(dir, input));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    pub fn state(&self) -> State {
        read_servers(&self.s3, &self.database)
    }

    pub fn assert_state(&self, expected: &State) {
        let differences = diff(expected, &self.state());
        assert!(differences.is_empty(), "{}", differences.join("\n"));
    }
}
