//! Processor time of a process with all that it started, as the kernel counts it: in hundredths of a second.

use std::collections::HashMap;

/// What `/proc` counts in on every Linux that Rust runs on.
const TICKS_PER_SECOND: f64 = 100.0;

struct Process {
    parent: u32,
    own: u64,
    /// Of children that ended and were waited for.
    ended: u64,
}

/// Seconds of this process alone.
pub(crate) fn of_this() -> f64 {
    process(std::process::id()).map_or(0.0, |process| process.own as f64 / TICKS_PER_SECOND)
}

/// Seconds of `root` and everything below it, children that ended included.
pub(crate) fn of_family(root: u32) -> f64 {
    let all = processes();
    let within = |mut pid: u32| {
        while pid != root {
            match all.get(&pid) {
                Some(process) if process.parent != 0 => pid = process.parent,
                _ => return false,
            }
        }
        true
    };
    let ticks: u64 = all.iter().filter(|(pid, _)| within(**pid)).map(|(_, process)| process.own + process.ended).sum();
    ticks as f64 / TICKS_PER_SECOND
}

fn processes() -> HashMap<u32, Process> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| Some((pid, process(pid)?))).collect()
}

fn process(pid: u32) -> Option<Process> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything, also parentheses.
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let tick = |place: usize| fields.get(place)?.parse::<u64>().ok();
    Some(Process { parent: fields.get(1)?.parse().ok()?, own: tick(11)? + tick(12)?, ended: tick(13)? + tick(14)? })
}
