//! Where a worker stored something, and hands that damage it.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use super::bucket;
use super::clickhouse::block_on;
use super::deployment::Deployment;
use super::model::{Input, State, diff, expected};
use super::servers::Server;
use super::state::{Left, left_on_files, left_on_servers};
use super::worker::{output, worker, write_lines};

/// A pair of stores.
pub struct Place {
    pub dir: TempDir,
    /// `None`: files.
    pub servers: Option<Deployment>,
}

/// What a command said.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Said {
    /// Its lines of JSON.
    pub fn json(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Place {
    pub fn files() -> Place {
        Place { dir: tempfile::tempdir().unwrap(), servers: None }
    }

    pub fn servers(objects: &str) -> Place {
        let deployment = Deployment::new(Server::shared(objects), Server::shared("clickhouse"));
        Place { dir: tempfile::tempdir().unwrap(), servers: Some(deployment) }
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub fn worker(&self, args: &[&str]) -> Command {
        let mut command = match &self.servers {
            Some(deployment) => {
                let mut command = deployment.worker(self.dir.path(), args);
                // So long an audit that took something away waits for the queries of others.
                command.env("CLICKHOUSE_TIMEOUT_MS", "3000");
                command
            }
            None => {
                let mut command = worker(self.dir.path(), args);
                command.env("XRAY_DATA_DIR", "data");
                command
            }
        };
        command.env("STORE_REFUSED_AFTER_MS", "0");
        command
    }

    pub fn run(&self, args: &[&str]) -> Said {
        let found = output(&mut self.worker(args));
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Said { code: found.status.code().unwrap_or(-1), stdout: text(found.stdout), stderr: text(found.stderr) }
    }

    /// Works these bodies off.
    pub fn store(&self, bodies: &[Vec<u8>]) {
        let input = write_lines(self.dir.path().join("input"), bodies);
        let said = self.run(&["run", "--input", &input]);
        assert_eq!(said.code, 0, "{}", said.stderr);
    }

    /// What workers left here, whatever they were in the middle of.
    pub fn left(&self) -> Left {
        match &self.servers {
            Some(deployment) => left_on_servers(&deployment.s3, &deployment.database),
            None => left_on_files(&self.data()),
        }
    }

    pub fn state(&self) -> State {
        self.left().finished()
    }

    pub fn assert_model(&self, bodies: &[Vec<u8>]) {
        let model = expected(bodies.iter().map(|body| Input { body, hint: None }));
        let differences = diff(&model, &self.state());
        assert!(differences.is_empty(), "{}", differences.join("\n"));
    }

    /// Changes the tables behind the worker's back; `{db}.` stands before names of tables.
    pub fn sql(&self, on_files: &str, on_servers: &str) {
        match &self.servers {
            Some(deployment) => drop(deployment.database.query(on_servers)),
            None => {
                let db = rusqlite::Connection::open(self.data().join("xray.db")).unwrap();
                db.execute_batch(&on_files.replace("{db}.", "")).unwrap();
            }
        }
    }

    /// The same statement on both.
    pub fn both(&self, sql: &str) {
        self.sql(sql, sql);
    }

    pub fn get(&self, key: &str) -> Vec<u8> {
        match &self.servers {
            Some(deployment) => block_on(bucket::see(&deployment.s3, key)).body.into_bytes(),
            None => std::fs::read(self.data().join("objects").join(key)).unwrap(),
        }
    }

    pub fn put(&self, key: &str, body: &[u8]) {
        match &self.servers {
            Some(deployment) => block_on(async {
                let client = bucket::client(&deployment.s3);
                let body = body.to_vec().into();
                client.put_object().bucket(&deployment.s3.bucket).key(key).body(body).send().await.map(drop).unwrap();
            }),
            None => {
                let path = self.data().join("objects").join(key);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, body).unwrap();
            }
        }
    }

    pub fn delete(&self, key: &str) {
        match &self.servers {
            Some(deployment) => block_on(async {
                let client = bucket::client(&deployment.s3);
                client.delete_object().bucket(&deployment.s3.bucket).key(key).send().await.map(drop).unwrap();
            }),
            None => std::fs::remove_file(self.data().join("objects").join(key)).unwrap(),
        }
    }
}
