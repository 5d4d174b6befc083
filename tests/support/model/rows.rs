//! The rows of the tables: the documented columns, with times as the text that embedded mode shows.

/// What a decision is known by in the tables: run, step, event and UTC day (`2026-01-31`).
pub type DecisionId = (String, String, String, String);

/// A row whose columns can be listed.
pub trait Row: PartialEq + Sized {
    const TABLE: &'static str;
    const COLUMNS: &'static [&'static str];

    fn from_sqlite(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self>;

    /// The values for people to read, in the order of `COLUMNS`.
    fn shown(&self) -> Vec<String>;
}

macro_rules! row {
    ($name:ident in $table:literal { $($column:ident: $type:ty,)* }) => {
        #[derive(Debug, Clone, PartialEq, serde::Deserialize)]
        pub struct $name {
            $(pub $column: $type,)*
        }

        impl Row for $name {
            const TABLE: &'static str = $table;
            const COLUMNS: &'static [&'static str] = &[$(stringify!($column)),*];

            fn from_sqlite(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
                Ok(Self { $($column: row.get(stringify!($column))?),* })
            }

            fn shown(&self) -> Vec<String> {
                vec![$(format!("{:?}", self.$column)),*]
            }
        }
    };
}

row!(DecisionRow in "decision_events" {
    event_id: String,
    step_id: String,
    run_id: String,
    pipeline_id: String,
    outcome: String,
    item_id: String,
    score: Option<f64>,
    timestamp: String,
    s3_key: String,
});

row!(StepRow in "steps" {
    step_id: String,
    run_id: String,
    pipeline_id: String,
    step_type: String,
    step_name: String,
    input_count: i64,
    output_count: i64,
    elimination_ratio: f64,
    kept_count: i64,
    eliminated_count: i64,
    scored_count: i64,
    started_at: String,
    completed_at: Option<String>,
});

row!(RunRow in "runs" {
    run_id: String,
    pipeline_id: String,
    status: String,
    started_at: String,
    completed_at: Option<String>,
    error: Option<String>,
    total_steps: i64,
    total_input_count: i64,
    total_output_count: i64,
    overall_elimination_ratio: f64,
    metadata: String,
});

impl DecisionRow {
    pub fn id(&self) -> DecisionId {
        let day = self.timestamp[..10].to_owned();
        (self.run_id.clone(), self.step_id.clone(), self.event_id.clone(), day)
    }
}
