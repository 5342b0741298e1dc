//! Archives, honest and not.

use std::io::{Cursor, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::EntryType;

use super::*;
use crate::unpack;

/// Name, kind, mode, content. Names are written as they are, whatever they say.
type Given<'a> = (&'a [u8], EntryType, u32, &'a [u8]);

fn file<'a>(name: &'a str, content: &'a str) -> Given<'a> {
    (name.as_bytes(), EntryType::Regular, 0o644, content.as_bytes())
}

fn tar_gz(entries: &[Given<'_>]) -> Vec<u8> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::best()));
    for (name, kind, mode, content) in entries {
        let mut header = tar::Header::new_ustar();
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.set_entry_type(*kind);
        header.set_mode(*mode);
        // Of a link, the content is where it leads.
        let content: &[u8] = if *kind == EntryType::Symlink {
            header.as_old_mut().linkname[..content.len()].copy_from_slice(content);
            b""
        } else {
            content
        };
        header.set_size(content.len() as u64);
        header.set_mtime(1_700_000_000);
        header.set_cksum();
        tar.append(&header, content).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

fn zip(entries: &[(&str, &str, u32)]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content, mode) in entries {
        zip.start_file(*name, zip::write::SimpleFileOptions::default().unix_permissions(*mode)).unwrap();
        zip.write_all(content.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn refusals(archive: &[u8]) -> Vec<String> {
    match pack(archive) {
        Err(PackError::Refused { first, count }) => {
            assert_eq!(first.len(), count);
            first.into_iter().map(|refusal| refusal.path).collect()
        }
        other => panic!("{other:?}"),
    }
}

/// Everything below a folder: path, mode, content (`None`: a folder), sorted.
fn found(folder: &Path) -> Vec<(String, u32, Option<String>)> {
    let (mut found, mut ahead) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(next) = ahead.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
            let mode = path.metadata().unwrap().permissions().mode() & 0o700;
            if path.is_dir() {
                ahead.push(path);
                found.push((name, mode, None));
            } else {
                found.push((name, mode, Some(std::fs::read_to_string(path).unwrap())));
            }
        }
    }
    found.sort();
    found
}

fn unpacked(packed: &Packed) -> Vec<(String, u32, Option<String>)> {
    let folder = tempfile::tempdir().unwrap();
    unpack(&packed.content, folder.path()).unwrap();
    found(folder.path())
}

#[test]
fn what_is_packed_is_unpacked_as_it_was_whatever_it_came_in() {
    let long = format!("{}/{}.txt", "d".repeat(60), "f".repeat(30));
    let tar = tar_gz(&[
        (b"./src/", EntryType::Directory, 0o700, b""),
        file("src/main.rs", "fn main() {}"),
        (b"run.sh", EntryType::Regular, 0o4755, b"#!/bin/sh"),
        (b"empty/", EntryType::Directory, 0o755, b""),
        file(&long, "deep"),
    ]);
    let packed = pack(&tar).unwrap();
    assert_eq!((packed.format, packed.files, packed.bytes), (Format::TarGz, 3, 25));
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(
        unpacked(&packed),
        [
            ("d".repeat(60), 0o700, None),
            (long.clone(), 0o600, text("deep")),
            ("empty".to_owned(), 0o700, None),
            ("run.sh".to_owned(), 0o700, text("#!/bin/sh")),
            ("src".to_owned(), 0o700, None),
            ("src/main.rs".to_owned(), 0o600, text("fn main() {}")),
        ]
    );
    assert_eq!(pack(&tar).unwrap(), packed, "the same archive gives the same bytes");

    let zipped = pack(&zip(&[("src/main.rs", "fn main() {}", 0o644), ("run.sh", "#!/bin/sh", 0o755)])).unwrap();
    assert_eq!((zipped.format, zipped.files, zipped.bytes), (Format::Zip, 2, 21));
    assert_eq!(unpacked(&zipped)[0], ("run.sh".to_owned(), 0o700, text("#!/bin/sh")));
}

#[test]
fn an_archive_that_reaches_out_or_has_what_no_workspace_keeps_is_refused_whole() {
    let entries = [
        file("good.txt", "x"),
        file("../up.txt", "x"),
        file("/etc/cron.d/x", "x"),
        file("a/../../b", "x"),
        (b"link".as_slice(), EntryType::Symlink, 0o777, b"/etc/passwd".as_slice()),
        (b"a/up", EntryType::Symlink, 0o777, b"../../up"),
        (b"nothing", EntryType::Symlink, 0o777, b""),
        (b"hard", EntryType::Link, 0o644, b""),
        (b"device", EntryType::Char, 0o644, b""),
        (b"pipe", EntryType::Fifo, 0o644, b""),
        (b"\xff.txt", EntryType::Regular, 0o644, b"x"),
        file("a\u{202e}txt.exe", "x"),
    ];
    assert_eq!(refusals(&tar_gz(&entries)).len(), entries.len() - 1);
    assert_eq!(refusals(&zipped_link("/etc/passwd")), ["link"]);
    assert_eq!(refusals(&zipped_link(&"x".repeat(5_000))), ["link"]);
    assert_eq!(refusals(&zip(&[("../up", "x", 0o644), ("b\\c", "x", 0o644)])).len(), 2);
}

/// With a file behind it. The writer of the crate makes a file of a link; a packer does not: this sets the kind in the mode of the first
/// entry of the zip's directory.
fn zipped_link(target: &str) -> Vec<u8> {
    let mut zip = zip(&[("link", target, 0o120_777), ("a.txt", "a", 0o644)]);
    let directory = zip.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    zip[directory + 41] = 0o120 << 1;
    zip[directory + 5] = 3;
    zip
}

/// The links below a folder, and where they lead.
fn links(folder: &Path) -> Vec<(String, String)> {
    let (mut found, mut ahead) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(next) = ahead.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let entry = entry.unwrap();
            let (kind, path) = (entry.file_type().unwrap(), entry.path());
            if kind.is_dir() {
                ahead.push(path);
            } else if kind.is_symlink() {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                found.push((name, std::fs::read_link(&path).unwrap().to_str().unwrap().to_owned()));
            }
        }
    }
    found.sort();
    found
}

fn unpacked_links(archive: &[u8]) -> Vec<(String, String)> {
    let folder = tempfile::tempdir().unwrap();
    unpack(&pack(archive).unwrap().content, folder.path()).unwrap();
    links(folder.path())
}

#[test]
fn links_that_stay_inside_are_kept_as_they_say() {
    let link =
        |name: &'static str, target: &'static str| (name.as_bytes(), EntryType::Symlink, 0o777, target.as_bytes());
    let long = "d/".repeat(40) + "x";
    let archive = tar_gz(&[
        link("a/b/c/up", "../../../docs"),
        link("before", "docs/a.txt"),
        file("docs/a.txt", "x"),
        link("dangling", &*String::leak(long.clone())),
        link("here", "./docs/a.txt"),
        link("self", "self"),
        link("through", "before/x"),
    ]);
    let expect = [
        ("a/b/c/up", "../../../docs"),
        ("before", "docs/a.txt"),
        ("dangling", long.as_str()),
        ("here", "./docs/a.txt"),
        ("self", "self"),
        ("through", "before/x"),
    ];
    assert_eq!(unpacked_links(&archive), expect.map(|(name, target)| (name.to_owned(), target.to_owned())));
    assert_eq!(pack(&archive).unwrap(), pack(&archive).unwrap());
    assert_eq!(unpacked_links(&zipped_link("a.txt")), [("link".to_owned(), "a.txt".to_owned())]);
}

#[test]
fn a_link_that_leads_out_by_another_is_refused_and_none_has_something_behind_it() {
    let link =
        |name: &'static str, target: &'static str| (name.as_bytes(), EntryType::Symlink, 0o777, target.as_bytes());
    let down = link("a/b/top", "../..");
    // By its text it leads to `a`; where `top` is a link to the workspace, to what is above.
    assert_eq!(refusals(&tar_gz(&[file("x", "x"), down, link("out", "a/b/top/..")])), ["out"]);
    assert_eq!(refusals(&tar_gz(&[link("l", "a"), file("l/x", "x")])), ["l/x"]);
    assert_eq!(refusals(&tar_gz(&[file("l/x", "x"), link("l", "a")])), ["l"]);
    assert_eq!(refusals(&tar_gz(&[link("l", "a"), link("L", "b"), file("x", "x")])), ["L"]);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
    #[test]
    fn no_link_that_was_taken_leads_out(
        given in proptest::collection::vec(("[abc](/[abc]){0,2}", "(\\.\\./){0,3}[abc./]{1,6}"), 1..6),
    ) {
        let packer = |given: &[&(String, String)]| {
            let links = given.iter().map(|(name, target)| {
                (name.as_bytes(), EntryType::Symlink, 0o777, target.as_bytes())
            });
            pack(&tar_gz(&[file("file", "x")].into_iter().chain(links).collect::<Vec<_>>()))
        };
        // Those that are refused are taken away, one by one, so that something is left to be looked at.
        let mut taken = Vec::new();
        for one in &given {
            taken.push(one);
            if packer(&taken).is_err() {
                taken.pop();
            }
        }
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().canonicalize().unwrap().join("workspace");
        std::fs::create_dir(&folder).unwrap();
        unpack(&packer(&taken).unwrap().content, &folder).unwrap();
        for (name, _) in links(&folder) {
            let leads = std::fs::canonicalize(folder.join(&name));
            assert!(leads.is_err() || leads.unwrap().starts_with(&folder), "{name} of {taken:?}");
        }
    }
}

#[test]
fn two_names_that_are_one_elsewhere_are_refused() {
    for (one, other) in [("README", "readme"), ("a/b", "A/c"), ("a", "a"), ("a", "a/b"), ("u\u{308}", "\u{fc}")] {
        assert_eq!(refusals(&tar_gz(&[file(one, "x"), file(other, "x")])).len(), 1, "{one} {other}");
    }
    let twice = tar_gz(&[
        (b"a/", EntryType::Directory, 0o755, b""),
        (b"a", EntryType::Directory, 0o755, b""),
        file("a/b", "x"),
    ]);
    assert_eq!(pack(&twice).unwrap().files, 1, "a folder may be named twice");
}

#[test]
fn secrets_are_left_out_and_told() {
    let packed = pack(&tar_gz(&[
        file("app.py", "x"),
        file(".env", "KEY=1"),
        file("deploy/server.pem", "x"),
        (b".git/hooks/link", EntryType::Symlink, 0o777, b""),
    ]))
    .unwrap();
    assert_eq!(unpacked(&packed).len(), 1);
    let told: Vec<_> = packed.left_out.iter().map(|left| left.path.as_str()).collect();
    assert_eq!(
        (told.as_slice(), packed.left_out_count),
        ([".env", "deploy/server.pem", ".git/hooks/link"].as_slice(), 3)
    );
    assert!(matches!(pack(&tar_gz(&[file(".env", "x")])), Err(PackError::Empty)));
}

#[test]
fn a_bomb_is_not_unpacked() {
    let nothing = "\0".repeat(8 << 20);
    let bomb = tar_gz(&[file("zeros", &nothing)]);
    assert!(bomb.len() * 200 < nothing.len(), "{}", bomb.len());
    assert!(matches!(pack(&bomb), Err(PackError::TooLarge(_))));
    assert!(matches!(pack(&zip(&[("zeros", &nothing, 0o644)])), Err(PackError::TooLarge(_))));
    let names: Vec<String> = (0..=ENTRIES_MAX).map(|n| n.to_string()).collect();
    let many: Vec<Given<'_>> = names.iter().map(|name| file(name, "")).collect();
    assert!(matches!(pack(&tar_gz(&many)), Err(PackError::TooLarge(_))));
}

#[test]
fn what_is_no_archive_or_was_cut_off_is_refused_and_nothing_panics() {
    assert!(matches!(pack(b"hello"), Err(PackError::NoArchive)));
    assert!(matches!(pack(b""), Err(PackError::NoArchive)));
    for whole in [tar_gz(&[file("a", "some content of it")]), zip(&[("a", "some content of it", 0o644)])] {
        for length in 2..whole.len() {
            assert!(pack(&whole[..length]).is_err(), "{length} of {}", whole.len());
        }
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0x55;
            let _ = pack(&changed);
        }
    }
}

#[test]
fn what_is_packed_was_compared_before_it_is_unpacked_and_damage_is_told_all_the_same() {
    let packed = pack(&tar_gz(&[file("a", "x")])).unwrap();
    let folder = tempfile::tempdir().unwrap();
    assert!(unpack(&packed.content[..packed.content.len() / 2], folder.path()).is_err());
    assert!(unpack(b"something else", folder.path()).is_err());
}
