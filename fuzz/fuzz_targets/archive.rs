//! An archive of a project source: whatever somebody sent, it is refused, or what was packed of it unpacks to as many files and bytes as
//! were told, all of them and all that links lead to below the workspace, and packs to the same bytes again.
//!
//! The first byte says what the rest is: an archive as it is; or a tar, whose headers are given their right checksums, so that what lies
//! behind these is reached: under gzip as it would be uploaded, or as `git archive` would write it.

#![no_main]

use std::io::Write as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use libfuzzer_sys::fuzz_target;
use projects::{FILE_MAX, PackError, Packed, TOLD_MAX, pack, pack_tar, unpack};

const BLOCK: usize = 512;
/// In a header.
const SIZE: std::ops::Range<usize> = 124..136;
const CHECKSUM: std::ops::Range<usize> = 148..156;

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, content)) = bytes.split_first() else { return };
    match kind % 3 {
        0 => judge(|| pack(content)),
        1 => {
            let archive = gzipped(&mended(content));
            judge(|| pack(&archive));
        }
        _ => {
            let tar = mended(content);
            judge(|| pack_tar(tar.as_slice()));
        }
    }
});

fn judge(pack: impl Fn() -> Result<Packed, PackError>) {
    let packed = match pack() {
        Ok(packed) => packed,
        Err(PackError::Refused { first, count }) => {
            assert!(!first.is_empty() && first.len() <= TOLD_MAX && first.len() <= count, "a refusal without a reason");
            return;
        }
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    assert_eq!(pack().expect("it was packed before"), packed, "the same archive packs to other bytes");
    assert!(packed.left_out.len() <= TOLD_MAX && packed.left_out.len() <= packed.left_out_count);
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let workspace = folder.path().join("workspace");
    std::fs::create_dir(&workspace).expect("it can be made");
    unpack(&packed.content, &workspace).expect("what was packed unpacks");
    let (mut files, mut bytes) = (0, 0);
    let workspace = workspace.canonicalize().expect("it is there");
    count(&workspace, &workspace, &mut files, &mut bytes);
    assert_eq!((files, bytes), (packed.files, packed.bytes), "a workspace has other files than were told");
    let around = std::fs::read_dir(folder.path()).expect("it is there").count();
    assert_eq!(around, 1, "something lies beside the workspace");
}

/// Files, folders, and links that lead nowhere else; none that is larger than it may be.
fn count(workspace: &Path, folder: &Path, files: &mut usize, bytes: &mut u64) {
    for entry in std::fs::read_dir(folder).expect("it can be read").flatten() {
        let seen = entry.path().symlink_metadata().expect("it is there");
        if seen.is_dir() {
            count(workspace, &entry.path(), files, bytes);
        } else if seen.is_symlink() {
            let leads = entry.path().canonicalize();
            assert!(leads.is_err() || leads.is_ok_and(|leads| leads.starts_with(workspace)), "a link leads out");
        } else {
            assert!(seen.is_file(), "neither a file, a folder nor a link");
            assert!(seen.len() <= FILE_MAX);
            (*files, *bytes) = (*files + 1, *bytes + seen.len());
        }
    }
}

/// With the right checksum in each header, as far as the sizes lead from one to the next.
fn mended(tar: &[u8]) -> Vec<u8> {
    let (mut tar, mut at) = (tar.to_vec(), 0);
    while let Some(header) = tar.get_mut(at..at + BLOCK) {
        header[CHECKSUM].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let size = header[SIZE].iter().filter(|byte| (b'0'..=b'7').contains(byte));
        let size = size.fold(0_usize, |size, byte| size.saturating_mul(8).saturating_add(usize::from(byte - b'0')));
        at = at.saturating_add(BLOCK).saturating_add(size.div_ceil(BLOCK).saturating_mul(BLOCK));
        if at > tar.len() {
            break;
        }
    }
    tar
}

fn gzipped(tar: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(tar).and_then(|()| gzip.finish()).expect("memory takes what is written")
}
