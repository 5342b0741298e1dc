//! What somebody outside was told or has seen, as tables beside the system's own, for one connection and as long as it lasts.

use sqlx::postgres::PgConnection;
use sqlx::{Executor as _, query};
use uuid::Uuid;

use crate::sink::Arrival;
use crate::told::{Record, Seen};

pub(crate) const TABLES: &str = "
    CREATE TEMPORARY TABLE told_commands (session_id uuid, key text, command_id uuid);
    CREATE TEMPORARY TABLE told_inbound (channel_id uuid, event text, command_id uuid, duplicate boolean);
    CREATE TEMPORARY TABLE told_artifacts (artifact_id uuid, sha256 bytea, size bigint);
    CREATE TEMPORARY TABLE told_tokens (token_id uuid, revoked boolean);
    CREATE TEMPORARY TABLE seen_events (reader text, place bigint, session_id uuid, sequence bigint);
    CREATE TEMPORARY TABLE seen_feed (reader text, place bigint, session_id uuid, sequence bigint);
    CREATE TEMPORARY TABLE arrivals (place bigint, delivery_id uuid, plain boolean, thread text, sequence bigint)";

pub(crate) async fn tell(connection: &mut PgConnection, told: &Record, arrivals: &[Arrival]) -> sqlx::Result<()> {
    connection.execute(TABLES).await?;
    commands(connection, told).await?;
    inbound(connection, told).await?;
    let ids = |ids: Vec<Uuid>| ids;
    query("INSERT INTO told_artifacts SELECT * FROM unnest($1::uuid[], $2::bytea[], $3::bigint[])")
        .bind(ids(told.artifacts.iter().map(|one| one.artifact.into()).collect()))
        .bind(told.artifacts.iter().map(|one| one.sha256.to_vec()).collect::<Vec<_>>())
        .bind(told.artifacts.iter().map(|one| one.size).collect::<Vec<_>>())
        .execute(&mut *connection)
        .await?;
    query("INSERT INTO told_tokens SELECT * FROM unnest($1::uuid[], $2::boolean[])")
        .bind(ids(told.tokens.iter().map(|(token, _)| (*token).into()).collect()))
        .bind(told.tokens.iter().map(|(_, revoked)| *revoked).collect::<Vec<_>>())
        .execute(&mut *connection)
        .await?;
    seen(connection, "INSERT INTO seen_events", &told.seen).await?;
    seen(connection, "INSERT INTO seen_feed", &told.fed).await?;
    query(
        "INSERT INTO arrivals
         SELECT place, delivery_id, plain, thread, sequence
         FROM unnest($1::uuid[], $2::boolean[], $3::text[], $4::bigint[]) WITH ORDINALITY
            AS new (delivery_id, plain, thread, sequence, place)",
    )
    .bind(arrivals.iter().map(|one| one.delivery).collect::<Vec<_>>())
    .bind(arrivals.iter().map(|one| one.plain).collect::<Vec<_>>())
    .bind(arrivals.iter().map(|one| one.thread.clone()).collect::<Vec<_>>())
    .bind(arrivals.iter().map(|one| one.sequence).collect::<Vec<_>>())
    .execute(&mut *connection)
    .await?;
    connection.execute("ANALYZE").await?;
    Ok(())
}

async fn commands(connection: &mut PgConnection, told: &Record) -> sqlx::Result<()> {
    query("INSERT INTO told_commands SELECT * FROM unnest($1::uuid[], $2::text[], $3::uuid[])")
        .bind(told.commands.iter().map(|one| one.session.into()).collect::<Vec<Uuid>>())
        .bind(told.commands.iter().map(|one| one.key.clone()).collect::<Vec<_>>())
        .bind(told.commands.iter().map(|one| one.command.into()).collect::<Vec<Uuid>>())
        .execute(connection)
        .await?;
    Ok(())
}

async fn inbound(connection: &mut PgConnection, told: &Record) -> sqlx::Result<()> {
    query("INSERT INTO told_inbound SELECT * FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::boolean[])")
        .bind(told.inbound.iter().map(|one| one.channel.into()).collect::<Vec<Uuid>>())
        .bind(told.inbound.iter().map(|one| one.event.clone()).collect::<Vec<_>>())
        .bind(told.inbound.iter().map(|one| one.command.map(Into::into)).collect::<Vec<Option<Uuid>>>())
        .bind(told.inbound.iter().map(|one| one.duplicate).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}

/// In the order in which each reader saw them.
async fn seen(connection: &mut PgConnection, insert: &'static str, seen: &[Seen]) -> sqlx::Result<()> {
    let sql = format!(
        "{insert} SELECT reader, row_number() OVER (PARTITION BY reader ORDER BY place), session_id, sequence
         FROM unnest($1::text[], $2::uuid[], $3::bigint[]) WITH ORDINALITY AS new (reader, session_id, sequence, place)"
    );
    query(sqlx::AssertSqlSafe(sql))
        .bind(seen.iter().map(|one| one.reader.clone()).collect::<Vec<_>>())
        .bind(seen.iter().map(|one| one.session.into()).collect::<Vec<Uuid>>())
        .bind(seen.iter().map(|one| one.sequence).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}
