//! A run in little: everything of `make chaos` but its length and the drill at its end.

use std::process::Command;

/// Long enough for Postgres to fall and for leases to run out.
const SECONDS: &str = "12";

#[test]
fn a_system_whose_parts_are_killed_for_a_while_breaks_no_law() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench-chaos"));
    let output = command.args(["--seconds", SECONDS, "--seed", "7", "--without-drill"]).output();
    let output = output.expect("the program that was built beside this test can be started");
    let (told, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{told}\n{said}");
    let last = told.lines().last().unwrap_or_default();
    assert!(last.starts_with("chaos seconds=12 seed=7 kills=") && last.ends_with(" violations=0"), "{last}");
}
