//! How fast the control plane is: the released binary in split roles on a Postgres of its own, driven from outside.
//!
//! Each row of the table is a file below `rows`. Driver, Postgres and roles share the machine, and whoever else
//! is at work on it takes part: every row says how much of the processors others took meanwhile. Figures of a busy
//! machine are worth their ratios only.
//!
//! Latencies are measured from the moment that a request was due, not from when it got its turn: a driver that waits
//! for slow answers before it asks again would hide them.
//!
//! Not here: what the same work costs in other programs (`peers`), correctness (tests and drills).

mod http;
mod machine;
mod no_op_gateway;
mod peers;
mod psql;
mod report;
mod rows;
mod stats;
mod world;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;
use clap::builder::PossibleValuesParser;

use crate::report::{Report, Row};

/// Measures the released binary in split roles on a Postgres of its own, beside other programs on the same one.
///
/// All of it takes about half an hour; a run of some groups replaces their rows in the file.
#[derive(Debug, Clone, Parser)]
pub(crate) struct Asked {
    /// Groups of rows to measure; without it all
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = PossibleValuesParser::new(rows::names()))]
    only: Vec<String>,
    /// Less of everything, to see that it works
    #[arg(long)]
    pub(crate) quick: bool,
    /// Where the results go
    #[arg(long, value_name = "FILE", default_value = "bench/results/control-plane.json")]
    out: PathBuf,
}

impl Asked {
    fn wants(&self, group: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == group)
    }

    /// `whole`, or with `--quick` a tenth of it.
    pub(crate) fn of(&self, whole: usize) -> usize {
        if self.quick { (whole / 10).max(1) } else { whole }
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [role, database, jobs] = &arguments[..]
        && role == "no-op-gateway"
    {
        return no_op_gateway::run(database, jobs.parse()?).await;
    }
    let asked = Asked::parse();
    let mut report = Report::read(&asked.out);
    let measured = measure(&asked, &mut report).await;
    world::clear();
    measured?;
    print!("{}", report.table());
    Ok(())
}

async fn measure(asked: &Asked, report: &mut Report) -> anyhow::Result<()> {
    for group in rows::GROUPS.iter().filter(|group| asked.wants(group.name)) {
        eprintln!("measuring: {}", group.name);
        let begun = machine::Usage::now();
        let rows: Vec<Row> = (group.measure)(asked).await.with_context(|| format!("measuring {}", group.name))?;
        let others = begun.others_since();
        for row in &rows {
            eprintln!("  {}", row.line());
        }
        eprintln!("  others took {:.0} % of the machine", others * 100.0);
        report.replace(&rows);
        report.write(&asked.out)?;
    }
    Ok(())
}
