//! The checksums that pages of a physical backup carry themselves, looked at before the backup is recovered.
//!
//! What `pg_basebackup` copied is consistent only once its WAL was replayed, and the replay writes many pages anew from
//! whole images: damage in such a page is gone in the restored server, and would be back with the next one that is
//! recovered from less WAL. So pages are looked at as they lie in the backup. One that was written after the backup had
//! begun may be torn there, and is left to the replay; `pg_basebackup` does the same when it copies.
//!
//! Not here: a cluster without checksums. Its backup's manifest (`pg_verifybackup`) and the engine's own check are all
//! there is then, and row 1 says so.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use anyhow::Context as _;
use walkdir::WalkDir;

use crate::said::{Name, Sentence, say};

/// Bytes of a page. Another size is told as not looked at.
pub(super) const PAGE: usize = 8_192;
/// Pages in a file of a relation, before the next one begins.
const PAGES_PER_FILE: u32 = 131_072;
/// More damaged pages are counted, and not named.
const NAMED_MAX: usize = 5;
/// How far a page's words are summed up side by side.
const LANES: usize = 32;
const PRIME: u32 = 16_777_619;
/// Where each lane's sum begins, as the server has it.
const SEEDS: [u32; LANES] = [
    0x5B1F_36E9,
    0xB852_5960,
    0x02AB_50AA,
    0x1DE6_6D2A,
    0x79FF_467A,
    0x9BB9_F8A3,
    0x217E_7CD2,
    0x83E1_3D2C,
    0xF8D4_474F,
    0xE39E_B970,
    0x42C6_AE16,
    0x9932_16FA,
    0x7B09_3B5D,
    0x98DA_FF3C,
    0xF718_902A,
    0x0B1C_9CDB,
    0xE58F_764B,
    0x1876_36BC,
    0x5D7B_3BB1,
    0xE73D_E7DE,
    0x92BE_C979,
    0xCCA6_C0B2,
    0x304A_0979,
    0x85AA_43D4,
    0x7831_25BB,
    0x6CA8_EAA2,
    0xE407_EAC6,
    0x4B5C_FC3E,
    0x9FBF_8C76,
    0x15CA_20BE,
    0xF2CA_9FD3,
    0x959B_D756,
];

/// What was seen.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pages {
    pub(super) looked_at: u64,
    pub(super) damaged: u64,
    /// The first few, as `FILE, page N`.
    named: Vec<String>,
}

impl Pages {
    /// The sentence of a finding, if there is one.
    pub(super) fn damage(&self) -> Option<Sentence> {
        let named: Vec<Name> = self.named.iter().map(|page| Name::given(page)).collect();
        (self.damaged > 0).then(|| say!("{} pages of the backup don't have their checksum: {}", self.damaged, named))
    }
}

/// Looks at every page below `data` that was written before `start`, the place in the WAL at which the backup begins.
pub(super) fn look_at(data: &Path, start: u64) -> anyhow::Result<Pages> {
    let mut pages = Pages::default();
    for folder in ["base", "global"] {
        let entries = WalkDir::new(data.join(folder)).sort_by_file_name();
        for entry in entries {
            let entry = entry.context("the backup's files can't be listed")?;
            let name = entry.file_name().to_string_lossy();
            if let Some(number) = relation_file(&name).filter(|_| entry.file_type().is_file()) {
                let file = File::open(entry.path()).context("a file of the backup can't be read")?;
                let shown = entry.path().strip_prefix(data).unwrap_or(entry.path()).display().to_string();
                pages.look_into(file, number.wrapping_mul(PAGES_PER_FILE), start, &shown)?;
            }
        }
    }
    Ok(pages)
}

impl Pages {
    fn look_into(&mut self, file: impl Read, first: u32, start: u64, name: &str) -> io::Result<()> {
        let mut file = BufReader::with_capacity(32 * PAGE, file);
        let mut page = [0; PAGE];
        for number in first.. {
            match read_page(&mut file, &mut page)? {
                0 => break,
                PAGE if well(&page, number, start) => self.looked_at += 1,
                // A file that ends within a page was cut.
                _ => {
                    self.damaged += 1;
                    if self.named.len() < NAMED_MAX {
                        self.named.push(format!("{name}, page {}", number - first));
                    }
                }
            }
        }
        Ok(())
    }
}

