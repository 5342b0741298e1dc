//! Rows 4 to 6: what the web role serves while it is alone.
//!
//! Not here: what each check compares (`checks`).

use client::Client;

use super::{OPERATOR, QUIET, READ, Stages};
use crate::checks::{Inquiry, artifacts, kept, parity, people, read_only, standing, web_only};
use crate::proceedings::{Done, Halt};
use crate::processes::Role;
use crate::report::{CheckId, TableCount};
use crate::said::say;

impl Stages<'_> {
    /// Row 4: what the web role alone serves, and that nothing else moves.
    pub(super) async fn check_boot(
        &mut self,
        operator: &Client,
        counted: &[TableCount],
        mut boot: Inquiry,
    ) -> Result<(), Halt> {
        let (backup, target, standing, kept) = (self.backup, &*self.target, self.standing(), self.kept());
        let (elsewhere, people) = (&self.aftermath.elsewhere, self.people());
        let sql = backup.sql("activity");
        self.proceedings
            .stage(OPERATOR, async |_| {
                web_only::reads(&mut boot, &backup.manifest, counted, operator).await;
                web_only::judge_silence(&mut boot, elsewhere).await;
                if let Some(standing) = standing {
                    standing::judge_people(&mut boot, standing, &target.url(Role::Web), operator).await;
                }
                if let Some(kept) = kept {
                    kept::judge_terms(&mut boot, kept, operator).await;
                }
                if let Some(people) = people {
                    people::judge_listed(&mut boot, backup, people, operator).await;
                }
                Ok(Done::nothing())
            })
            .await?;
        self.proceedings
            .stage(QUIET, async |_| {
                let window = boot.pace().quiet;
                let read_only = read_only::begin(&mut boot, operator).await;
                let seen = web_only::quiet_window(target, operator, sql?, window).await?;
                web_only::judge_quiet(&mut boot, &seen);
                if read_only {
                    read_only::end(&mut boot, operator).await;
                }
                Ok(Done::with_proof(
                    (),
                    say!("{} counters did not move for {} ms", seen.counters.len(), window.as_millis()),
                ))
            })
            .await?;
        self.judge_living(&mut boot).await;
        self.judged(
            QUIET,
            boot,
            "the four reads say what the backup lets expect, who was shut out stays so, and in maintenance nothing changed or moved",
        )
    }

    /// Rows 5 and 6, as far as the API serves them.
    pub(super) async fn check_reads(&mut self, operator: &Client, mut parity: Inquiry) -> Result<(), Halt> {
        let mut files = self.inquire(CheckId::ArtifactMetadata);
        let excluded = self.exclude(CheckId::ArtifactMetadata)?;
        let (backup, url) = (self.backup, self.target.database_url());
        let subject = self.standing().map(|standing| (&standing.erased, operator.in_org(standing.org)));
        let (subject, home) = subject.unzip();
        self.proceedings
            .stage(READ, async |_| {
                let erased = subject.map(|subject| standing::erased_artifacts(backup, subject)).transpose()?;
                let erased = erased.unwrap_or_default();
                tokio::join!(
                    async {
                        parity::judge_api(&mut parity, backup, operator).await;
                        if let Some((subject, home)) = subject.zip(home.as_ref()) {
                            standing::judge_rows(&mut parity, subject, url, home).await;
                        }
                    },
                    async {
                        if excluded {
                            return;
                        }
                        artifacts::check(&mut files, backup, operator, &erased).await;
                        if let Some((subject, home)) = subject.zip(home.as_ref()) {
                            standing::judge_files(&mut files, backup, subject, url, home).await;
                        }
                    }
                );
                Ok(Done::nothing())
            })
            .await?;
        self.judge_living(&mut parity).await;
        self.judged(
            READ,
            parity,
            "every projection stands at its last event, is what its events add up to, and is served",
        )?;
        if excluded {
            return Ok(());
        }
        self.judged(READ, files, "every artifact is listed and downloads byte for byte")
    }
}
