//! Rows 1 to 3, and the database's part of row 5: while nothing runs but Postgres. Then the copy learns what it is.
//!
//! Not here: what each check compares (`checks`).

use anyhow::Context as _;

use super::{DATA, GENERATION, Stages};
use crate::backup::Standard;
use crate::checks::{Inquiry, audit, expectations, objects, parity, postgres, reading, secrets};
use crate::proceedings::{Done, Halt};
use crate::remembering;
use crate::report::{CheckId, TableCount};
use crate::run::Gathered;
use crate::said::say;

impl Stages<'_> {
    /// Rows 1, 2 and 3, and the database's part of row 5, which stays open: while nothing runs but Postgres.
    pub(super) async fn check_data(&mut self, mut rows: Inquiry, gathered: &mut Gathered) -> Result<Inquiry, Halt> {
        let (mut blobs, mut refs) =
            (self.inquire(CheckId::ObjectStoreRestore), self.inquire(CheckId::SecretReferences));
        let mut parity = self.inquire(CheckId::SessionProjectionParity);
        let (backup, target, aftermath) = (self.backup, &*self.target, self.aftermath);
        let (manifest, url) = (&backup.manifest, target.database_url());
        let plan = self.options.plan.as_ref();
        let objects_folder = target.settings.objects();
        (gathered.counts, gathered.object_counts) = self
            .proceedings
            .stage(DATA, async |_| {
                let (reading, trails, engine, object_counts, verified) = tokio::join!(
                    reading::read(manifest, url),
                    audit::read(backup.sql("audit_chains"), url),
                    postgres::engine_check(url),
                    objects::check(&mut blobs, backup, &objects_folder, url),
                    secrets::verify(&target.launcher, None),
                );
                objects::judge_owners(&mut blobs, backup);
                secrets::judge(&mut refs, manifest, &verified, &aftermath.secrets);
                let reading = reading.context("the tables could not be read")?;
                let counts = match &backup.standard {
                    Standard::Manifest => postgres::check(&mut rows, manifest, &reading.digests, url).await,
                    Standard::Survey { catalogue } => {
                        postgres::check_surveyed(&mut rows, manifest, &reading.digests, catalogue)
                    }
                };
                postgres::check_walls(&mut rows, backup, url).await;
                let verification = verified.as_ref().ok().map(|(verification, _)| verification);
                let checkpoints = counts.iter().find(|count| count.table == "checkpoints");
                let checkpoints = checkpoints.map_or(0, |count| count.backup_rows);
                objects::judge_checkpoints(&mut blobs, verification, checkpoints);
                if let Some(run) = plan {
                    expectations::check(&mut rows, &run.plan, backup.has_manifest(), url).await;
                    expectations::check_age(&mut rows, &run.plan, manifest.snapshot.taken_at, aftermath.disaster_at);
                }
                if let Some(trails) = rows.learn("the audit trails could not be read", trails) {
                    audit::judge(&mut rows, &trails);
                }
                if let Some(engine) = rows.learn("the engine's own check could not run", engine) {
                    postgres::judge_engine(&mut rows, &engine);
                }
                if let Some(read) = parity.learn("events and projections could not be folded", reading.parity) {
                    parity::judge(&mut parity, backup, &read);
                }
                Ok(Done::with_proof((counts, object_counts), "no role of the target has been started"))
            })
            .await?;
        gathered.count(&backup.standard);
        let summary = match backup.standard {
            Standard::Manifest => {
                "every table has the rows and the content of the backup; the audit trails are what was sealed; the engine \
                 finds no damage"
            }
            Standard::Survey { .. } => {
                "reduced, for the backup has no manifest: the plan's numbers hold, the schema is this build's, the audit \
                 trails are what was sealed, and the engine finds no damage; the rows' content was compared with nothing"
            }
        };
        self.judged(DATA, rows, summary)?;
        self.judged(DATA, blobs, "every blob is there, byte for byte, and nothing else; every checkpoint opens")?;
        self.judged(DATA, refs, "every reference resolves at its version, and every stored ciphertext opens")?;
        Ok(parity)
    }

    /// The copy learns that it is a drill, and what the lost system did after the backup, before any role starts. Gives back
    /// how many rows each table has from then on, and what was printed.
    pub(super) async fn begin_generation(
        &mut self,
        gathered: &mut Gathered,
    ) -> Result<(Vec<TableCount>, String), Halt> {
        let (target, ledger) = (&*self.target, self.aftermath.ledger.as_deref());
        let backup_id = self.backup.manifest.backup_id.to_string();
        let (remembered, counts, said) = self
            .proceedings
            .stage(GENERATION, async |_| {
                let before = remembering::count(target.database_url(), &gathered.counts).await?;
                let (said, remembered) = remembering::begin(&target.launcher, &backup_id, ledger).await?;
                let after = remembering::count(target.database_url(), &gathered.counts).await?;
                let counts = remembering::with_replay(&gathered.counts, &before, &after);
                let proof = say!("leases and claims of the lost system are void; deliveries are redirected; {} records of the recovery \
                     ledger were replayed", remembered.records);
                Ok(Done::with_proof((remembered, counts, said), proof))
            })
            .await?;
        gathered.remembered = Some(remembered);
        Ok((counts, said))
    }
}
