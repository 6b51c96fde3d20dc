//! What a folder holds, written last: a folder without its manifest is unfinished. Readers of
//! listed files check the SHA-256 before they trust a row.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::disk::{sha256_of_file, write_atomically};
use crate::error::RecordsError;

/// Its name in every folder.
pub const FILE_NAME: &str = "manifest.json";

/// Kinds of manifest made by this crate begin so; other software's `manifest.json` is left alone.
pub const KIND_PREFIX: &str = "tiercast-";

/// Kind of a folder of outcomes and features.
pub const DATASET: &str = "tiercast-dataset";

/// Version of the layout of the manifest and of what it lists.
pub const FORMAT_VERSION: u32 = 1;

/// What a folder holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// What the folder is, such as [`DATASET`]; begins with [`KIND_PREFIX`].
    pub kind: String,
    /// Layout it was written in.
    pub format_version: u32,
    /// Its files, by name.
    pub files: Vec<FileEntry>,
    /// Where things come from, in words: origin, commit, licence, seed.
    #[serde(default)]
    pub notes: BTreeMap<String, String>,
}

/// One file of a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Name within the folder.
    pub name: String,
    /// SHA-256 of its bytes, in hex.
    pub sha256: String,
    /// Data rows.
    pub rows: u64,
    /// Size in bytes.
    pub bytes: u64,
}

/// Writes the manifest of finished files, given as (name, rows).
pub fn write(
    folder: &Path,
    kind: &str,
    files: &[(&str, u64)],
    notes: BTreeMap<String, String>,
) -> Result<Manifest, RecordsError> {
    let mut files = files
        .iter()
        .map(|(name, rows)| entry(folder, name, *rows))
        .collect::<Result<Vec<_>, _>>()?;
    files.sort_by(|a, b| a.name.cmp(&b.name));
    let manifest = Manifest {
        kind: kind.to_owned(),
        format_version: FORMAT_VERSION,
        files,
        notes,
    };
    let json = serde_json::to_string_pretty(&manifest).expect("a manifest is plain strings and numbers");
    write_atomically(&folder.join(FILE_NAME), |file| writeln!(file, "{json}"))?;
    Ok(manifest)
}

/// The manifest of `folder`.
pub fn read(folder: &Path) -> Result<Manifest, RecordsError> {
    let path = folder.join(FILE_NAME);
    let json = fs::read_to_string(&path).map_err(RecordsError::io(&path, "read"))?;
    parse(&path, &json)
}

/// The manifest of `folder`, after all it lists was found and compared.
pub fn verify(folder: &Path) -> Result<Manifest, RecordsError> {
    let manifest = read(folder)?;
    for file in &manifest.files {
        compare(folder, file)?;
    }
    Ok(manifest)
}

/// Compares `path` with the manifest beside it, if there is one of ours that lists it.
pub fn check_file(path: &Path) -> Result<(), RecordsError> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let manifest = ours_in(folder)?;
    let listed = manifest
        .iter()
        .flat_map(|manifest| &manifest.files)
        .find(|file| file.name == name);
    listed.map_or(Ok(()), |file| compare(folder, file))
}

/// The manifest in `folder`, unless there is none or it belongs to other software.
fn ours_in(folder: &Path) -> Result<Option<Manifest>, RecordsError> {
    let path = folder.join(FILE_NAME);
    let Ok(json) = fs::read_to_string(&path) else {
        return Ok(None);
    };
    let ours = serde_json::from_str::<Kind>(&json).is_ok_and(|any| any.kind.starts_with(KIND_PREFIX));
    ours.then(|| parse(&path, &json)).transpose()
}

/// The one field by which manifests are told apart.
#[derive(Deserialize)]
struct Kind {
    kind: String,
}

fn parse(path: &Path, json: &str) -> Result<Manifest, RecordsError> {
    let bad = |reason: String| RecordsError::BadManifest {
        path: path.to_path_buf(),
        reason,
    };
    let manifest: Manifest = serde_json::from_str(json).map_err(|error| bad(error.to_string()))?;
    if manifest.format_version != FORMAT_VERSION {
        let found = manifest.format_version;
        return Err(bad(format!(
            "it has format {found} and this build reads format {FORMAT_VERSION}"
        )));
    }
    Ok(manifest)
}

fn entry(folder: &Path, name: &str, rows: u64) -> Result<FileEntry, RecordsError> {
    let path = folder.join(name);
    Ok(FileEntry {
        name: name.to_owned(),
        sha256: sha256_of_file(&path)?,
        rows,
        bytes: size(&path)?,
    })
}

fn size(path: &Path) -> Result<u64, RecordsError> {
    Ok(fs::metadata(path).map_err(RecordsError::io(path, "read"))?.len())
}

/// Size first: it is free and names the commonest mishap, a file cut short.
fn compare(folder: &Path, listed: &FileEntry) -> Result<(), RecordsError> {
    let path = folder.join(&listed.name);
    let bytes = size(&path)?;
    if bytes != listed.bytes {
        return Err(changed(
            folder,
            path,
            format!("{bytes} bytes instead of {}", listed.bytes),
        ));
    }
    let sha256 = sha256_of_file(&path)?;
    if sha256 != listed.sha256 {
        return Err(changed(
            folder,
            path,
            format!("SHA-256 {sha256} instead of {}", listed.sha256),
        ));
    }
    Ok(())
}

fn changed(folder: &Path, file: PathBuf, reason: String) -> RecordsError {
    RecordsError::ChangedFile {
        file,
        manifest: folder.join(FILE_NAME),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_with(text: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.parquet"), text).unwrap();
        let notes = BTreeMap::from([("origin".to_owned(), "here".to_owned())]);
        write(folder.path(), DATASET, &[("a.parquet", 3)], notes).unwrap();
        folder
    }

    #[test]
    fn what_was_written_is_read_and_verified() {
        let folder = folder_with("abc");
        let manifest = verify(folder.path()).unwrap();
        assert_eq!(manifest, read(folder.path()).unwrap());
        assert_eq!((manifest.files[0].rows, manifest.files[0].bytes), (3, 3));
    }

    #[test]
    fn a_changed_file_is_named_with_what_to_do() {
        let check = |text: &str, expected: &str| {
            let folder = folder_with("abc");
            fs::write(folder.path().join("a.parquet"), text).unwrap();
            let error = check_file(&folder.path().join("a.parquet")).unwrap_err().to_string();
            assert!(
                error.contains("a.parquet") && error.contains(expected) && error.contains("again"),
                "{error}"
            );
            assert!(verify(folder.path()).is_err());
        };
        check("abd", "SHA-256");
        check("ab", "2 bytes instead of 3");
    }

    #[test]
    fn files_that_no_manifest_of_ours_lists_pass() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.parquet");
        fs::write(&path, "x").unwrap();
        let check = |json: &str| {
            fs::write(folder.path().join(FILE_NAME), json).unwrap();
            check_file(&path).unwrap();
        };
        check_file(&path).unwrap();
        check("not json");
        check(r#"{"name": "a web app"}"#);
        check(r#"{"kind": "tiercast-dataset", "format_version": 1, "files": []}"#);
    }

    #[test]
    fn a_manifest_of_a_later_format_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(
            folder.path().join(FILE_NAME),
            r#"{"kind": "tiercast-dataset", "format_version": 9, "files": []}"#,
        )
        .unwrap();
        let error = read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("format 9"), "{error}");
    }
}
