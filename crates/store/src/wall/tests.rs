use sqlx::AssertSqlSafe;

use super::*;
use crate::testing::World;

/// Every table with an org, from the catalogue: a new one without a policy fails here.
async fn tenants_tables(world: &World) -> Vec<String> {
    let sql = "SELECT c.relname::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND a.attname = 'org_id'
            AND NOT a.attisdropped ORDER BY 1";
    sqlx::query_scalar(sql).fetch_all(&world.store.pool).await.unwrap()
}

/// Puts rows into a table of which nothing but the org is known, so its constraints have to go first.
async fn fill(tx: &mut PgConnection, table: &str, orgs: &[OrgId]) {
    let loosen = format!(
        "DO $$ DECLARE n text; BEGIN
            FOR n IN SELECT conname FROM pg_constraint WHERE conrelid = '{table}'::regclass LOOP
                EXECUTE format('ALTER TABLE {table} DROP CONSTRAINT IF EXISTS %I CASCADE', n);
            END LOOP;
            FOR n IN SELECT attname FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attnum > 0
                AND attnotnull AND attidentity = '' AND attname <> 'org_id' LOOP
                EXECUTE format('ALTER TABLE {table} ALTER COLUMN %I DROP NOT NULL', n);
            END LOOP;
        END $$"
    );
    tx.execute(AssertSqlSafe(loosen)).await.unwrap();
    for org in orgs {
        tx.execute(AssertSqlSafe(format!("INSERT INTO {table} (org_id) VALUES ('{org}')"))).await.unwrap();
    }
}

async fn count(tx: &mut PgConnection, table: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM {table}");
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(tx).await.unwrap()
}

#[tokio::test]
async fn a_query_that_forgets_its_org_sees_nothing_of_another_org_in_any_table() {
    let world = World::new().await;
    let (one, two): (OrgId, OrgId) = (world.store.sources().id(), world.store.sources().id());
    let tables = tenants_tables(&world).await;
    assert!(tables.len() > 30, "{tables:?}");
    for table in &tables {
        let mut tx = world.store.pool.begin().await.unwrap();
        fill(&mut tx, table, &[one, two, two]).await;
        let all = count(&mut tx, table).await;
        let say = |said: &str| AssertSqlSafe(format!("SET LOCAL ROLE {ROLE}; SET LOCAL cowork.org = '{said}'"));
        let (one, two, everywhere) = (one.to_string(), two.to_string(), Reach::Everywhere.said());
        let nil = uuid::Uuid::nil().to_string();
        for (said, rows) in [("", 0), (&one, 1), (&two, 2), (&nil, 0), (&everywhere, all)] {
            tx.execute(say(said)).await.unwrap();
            let seen = count(&mut tx, table).await;
            let advice = "write a policy for it, as migrations/*_ask_once_whose_rows.sql does";
            assert_eq!(seen, rows, "{table} for {said:?}: {advice}");
        }
        tx.execute(say(&one)).await.unwrap();
        let foreign = AssertSqlSafe(format!("INSERT INTO {table} (org_id) VALUES ('{two}')"));
        let refused = tx.execute(foreign).await.unwrap_err();
        assert!(refused.to_string().contains("row-level security"), "{table}: {refused}");
        tx.rollback().await.unwrap();
    }
}

#[tokio::test]
async fn who_says_what_is_no_org_is_told_so_and_who_says_nothing_sees_nothing() {
    let world = World::new().await;
    world.session().await;
    let mut tx = world.store.pool.begin().await.unwrap();
    tx.execute(AssertSqlSafe(format!("SET LOCAL ROLE {ROLE}"))).await.unwrap();
    assert_eq!(count(&mut tx, "sessions").await, 0);
    tx.execute("SET LOCAL cowork.org = 'no org'").await.unwrap();
    let refused = sqlx::query("SELECT FROM sessions").execute(&mut *tx).await.unwrap_err();
    assert!(refused.to_string().contains("invalid input syntax for type uuid"), "{refused}");
}

/// A policy that looks at the setting for each row costs a list a third of its time.
#[tokio::test]
async fn a_statement_asks_whose_rows_it_may_see_once_for_each_table() {
    let world = World::new().await;
    let tables = tenants_tables(&world).await;
    let mut tx = world.store.begin_of(world.org).await.unwrap();
    for table in tables {
        let plan = AssertSqlSafe(format!("EXPLAIN SELECT FROM {table}"));
        let plan: Vec<String> = sqlx::query_scalar(plan).fetch_all(&mut *tx).await.unwrap();
        let filter = plan.iter().find(|line| line.contains("Filter:")).expect("the policy filters");
        assert!(filter.contains("WHEN org_id") && !filter.contains("current_setting"), "{table}: {filter}");
        assert!(plan.iter().any(|line| line.contains("InitPlan")), "{table}: {plan:#?}");
    }
}

