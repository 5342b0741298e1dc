//! Processor time, as the kernel counts it: of this process, of a private Postgres, and of the whole machine.
//!
//! In clock ticks, a hundredth of a second each, so it is for runs that last a while.

use std::ops::{AddAssign, Sub};

/// Ticks since the machine, or each process, was started.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Processor {
    pub(crate) program: u64,
    pub(crate) postgres: u64,
    /// Of everybody, idle or not.
    all: u64,
    idle: u64,
}

const TICK_US: f64 = 10_000.0;

impl Processor {
    /// `postmaster` is the server's process; what it started counts as Postgres, too.
    pub(crate) fn now(postmaster: i32) -> Self {
        let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        let times: Vec<u64> =
            stat.lines().next().unwrap_or_default().split_whitespace().skip(1).flat_map(str::parse).collect();
        Self {
            program: process("self").map_or(0, |(_, ticks)| ticks),
            postgres: server(postmaster),
            all: times.iter().take(8).sum(),
            idle: times.iter().skip(3).take(2).sum(),
        }
    }

    /// Microseconds of program and of Postgres for each of `count`.
    pub(crate) fn each(&self, count: usize) -> [f64; 2] {
        [self.program, self.postgres].map(|ticks| ticks as f64 * TICK_US / count as f64)
    }

    pub(crate) fn program_s(&self) -> f64 {
        self.program as f64 * TICK_US / 1e6
    }

    pub(crate) fn postgres_s(&self) -> f64 {
        self.postgres as f64 * TICK_US / 1e6
    }

    /// The part of the machine that somebody else had: 0 to 1.
    pub(crate) fn others(&self) -> f64 {
        let busy = self.all - self.idle;
        busy.saturating_sub(self.program + self.postgres) as f64 / self.all.max(1) as f64
    }
}

impl Sub for Processor {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            program: self.program - before.program,
            postgres: self.postgres - before.postgres,
            all: self.all - before.all,
            idle: self.idle.saturating_sub(before.idle),
        }
    }
}

impl AddAssign for Processor {
    fn add_assign(&mut self, more: Self) {
        self.program += more.program;
        self.postgres += more.postgres;
        self.all += more.all;
        self.idle += more.idle;
    }
}

/// The server and its children. What ended counts where it was waited for.
fn server(postmaster: i32) -> u64 {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = entries.filter_map(|entry| {
        let name = entry.file_name();
        let (parent, ticks) = process(name.to_str()?)?;
        (parent == postmaster || name.to_str()?.parse() == Ok(postmaster)).then_some(ticks)
    });
    processes.sum()
}

/// Parent and ticks.
fn process(name: &str) -> Option<(i32, u64)> {
    let stat = std::fs::read_to_string(format!("/proc/{name}/stat")).ok()?;
    // The program's name may hold anything, also parentheses.
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let tick = |place: usize| fields.get(place)?.parse::<u64>().ok();
    Some((fields.get(1)?.parse().ok()?, tick(11)? + tick(12)? + tick(13)? + tick(14)?))
}
