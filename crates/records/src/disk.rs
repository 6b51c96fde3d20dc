//! Files that are either whole or not there. Used for everything a stage leaves behind.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};

use crate::error::RecordsError;

/// Writes `path` by way of a temporary file beside it: filled, flushed to disk, then renamed.
/// A reader sees the old file or the new one, never half; after a failure the old file stays and
/// the temporary one is gone.
pub fn write_atomically(path: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> Result<(), RecordsError> {
    let part = Part {
        path: part_path(path)?,
        kept: false,
    };
    fill_and_rename(part, path, fill).map_err(RecordsError::io(path, "written"))?;
    sync_folder(path);
    Ok(())
}

fn fill_and_rename(mut part: Part, path: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(&part.path)?;
    fill(&mut file)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&part.path, path)?;
    part.kept = true;
    Ok(())
}

/// SHA-256 of a file's bytes, in hex.
pub fn sha256_of_file(path: &Path) -> Result<String, RecordsError> {
    let mut file = File::open(path).map_err(RecordsError::io(path, "opened"))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer).map_err(RecordsError::io(path, "read"))? {
            0 => return Ok(hex(&hash.finalize())),
            n => hash.update(&buffer[..n]),
        }
    }
}

/// Lower-case hex digits of `bytes`.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The temporary file; removed when dropped, unless it was renamed.
struct Part {
    path: PathBuf,
    kept: bool,
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.kept {
            // It may never have been made, and the error that matters is already on its way.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A name in the same folder that no other writer uses: process and a running number.
fn part_path(path: &Path) -> Result<PathBuf, RecordsError> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().ok_or_else(|| {
        let source = io::Error::new(
            io::ErrorKind::InvalidInput,
            "it names no file: give a folder and a file name",
        );
        RecordsError::io(path, "written")(source)
    })?;
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    Ok(path.with_file_name(format!(
        ".{}.{}-{number}.part",
        name.to_string_lossy(),
        std::process::id()
    )))
}

/// Makes the rename itself last through a power cut. Not every system can; then the file is whole
/// all the same.
fn sync_folder(path: &Path) {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn a_failed_write_keeps_the_old_file_and_leaves_no_part() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        write_atomically(&path, |file| file.write_all(b"old")).unwrap();
        let failed = write_atomically(&path, |file| {
            file.write_all(b"half")?;
            Err(io::Error::other("disk full"))
        });
        assert!(failed.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names(folder.path()), ["a.txt"]);
    }

    #[test]
    fn a_missing_folder_is_named() {
        let error = write_atomically(Path::new("/nowhere/at/all.txt"), |_| Ok(())).unwrap_err();
        assert!(error.to_string().contains("/nowhere/at/all.txt"), "{error}");
    }

    #[test]
    fn sha256_of_known_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("abc");
        fs::write(&path, "abc").unwrap();
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256_of_file(&path).unwrap(), expected);
    }
}
