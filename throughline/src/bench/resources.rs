//! CPU time and resident memory of the parts, as Linux accounts them; NaN on other systems.

use std::fs;

use crate::up::LocalSystem;

/// What one process has used so far.
#[derive(Debug)]
pub(crate) struct Usage {
    pub(crate) name: &'static str,
    /// User and system time since its start.
    pub(crate) cpu_seconds: f64,
    pub(crate) resident_mib: f64,
}

/// The usage of every part of the system.
pub(crate) fn of(system: &LocalSystem) -> Vec<Usage> {
    let mut usages = Vec::new();
    for (name, pid) in system.pids() {
        usages.push(Usage {
            name,
            cpu_seconds: cpu_seconds(pid).unwrap_or(f64::NAN),
            resident_mib: resident_mib(pid).unwrap_or(f64::NAN),
        });
    }
    usages
}

/// User and system time of all threads, those that have ended included.
fn cpu_seconds(pid: u32) -> Option<f64> {
    /// Linux reports to user space in ticks of 10 ms.
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may have spaces; the field after it is the third (proc(5)).
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let (user, system) = (
        fields.next()?.parse::<u64>().ok()?,
        fields.next()?.parse::<u64>().ok()?,
    );
    Some((user + system) as f64 / TICKS_PER_SECOND)
}

fn resident_mib(pid: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.split_whitespace().next()?.parse::<f64>().ok()? / 1024.0)
}