fn read_page(file: &mut impl Read, page: &mut [u8; PAGE]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < PAGE {
        match file.read(&mut page[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

/// Whether the page is as it was written, or not to be judged.
fn well(page: &[u8; PAGE], number: u32, start: u64) -> bool {
    let word = |at: usize| u64::from(u32::from_le_bytes([page[at], page[at + 1], page[at + 2], page[at + 3]]));
    let (written_at, upper) = ((word(0) << 32) | word(4), u16::from_le_bytes([page[14], page[15]]));
    if upper == 0 {
        // Never used: nothing but zeros.
        return page.iter().all(|byte| *byte == 0);
    }
    written_at >= start || checksum(page, number) == u16::from_le_bytes([page[8], page[9]])
}

/// The checksum that the server gives to this page as the relation's page `number`.
fn checksum(page: &[u8; PAGE], number: u32) -> u16 {
    let mix = |sum: u32, word: u32| {
        let mixed = sum ^ word;
        mixed.wrapping_mul(PRIME) ^ (mixed >> 17)
    };
    let mut sums = SEEDS;
    for (place, bytes) in page.chunks_exact(4).enumerate() {
        // The checksum itself counts as zero.
        let word = if place == 2 { [0, 0, bytes[2], bytes[3]] } else { [bytes[0], bytes[1], bytes[2], bytes[3]] };
        let lane = &mut sums[place % LANES];
        *lane = mix(*lane, u32::from_le_bytes(word));
    }
    let total = sums.into_iter().map(|sum| mix(mix(sum, 0), 0)).fold(0, |total, sum| total ^ sum);
    u16::try_from((total ^ number) % 65_535 + 1).expect("it is at most 65535")
}

/// Whether a file of this name holds pages of a relation, and which of its files it is: `16384`, `16384_vm`, `16384.2`.
fn relation_file(name: &str) -> Option<u32> {
    let (stem, number) = match name.split_once('.') {
        Some((stem, number)) => (stem, number.parse().ok()?),
        None => (name, 0),
    };
    let (node, fork) = stem.split_once('_').unwrap_or((stem, "main"));
    let known = ["main", "fsm", "vm", "init"].contains(&fork);
    (known && !node.is_empty() && node.bytes().all(|byte| byte.is_ascii_digit())).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A page that was written at 0x100.
    fn page() -> [u8; PAGE] {
        let mut page = [0; PAGE];
        page[4..8].copy_from_slice(&0x100_u32.to_le_bytes());
        page[14..16].copy_from_slice(&8_000_u16.to_le_bytes());
        page[8_000..].fill(7);
        let sum = checksum(&page, 3);
        page[8..10].copy_from_slice(&sum.to_le_bytes());
        page
    }

    #[test]
    fn a_page_is_well_in_its_place_only_and_whole_only() {
        let whole = page();
        assert!(well(&whole, 3, 0x200));
        assert!(!well(&whole, 4, 0x200), "another page's place");
        for at in [0, 9, 13, 100, 8_191] {
            let mut damaged = whole;
            damaged[at] ^= 0x10;
            // One that seems to be written later is left to the replay.
            assert!(!well(&damaged, 3, u64::MAX), "byte {at}");
        }
        assert!(well(&[0; PAGE], 3, 0x200), "never used");
    }

    #[test]
    fn a_page_that_was_written_while_the_backup_was_taken_is_left_to_the_replay() {
        let mut torn = page();
        torn[8_100] ^= 1;
        assert!(!well(&torn, 3, 0x101));
        assert!(well(&torn, 3, 0x100));
    }

    #[test]
    fn files_of_relations_are_told_from_others() {
        assert_eq!(relation_file("16384"), Some(0));
        assert_eq!(relation_file("16384_fsm"), Some(0));
        assert_eq!(relation_file("16384.2"), Some(2));
        for other in ["PG_VERSION", "pg_control", "pg_filenode.map", "pg_internal.init", "16384_x", "t3_16384"] {
            assert_eq!(relation_file(other), None, "{other}");
        }
    }

    #[test]
    fn a_file_that_ends_within_a_page_is_damaged() {
        let mut pages = Pages::default();
        pages.look_into(&page()[..100], 0, 0, "base/1/2").unwrap();
        assert_eq!((pages.damaged, pages.damage().unwrap().contains("base/1/2, page 0")), (1, true));
    }
}
