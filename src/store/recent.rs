//! What was stored lately, for people who want to see that the numbers are right.

use serde::{Deserialize, Serialize};

/// How much of it is shown.
pub const RUNS: usize = 8;
/// Of each run.
pub const STEPS: usize = 16;
/// The latest.
pub const DEAD_LETTERS: usize = 10;
/// Texts of others are cut here: nobody knows how long a name or an error is.
pub const TEXT: usize = 300;

/// The latest runs with their steps, and the latest dead letters.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Recent {
    /// By start, the latest first.
    pub runs: Vec<RecentRun>,
    /// Why they could not be read.
    pub runs_error: Option<String>,
    /// The latest first.
    pub dead_letters: Vec<RecentLetter>,
    /// Why they could not be read.
    pub dead_letters_error: Option<String>,
}

/// A row of `runs`, and its steps.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)] // the columns, as documented for users
pub struct RecentRun {
    pub run_id: String,
    pub pipeline_id: String,
    pub status: String,
    pub started_at: String,
    pub completed_at: Option<String>,
    pub error: Option<String>,
    pub total_steps: u64,
    pub input_count: u64,
    pub output_count: u64,
    pub elimination_ratio: f64,
    /// In the order of their starts, the first of them.
    pub steps: Vec<RecentStep>,
}

/// A row of `steps`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)] // the columns, as documented for users
pub struct RecentStep {
    pub step_id: String,
    pub step_type: String,
    pub step_name: String,
    pub input_count: u64,
    pub output_count: u64,
    pub elimination_ratio: f64,
    pub kept_count: u64,
    pub eliminated_count: u64,
    pub scored_count: u64,
    pub started_at: String,
    pub completed_at: Option<String>,
}

/// A row of `dead_letters`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)] // the columns, as documented for users
pub struct RecentLetter {
    pub sha256: String,
    pub code: String,
    pub reason: String,
    pub source: String,
    pub kind: String,
    pub bytes: u64,
    pub first_seen: String,
    pub redriven_at: Option<String>,
}
