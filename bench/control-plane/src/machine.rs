//! What the kernel says of processes: memory, and who had the processors.

use std::collections::HashMap;

/// Processor time of the machine, and of this process with all that it started.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    busy: u64,
    all: u64,
    ours: u64,
}

impl Usage {
    pub(crate) fn now() -> Self {
        let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        let times: Vec<u64> =
            stat.lines().next().unwrap_or_default().split_whitespace().skip(1).flat_map(str::parse).collect();
        let all: u64 = times.iter().take(8).sum();
        let idle: u64 = times.iter().skip(3).take(2).sum();
        Self { busy: all - idle, all, ours: of_family(std::process::id()) }
    }

    /// The part of the machine that somebody else took since: 0 to 1.
    pub(crate) fn others_since(&self) -> f64 {
        let now = Self::now();
        let (busy, all) = (now.busy - self.busy, (now.all - self.all).max(1));
        busy.saturating_sub(now.ours.saturating_sub(self.ours)) as f64 / all as f64
    }
}

#[derive(Debug)]
struct Process {
    parent: u32,
    ticks: u64,
}

/// Clock ticks of `root` and everything below it, those that ended and were waited for included.
pub(crate) fn of_family(root: u32) -> u64 {
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
    all.iter().filter(|(pid, _)| within(**pid)).map(|(_, process)| process.ticks).sum()
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
    let ticks = tick(11)? + tick(12)? + tick(13)? + tick(14)?;
    Some(Process { parent: fields.get(1)?.parse().ok()?, ticks })
}

/// Resident memory of a process, in bytes.
pub(crate) fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) * 1_024
}
