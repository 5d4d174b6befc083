//! `rebuild`: whatever has become of the tables, they are as the objects say; broken off and resumed, and while workers
//! run.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::damage::{bodies, bodies_of};
use crate::place::Place;
use crate::support::model::{State, diff};
use crate::support::worker::{Running, write_lines};

/// Queries are over after so long, and so is the wait for the last of them.
const TIMEOUT: (&str, &str) = ("CLICKHOUSE_TIMEOUT_MS", "8000");

pub fn rebuild(place: &Place, args: &[&str]) -> serde_json::Value {
    let mut command = place.worker(&[&["rebuild", "--output", "json"], args].concat());
    let found = crate::support::worker::output(command.env(TIMEOUT.0, TIMEOUT.1));
    let stderr = String::from_utf8_lossy(&found.stderr);
    assert_eq!(found.status.code(), Some(0), "{stderr}");
    serde_json::from_slice(&found.stdout).unwrap()
}

pub fn assert_clean(place: &Place) {
    let said = place.run(&["verify", "--deep", "--min-age", "0s"]);
    assert_eq!(said.code, 0, "{said:?}");
}

pub fn drop_tables(place: &Place) {
    match &place.servers {
        Some(deployment) => drop(deployment.database.query("DROP DATABASE {db} SYNC")),
        None => {
            for file in ["xray.db", "xray.db-wal", "xray.db-shm"] {
                std::fs::remove_file(place.data().join(file)).ok();
            }
        }
    }
}

/// Drop the database, rebuild, verify.
fn restore_drill(place: &Place) {
    let mut bodies = bodies(place);
    bodies.extend(crate::support::bodies::hostile());
    place.store(&bodies);
    place.assert_model(&bodies);
    drop_tables(place);
    let counts = rebuild(place, &[]);
    assert!(counts["events"].as_u64() > Some(500) && counts["damaged"] == 0, "{counts}");
    place.assert_model(&bodies);
    assert_clean(place);

    if let Some(deployment) = &place.servers {
        deployment.database.query("ALTER TABLE {db}.runs ADD COLUMN team String DEFAULT 'search'");
        deployment.database.query("ALTER TABLE {db}.runs MODIFY TTL toDateTime(started_at) + INTERVAL 20 YEAR");
    }
    // Over tables that are in use and wrong in every way.
    place.both("DELETE FROM {db}.decision_events WHERE outcome = 'kept'");
    place.sql(
        "UPDATE runs SET total_steps = 99, version = printf('%064d', 9)",
        "ALTER TABLE {db}.runs UPDATE total_steps = 99 WHERE 1",
    );
    place.sql(
        "UPDATE step_reports SET updated_at = '2020-01-01T00:00:00.000Z', input_count = 4711",
        "ALTER TABLE {db}.step_reports UPDATE updated_at = '2020-01-01 00:00:00', input_count = 4711 WHERE 1",
    );
    rebuild(place, &["--keep"]);
    place.assert_model(&bodies);
    if let Some(deployment) = &place.servers {
        let own = "SELECT any(team), (SELECT countSubstrings(create_table_query, 'TTL') FROM system.tables
                   WHERE database = '{db}' AND name = 'runs') FROM {db}.runs FORMAT TSV";
        assert_eq!(deployment.database.query(own), "search\t1\n", "what somebody added stays");
    }
    assert_clean(place);
    place.both("DELETE FROM {db}.decision_events WHERE outcome = 'kept'");
    rebuild(place, &[]);
    place.assert_model(&bodies);

    // A part of them, into the tables as they are.
    place.both("DELETE FROM {db}.decision_events WHERE outcome = 'kept'");
    rebuild(place, &["--kind", "run"]);
    assert_eq!(place.run(&["verify", "--min-age", "0s"]).code, 3);
    rebuild(place, &["--kind", "decision"]);
    let said = place.run(&["verify", "--deep", "--min-age", "0s", "--output", "json"]);
    let problems = said.json().pop().unwrap()["summary"]["problems"].as_object().unwrap().clone();
    assert!(problems.contains_key("missing_row"), "of what lost a conflict: {problems:?}");
    // ClickHouse keeps the derived rows that have seen them too.
    assert!(place.servers.is_some() || !problems.contains_key("different_derived"), "counted twice: {problems:?}");
    assert_eq!(place.run(&["verify", "--repair", "--deep", "--min-age", "0s"]).code, 0);
    place.assert_model(&bodies);
}

