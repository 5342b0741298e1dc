//! From an archive that somebody sent to the form that workers unpack.

use std::collections::HashMap;
use std::io::Read;

use crate::name::{Name, folded};
use crate::read::{self, Kind, Limited};
use crate::{ARCHIVE_MAX, AROUND, ENTRIES_MAX, FILE_MAX, TOLD_MAX, UNPACKED_MAX};

/// Fast, and a third of the bytes of most sources.
const LEVEL: i32 = 3;
/// Bytes of where a link leads that are looked at: more than may be.
const TARGET_MAX: u64 = 4_096;
/// Characters of a name that is told.
const NAME_TOLD: usize = 200;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    TarGz,
    Zip,
    /// The files of a commit.
    Git,
}

impl Format {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TarGz => "tar.gz",
            Self::Zip => "zip",
            Self::Git => "git",
        }
    }
}

/// Something that an archive has and a workspace does not get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    pub path: String,
    pub why: &'static str,
}

/// Something that no archive may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub path: String,
    pub why: String,
}

/// What was made of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    pub format: Format,
    pub files: usize,
    /// Of all files.
    pub bytes: u64,
    /// The first [`TOLD_MAX`].
    pub left_out: Vec<LeftOut>,
    pub left_out_count: usize,
    /// For [`crate::unpack`].
    pub content: Vec<u8>,
}

/// Why nothing was made of it.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    #[error("it is neither a tar.gz nor a zip")]
    NoArchive,
    #[error("it can't be read: {0}")]
    Broken(String),
    #[error("{0}")]
    TooLarge(&'static str),
    #[error("it has no file that a workspace gets")]
    Empty,
    /// The first [`TOLD_MAX`], of `count`.
    #[error("it has {count} entries that no workspace gets")]
    Refused { first: Vec<Refusal>, count: usize },
}

/// Reads an archive to its end, and packs what a workspace gets of it.
///
/// # Errors
/// Then nothing of it may be used; the same archive fails in the same way.
pub fn pack(archive: &[u8]) -> Result<Packed, PackError> {
    if archive.len() > ARCHIVE_MAX {
        return Err(PackError::TooLarge("it is larger than 64 MiB"));
    }
    let mut packer = Packer::new(read::limit(archive.len()));
    let format = read::each(archive, &mut |name, kind, content| packer.entry(name, kind, content))?;
    packer.finish(format)
}

/// Reads what `git archive` wrote of a commit, and packs it as [`pack`] does. A link that leads out is what an honest repository may have,
/// and nobody can pack it without: it is left out.
///
/// # Errors
/// As [`pack`].
pub fn pack_tar(tar: impl Read) -> Result<Packed, PackError> {
    let mut packer = Packer { leaves_out: true, ..Packer::new(UNPACKED_MAX) };
    let limited = Limited::new(tar, UNPACKED_MAX + AROUND);
    read::tar(limited, &mut |name, kind, content| packer.entry(name, kind, content))?;
    packer.finish(Format::Git)
}

struct Packer {
    tar: tar::Builder<zstd::Encoder<'static, Vec<u8>>>,
    /// By what other machines take for the name: how it is written here, and whether it is a file.
    taken: HashMap<String, (String, bool)>,
    refused: Vec<Refusal>,
    refused_count: usize,
    left_out: Vec<LeftOut>,
    left_out_count: usize,
    entries: usize,
    files: usize,
    bytes: u64,
    bytes_max: u64,
    /// What no workspace keeps is left out, and does not have the whole refused.
    leaves_out: bool,
}

impl Packer {
    fn new(bytes_max: u64) -> Self {
        let zstd = zstd::Encoder::new(Vec::new(), LEVEL).expect("memory takes what is written");
        Self {
            tar: tar::Builder::new(zstd),
            taken: HashMap::new(),
            refused: Vec::new(),
            refused_count: 0,
            left_out: Vec::new(),
            left_out_count: 0,
            entries: 0,
            files: 0,
            bytes: 0,
            bytes_max: bytes_max.min(UNPACKED_MAX),
            leaves_out: false,
        }
    }

    fn entry(&mut self, raw: &[u8], kind: Kind, content: &mut dyn Read) -> Result<(), PackError> {
        self.entries += 1;
        if self.entries > ENTRIES_MAX {
            return Err(PackError::TooLarge("it has more than 20,000 entries"));
        }
        let name = match Name::read(raw) {
            Ok(Some(name)) => name,
            Ok(None) if kind == Kind::Folder => return Ok(()),
            Ok(None) => return self.refuse(raw, "it has no name"),
            Err(why) => return self.refuse(raw, why),
        };
        if let Some(why) = name.left_out() {
            return self.leave_out(name.as_str().as_bytes(), why);
        }
        match kind {
            Kind::Other(why) => self.keep_none(raw, why),
            Kind::Link => self.link(raw, &name, content),
            Kind::Folder => self.folder(raw, &name),
            Kind::File { executable } => self.file(raw, &name, executable, content),
        }
    }

