//! Calls of the program in text: that each names commands and flags that exist.
//!
//! Values are not looked at: in a document they are placeholders. Where they are real, the whole line is parsed
//! ([`parses`]).

use clap::{Command, Parser as _};

use super::program;
use crate::cli::Cli;

/// A call, as it stands in a text: `cowork drill run --plan FILE`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) line: usize,
    pub(crate) words: Vec<String>,
}

/// The calls in code of a Markdown text: in spans, and in blocks of a shell.
pub(crate) fn calls(text: &str) -> Vec<Call> {
    let mut calls = Vec::new();
    let mut block: Option<bool> = None;
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if let Some(kind) = line.trim_start().strip_prefix("```") {
            block = if block.is_some() { None } else { Some(matches!(kind.trim(), "sh" | "bash" | "shell")) };
            continue;
        }
        match block {
            None => calls.extend(spans(line).filter_map(|span| call(number + 1, span))),
            Some(true) => {
                let mut whole = line.to_owned();
                while whole.ends_with('\\') {
                    whole.pop();
                    whole.push_str(lines.next().map_or("", |(_, more)| more));
                }
                calls.extend(simple_commands(&whole).filter_map(|command| call(number + 1, command)));
            }
            Some(false) => {}
        }
    }
    calls
}

/// What stands between backticks in a line.
fn spans(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// The commands of a shell's line, roughly: at `;`, `&`, `|`, `$(` and a comment.
fn simple_commands(line: &str) -> impl Iterator<Item = &str> {
    let code = line.split(" #").next().unwrap_or_default();
    code.split([';', '&', '|', '(', ')']).map(str::trim)
}

/// `None` if it is no call of the program.
fn call(line: usize, text: &str) -> Option<Call> {
    let mut words = text.split_whitespace().map(|word| word.trim_matches(['"', '\'']).to_owned());
    let program = words.find(|word| !word.contains('='))?;
    let is_ours = program == "cowork" || program.ends_with("/cowork");
    let words: Vec<String> = words.take_while(|word| !word.starts_with(['>', '<']) && word != "2>").collect();
    (is_ours && !words.is_empty()).then_some(Call { line, words })
}

/// What is wrong with a call of a document.
pub(crate) fn fault(call: &Call) -> Option<String> {
    let cli = program::cli();
    let mut at: Vec<&Command> = vec![&cli];
    let mut deep = false;
    for word in &call.words {
        if let Some(flag) = word.strip_prefix("--") {
            let name = flag.split(['=', ']']).next().unwrap_or_default();
            let known = |command: &&&Command| {
                command.get_arguments().any(|argument| argument.get_long() == Some(name)) || name == "help"
            };
            if !name.is_empty() && name != "version" && at.iter().filter(known).count() == 0 {
                return Some(format!("`cowork {}` has no flag --{name}", call.words.join(" ")));
            }
        } else if at.iter().any(|command| command.has_subcommands()) {
            // `init|check` are two.
            let inner: Vec<Option<&Command>> = word
                .split('|')
                .map(|name| at.iter().find_map(|command| command.get_subcommands().find(|one| one.get_name() == name)))
                .collect();
            if inner.iter().all(Option::is_some) {
                (at, deep) = (inner.into_iter().flatten().collect(), true);
            } else if !deep || !placeholder(word) {
                return Some(format!("there is no command `cowork {}`", call.words.join(" ")));
            }
        }
    }
    None
}

/// Whether a word stands for others.
fn placeholder(word: &str) -> bool {
    word == "..." || word == "…" || word.starts_with(['$', '<', '[']) || word.chars().all(|c| c.is_ascii_uppercase())
}

/// What is wrong with a call whose values are real: `words` without the program's name.
pub(crate) fn parses(words: &[String]) -> Result<(), String> {
    let all = std::iter::once("cowork").chain(words.iter().map(String::as_str));
    Cli::try_parse_from(all).map(drop).map_err(|error| error.to_string().lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Vec<Option<String>> {
        calls(text).iter().map(fault).collect()
    }

    #[test]
    fn calls_are_found_in_spans_and_in_shells() {
        let text = "Run `cowork serve --roles web`, or `make`.\n```sh\nA=1 target/release/cowork backup \\\n  --archive x > y\n\
                    kill 1; BACKUP=$(cowork backup --archive \"$A\")\n```\n```\ncowork nothing\n```\n";
        let lines: Vec<usize> = calls(text).iter().map(|call| call.line).collect();
        assert_eq!(lines, [1, 3, 5]);
        assert_eq!(told(text), [None, None, None]);
    }

    #[test]
    fn what_is_not_there_is_told() {
        let faults = told("`cowork srve` `cowork serve --rolls web` `cowork drill plan init|chek`");
        assert_eq!(faults.len(), 3);
        assert!(faults.iter().all(Option::is_some), "{faults:?}");
        assert_eq!(
            told("`cowork drill plan init|check` `cowork drill ...` `cowork gate --max-age-hours 3`"),
            [None, None, None]
        );
    }

    #[test]
    fn a_real_call_is_parsed_with_its_values() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert!(parses(&words("serve --roles web,worker")).is_ok());
        assert!(parses(&words("serve --roles cook")).is_err());
    }
}
