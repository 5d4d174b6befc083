//! The questions of `docs/queries.md`, each put to the engine as it stands there, its answer held against the model.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde_json::Value;
use xray_processor_worker::generate::{Lines, Plan};

use crate::support::clickhouse::{Database, block_on};
use crate::support::events::{handle, records};
use crate::support::model::{Input, State, expected};

/// By heading.
fn questions() -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/queries.md")).unwrap();
    let chapters = text.split("\n## ").skip(1).filter_map(|chapter| {
        let (heading, rest) = chapter.split_once('\n')?;
        let sql = rest.split_once("```sql\n")?.1.split_once("\n```")?.0;
        Some((heading.to_owned(), sql.to_owned()))
    });
    chapters.collect()
}

struct Asked {
    database: Database,
    model: State,
    questions: BTreeMap<String, String>,
}

impl Asked {
    async fn about(plan: Plan) -> Asked {
        let database = Database::fresh();
        let tables = database.tables().await;
        let bodies: Vec<Bytes> = Lines::new(plan).collect();
        handle(&tables, &records(&bodies)).await;
        let model = expected(bodies.iter().map(|body| Input { body, hint: None }));
        Asked { database, model, questions: questions() }
    }

    fn ask(&self, heading: &str, parameters: &[(&str, &str)]) -> Vec<Value> {
        let sql = &self.questions[heading];
        let mut url = format!(
            "{}?database={}&default_format=JSONEachRow&output_format_json_quote_64bit_integers=0&date_time_output_format=iso",
            self.database.url, self.database.name
        );
        for (name, value) in parameters {
            url.push_str(&format!(
                "&param_{name}={}",
                value.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>()
            ));
        }
        let answer = block_on(async {
            let answer = reqwest::Client::new().post(url).body(sql.clone()).send().await.unwrap();
            (answer.status(), answer.text().await.unwrap())
        });
        assert!(answer.0.is_success(), "{heading}: {}", answer.1);
        answer.1.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn number(row: &Value, name: &str) -> i64 {
    row[name].as_i64().unwrap_or_else(|| panic!("no {name} in {row}"))
}

fn text<'a>(row: &'a Value, name: &str) -> &'a str {
    row[name].as_str().unwrap_or_else(|| panic!("no {name} in {row}"))
}

const LONG_AGO: (&str, &str) = ("since", "2020-01-01 00:00:00");

#[tokio::test]
async fn as_they_stand_in_the_docs() {
    let asked = Asked::about(Plan { runs: 30, days: 20, ..Plan::default() }).await;
    let State { runs, steps, decision_events, .. } = &asked.model;
    let mut answered = BTreeSet::new();
    let mut ask = |heading: &'static str, parameters: &[(&str, &str)]| {
        answered.insert(heading.to_owned());
        let rows = asked.ask(heading, parameters);
        assert!(!rows.is_empty() || heading == "Dead letters by reason", "{heading}: no answer");
        rows
    };

    let pipeline = &steps.values().find(|step| step.input_count > 0).unwrap().pipeline_id;
    let of_pipeline = || steps.values().filter(|step| step.pipeline_id == *pipeline);
    let rows = ask("Elimination by step over a pipeline", &[("pipeline", pipeline), LONG_AGO]);
    for row in &rows {
        let same = || of_pipeline().filter(|step| step.step_name == text(row, "step_name"));
        assert_eq!(number(row, "steps"), same().count() as i64);
        assert_eq!(number(row, "input"), same().map(|step| step.input_count).sum::<i64>());
        assert_eq!(number(row, "output"), same().map(|step| step.output_count).sum::<i64>());
    }
    assert_eq!(rows.iter().map(|row| number(row, "steps")).sum::<i64>(), of_pipeline().count() as i64);

    let week = of_pipeline().map(|step| &step.started_at[..19]).max().unwrap().replace('T', " ");
    let rows = ask("What changed between two weeks", &[("pipeline", pipeline), ("week", &week)]);
    assert!(rows.iter().any(|row| number(row, "input_before") > 0), "{rows:?}");

    let decision = decision_events.values().find(|decision| decision.outcome == "eliminated").unwrap();
    let of_run = || decision_events.values().filter(|other| other.run_id == decision.run_id);
    let rows = ask("The path of an item through a run", &[("run", &decision.run_id), ("item", &decision.item_id)]);
    let path: BTreeSet<_> =
        of_run().filter(|other| other.item_id == decision.item_id).map(|other| &*other.s3_key).collect();
    assert_eq!(rows.iter().map(|row| text(row, "object")).collect::<BTreeSet<_>>(), path);
    let named = rows.iter().filter(|row| steps.values().any(|step| step.step_name == text(row, "step"))).count();
    assert!(named > 0, "{rows:?}");

    let rows = ask("Where the items of a run end", &[("run", &decision.run_id)]);
    let items: BTreeSet<_> = of_run().map(|other| &other.item_id).collect();
    assert_eq!(rows.iter().map(|row| number(row, "items")).sum::<i64>(), items.len() as i64);

    let rows = ask("The slowest steps", &[LONG_AGO]);
    let ended = steps.values().filter(|step| step.completed_at.is_some()).count() as i64;
    let names: BTreeSet<_> = steps.values().map(|step| &step.step_name).collect();
    assert!(names.len() > 20 || rows.iter().map(|row| number(row, "steps")).sum::<i64>() == ended, "{rows:?}");

    let bad = runs.values().filter(|run| run.status == "failed" || run.status == "cancelled").count();
    assert_eq!(ask("Runs that did not end well", &[LONG_AGO]).len(), bad.min(50));

    asked.database.query(
        "INSERT INTO {db}.dead_letters (sha256, code, reason, source, kind, s3_key, bytes, first_seen)
         SELECT toString(number), 'not_json', 'r', 'q', '', 'k', 1, now64(3) FROM numbers(7)",
    );
    let rows = ask("Dead letters by reason", &[LONG_AGO]);
    assert_eq!((rows.len(), number(&rows[0], "letters")), (1, 7));
    assert_eq!(answered, asked.questions.keys().cloned().collect(), "each question of the docs is asked");
}

