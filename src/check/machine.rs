//! Whether what the worker may hold fits into the machine.

use super::finding::{Finding, Findings};
use crate::config::{Config, QueueType};
use std::fs;
use std::path::Path;

/// What a worker that holds nothing takes, and its threads and connections.
const BASE: u64 = 96 << 20;
/// What a broker has pushed and the worker has not received yet, the driver's own buffers included.
const PUSHED: u64 = 32 << 20;
/// Connections to S3, ClickHouse, the broker and clients.
const FEW_FILES: u64 = 1024;

/// What was found.
pub fn inspect(config: &Config) -> Vec<Finding> {
    let mut found = Findings::about("memory");
    let needed = needed(config);
    match limit() {
        None => found.ok(format!("up to about {} is used; how much there is cannot be seen here", mib(needed))),
        Some(limit) => judge(&mut found, needed, limit),
    }
    let mut all = found.into_all();
    all.extend(files());
    all
}

fn judge(found: &mut Findings, needed: u64, limit: u64) {
    let text = format!("up to about {} is used, and there is {}", mib(needed), mib(limit));
    let advice = "lower MAX_IN_FLIGHT_BYTES, or give the worker more memory: it is killed where it takes more";
    match needed {
        _ if needed > limit => found.fail_with(text, advice),
        _ if needed > limit / 5 * 4 => found.warn(text, advice),
        _ => found.ok(text),
    }
}

/// The most that the worker takes, roughly: what it holds, what is on its way to it, and itself.
fn needed(config: &Config) -> u64 {
    let limits = &config.limits;
    let held = limits.max_in_flight_bytes as u64;
    let beyond = match config.queue.kind {
        // Requests are read before they are put in the queue, which has a bound of its own of the same size.
        QueueType::Memory => held,
        _ => PUSHED,
    };
    // One message over the whole bound is admitted alone; it is copied once as it is written.
    BASE + held.max(limits.max_event_bytes as u64) + beyond + limits.max_event_bytes as u64
}

/// The memory of this machine, or what of it we may use.
fn limit() -> Option<u64> {
    let total = fs::read_to_string("/proc/meminfo").ok().as_deref().and_then(total);
    let group = fs::read_to_string("/proc/self/cgroup").ok();
    let groups =
        group.as_deref().map(|group| group_limit(group, |file| fs::read_to_string(file).ok())).unwrap_or_default();
    [total, groups].into_iter().flatten().min()
}

/// Of `MemTotal:       24623712 kB`.
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

/// The least of the limits of our control group and those above it, of either version.
fn group_limit(groups: &str, read: impl Fn(&Path) -> Option<String>) -> Option<u64> {
    let parts = groups.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':');
        Some((parts.next()?, parts.next()?, parts.next()?))
    });
    let mut least = None;
    for (_, controllers, path) in parts {
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|one| one == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        for above in Path::new(path.trim_start_matches('/')).ancestors() {
            // `max`, and the largest number there is, mean that there is none.
            let limit = read(&Path::new(root).join(above).join(file)).and_then(|text| text.trim().parse::<u64>().ok());
            least = [least, limit.filter(|limit| *limit < 1 << 60)].into_iter().flatten().min();
        }
    }
    least
}

fn files() -> Vec<Finding> {
    let mut found = Findings::about("files");
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    if let Some(soft) = soft {
        let text = format!("{soft} files and connections may be open");
        match soft < FEW_FILES {
            true => found.warn(text, format!("raise the limit (ulimit -n) to {FEW_FILES} or more")),
            false => found.ok(text),
        }
    }
    found.into_all()
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Level;

    #[test]
    fn the_least_limit_counts() {
        let read = |file: &Path| match file.to_str().unwrap() {
            "/sys/fs/cgroup/pod/worker/memory.max" => Some("max\n".into()),
            "/sys/fs/cgroup/pod/memory.max" => Some("536870912\n".into()),
            "/sys/fs/cgroup/memory/x/memory.limit_in_bytes" => Some("268435456\n".into()),
            "/sys/fs/cgroup/memory/memory.limit_in_bytes" => Some("9223372036854771712\n".into()),
            _ => None,
        };
        assert_eq!(group_limit("0::/pod/worker\n", read), Some(512 << 20));
        assert_eq!(group_limit("9:cpu:/y\n4:memory:/x\n", read), Some(256 << 20));
        assert_eq!(group_limit("0::/\n", read), None);
        assert_eq!(total("MemTotal:       24623712 kB\nMemFree: 1 kB\n"), Some(24_623_712 * 1024));
    }

    #[test]
    fn what_may_be_held_must_fit() {
        let level = |limit: u64| {
            let mut found = Findings::about("memory");
            judge(&mut found, needed(&Config::default()), limit);
            found.into_all().remove(0).level
        };
        assert_eq!([level(128 << 20), level(280 << 20), level(1 << 30)], [Level::Fail, Level::Warn, Level::Ok]);
    }
}
