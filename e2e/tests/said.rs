//! A row's text does not get into a bundle, whatever is wrong with the row.

use std::path::Path;

use attest::sha256_hex;
use e2e::{CHECKS, Drill, Folder, Installation, Report, cowork};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use walkdir::WalkDir;

/// In no vocabulary, and no word of ours.
const WORD: &str = "zanzibarite";

/// Columns that hold text and can be given another one.
const TEXTS: &str = "SELECT quote_ident(c.table_name), quote_ident(c.column_name), c.data_type
    FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
    WHERE c.table_schema = 'public' AND t.table_type = 'BASE TABLE' AND left(c.table_name, 1) <> '_'
        AND c.is_generated = 'NEVER' AND c.data_type IN ('text', 'character varying', 'jsonb')
    ORDER BY 1, 2";
/// Without them nobody answers, and little is said of the rest: who may come in, and what the installation is.
const LEFT_ALONE: [&str; 6] = ["generations", "org_keys", "key_versions", "api_tokens", "memberships", "roles"];

/// Every row is wrong that can be: once when the data is looked at, after which nothing can go on, and once when the roles
/// are to work with it. What tools, roles and the database say of such rows is full of them.
#[tokio::test]
async fn the_text_of_a_row_gets_into_no_sentence_and_into_no_evidence() {
    let folder = Folder::new();
    let key = folder.path().join("key");
    let made = cowork(&["drill", "key", "generate", "--out"]).arg(&key).output().unwrap();
    assert!(made.status.success());
    let signing = format!("file:{}", key.display());
    let found = [
        ("restore", "postgres-restore", "table_digest", "sessions"),
        ("generation", "artifact-metadata", "artifact_metadata", "is not listed as the backup had it"),
    ];
    let (reports, findings) = (folder.make("reports"), folder.path().join("findings.json"));
    for (stage, row, code, what) in found {
        let (work, out) = (folder.make(&format!("work-{stage}")), reports.join(stage));
        let noted = findings.to_str().unwrap();
        let options = ["--scale", "0", "--pause-after", stage, "--signing-key", &signing, "--findings", noted];
        let mut drill = Drill::start(&work, &out, &options);
        let mut database = PgConnection::connect(&drill.wait_for_pause().database).await.unwrap();
        let planted = plant(&mut database).await;
        assert!(planted.len() >= 30, "the word stands in {planted:?}");
        database.close().await.unwrap();
        drill.enter();
        let ended = drill.finish();
        assert_eq!((ended.code, ended.report.verdict()), (1, "failed"), "{}", ended.said);
        assert_eq!(ended.report.ids(), CHECKS);
        ended.report.assert_found(row, code, what);
        assert_eq!(files_with(&out, WORD), Vec::<String>::new());
        evidence_is_salted(&out, &ended.report.0, &signing);
    }
    the_api_tells_of_drills_as_they_left_it(&folder).await;
}

/// Of the two from above; two drills less to wait for.
async fn the_api_tells_of_drills_as_they_left_it(folder: &Folder) {
    let at = folder.make("installation");
    let records = "folder = \"../reports\"\nfindings_file = \"../findings.json\"\npublic_key = \"../key.pub\"\n";
    let served = Installation::new(&at, &format!("\n[drills]\n{records}")).serve();
    let operator = served.operator();
    let listed = operator.drill_list(None, 10).await.unwrap().items;
    for (drill, stage) in listed.iter().zip(["generation", "restore"]) {
        let report = Report::read(&folder.path().join("reports").join(stage)).0;
        assert_eq!(Value::from(drill.drill_id.to_string()), report["drill_id"]);
        assert_eq!((drill.state.as_str(), drill.verdict.as_deref()), ("concluded", Some("failed")));
        let seen = operator.drill_view(drill.drill_id).await.unwrap();
        assert_eq!((seen.seal.state.as_str(), seen.checks.len()), ("verified", CHECKS.len()));
        assert!(seen.checks.iter().map(|check| check.id.as_str()).eq(CHECKS));
    }
    assert_eq!(listed.len(), 2);
    let findings = operator.finding_list(Some("open"), None, 200).await.unwrap().items;
    assert!(findings.iter().any(|finding| finding.code == "table_digest" && finding.state == "open"), "{findings:?}");
    assert_eq!(operator.finding_list(Some("closed"), None, 200).await.unwrap().items, []);
    served.kill();
}

/// Puts the word into every column that takes it. Gives back which those were.
async fn plant(database: &mut PgConnection) -> Vec<String> {
    // Audit records are append-only, by a trigger.
    sqlx::query("SET session_replication_role = replica").execute(&mut *database).await.unwrap();
    let columns: Vec<(String, String, String)> = sqlx::query_as(TEXTS).fetch_all(&mut *database).await.unwrap();
    let mut planted = Vec::new();
    for (table, column, kind) in columns.iter().filter(|(table, _, _)| !LEFT_ALONE.contains(&table.as_str())) {
        let text = match kind.as_str() {
            "jsonb" => format!("to_jsonb('{WORD} said \"{WORD}\"'::text)"),
            _ => format!("{column} || ' {WORD}'"),
        };
        // A state, a kind or whatever else has a closed list of values refuses it.
        let sql = format!("UPDATE {table} SET {column} = {text} WHERE {column} IS NOT NULL");
        if sqlx::query(AssertSqlSafe(sql)).execute(&mut *database).await.is_ok_and(|done| done.rows_affected() > 0) {
            planted.push(format!("{table}.{column}"));
        }
    }
    planted
}

/// The files below `folder` in which `word` stands.
fn files_with(folder: &Path, word: &str) -> Vec<String> {
    let files = WalkDir::new(folder).into_iter().map(Result::unwrap).filter(|entry| entry.file_type().is_file());
    let holds = |path: &Path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).contains(word);
    files.filter(|file| holds(file.path())).map(|file| file.path().display().to_string()).collect()
}

/// Each piece carries the salt that follows from the drill's key, which the holder of the signing key can ask for.
fn evidence_is_salted(out: &Path, report: &Value, signing: &str) {
    let drill = report["drill_id"].as_str().unwrap();
    let asked = cowork(&["drill", "key", "of-drill", drill, "--signing-key", signing, "--json"]).output().unwrap();
    let told: Value = serde_json::from_slice(&asked.stdout).unwrap();
    let key: [u8; 32] = hex::decode(told["key"].as_str().unwrap()).unwrap().try_into().unwrap();
    let key = attest::RunKey::unknown(key);
    let checks = report["checks"].as_array().unwrap();
    let evidence: Vec<&Value> = checks.iter().flat_map(|check| check["evidence"].as_array().unwrap()).collect();
    assert!(!evidence.is_empty());
    for piece in evidence {
        let path = piece["path"].as_str().unwrap();
        let content = std::fs::read_to_string(out.join(path)).unwrap();
        assert!(content.contains(&key.salt(path)), "{path} has another salt");
        assert_eq!(piece["sha256"], sha256_hex(content.as_bytes()), "{path}");
    }
}
