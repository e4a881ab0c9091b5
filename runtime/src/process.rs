//! The standard metrics `process_*`, read from `/proc` at each scrape.

use std::fs;

use prometheus::{Counter, Gauge, Registry};

/// The metrics `process_*` of this program.
#[derive(Debug, Clone)]
pub struct ProcessMetrics {
    cpu: Counter,
    resident: Gauge,
    virtual_memory: Gauge,
    open_files: Gauge,
    threads: Gauge,
}

/// Ticks per second in `/proc/<pid>/stat`. Linux shows the same value to every program.
const TICKS: f64 = 100.0;

impl ProcessMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// Metrics of these names are registered already.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let gauge = |name: &str, help: &str| {
            let gauge = Gauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let cpu = Counter::new("process_cpu_seconds_total", "User and system CPU time in seconds")?;
        registry.register(Box::new(cpu.clone()))?;
        let metrics = Self {
            cpu,
            resident: gauge("process_resident_memory_bytes", "Resident memory in bytes")?,
            virtual_memory: gauge("process_virtual_memory_bytes", "Virtual memory in bytes")?,
            open_files: gauge("process_open_fds", "Open file descriptors")?,
            threads: gauge("process_threads", "Threads")?,
        };
        let start = gauge("process_start_time_seconds", "Start of the process since the Unix epoch in seconds")?;
        if let Some(time) = start_time() {
            start.set(time);
        }
        Ok(metrics)
    }

    /// Reads the present values. A value that cannot be read stays as it was.
    pub fn refresh(&self) {
        if let Some(seconds) =
            stat_fields().and_then(|fields| Some((number(&fields, 11)? + number(&fields, 12)?) / TICKS))
        {
            self.cpu.inc_by((seconds - self.cpu.get()).max(0.0));
        }
        if let Ok(status) = fs::read_to_string("/proc/self/status") {
            for (key, gauge, unit) in [
                ("VmRSS:", &self.resident, 1024.0),
                ("VmSize:", &self.virtual_memory, 1024.0),
                ("Threads:", &self.threads, 1.0),
            ] {
                let value = status
                    .lines()
                    .find_map(|line| line.strip_prefix(key)?.split_whitespace().next()?.parse::<f64>().ok());
                if let Some(value) = value {
                    gauge.set(value * unit);
                }
            }
        }
        if let Ok(files) = fs::read_dir("/proc/self/fd") {
            self.open_files.set(u32::try_from(files.count()).map_or(f64::NAN, f64::from));
        }
    }
}

/// The fields of `/proc/self/stat` after the name of the program, which can contain spaces. The first is field 3.
fn stat_fields() -> Option<Vec<String>> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

fn number(fields: &[String], index: usize) -> Option<f64> {
    fields.get(index)?.parse().ok()
}

fn start_time() -> Option<f64> {
    let since_boot = number(&stat_fields()?, 19)? / TICKS;
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let boot: f64 = stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())?;
    Some(boot + since_boot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_its_own_process() {
        let metrics = ProcessMetrics::new(&Registry::new()).unwrap();
        metrics.refresh();
        assert!(metrics.resident.get() > 100_000.0);
        assert!(metrics.open_files.get() >= 3.0);
        assert!(metrics.threads.get() >= 1.0);
        assert!(start_time().unwrap() > 1.0e9);
    }
}