/// What the status page shows, from the same rows.
#[tokio::test]
async fn the_latest_runs_and_dead_letters() {
    use xray_processor_worker::store::MetricsStore;
    use xray_processor_worker::store::recent::RUNS;
    let asked = Asked::about(Plan { runs: 30, days: 20, ..Plan::default() }).await;
    let tables = asked.database.tables().await;
    let recent = tables.recent().await.unwrap();
    let mut latest: Vec<_> = asked.model.runs.values().collect();
    latest.sort_by(|a, b| (&b.started_at, &a.run_id).cmp(&(&a.started_at, &b.run_id)));
    assert_eq!(recent.runs.len(), RUNS);
    for (run, model) in recent.runs.iter().zip(latest) {
        let shown = (&run.run_id, &run.started_at, &run.completed_at, run.input_count as i64, run.total_steps as i64);
        let expected =
            (&model.run_id, &model.started_at, &model.completed_at, model.total_input_count, model.total_steps);
        assert_eq!(shown, expected);
        for step in &run.steps {
            let model = &asked.model.steps[&step.step_id];
            assert_eq!((step.kept_count as i64, step.output_count as i64), (model.kept_count, model.output_count));
            assert_eq!((&step.started_at, &step.completed_at), (&model.started_at, &model.completed_at));
        }
        assert_eq!(run.steps.len() as i64, model.total_steps.min(16));
    }
    assert!(recent.dead_letters.is_empty());
    asked.database.query(
        "INSERT INTO {db}.dead_letters (sha256, code, reason, source, kind, s3_key, bytes, first_seen)
         SELECT leftPad(toString(number), 64, '0'), 'not_json', repeat('x', 10000), 'q', '', 'k', 1, toDateTime64(number, 3)
         FROM numbers(1000)",
    );
    let letters = tables.recent().await.unwrap().dead_letters;
    assert_eq!((letters.len(), letters[0].reason.len()), (10, 300));
    assert!(
        letters[0].sha256.ends_with("0999") && letters[0].first_seen.starts_with("1970-01-01T00:16:39.000Z"),
        "{letters:?}"
    );
}

/// A page that somebody left open does not look through all runs there ever were, and shows what it can.
#[tokio::test]
async fn each_part_of_what_is_recent_by_itself() {
    use xray_processor_worker::store::MetricsStore;
    let database = Database::fresh();
    let tables = database.tables().await;
    let runs = |which: &str, since: &str| {
        database.query(&format!(
            "INSERT INTO {{db}}.runs (run_id, started_at) SELECT toString(number), {since} FROM numbers({which})"
        ));
    };
    runs("3", "now() - INTERVAL 2 DAY");
    runs("3, 5000000", "now() - INTERVAL 40 DAY");
    database
        .query("INSERT INTO {db}.dead_letters (sha256, first_seen) SELECT toString(number % 3), now() FROM numbers(9)");
    let recent = tables.recent().await.unwrap();
    assert_eq!((recent.runs.len(), recent.runs_error, recent.dead_letters.len()), (3, None, 3));
    database.query("DROP TABLE {db}.dead_letters SYNC");
    let recent = tables.recent().await.unwrap();
    assert_eq!((recent.runs.len(), recent.runs_error, recent.dead_letters.len()), (3, None, 0));
    let error = recent.dead_letters_error.unwrap();
    assert!(error.starts_with("cannot read the latest dead letters: a table is not there"), "{error}");
    database.query("DROP TABLE {db}.runs SYNC");
    assert!(tables.recent().await.is_err());
}
