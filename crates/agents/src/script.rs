//! The lines that the scripted agent understands.

use std::time::Duration;

/// The largest file that `write` makes, and the longest text that `stream` does.
const BYTES_MAX: usize = 64 << 20;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    /// `say TEXT`, or a line that is none of these.
    Say(&'a str),
    /// `stream N BYTES`: a message in N pieces of BYTES.
    Stream { pieces: usize, bytes: usize },
    /// `write PATH SIZE`: a tool call that writes a file and publishes it.
    Write { path: &'a str, size: usize },
    /// `note PATH TEXT`: a file of the workspace that nobody is shown.
    Note { path: &'a str, text: &'a str },
    /// `link PATH TARGET`: a link of the workspace, to anywhere.
    Link { path: &'a str, target: &'a str },
    /// `read PATH`: a tool call that says the SHA-256 of the file; of a link, that of where it leads.
    Read { path: &'a str },
    /// `ask QUESTION`
    Ask(&'a str),
    /// `approve TITLE`
    Approve(&'a str),
    /// `fail REASON`
    Fail(&'a str),
    /// `sleep MS`
    Sleep(Duration),
    /// `crash`: a panic.
    Crash,
}

/// What a line says. What can't be read as one of the words above is said back.
pub(crate) fn parse(line: &str) -> Line<'_> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    understood(word, rest.trim()).unwrap_or(Line::Say(line))
}

fn understood<'a>(word: &str, rest: &'a str) -> Option<Line<'a>> {
    Some(match word {
        "say" => Line::Say(rest),
        "stream" => {
            let (pieces, bytes) = rest.split_once(' ')?;
            let (pieces, bytes) = (pieces.parse::<usize>().ok()?, bytes.parse::<usize>().ok()?);
            pieces.checked_mul(bytes).filter(|total| *total <= BYTES_MAX)?;
            Line::Stream { pieces, bytes }
        }
        "write" => {
            let (path, size) = rest.rsplit_once(' ')?;
            Line::Write { path, size: size.parse().ok().filter(|size| *size <= BYTES_MAX)? }
        }
        "note" => {
            let (path, text) = rest.split_once(' ')?;
            Line::Note { path, text }
        }
        "link" => {
            let (path, target) = rest.split_once(' ')?;
            Line::Link { path, target: target.trim() }
        }
        "read" if !rest.is_empty() => Line::Read { path: rest },
        "ask" if !rest.is_empty() => Line::Ask(rest),
        "approve" if !rest.is_empty() => Line::Approve(rest),
        "fail" => Line::Fail(if rest.is_empty() { "the script says so" } else { rest }),
        "sleep" => Line::Sleep(Duration::from_millis(rest.parse().ok()?)),
        "crash" if rest.is_empty() => Line::Crash,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_understood_or_said_back() {
        let check = |line, expect| assert_eq!(parse(line), expect, "{line}");
        check("say hello there", Line::Say("hello there"));
        check("hello there", Line::Say("hello there"));
        check("stream 3 10", Line::Stream { pieces: 3, bytes: 10 });
        check("stream 3", Line::Say("stream 3"));
        check("stream 99999999 99999999", Line::Say("stream 99999999 99999999"));
        check("write a/b.txt 5", Line::Write { path: "a/b.txt", size: 5 });
        check("write it down", Line::Say("write it down"));
        check("note a.txt to do", Line::Note { path: "a.txt", text: "to do" });
        check("sleep 20", Line::Sleep(Duration::from_millis(20)));
        check("crash", Line::Crash);
        check("crash course", Line::Say("crash course"));
        check("fail", Line::Fail("the script says so"));
    }
}
