//! What something took.

use std::time::{Duration, Instant};

/// Of one round.
#[derive(Debug, Clone, Copy, Default)]
pub struct Used {
    /// Events a second.
    pub rate: f64,
    /// µs of CPU an event, of whoever did it.
    pub cpu: f64,
    /// The same of the S3 server, and of ClickHouse.
    pub objects_cpu: f64,
    pub tables_cpu: f64,
    /// Peak in MB.
    pub rss: f64,
}

impl Used {
    /// By this process for so many events, since the clock and [`cpu`] were read.
    pub fn since(began: Instant, before: Duration, events: usize) -> Used {
        let (took, used) = (began.elapsed(), cpu("self")[0] - before);
        Used { rate: events as f64 / took.as_secs_f64(), cpu: each(used, events), ..Used::default() }
    }

    /// Of a process, without what it takes to start and to end: that is what one event took.
    pub fn without(self, one: Used, events: usize) -> Used {
        let count = events as f64;
        let seconds = count / self.rate - 1.0 / one.rate;
        Used { rate: count / seconds, cpu: self.cpu - one.cpu / count, ..self }
    }
}

/// Each number by itself.
pub fn median(rounds: Vec<Used>) -> Used {
    let of = |number: fn(&Used) -> f64| {
        let mut all: Vec<f64> = rounds.iter().map(number).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    Used {
        rate: of(|used| used.rate),
        cpu: of(|used| used.cpu),
        objects_cpu: of(|used| used.objects_cpu),
        tables_cpu: of(|used| used.tables_cpu),
        rss: of(|used| used.rss),
    }
}

/// CPU that a process has used so far, and that of its children that have ended.
pub fn cpu(pid: &str) -> [Duration; 2] {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // After the name, which may hold spaces: `utime`, `stime`, `cutime` and `cstime` are the 12th and those that follow.
    let (_, fields) = stat.rsplit_once(") ").unwrap_or_default();
    let ticks: Vec<u64> = fields.split(' ').skip(11).take(4).filter_map(|ticks| ticks.parse().ok()).collect();
    let pair = |at: usize| Duration::from_millis(ticks.iter().skip(at).take(2).sum::<u64>() * 10);
    [pair(0), pair(2)]
}

/// µs an event.
pub fn each(used: Duration, events: usize) -> f64 {
    used.as_secs_f64() * 1e6 / events as f64
}
