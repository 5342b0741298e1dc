//! `cowork validate ops`: the documents against the program, both ways.
//!
//! Past versions and decisions tell of what was; they are not held to what is, but for their links.

use std::path::{Component, Path, PathBuf};

use super::mentions::Mention;
use super::{Findings, Text, commands, mentions, program, text, texts};

/// Documents beside those in `docs/`.
const AT_THE_TOP: [&str; 2] = ["README.md", "ARCHITECTURE.md"];
const OF_THE_PAST: &str = "docs/decisions/";

/// The page on which everything of a kind has to be. The API's routes are in its own description, which is generated.
const METRICS: &str = "docs/reference/metrics.md";
const COMMANDS: &str = "docs/reference/commands.md";
const VARIABLES: &str = "docs/reference/configuration.md";

pub(crate) fn examine(root: &Path) -> std::io::Result<Findings> {
    let mut documents = texts(root, "docs", &["md"])?;
    for name in AT_THE_TOP.into_iter().filter(|name| root.join(name).is_file()) {
        documents.push(text(root, &root.join(name))?);
    }
    let mut found = Findings { files: documents.len(), ..Findings::default() };
    for document in &documents {
        links(document, root, &mut found);
        if !document.name.starts_with(OF_THE_PAST) {
            names(document, &mut found);
        }
    }
    everything(&documents, &mut found);
    Ok(found)
}

fn links(document: &Text, root: &Path, found: &mut Findings) {
    let folder = Path::new(&document.name).parent().unwrap_or(Path::new(""));
    for Mention { line, name } in mentions::links(&document.text) {
        let there = plain(&folder.join(name)).is_some_and(|path| root.join(path).exists());
        found.expect(there, &document.name, line, || format!("the link {name} leads nowhere"));
    }
}

/// Without `..`; `None` if it climbs out of the root.
fn plain(path: &Path) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => plain.pop().then_some(())?,
            Component::Normal(part) => plain.push(part),
            _ => {}
        }
    }
    Some(plain)
}

/// What a document names is there.
pub(crate) fn names(document: &Text, found: &mut Findings) {
    let Text { name: file, text } = document;
    for Mention { line, name } in mentions::metrics(text) {
        found.expect(program::is_metric(name), file, line, || format!("there is no metric {name}"));
    }
    for Mention { line, name } in mentions::variables(text) {
        found.expect(program::is_variable(name), file, line, || format!("the program reads no variable {name}"));
    }
    for Mention { line, name } in mentions::routes(text) {
        found.expect(program::is_route(name), file, line, || format!("no role answers {name}"));
    }
    for call in commands::calls(text) {
        let fault = commands::fault(&call);
        found.expect(fault.is_none(), file, call.line, || fault.unwrap_or_default());
    }
}

/// What is there is named, on its page.
fn everything(documents: &[Text], found: &mut Findings) {
    let mut page = |file: &str, all: Vec<String>, what: &str| {
        let text =
            documents.iter().find(|document| document.name == file).map_or("", |document| document.text.as_str());
        for name in all {
            found.expect(text.contains(&format!("`{name}`")), file, 1, || {
                format!("the {what} `{name}` is not on this page")
            });
        }
    };
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    page(METRICS, owned(program::METRICS), "metric");
    page(COMMANDS, program::commands(), "command");
    page(VARIABLES, owned(config::KEYS), "key");
    page(VARIABLES, config::KEYS.iter().map(|key| program::variable_of(key)).collect(), "variable");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Vec<String> {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("docs/decisions")).unwrap();
        std::fs::write(root.path().join("docs/a.md"), text).unwrap();
        std::fs::write(root.path().join("docs/decisions/0001.md"), "`cowork gone` is history\n").unwrap();
        let found = examine(root.path()).unwrap();
        assert_eq!(found.files, 2);
        let own = found.problems.into_iter().filter(|problem| problem.file == "docs/a.md");
        own.map(|problem| format!("{}: {}", problem.line, problem.sentence)).collect()
    }

    #[test]
    fn what_a_document_says_and_is_not_so_is_told_with_its_line() {
        assert_eq!(told("`cowork gate` reads `COWORK_DATA_DIR`, see [this](decisions/0001.md#x).\n"), [""; 0]);
        let wrong = "[x](b.md)\n`cowork_nothing`\nGET /api/nothing\n`cowork serve --rolls web`\nCOWORK_WEB__LISTNE\n";
        assert_eq!(
            told(wrong),
            [
                "1: the link b.md leads nowhere",
                "2: there is no metric cowork_nothing",
                "5: the program reads no variable COWORK_WEB__LISTNE",
                "3: no role answers /api/nothing",
                "4: `cowork serve --rolls web` has no flag --rolls"
            ]
        );
    }

    #[test]
    fn what_is_on_no_page_is_told() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("docs")).unwrap();
        let problems = examine(root.path()).unwrap().problems;
        let on = |file: &str| problems.iter().filter(|problem| problem.file == file).count();
        assert_eq!(on(METRICS), program::METRICS.len());
        assert!(on(COMMANDS) > 20 && on(VARIABLES) == 2 * config::KEYS.len());
    }
}
