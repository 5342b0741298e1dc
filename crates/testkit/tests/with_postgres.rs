//! The command that lends a Postgres to another.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

fn with_postgres(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_with-postgres"));
    command.args(arguments).env_remove("COWORK_TEST_POSTGRES").env_remove("DATABASE_URL");
    command
}

/// The folder of the socket that a URL names, as our paths have nothing else to decode.
fn socket_folder(url: &str) -> std::path::PathBuf {
    let host = url.trim().rsplit_once("host=").unwrap().1;
    host.replace("%2F", "/").replace("%2D", "-").replace("%2E", ".").replace("%5F", "_").into()
}

#[test]
fn the_commands_exit_code_is_passed_on() {
    assert_eq!(with_postgres(&["--", "sh", "-c", "exit 7"]).status().unwrap().code(), Some(7));
    assert_eq!(with_postgres(&["no-such-program-here"]).status().unwrap().code(), Some(127));
}

#[test]
fn the_command_finds_a_server_and_a_database_and_nothing_stays() {
    let script = r#"psql -XAtc 'SELECT current_database()' "$DATABASE_URL" && echo "$COWORK_TEST_POSTGRES""#;
    let output = with_postgres(&["--database", "fresh", "sh", "-c", script]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.starts_with("fresh\n"), "{text}");
    assert!(!socket_folder(&text).exists());
}

#[test]
fn a_terminated_run_leaves_nothing() {
    let mut run = with_postgres(&["sh", "-c", "echo $COWORK_TEST_POSTGRES; exec sleep 600"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(run.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(socket_folder(&line).exists());
    assert!(Command::new("kill").arg(run.id().to_string()).status().unwrap().success());
    assert_eq!(run.wait().unwrap().code(), Some(128 + 15));
    assert!(!socket_folder(&line).exists());
}
