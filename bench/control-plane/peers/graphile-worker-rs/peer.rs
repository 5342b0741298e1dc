//! JOBS jobs that do nothing, from the first claim to the last acknowledgement, in the crate graphile_worker with what its
//! own benchmark takes: 500 at a time, a local queue of 5,000, acknowledgements of five milliseconds at once. Prints jobs
//! per second.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use graphile_worker::{IntoTaskHandlerResult, LocalQueueConfig, TaskHandler, WorkerContext, WorkerOptions};
use serde::{Deserialize, Serialize};
use sqlx::postgres::{PgPool, PgPoolOptions};

type Failure = Box<dyn std::error::Error>;

#[derive(Debug, Clone)]
struct Done(Arc<AtomicU64>);

#[derive(Debug, Serialize, Deserialize)]
struct Nothing {}

impl TaskHandler for Nothing {
    const IDENTIFIER: &'static str = "nothing";

    async fn run(self, context: WorkerContext) -> impl IntoTaskHandlerResult {
        if let Some(done) = context.get_ext::<Done>() {
            done.0.fetch_add(1, Ordering::Relaxed);
        }
        Ok::<(), String>(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let jobs: u64 = std::env::var("JOBS")?.parse()?;
    let pool = PgPoolOptions::new().max_connections(20).connect(&std::env::var("DATABASE_URL")?).await?;
    let done = Done(Arc::default());
    let worker = WorkerOptions::default()
        .concurrency(500)
        .local_queue(LocalQueueConfig::default().with_size(5_000))
        .complete_job_batch_delay(Duration::from_millis(5))
        .listen_os_shutdown_signals(false)
        .add_extension(done.clone())
        .define_job::<Nothing>()
        .pg_pool(pool.clone())
        .init()
        .await?;
    sqlx::query("SELECT graphile_worker.add_job('nothing', '{}'::json) FROM generate_series(1, $1::int)")
        .bind(i32::try_from(jobs)?)
        .execute(&pool)
        .await?;
    sqlx::query("VACUUM ANALYZE graphile_worker._private_jobs").execute(&pool).await?;

    let begun = Instant::now();
    let running = tokio::spawn(async move { worker.run().await });
    while done.0.load(Ordering::Relaxed) < jobs || left(&pool).await? > 0 {
        if running.is_finished() {
            return Err(format!("the worker ended: {:?}", running.await?).into());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    println!("RATE {}", jobs as f64 / begun.elapsed().as_secs_f64());
    Ok(())
}

async fn left(pool: &PgPool) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT count(*) FROM graphile_worker._private_jobs").fetch_one(pool).await
}
