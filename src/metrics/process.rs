use super::live::gauge;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use std::fmt;
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

/// The process itself, under the names that Prometheus's own clients give it. What the system does not tell in `/proc` is
/// left out.
#[derive(Debug)]
pub(super) struct Process {
    start_time: f64,
}

impl Process {
    pub(super) fn started_now() -> Process {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Process { start_time: now.as_secs_f64() }
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let cpu = ConstCounter::new(cpu_seconds());
        let help = "CPU time that the process has used, user and system.";
        cpu.encode(encoder.encode_descriptor("process_cpu_seconds", help, None, cpu.metric_type())?)?;
        let help = "When the process started, in seconds since 1970.";
        gauge(&mut encoder, "process_start_time_seconds", help, self.start_time)?;
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        let figures = [
            ("process_resident_memory_bytes", "Memory of the process that is in RAM.", kilobytes(&status, "VmRSS:")),
            ("process_virtual_memory_bytes", "Address space of the process.", kilobytes(&status, "VmSize:")),
            ("process_open_fds", "Open files and connections.", open_fds()),
            ("process_max_fds", "How many files and connections may be open.", max_fds(&limits)),
        ];
        for (name, help, figure) in figures {
            if let Some(figure) = figure {
                gauge(&mut encoder, name, help, figure)?;
            }
        }
        Ok(())
    }
}

fn cpu_seconds() -> f64 {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    used.tv_sec as f64 + used.tv_nsec as f64 / 1e9
}

/// Of a line like `VmRSS:     12345 kB`, in bytes.
fn kilobytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

/// Without the one that is open to count them.
fn open_fds() -> Option<u64> {
    fs::read_dir("/proc/self/fd").ok().map(|open| (open.count() as u64).saturating_sub(1))
}

/// The soft limit: of a line like `Max open files            1024                 524288               files`.
fn max_fds(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_tells() {
        let status = "Name:\tx\nVmSize:\t  207868 kB\nVmRSS:\t   12345 kB\n";
        assert_eq!(kilobytes(status, "VmRSS:"), Some(12345 * 1024));
        assert_eq!(kilobytes(status, "VmSwap:"), None);
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max open files            1024                 524288               files     \n";
        assert_eq!(
            (max_fds(limits), max_fds("Max open files            unlimited  unlimited files")),
            (Some(1024), None)
        );
        assert!(cpu_seconds() > 0.0);
    }
}