/// Killed again and again, each time a little further on, the exchange among the moments. By hand with as many events as
/// one likes: `XRAY_REBUILD_RUNS` runs of some 70 events each.
fn killed_and_resumed(place: &Place) {
    let runs = std::env::var("XRAY_REBUILD_RUNS").unwrap_or_else(|_| "60".into());
    let bodies = bodies_of(place, &runs);
    place.store(&bodies);
    let live = place.state();
    place.both("DELETE FROM {db}.decision_events WHERE outcome = 'kept'");
    let began = Instant::now();
    rebuild(place, &[]);
    let whole = began.elapsed();
    assert_eq!(diff(&live, &place.state()), [""; 0], "row by row");
    place.both("DELETE FROM {db}.decision_events WHERE outcome = 'kept'");
    let mut broken_off = 0;
    for _ in 0..8 {
        let mut running = unfinished(place, &[]);
        std::thread::sleep(whole / 6);
        running.kill_9();
        broken_off += u32::from(is_unfinished(place));
    }
    assert!(broken_off >= 2, "killed {broken_off} times in the middle, {whole:?} long");
    let counts = rebuild(place, &[]);
    println!("killed {broken_off} times in the middle; the whole takes {whole:?}; the last: {counts}");
    assert!(!is_unfinished(place));
    place.assert_model(&bodies);
    assert_eq!(diff(&live, &place.state()), [""; 0], "row by row");
    assert_clean(place);
}

/// What is erased once it has been read into the fresh tables does not come back when the rebuild goes on.
fn erased_meanwhile(place: &Place) {
    let bodies = bodies_of(place, "40");
    place.store(&bodies);
    let state = place.state();
    // More than one: the folder of a day's only dead letter is gone with it.
    broken_off(place, 3);
    let run = state.runs.keys().nth(2).unwrap();
    assert_eq!(place.run(&["purge", "--run", run, "--yes"]).code, 0);
    let letter = place.state().dead_letters.into_keys().next().unwrap();
    assert_eq!(place.run(&["dead-letters", "discard", &letter, "--yes"]).code, 0);
    let left = place.state();
    let counts = rebuild(place, &[]);
    assert!(counts["resumed"].as_u64() > Some(0), "{counts}");
    assert_eq!(diff(&left, &place.state()), [""; 0]);
    assert_clean(place);
}

/// Breaks one off once it has read as many folders.
pub fn broken_off(place: &Place, folders: u64) {
    let begun = || is_unfinished(place) && folders_done(place) >= folders;
    // It may be over before anybody looks.
    for _ in 0..40 {
        let mut running = unfinished(place, &["--anew"]);
        while running.0.try_wait().unwrap().is_none() && !begun() {
            std::thread::sleep(Duration::from_millis(2));
        }
        running.kill_9();
        if begun() {
            return;
        }
    }
    panic!("it was never broken off");
}

/// Folders that a rebuild which broke off has read, of all the days there are.
pub fn folders_done(place: &Place) -> u64 {
    match &place.servers {
        Some(deployment) => {
            let sql = "SELECT ifNull(sum(total_rows), 0) FROM system.tables
                       WHERE database = '{db}_rebuild' AND name = 'rebuild_progress' FORMAT TSV";
            // What else is noted there: the fresh tables, and who began when.
            deployment.database.query(sql).trim().parse::<u64>().unwrap().saturating_sub(12)
        }
        None => {
            let Ok(db) = rusqlite::Connection::open(place.data().join("rebuild/xray.db")) else { return 0 };
            let sql = "SELECT count(*) FROM rebuild_progress WHERE part LIKE '%/'";
            db.query_row(sql, (), |row| row.get::<_, i64>(0)).unwrap_or(0).unsigned_abs()
        }
    }
}

pub fn unfinished(place: &Place, args: &[&str]) -> Running {
    let mut command = place.worker(&[&["rebuild"], args].concat());
    command.env(TIMEOUT.0, TIMEOUT.1).stdout(Stdio::null()).stderr(Stdio::piped());
    Running(command.spawn().unwrap())
}

/// Two at once: the one that began later goes on, and the other leaves it to that one.
fn two_at_once(place: &Place) {
    let bodies = bodies_of(place, "40");
    place.store(&bodies);
    place.both("DELETE FROM {db}.decision_events WHERE outcome = 'kept'");
    let mut first = unfinished(place, &[]);
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_unfinished(place) || folders_done(place) == 0 {
        assert!(Instant::now() < deadline && first.0.try_wait().unwrap().is_none(), "it ended before anybody looked");
        std::thread::sleep(Duration::from_millis(2));
    }
    rebuild(place, &[]);
    place.assert_model(&bodies);
    let mut said = String::new();
    std::io::Read::read_to_string(&mut first.0.stderr.take().unwrap(), &mut said).unwrap();
    let ended = first.ended();
    assert!(ended.success() || said.contains("another rebuild of these tables"), "{ended:?} {said}");
    place.assert_model(&bodies);
    assert_clean(place);
}

