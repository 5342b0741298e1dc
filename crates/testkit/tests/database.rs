//! Test databases come and go.

use testkit::TestDatabase;

async fn exists(on: &TestDatabase, name: &str) -> bool {
    let sql = "SELECT EXISTS (SELECT 1 FROM pg_database WHERE datname = $1)";
    sqlx::query_scalar(sql).bind(name.to_owned()).fetch_one(&on.pool()).await.unwrap()
}

#[tokio::test]
async fn two_databases_are_apart_and_a_dropped_one_is_gone() {
    let (one, two) = tokio::join!(TestDatabase::create(), TestDatabase::create());
    sqlx::query("CREATE TABLE mine ()").execute(&one.pool()).await.unwrap();
    let found: Option<String> =
        sqlx::query_scalar("SELECT to_regclass('mine')::text").fetch_one(&two.pool()).await.unwrap();
    assert_eq!(found, None);
    let name = one.name().to_owned();
    assert!(exists(&two, &name).await);
    drop(one);
    assert!(!exists(&two, &name).await);
}

#[tokio::test]
async fn a_panicking_test_leaves_no_database() {
    let watcher = TestDatabase::create().await;
    let (send, receive) = tokio::sync::oneshot::channel();
    let failed = tokio::spawn(async move {
        let database = TestDatabase::create().await;
        sqlx::query("SELECT 1").execute(&database.pool()).await.unwrap();
        send.send(database.name().to_owned()).unwrap();
        panic!("as a failing test would");
    });
    assert!(failed.await.unwrap_err().is_panic());
    assert!(!exists(&watcher, &receive.await.unwrap()).await);
}

#[tokio::test]
async fn the_url_leads_to_the_database() {
    use sqlx::Connection;
    let database = TestDatabase::create().await;
    let mut connection = sqlx::PgConnection::connect(&database.url()).await.unwrap();
    let name: String = sqlx::query_scalar("SELECT current_database()").fetch_one(&mut connection).await.unwrap();
    assert_eq!(name, database.name());
}
