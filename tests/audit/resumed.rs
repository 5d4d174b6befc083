//! A rebuild that was broken off and goes on much later: what has become of the objects since is what counts.

use std::time::{Duration, Instant};

use crate::damage::bodies_of;
use crate::place::Place;
use crate::rebuild::{assert_clean, broken_off, drop_tables, folders_done, is_unfinished, rebuild, unfinished};
use crate::support::model::diff;

/// The tables are lost when it goes on, and objects it had read are newer reports and other winners by now.
fn objects_that_changed_since(place: &Place) {
    let bodies = bodies_of(place, "40");
    let (before, meanwhile) = bodies.split_at(bodies.len() / 2);
    place.store(before);
    broken_off(place, 1);
    place.store(meanwhile);
    drop_tables(place);
    rebuild(place, &[]);
    place.assert_model(&bodies);
    assert_clean(place);
}

/// Broken off once it has begun to exchange the tables.
fn exchanged(place: &Place) {
    match &place.servers {
        Some(deployment) => {
            let mut running = unfinished(place, &[]);
            let begun = "SELECT count() FROM system.tables AS ours JOIN {db}_rebuild.rebuild_progress AS known
                         ON known.part = concat('fresh table ', ours.name, ' ', toString(ours.uuid))
                         WHERE ours.database = '{db}' AND ours.name = 'runs' FORMAT TSV";
            let deadline = Instant::now() + Duration::from_secs(60);
            while !is_unfinished(place) || folders_done(place) == 0 || deployment.database.query(begun) != "1\n" {
                assert!(Instant::now() < deadline && running.0.try_wait().unwrap().is_none(), "it ended unseen");
                std::thread::sleep(Duration::from_millis(20));
            }
            running.kill_9();
        }
        // It is one transaction: between its end and that of the process there is no more than this.
        None => {
            rebuild(place, &["--keep"]);
            let db = rusqlite::Connection::open(place.data().join("rebuild/xray.db")).unwrap();
            assert_eq!(db.execute("DELETE FROM rebuild_progress WHERE part = 'done'", ()).unwrap(), 1);
        }
    }
    assert!(is_unfinished(place));
}

/// What is erased before it goes on does not come back, and what was stored is there.
fn erased_and_stored_since(place: &Place) {
    let bodies = bodies_of(place, "8");
    let (before, meanwhile) = bodies.split_at(bodies.len() / 2);
    place.store(before);
    exchanged(place);
    place.store(meanwhile);
    let run = place.state().runs.into_keys().nth(2).unwrap();
    assert_eq!(place.run(&["purge", "--run", &run, "--yes"]).code, 0);
    let letter = place.state().dead_letters.into_keys().next().unwrap();
    assert_eq!(place.run(&["dead-letters", "discard", &letter, "--yes"]).code, 0);
    let left = place.state();
    rebuild(place, &[]);
    assert_eq!(diff(&left, &place.state()), [""; 0]);
    assert!(!is_unfinished(place));
    assert_clean(place);
}

on_every_pair!(objects_that_changed_since, erased_and_stored_since);

/// The same with the tables lost: in embedded mode the fresh ones are still there.
#[test]
fn lost_since() {
    let place = Place::files();
    let bodies = bodies_of(&place, "8");
    let (before, meanwhile) = bodies.split_at(bodies.len() / 2);
    place.store(before);
    exchanged(&place);
    place.store(meanwhile);
    drop_tables(&place);
    rebuild(&place, &[]);
    place.assert_model(&bodies);
    assert_clean(&place);
}
