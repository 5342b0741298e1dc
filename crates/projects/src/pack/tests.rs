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
        header.set_size(content.len() as u64);
        header.set_mtime(1_700_000_000);
        header.set_cksum();
        tar.append(&header, *content).unwrap();
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
        (b"link".as_slice(), EntryType::Symlink, 0o777, b"".as_slice()),
        (b"hard", EntryType::Link, 0o644, b""),
        (b"device", EntryType::Char, 0o644, b""),
        (b"pipe", EntryType::Fifo, 0o644, b""),
        (b"\xff.txt", EntryType::Regular, 0o644, b"x"),
        file("a\u{202e}txt.exe", "x"),
    ];
    assert_eq!(refusals(&tar_gz(&entries)).len(), entries.len() - 1);
    let link = zip(&[("link", "/etc/passwd", 0o120_777)]);
    // The writer of the crate makes a file of it; a packer does not.
    let link = mark_as_link(link);
    assert_eq!(refusals(&link), ["link"]);
    assert_eq!(refusals(&zip(&[("../up", "x", 0o644), ("b\\c", "x", 0o644)])).len(), 2);
}

/// Sets the kind in the mode of the only entry of a zip's directory.
fn mark_as_link(mut zip: Vec<u8>) -> Vec<u8> {
    let directory = zip.windows(4).rposition(|window| window == b"PK\x01\x02").unwrap();
    zip[directory + 41] = 0o120 << 1;
    zip[directory + 5] = 3;
    zip
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
