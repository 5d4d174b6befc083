//! Memory stays within a bound that does not depend on how much is stored.

use std::process::Stdio;
use std::time::Duration;

use crate::damage::bodies_of;
use crate::place::Place;
use crate::support::worker::Running;

/// Peak of what a command held in memory, in MiB.
fn peak(place: &Place, args: &[&str]) -> u64 {
    let mut command = place.worker(args);
    let mut running = Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let status = format!("/proc/{}/status", running.0.id());
    let mut peak = 0;
    // It only grows, so what is missed is what came in the last few milliseconds.
    while running.0.try_wait().unwrap().is_none() {
        let now = std::fs::read_to_string(&status).unwrap_or_default();
        let line = now.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).and_then(|kib| kib.parse::<u64>().ok());
        peak = peak.max(kib.unwrap_or(0) / 1024);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(running.ended().success(), "{args:?}");
    peak
}

/// Ten times as many objects: 10,000 and 100,000. `XRAY_AUDIT_RUNS` sets another number of runs for the larger one, of
/// some 70 objects each.
#[test]
fn does_not_grow_with_what_is_stored() {
    let many = std::env::var("XRAY_AUDIT_RUNS").unwrap_or_else(|_| "1450".into());
    let peaks = ["145", &many].map(|runs| {
        let place = Place::files();
        place.store(&bodies_of(&place, runs));
        let [listed, deep, rebuilt] =
            [&["verify", "--min-age", "0s"][..], &["verify", "--min-age", "0s", "--deep"], &["rebuild"]]
                .map(|args| peak(&place, args));
        println!("{runs} runs: verify {listed} MiB, verify --deep {deep} MiB, rebuild {rebuilt} MiB");
        [listed, deep, rebuilt]
    });
    // What they hold is bounded by pages and batches, which ten thousand objects do not fill yet.
    for (few, many) in peaks[0].iter().zip(peaks[1]) {
        assert!(*few > 5 && many < few + 64 && many < 160, "{peaks:?} MiB");
    }
}
