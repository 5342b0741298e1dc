//! The repository's own documents and manifests hold: `cowork validate`, as CI runs it.

use std::path::Path;

use e2e::tell;

#[test]
fn the_documents_and_the_manifests_of_this_repository_hold() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().display().to_string();
    for what in ["ops", "deploy"] {
        let told = tell(&["validate", what, "--root", &root]);
        assert_eq!(told.code, 0, "validate {what}\n{}\n{}", told.stdout, told.stderr);
        assert!(told.stdout.contains("; 0 problems."), "{}", told.stdout);
    }
    tell(&["validate", "ops", "--root", "/proc"]).failed(2, &["docs"]);
}