/// Another bucket that has objects of the same days, and more of them.
fn objects_of_others(place: &Place) {
    let bodies = bodies(place);
    place.store(&bodies);
    let before = place.state();
    let own: Vec<_> = before.objects.keys().map(|key| (key.clone(), place.get(key))).collect();
    for (key, body) in &own {
        let (folder, name) = key.rsplit_once('/').unwrap();
        place.delete(key);
        for copy in ["one", "two"] {
            place.put(&format!("{folder}/{copy}-{name}"), body);
        }
    }
    let refused = place.run(&["verify", "--min-age", "0s", "--repair"]);
    assert!(refused.code == 3 && refused.stdout.contains("Nothing was repaired"), "{refused:?}");
    let refused = place.run(&["rebuild"]);
    assert!(refused.code == 1 && refused.stderr.contains("rows have no object"), "{refused:?}");
    assert_eq!(tables(&before), tables(&place.state()), "nothing was changed");
    for (key, body) in &own {
        let (folder, name) = key.rsplit_once('/').unwrap();
        ["one", "two"].iter().for_each(|copy| place.delete(&format!("{folder}/{copy}-{name}")));
        place.put(key, body);
    }
    assert_clean(place);
    place.assert_model(&bodies);
}

fn tables(state: &State) -> State {
    State { objects: Default::default(), ..state.clone() }
}

/// One event that a constraint refuses does not keep the others out.
#[test]
fn what_a_constraint_refuses_is_left_out() {
    let place = Place::servers("minio");
    let mut bodies = bodies(&place);
    place.store(&bodies);
    let database = &place.servers.as_ref().unwrap().database;
    database.query("ALTER TABLE {db}.decision_events ADD CONSTRAINT picky CHECK item_id != 'poison'");
    let decision = |id: &str, item: &str| {
        format!(r#"{{"id":"{id}","stepId":"s","runId":"r","outcome":"kept","itemId":"{item}","timestamp":"2026-02-28T23:00:00Z"}}"#).into_bytes()
    };
    bodies.push(decision("good", "good"));
    place.store(&[decision("poison", "poison"), decision("good", "good")]);
    let before = place.state();
    assert!(before.dead_letters.values().any(|letter| letter.code == "store_refused"));
    place.both("DELETE FROM {db}.decision_events WHERE outcome = 'kept'");
    let said = place.run(&["rebuild"]);
    assert!(said.code == 3 && said.stdout.contains("1 are refused by the tables"), "{said:?}");
    assert_eq!(diff(&before, &place.state()), [""; 0]);
    assert_clean(&place);
}

pub fn is_unfinished(place: &Place) -> bool {
    match &place.servers {
        Some(deployment) => {
            let sql = "SELECT count() FROM system.databases WHERE name = '{db}_rebuild' FORMAT TSV";
            deployment.database.query(sql) == "1\n"
        }
        None => place.data().join("rebuild").exists(),
    }
}

/// What workers store meanwhile is there afterwards.
fn while_workers_run(place: &Place) {
    let bodies = bodies_of(place, "40");
    let (before, meanwhile) = bodies.split_at(bodies.len() / 3);
    place.store(before);
    place.both("DELETE FROM {db}.decision_events WHERE outcome = 'kept'");
    let mut workers: Vec<Running> = meanwhile
        .chunks(meanwhile.len().div_ceil(2))
        .enumerate()
        .map(|(at, part)| {
            let input = write_lines(place.dir.path().join(format!("meanwhile-{at}")), part);
            let mut command = place.worker(&["run", "--input", &input]);
            command.env(TIMEOUT.0, TIMEOUT.1).stdout(Stdio::null()).stderr(Stdio::null());
            Running(command.spawn().unwrap())
        })
        .collect();
    std::thread::sleep(Duration::from_millis(300));
    rebuild(place, &[]);
    for worker in &mut workers {
        assert!(worker.ended().success());
    }
    place.assert_model(&bodies);
    assert_clean(place);
}

/// A bucket that is empty, or another one, takes nothing away.
fn objects_that_are_away(place: &Place) {
    let bodies = bodies(place);
    place.store(&bodies);
    let keys: Vec<String> = place.state().objects.into_keys().collect();
    let kept: Vec<_> = keys.iter().map(|key| (key, place.get(key))).collect();
    keys.iter().for_each(|key| place.delete(key));
    let before = place.state();
    let refused = place.run(&["rebuild"]);
    assert!(refused.code == 1 && refused.stderr.contains("were left as they are"), "{refused:?}");
    let named = place.run(&["verify", "--min-age", "0s", "--repair"]);
    assert!(named.code == 3 && named.stdout.contains("row without object"), "{}", named.stderr);
    assert_eq!(diff(&before, &place.state()), [""; 0], "nothing was taken away");
    kept.iter().for_each(|(key, body)| place.put(key, body));
    assert_eq!(place.run(&["rebuild"]).code, 0);
    place.assert_model(&bodies);
    keys.iter().for_each(|key| place.delete(key));
    assert_eq!(place.run(&["rebuild", "--force"]).code, 0);
}

on_every_pair!(
    objects_that_are_away,
    objects_of_others,
    restore_drill,
    killed_and_resumed,
    erased_meanwhile,
    two_at_once,
    while_workers_run
);