#[tokio::test]
async fn the_runtime_role_owns_nothing_and_may_use_every_table() {
    let world = World::new().await;
    let walls = world.store.walls().await.unwrap();
    assert_eq!(walls.gaps, Vec::<String>::new());
    assert!(walls.stands && walls.owner, "{walls:?}");
    let (logs_in, above): (bool, bool) =
        sqlx::query_as("SELECT rolcanlogin, rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = $1")
            .bind(ROLE)
            .fetch_one(&world.store.pool)
            .await
            .unwrap();
    assert!(!logs_in && !above);

    // A grant that goes missing at any table is noticed.
    let sql =
        "SELECT relname::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1";
    let tables: Vec<String> = sqlx::query_scalar(sql).fetch_all(&world.store.pool).await.unwrap();
    for table in &tables {
        world.store.pool.execute(AssertSqlSafe(format!("REVOKE SELECT ON {table} FROM {ROLE}"))).await.unwrap();
    }
    // One that is left says that there is a wall.
    world.store.pool.execute("GRANT SELECT ON generations TO cowork_runtime").await.unwrap();
    let told = |table: &&String| *table != "generations";
    let told: Vec<_> =
        tables.iter().filter(told).map(|table| format!("{table}: the runtime role may not SELECT")).collect();
    assert_eq!(world.store.walls().await.unwrap().gaps, told);
}

#[tokio::test]
async fn what_is_missing_in_the_wall_is_named_and_migrating_gives_a_lost_grant_back() {
    let world = World::new().await;
    let harm = "DROP POLICY tenant ON sessions; ALTER TABLE blobs DISABLE ROW LEVEL SECURITY;
        REVOKE INSERT ON runs FROM cowork_runtime; DROP POLICY tenant ON events;
        CREATE POLICY tenant ON events USING (true);
        ALTER POLICY tenant ON slots USING (CASE current_setting('cowork.org', true)
            WHEN '*' THEN true WHEN org_id::text THEN true ELSE false END)";
    world.store.pool.execute(harm).await.unwrap();
    let gaps = [
        "blobs: row security is off",
        "events: its policy is another",
        "runs: the runtime role may not INSERT",
        "sessions: its policy is missing",
        "slots: its policy is another",
    ];
    assert_eq!(world.store.walls().await.unwrap().gaps, gaps);
    world.store.migrate().await.unwrap();
    assert!(!world.store.walls().await.unwrap().gaps.iter().any(|gap| gap.starts_with("runs")));
}

#[tokio::test]
async fn a_statement_that_names_another_org_than_its_connection_finds_nothing() {
    let world = World::new().await;
    let session = world.session().await;
    let other = world.store.org_create("Other", "role:test").await.unwrap().org_id;
    let forgetful = || sqlx::query_scalar::<_, i64>("SELECT count(*) FROM sessions");
    assert_eq!(forgetful().fetch_one(world.store.of(world.org)).await.unwrap(), 1);
    assert_eq!(forgetful().fetch_one(world.store.of(other)).await.unwrap(), 0);
    assert_eq!(forgetful().fetch_one(world.store.everywhere()).await.unwrap(), 1);
    let mut tx = world.store.begin_of(other).await.unwrap();
    assert_eq!(forgetful().fetch_one(&mut *tx).await.unwrap(), 0);
    let renamed = sqlx::query("UPDATE sessions SET title = 'stolen' WHERE session_id = $1");
    assert_eq!(renamed.bind(uuid::Uuid::from(session)).execute(&mut *tx).await.unwrap().rows_affected(), 0);
    tx.rollback().await.unwrap();
    // Nothing of the transaction stays on the connection: one that says nothing is the owner's, as before.
    assert_eq!(forgetful().fetch_one(&world.store.pool).await.unwrap(), 1);
}

#[tokio::test]
async fn a_login_that_owns_the_tables_and_may_make_no_role_works_without_the_wall() {
    let database = testkit::TestDatabase::create().await;
    let owner = format!("owner_{}", database.name());
    let made = format!("CREATE ROLE {owner} LOGIN; ALTER DATABASE {} OWNER TO {owner}", database.name());
    database.pool().execute(AssertSqlSafe(made)).await.unwrap();
    let options = database.pool().connect_options().as_ref().clone().username(&owner);
    let pool = sqlx::postgres::PgPoolOptions::new().max_connections(4).connect_lazy_with(options);
    let store = Store::from_pool(pool, testkit::sources(1).1);
    // The schema `public` is a superuser's on older servers.
    database.pool().execute(AssertSqlSafe(format!("GRANT ALL ON SCHEMA public TO {owner}"))).await.unwrap();
    store.migrate().await.unwrap();
    let org = store.org_create("Acme", "role:test").await.unwrap().org_id;
    assert!(store.org_get(org).await.unwrap().is_some());
    let walls = store.walls().await.unwrap();
    assert!(!walls.stands && walls.owner, "{walls:?}");
    store.close().await;
    let gone = format!("REASSIGN OWNED BY {owner} TO CURRENT_USER; DROP OWNED BY {owner}; DROP ROLE {owner}");
    database.pool().execute(AssertSqlSafe(gone)).await.unwrap();
}
