//! What people are told of a workspace that can't be saved whole: sockets, pipes and devices are left out of a checkpoint.
//!
//! Of the folder that people's files are in, and once: told again if there is something else. What an agent keeps of its own is its own
//! business.
//!
//! Not here: finding it (`objects::checkpoint`).

use std::path::Path;

use objects::checkpoint::{LeftOut, Omission};

/// More are counted, and not named.
const NAMED_MAX: usize = 5;
/// Characters of a path that are told.
const PATH_TOLD: usize = 200;

/// Of the message in which a turn tells. No agent gives one such an id.
pub(crate) fn message_id(ordinal: i64, attempt: i32) -> String {
    format!("left-out-{ordinal}.{attempt}")
}

/// What is left out below the folder `below` of the workspace, for people. `None`: nothing, or what was left out `before`.
pub(crate) fn told(left_out: &LeftOut, before: &LeftOut, below: &Path) -> Option<String> {
    let here = |left_out: &LeftOut| -> Vec<Omission> {
        left_out.named.iter().filter(|omission| Path::new(&omission.path).starts_with(below)).cloned().collect()
    };
    let omissions = here(left_out);
    if omissions.is_empty() || omissions == here(before) {
        return None;
    }
    let mut names: Vec<String> = omissions.iter().take(NAMED_MAX).map(|omission| name(omission, below)).collect();
    if omissions.len() > NAMED_MAX {
        names.push(format!("and {} more", omissions.len() - NAMED_MAX));
    }
    Some(format!(
        "(Not saved with the files, since only the process that made it can use it: {}. It may be gone in the next turn.)",
        names.join(", ")
    ))
}

/// A name may be anything; this one is fit for a line.
fn name(omission: &Omission, below: &Path) -> String {
    let path = Path::new(&omission.path);
    let path = path.strip_prefix(below).unwrap_or(path).display().to_string();
    let mut told: String = path.chars().take(PATH_TOLD).flat_map(char::escape_debug).collect();
    if path.chars().nth(PATH_TOLD).is_some() {
        told.push('…');
    }
    format!("{told} ({})", omission.kind.as_str())
}

#[cfg(test)]
mod tests {
    use objects::checkpoint::Kind;

    use super::*;

    fn left_out(paths: &[&str]) -> LeftOut {
        let named = paths.iter().map(|path| Omission { path: (*path).to_owned(), kind: Kind::Socket }).collect();
        LeftOut { count: paths.len() as u64, named }
    }

    #[test]
    fn what_is_new_where_people_look_is_told() {
        let (nothing, work) = (LeftOut::default(), Path::new("work"));
        let one = left_out(&["home/agent.sock", "work/a.sock"]);
        let text = told(&one, &nothing, work).unwrap();
        assert!(text.contains(": a.sock (a socket). "), "{text}");
        assert_eq!(told(&one, &one, work), None, "it was told");
        assert_eq!(told(&left_out(&["home/other.sock", "work/a.sock"]), &one, work), None);
        assert_eq!(told(&left_out(&["home/agent.sock"]), &nothing, work), None);
        assert_eq!(told(&left_out(&["works/a.sock"]), &nothing, work), None);
        assert!(told(&left_out(&["works/a.sock"]), &nothing, Path::new("")).is_some());
    }

    #[test]
    fn a_message_is_short_whatever_things_are_called() {
        let long = "x".repeat(4_000);
        let text =
            told(&left_out(&["a\nb", &long, "c", "d", "e", "f", "g"]), &LeftOut::default(), Path::new("")).unwrap();
        assert!(text.contains("a\\nb (a socket)") && text.contains("and 2 more") && text.len() < 1_000, "{text}");
    }
}