    fn keep_none(&mut self, raw: &[u8], why: &'static str) -> Result<(), PackError> {
        if self.leaves_out { self.leave_out(raw, why) } else { self.refuse(raw, why) }
    }

    fn leave_out(&mut self, raw: &[u8], why: &'static str) -> Result<(), PackError> {
        self.left_out_count += 1;
        if self.left_out_count > ENTRIES_MAX {
            return Err(PackError::TooLarge("it has more than 20,000 entries"));
        }
        if self.left_out.len() < TOLD_MAX {
            self.left_out.push(LeftOut { path: told(&String::from_utf8_lossy(raw)), why });
        }
        Ok(())
    }

    /// The entry is done with; the archive is read on, for the other reasons that it gives.
    fn refuse(&mut self, raw: &[u8], why: impl Into<String>) -> Result<(), PackError> {
        self.refused_count += 1;
        if self.refused.len() < TOLD_MAX {
            self.refused.push(Refusal { path: told(&String::from_utf8_lossy(raw)), why: why.into() });
        }
        Ok(())
    }

    /// Claims a name and those of its folders. Why that can't be; `Ok(false)`: a folder that is there.
    fn claim(&mut self, name: &Name, file: bool) -> Result<bool, String> {
        let folders: Vec<&str> = name.folders().collect();
        for (path, is_file) in folders.into_iter().map(|folder| (folder, false)).chain([(name.as_str(), file)]) {
            match self.taken.get(&folded(path)) {
                None => {
                    self.taken.insert(folded(path), (path.to_owned(), is_file));
                }
                Some((there, _)) if there != path => {
                    return Err(format!("other machines take its name for that of {}", told(there)));
                }
                Some((_, was_file)) if is_file || *was_file => return Err("its name is there twice".to_owned()),
                Some(_) if path == name.as_str() => return Ok(false),
                Some(_) => {}
            }
        }
        Ok(true)
    }

    fn folder(&mut self, raw: &[u8], name: &Name) -> Result<(), PackError> {
        match self.claim(name, false) {
            Err(why) => self.refuse(raw, why),
            Ok(false) => Ok(()),
            Ok(true) => self.append(name, tar::EntryType::Directory, 0o755, &[]),
        }
    }

    fn file(&mut self, raw: &[u8], name: &Name, executable: bool, content: &mut dyn Read) -> Result<(), PackError> {
        if let Err(why) = self.claim(name, true) {
            return self.refuse(raw, why);
        }
        let mut bytes = Vec::new();
        let left = self.bytes_max - self.bytes;
        Limited::new(content.take(FILE_MAX + 1), left).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > FILE_MAX {
            return Err(PackError::TooLarge("it has a file that is larger than 64 MiB"));
        }
        self.files += 1;
        self.bytes += bytes.len() as u64;
        self.append(name, tar::EntryType::Regular, if executable { 0o755 } else { 0o644 }, &bytes)
    }

    fn link(&mut self, raw: &[u8], name: &Name, content: &mut dyn Read) -> Result<(), PackError> {
        let mut target = Vec::new();
        content.take(TARGET_MAX).read_to_end(&mut target)?;
        let target = match name.link_to(&target) {
            Ok(target) => target,
            Err(why) => return self.keep_none(raw, why),
        };
        if let Err(why) = self.claim(name, true) {
            return self.refuse(raw, why);
        }
        if self.refused_count > 0 {
            return Ok(());
        }
        Ok(self.tar.append_link(&mut header(tar::EntryType::Symlink, 0o777, 0), name.as_str(), target)?)
    }

    fn append(&mut self, name: &Name, kind: tar::EntryType, mode: u32, content: &[u8]) -> Result<(), PackError> {
        if self.refused_count > 0 {
            return Ok(());
        }
        Ok(self.tar.append_data(&mut header(kind, mode, content.len() as u64), name.as_str(), content)?)
    }

    fn finish(self, format: Format) -> Result<Packed, PackError> {
        if self.refused_count > 0 {
            return Err(PackError::Refused { first: self.refused, count: self.refused_count });
        }
        if self.files == 0 {
            return Err(PackError::Empty);
        }
        let content = self.tar.into_inner().and_then(zstd::Encoder::finish)?;
        let (files, bytes, left_out, left_out_count) = (self.files, self.bytes, self.left_out, self.left_out_count);
        Ok(Packed { format, files, bytes, left_out, left_out_count, content })
    }
}

/// Without an owner and a time.
fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

/// A name that may be anything, fit for a line.
fn told(name: &str) -> String {
    let mut told: String = name.chars().take(NAME_TOLD).flat_map(char::escape_debug).collect();
    if name.chars().nth(NAME_TOLD).is_some() {
        told.push('…');
    }
    told
}

#[cfg(test)]
mod tests;
