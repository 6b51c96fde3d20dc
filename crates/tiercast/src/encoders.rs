//! The weights of the dense encoder, and the embeddings made with it earlier.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use tiercast_encoder::dense::DenseEncoder;
use tiercast_encoder::weights::DENSE_SHA256;
use tiercast_predictor::features::FEATURE_VERSION;
use tiercast_records::features::{self, Features};

use crate::progress::say;

/// Where a clone has the weights.
const IN_A_CLONE: &str = "checkpoints/encoders/dense/model.bin";

/// Where embeddings are kept between runs, unless another folder is named.
pub(crate) const CACHE: &str = "runs/cache";

/// Weights and what they make. `None` for the `fast` encoder, whose weights are in the binary.
pub(crate) struct Dense {
    pub(crate) encoder: DenseEncoder,
    pub(crate) weights: Vec<u8>,
}

/// Reads the encoder of this name: the weights at `path`, else those of the clone that the current
/// folder or the program lies in.
pub(crate) fn load(name: &str, path: Option<&Path>) -> anyhow::Result<Option<Dense>> {
    if name != "dense" {
        return Ok(None);
    }
    let path = match path {
        Some(path) => path.to_owned(),
        None => find()?,
    };
    // Opening by path checks the hash and names the file; the bytes go into the checkpoint.
    let encoder = DenseEncoder::open(&path)?;
    let weights = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    Ok(Some(Dense { encoder, weights }))
}

fn find() -> anyhow::Result<PathBuf> {
    let here = std::env::current_dir().context("reading the current folder")?;
    let program = std::env::current_exe().unwrap_or_default();
    let folders = here.ancestors().chain(program.ancestors().skip(1));
    match folders
        .map(|folder| folder.join(IN_A_CLONE))
        .find(|path| path.is_file())
    {
        Some(path) => Ok(path),
        None => bail!(
            "the weights of the dense encoder are missing: no {IN_A_CLONE} in the current folder, in that of the \
             program or above them (SHA-256 {DENSE_SHA256}); restore it from the repository, or name it with \
             --encoder-weights"
        ),
    }
}

/// Embeddings by content, on disk. The name holds encoder and feature version.
pub(crate) struct Cache {
    path: PathBuf,
    n_on_disk: usize,
}

impl Cache {
    /// What is in `folder`; a cache that cannot be read is made anew, since it can be.
    pub(crate) fn open(folder: &Path) -> (Self, BTreeMap<String, Vec<i8>>) {
        let path = folder.join(format!("dense-v{FEATURE_VERSION}-{}.parquet", &DENSE_SHA256[..8]));
        let read = path.is_file().then(|| features::read(&path));
        let rows: BTreeMap<String, Vec<i8>> = match read {
            Some(Ok(file)) => file.rows.into_iter().map(|(key, row)| (key, row.dense)).collect(),
            Some(Err(error)) => {
                say(&format!("the cache of embeddings is made anew: {error}"));
                BTreeMap::new()
            }
            None => BTreeMap::new(),
        };
        let n_on_disk = rows.len();
        (Self { path, n_on_disk }, rows)
    }

    /// Writes what was added. A cache that cannot be written is no reason to stop.
    pub(crate) fn save(&self, rows: &BTreeMap<String, Vec<i8>>) {
        if rows.len() == self.n_on_disk {
            return;
        }
        let rows: Vec<(String, Features)> = rows
            .iter()
            .map(|(key, dense)| {
                let dense = dense.clone();
                (
                    key.clone(),
                    Features {
                        dense,
                        ..Features::default()
                    },
                )
            })
            .collect();
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let written = std::fs::create_dir_all(folder).map_err(anyhow::Error::from);
        let written = written.and_then(|()| Ok(features::write(&self.path, FEATURE_VERSION, &rows)?));
        if let Err(error) = written {
            say(&format!("the embeddings could not be kept for the next time: {error}"));
        }
    }
}
