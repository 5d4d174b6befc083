//! Chromium, told what to do over WebDriver. It ends with this value.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use reqwest::Client;
use serde_json::{Value, json};
use tokio::time::sleep;

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Browser {
    driver: Child,
    session: String,
    client: Client,
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver takes its browsers along.
        self.driver.kill().ok();
        self.driver.wait().ok();
    }
}

impl Browser {
    /// With a window of this size, for people who like it dark or not.
    pub async fn start(width: u32, height: u32, dark: bool) -> Browser {
        let mut command = Command::new("chromedriver");
        let mut driver =
            command.arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap_or_else(|error| {
                panic!("chromedriver cannot be started ({error}): `tests/run --install` installs it");
            });
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines.find_map(|line| {
            let line = line.unwrap();
            Some(line.split_once("started successfully on port ")?.1.trim_end_matches('.').to_owned())
        });
        let base = format!("http://127.0.0.1:{}", port.unwrap());
        // Nobody reads the rest.
        std::thread::spawn(move || lines.for_each(drop));
        let window = format!("--window-size={width},{height}");
        let args =
            json!(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--lang=en", window]);
        let always = json!({ "goog:chromeOptions": { "args": args }, "goog:loggingPrefs": { "browser": "ALL" } });
        let mut browser = Browser { driver, session: base.clone(), client: Client::new() };
        let session = browser.call("/session", json!({ "capabilities": { "alwaysMatch": always } })).await;
        browser.session = format!("{base}/session/{}", session["sessionId"].as_str().unwrap());
        let scheme = json!([{ "name": "prefers-color-scheme", "value": if dark { "dark" } else { "light" } }]);
        browser.devtools("Emulation.setEmulatedMedia", json!({ "features": scheme })).await;
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        browser.devtools("Emulation.setDeviceMetricsOverride", size).await;
        browser
    }

    pub async fn open(&self, url: &str) {
        self.call("/url", json!({ "url": url })).await;
    }

    /// What a function with this body returns in the page.
    pub async fn run(&self, script: &str) -> Value {
        self.call("/execute/sync", json!({ "script": script, "args": [] })).await
    }

    /// What stands there for people to read.
    pub async fn text(&self, css: &str) -> String {
        let script = format!("return document.querySelector({})?.innerText ?? \"\"", json!(css));
        self.run(&script).await.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until these words stand there.
    pub async fn shows(&self, css: &str, words: &str) {
        let wait = async {
            while !self.text(css).await.contains(words) {
                sleep(Duration::from_millis(100)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, wait).await.is_err() {
            panic!("{words} is not in {css}: {}", self.text(css).await);
        }
    }

    /// What the browser complained about: refused scripts among it.
    pub async fn complaints(&self) -> Vec<String> {
        let log = self.call("/se/log", json!({ "type": "browser" })).await;
        let entries = log.as_array().unwrap().iter().map(|entry| entry["message"].as_str().unwrap().to_owned());
        entries.filter(|entry| !entry.contains("favicon.ico")).collect()
    }

    /// The page as a picture: all of it, or what the window shows.
    pub async fn picture(&self, file: &Path, all: bool) {
        let taken = self.devtools("Page.captureScreenshot", json!({ "captureBeyondViewport": all })).await;
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, BASE64_STANDARD.decode(taken["data"].as_str().unwrap()).unwrap()).unwrap();
    }

    async fn devtools(&self, command: &str, params: Value) -> Value {
        self.call("/goog/cdp/execute", json!({ "cmd": command, "params": params })).await
    }

    async fn call(&self, path: &str, body: Value) -> Value {
        let request = self.client.post(format!("{}{path}", self.session)).body(body.to_string());
        let answer = request.send().await.unwrap().text().await.unwrap();
        let mut answer: Value = serde_json::from_str(&answer).unwrap();
        let value = answer["value"].take();
        assert!(value.get("error").is_none(), "{path}: {value}");
        value
    }
}
