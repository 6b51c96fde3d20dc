//! The checkpoint: a folder that holds all that a prediction needs, and says what it is.
//!
//! `manifest.json` is written last and names every other file with its SHA-256. Opening checks
//! size and hash before a file is parsed, and every part against the others before a network is
//! built: what does not fit is refused with the mismatch.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;
use tiercast_encoder::dense::DENSE_DIM;
use tiercast_encoder::weights::EncoderError;
use tiercast_routing::catalog::{Catalog, Tier};
use tiercast_routing::distribution::GRID;

use tiercast_records::reference::Reference;

use crate::added::AddedTier;
use crate::calibration::TierCalibration;
use crate::cascade::CascadeFit;
use crate::classifier::Classifier;
use crate::device::DeviceError;
use crate::encoder;
use crate::encoding::Encoding;
use crate::features::FEATURE_VERSION;
use crate::neighbours::Neighbours;
use crate::network::NetworkConfig;
use crate::pool::Pool;
use crate::surface;
use crate::views::Tables;
use crate::weights;

const FORMAT: &str = "tiercast-checkpoint";
const FORMAT_VERSION: u32 = 3;
const MANIFEST: &str = "manifest.json";
const WEIGHTS: &str = "network.bpk";
const NETWORK: &str = "network.json";
const FEATURES: &str = "features.json";
const CATALOG: &str = "catalog.json";
const CALIBRATION: &str = "calibration.json";
const VIEWS: &str = "views.bpk";
const NEIGHBOURS: &str = "neighbours.bin";
const POOL: &str = "pool.json";
const ENCODER: &str = "encoder.bin";
const ADDED: &str = "added.json";
const CASCADE: &str = "cascade.json";
const REFERENCE: &str = "reference.json";
const CLASSIFIER: &str = "classifier.json";
const CLASSIFIER_WEIGHTS: &str = "classifier.bin";
const CURVES: &str = "curves.json";
const CARD: &str = "README.md";

/// No file of a checkpoint is larger; nothing is read past it.
const LARGEST_FILE: u64 = 512 << 20;

/// Floors on expected quality behind the virtual model names, fitted on validation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceLevels {
    /// `auto`: keeps 99 % of the best single tier's quality on validation.
    pub auto: f64,
    /// `auto:cheap`: keeps 95 %.
    pub cheap: f64,
}

/// What a certificate bounds, for a request that goes to another tier than the dearest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// The answer is below the target.
    Missed,
    /// The answer is below the target, and the dearest tier's would have reached it.
    Avoidable,
}

impl Loss {
    /// As written on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Missed => "missed",
            Self::Avoidable => "avoidable",
        }
    }
}

/// "Among requests sent to a cheaper tier than the dearest, the share that is lost is at most `alpha`, with
/// confidence 1 - `delta`": of the cheapest tier above a floor on expected quality.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// What counts as lost.
    pub loss: Loss,
    /// Quality that an answer has to reach.
    pub target: f64,
    /// Largest share lost.
    pub alpha: f64,
    /// Probability with which the statement may be wrong.
    pub delta: f64,
    /// The boldest floor that is certified and the safest one that was tested, between which the statement
    /// holds; `None` where nothing could be certified.
    pub floors: Option<[f64; 2]>,
    /// Share of the rows that go to a cheaper tier at the boldest floor.
    pub share: f64,
    /// Rows that go there.
    pub n_cheaper: usize,
    /// Those of them that were lost.
    pub n_losses: usize,
    /// Share lost when every row goes to the cheapest tier: how hard the data is.
    pub loss_of_cheapest: f64,
    /// Rows the certificate rests on; nothing was fitted on them.
    pub n_rows: usize,
}

impl Certificate {
    /// Whether a floor on expected quality is covered.
    pub fn covers(&self, floor: f64) -> bool {
        self.floors
            .is_some_and(|[boldest, safest]| (boldest..=safest).contains(&floor))
    }

    /// The statement, or that there is none, in words.
    pub fn sentence(&self) -> String {
        let percent = |share: f64| format!("{:.1} %", 100.0 * share);
        let lost = match self.loss {
            Loss::Missed => format!("answers below {}", self.target),
            Loss::Avoidable => format!("answers below {} where the dearest tier reaches it", self.target),
        };
        match self.floors {
            Some([boldest, safest]) => format!(
                "certified with confidence {}: among requests sent to a cheaper tier than the dearest, at most {} are {lost}; \
                 holds for floors from {boldest} to {safest}, at the lower one {} of the requests go to a cheaper tier ({} of {} lost)",
                percent(1.0 - self.delta),
                percent(self.alpha),
                percent(self.share),
                self.n_losses,
                self.n_cheaper
            ),
            None => format!(
                "not certified: at most {} {lost} among requests sent to a cheaper tier cannot be had with confidence {} on these \
                 {} rows; the cheapest tier alone loses {}, so at least {} of the requests have to go to the dearest tier. \
                 Allow more, or bring more validation rows",
                percent(self.alpha),
                percent(1.0 - self.delta),
                self.n_rows,
                percent(self.loss_of_cheapest),
                percent(((self.loss_of_cheapest - self.alpha) / (1.0 - self.alpha)).max(0.0))
            ),
        }
    }
}

/// `calibration.json`: what was fitted on the validation split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// The quality grid all distributions are on.
    pub grid: Vec<f64>,
    /// One correction per tier, in catalog order.
    pub tiers: Vec<TierCalibration>,
    /// Floors behind the virtual names.
    pub service_levels: ServiceLevels,
    /// What is guaranteed, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Certificate>,
}

/// A file the checkpoint was trained on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataFile {
    /// Its name, without folder.
    pub file: String,
    /// SHA-256 of its bytes, hex.
    pub sha256: String,
}

/// How the checkpoint came about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// Version of tiercast that trained it.
    pub code_version: String,
    /// Seed of weights, order and dropout.
    pub seed: u64,
    /// Backend it was trained on.
    pub device: String,
    /// Text encoder behind the features.
    pub encoder: String,
    /// What it was trained on.
    pub data: Vec<DataFile>,
    /// Rows used: `train_prompts`, `validation_prompts`, ...
    pub counts: BTreeMap<String, usize>,
    /// Names of the tasks the auxiliary head tells apart.
    pub tasks: Vec<String>,
    /// Figures on the validation split.
    pub validation: BTreeMap<String, f64>,
    /// What a user has to know, such as masked token counts.
    pub notes: Vec<String>,
}

/// `manifest.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Always `tiercast-checkpoint`.
    pub format: String,
    /// Version of this layout.
    pub format_version: u32,
    /// Changes with the content of any file.
    pub id: String,
    /// Version of the features it needs.
    pub feature_version: u32,
    /// Tiers in the order of the outputs.
    pub tiers: Vec<String>,
    /// How it came about.
    pub provenance: Provenance,
    /// SHA-256 of every other file, by name.
    pub files: BTreeMap<String, String>,
}

/// Everything in a checkpoint, as values.
#[derive(Debug, Clone, PartialEq)]
pub struct Contents {
    /// Sizes of the network.
    pub network: NetworkConfig,
    /// Burnpack bytes of its weights.
    pub weights: Vec<u8>,
    /// Features to inputs.
    pub encoding: Encoding,
    /// Weights of the transformer behind the features, where there is one.
    pub encoder: Option<Vec<u8>>,
    /// The views that are tables and linear models.
    pub tables: Tables,
    /// Training prompts, for their neighbours.
    pub neighbours: Neighbours,
    /// How the views are pooled.
    pub pool: Pool,
    /// What the training prompts were like, for telling drift by.
    pub reference: Option<Reference>,
    /// What the policy `cascade` rests on, where it was asked for.
    pub cascade: Option<CascadeFit>,
    /// What the policy `classifier` rests on, where it could be fitted.
    pub classifier: Option<Classifier>,
    /// The tiers that were trained on.
    pub catalog: Catalog,
    /// Tiers that were added since.
    pub added: Vec<AddedTier>,
    /// Corrections and service levels.
    pub calibration: Calibration,
    /// How it came about.
    pub provenance: Provenance,
}

impl Contents {
    /// The trained tiers, then the added ones.
    pub fn tiers(&self) -> impl Iterator<Item = &Tier> {
        self.catalog
            .tiers()
            .iter()
            .chain(self.added.iter().map(|added| &added.tier))
    }

    /// The same as a catalog; two of one name are refused.
    pub fn whole_catalog(&self) -> Result<Catalog, CheckpointError> {
        Catalog::new(self.tiers().cloned().collect()).map_err(|error| invalid(ADDED, error))
    }
}

/// Why a checkpoint cannot be opened or saved.
#[derive(Debug, Error)]
pub enum CheckpointError {
    /// Reading or writing failed.
    #[error("{path} could not be read or written")]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no manifest.
    #[error("{0} is no checkpoint: it has no manifest.json (train one with `tiercast train`)")]
    NotACheckpoint(PathBuf),
    /// The folder is in use for something else.
    #[error("{0} exists and is no checkpoint: name another folder, or remove it")]
    InTheWay(PathBuf),
    /// Another layout.
    #[error("checkpoint format version {found}, this build reads {FORMAT_VERSION}: train again with this version")]
    FormatVersion {
        /// In the file.
        found: u32,
    },
    /// Other features.
    #[error("trained on features of version {found}, this build makes version {FEATURE_VERSION}: train again")]
    FeatureVersion {
        /// In the file.
        found: u32,
    },
    /// The file is not what the manifest says.
    #[error("{file} is not the file the manifest names ({what}): restore it or train again")]
    Altered {
        /// File in the folder.
        file: String,
        /// Size or hash.
        what: String,
    },
    /// The file does not hold what it should.
    #[error("{file}: {what}")]
    Invalid {
        /// File in the folder.
        file: String,
        /// What is wrong.
        what: String,
    },
    /// The device cannot be had.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The transformer's weights are not the right ones.
    #[error(transparent)]
    Encoder(#[from] EncoderError),
}

fn invalid(file: &str, what: impl std::fmt::Display) -> CheckpointError {
    CheckpointError::Invalid {
        file: file.to_owned(),
        what: what.to_string(),
    }
}

/// Whether a checkpoint can be saved at `folder`, before the work of making one is done.
pub fn prepare(folder: &Path) -> Result<(), CheckpointError> {
    if folder.exists() && !folder.join(MANIFEST).is_file() && !is_empty(folder) {
        return Err(CheckpointError::InTheWay(folder.to_owned()));
    }
    let partial = beside(folder, "partial");
    let tried = fs::create_dir_all(&partial).and_then(|()| fs::remove_dir_all(&partial));
    tried.map_err(|source| CheckpointError::Io {
        path: folder.to_owned(),
        source,
    })
}

/// Saves a checkpoint at `folder`, replacing a checkpoint there only once the new one is whole on
/// disk: on any failure the old one stays. `curves` is saved beside it as `curves.json`, `card`
/// as the model card.
pub fn save(folder: &Path, contents: &Contents, curves: &str, card: &str) -> Result<Manifest, CheckpointError> {
    prepare(folder)?;
    let files = files(contents, curves, card);
    let manifest = manifest(contents, &files);
    let partial = beside(folder, "partial");
    let written = write_all(&partial, &files, &json(&manifest)).and_then(|()| swap(folder, &partial));
    if let Err(source) = written {
        // The cause is what the user needs; a leftover folder is harmless and named `.partial`.
        let _ = fs::remove_dir_all(&partial);
        return Err(CheckpointError::Io {
            path: folder.to_owned(),
            source,
        });
    }
    Ok(manifest)
}

/// The manifest that [`save`] would write: for a predictor that is used and not kept. The id is that
/// of the saved checkpoint, of which the card is no part.
pub fn unsaved(contents: &Contents, curves: &str) -> Manifest {
    manifest(contents, &files(contents, curves, ""))
}

/// Every file but the manifest.
fn files(contents: &Contents, curves: &str, card: &str) -> Vec<(&'static str, Vec<u8>)> {
    let mut files = vec![
        (WEIGHTS, contents.weights.clone()),
        (NETWORK, json(&contents.network)),
        (FEATURES, json(&contents.encoding)),
        (VIEWS, weights::tables_to_bytes(&contents.tables)),
        (NEIGHBOURS, contents.neighbours.to_bytes()),
        (POOL, json(&contents.pool)),
        (CATALOG, json(&contents.catalog)),
        (CALIBRATION, json(&contents.calibration)),
        (CURVES, curves.as_bytes().to_vec()),
        (CARD, card.as_bytes().to_vec()),
    ];
    if let Some(encoder) = &contents.encoder {
        files.push((ENCODER, encoder.clone()));
    }
    if let Some(cascade) = &contents.cascade {
        files.push((CASCADE, json(cascade)));
    }
    if let Some(reference) = &contents.reference {
        files.push((REFERENCE, json(reference)));
    }
    if !contents.added.is_empty() {
        files.push((ADDED, json(&contents.added)));
    }
    if let Some(classifier) = &contents.classifier {
        files.push((CLASSIFIER, json(classifier)));
        files.push((CLASSIFIER_WEIGHTS, classifier.weights_to_bytes()));
    }
    files
}

fn manifest(contents: &Contents, files: &[(&str, Vec<u8>)]) -> Manifest {
    let files: BTreeMap<String, String> = files
        .iter()
        .map(|(name, bytes)| ((*name).to_owned(), sha256(bytes)))
        .collect();
    // The card quotes the id, so it is not part of it.
    let lines: String = files
        .iter()
        .filter(|(name, _)| *name != CARD)
        .map(|(name, hash)| format!("{name} {hash}\n"))
        .collect();
    Manifest {
        format: FORMAT.to_owned(),
        format_version: FORMAT_VERSION,
        id: sha256(lines.as_bytes())[..12].to_owned(),
        feature_version: contents.encoding.feature_version,
        tiers: contents.tiers().map(|tier| tier.name.clone()).collect(),
        provenance: contents.provenance.clone(),
        files,
    }
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none())
}

/// `runs/a` -> `runs/.a.partial`
fn beside(folder: &Path, suffix: &str) -> PathBuf {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    folder.with_file_name(format!(".{name}.{suffix}"))
}

fn write_all(folder: &Path, files: &[(&str, Vec<u8>)], manifest: &[u8]) -> io::Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    for (name, bytes) in files {
        write(&folder.join(name), bytes)?;
    }
    write(&folder.join(MANIFEST), manifest)
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn swap(folder: &Path, partial: &Path) -> io::Result<()> {
    let old = beside(folder, "old");
    if old.exists() {
        fs::remove_dir_all(&old)?;
    }
    if folder.exists() {
        fs::rename(folder, &old)?;
    }
    if let Err(error) = fs::rename(partial, folder) {
        if old.exists() {
            fs::rename(&old, folder)?;
        }
        return Err(error);
    }
    if old.exists() { fs::remove_dir_all(&old) } else { Ok(()) }
}

/// Opens a checkpoint folder.
pub fn open(folder: &Path) -> Result<(Manifest, Contents), CheckpointError> {
    let manifest = read_manifest(folder)?;
    // Not needed to predict, but the checkpoint vouches for them too.
    for name in [CURVES, CARD] {
        read(folder, &manifest, name)?;
    }
    let (network, encoding) = (
        parse::<NetworkConfig>(folder, &manifest, NETWORK)?,
        parse::<Encoding>(folder, &manifest, FEATURES)?,
    );
    network.check().map_err(|what| invalid(NETWORK, what))?;
    check_encoding(&encoding, &network).map_err(|what| invalid(FEATURES, what))?;
    let catalog: Catalog = parse(folder, &manifest, CATALOG)?;
    let calibration: Calibration = parse(folder, &manifest, CALIBRATION)?;
    let added: Vec<AddedTier> = match manifest.files.contains_key(ADDED) {
        true => parse(folder, &manifest, ADDED)?,
        false => Vec::new(),
    };
    check_tiers(&manifest, &network, (&catalog, &added), &calibration)?;
    let tables = weights::tables_from_bytes(read(folder, &manifest, VIEWS)?, &network, &encoding)
        .map_err(|what| invalid(VIEWS, what))?;
    let neighbours = read_neighbours(folder, &manifest, &network, &encoding)?;
    let pool: Pool = parse(folder, &manifest, POOL)?;
    pool.check().map_err(|what| invalid(POOL, what))?;
    let encoder = match encoding.dense_dim {
        0 => None,
        _ => Some(read(folder, &manifest, ENCODER)?),
    };
    let cascade = match manifest.files.contains_key(CASCADE) {
        true => {
            let cascade: CascadeFit = parse(folder, &manifest, CASCADE)?;
            let names: Vec<&str> = catalog.tiers().iter().map(|tier| tier.name.as_str()).collect();
            cascade.check(&names).map_err(|what| invalid(CASCADE, what))?;
            Some(cascade)
        }
        false => None,
    };
    let reference: Option<Reference> = match manifest.files.contains_key(REFERENCE) {
        true => Some(parse(folder, &manifest, REFERENCE)?),
        false => None,
    };
    let classifier = read_classifier(folder, &manifest, &encoding, network.n_tiers)?;
    let weights = read(folder, &manifest, WEIGHTS)?;
    let least = network.n_params() * size_of::<f32>();
    if weights.len() < least {
        return Err(invalid(WEIGHTS, "smaller than the network it is for"));
    }
    if weights.len() > least + (1 << 20) {
        return Err(invalid(WEIGHTS, "larger than the network it is for"));
    }
    let provenance = manifest.provenance.clone();
    Ok((
        manifest,
        Contents {
            network,
            weights,
            encoding,
            encoder,
            tables,
            neighbours,
            pool,
            reference,
            cascade,
            classifier,
            catalog,
            added,
            calibration,
            provenance,
        },
    ))
}

fn read_classifier(
    folder: &Path,
    manifest: &Manifest,
    encoding: &Encoding,
    n_tiers: usize,
) -> Result<Option<Classifier>, CheckpointError> {
    if !manifest.files.contains_key(CLASSIFIER) {
        return Ok(None);
    }
    let bare: Classifier = parse(folder, manifest, CLASSIFIER)?;
    let bytes = read(folder, manifest, CLASSIFIER_WEIGHTS)?;
    let n_columns = encoding.d_dense() + encoding.ngram_hashes.len();
    let whole = bare.with_weights(&bytes, n_tiers, n_columns);
    whole.map(Some).map_err(|what| invalid(CLASSIFIER, what))
}

/// The size of the file says how many prompts it holds.
fn read_neighbours(
    folder: &Path,
    manifest: &Manifest,
    network: &NetworkConfig,
    encoding: &Encoding,
) -> Result<Neighbours, CheckpointError> {
    let bytes = read(folder, manifest, NEIGHBOURS)?;
    let n = bytes.len() / (encoding.d_key() + size_of::<f32>() * network.n_tiers);
    Neighbours::from_bytes(&bytes, n, encoding.d_key(), network.n_tiers).map_err(|what| invalid(NEIGHBOURS, what))
}

/// The manifest alone.
pub fn read_manifest(folder: &Path) -> Result<Manifest, CheckpointError> {
    let path = folder.join(MANIFEST);
    if !path.is_file() {
        return Err(CheckpointError::NotACheckpoint(folder.to_owned()));
    }
    let bytes = read_limited(&path)?;
    // The version is read first: another layout may differ in everything else.
    let head: Head = serde_json::from_slice(&bytes).map_err(|error| invalid(MANIFEST, error))?;
    if head.format != FORMAT {
        return Err(invalid(MANIFEST, format!("format `{}` is not `{FORMAT}`", head.format)));
    }
    if head.format_version != FORMAT_VERSION {
        return Err(CheckpointError::FormatVersion {
            found: head.format_version,
        });
    }
    if head.feature_version != FEATURE_VERSION {
        return Err(CheckpointError::FeatureVersion {
            found: head.feature_version,
        });
    }
    serde_json::from_slice(&bytes).map_err(|error| invalid(MANIFEST, error))
}

#[derive(Deserialize)]
struct Head {
    format: String,
    format_version: u32,
    #[serde(default)]
    feature_version: u32,
}

fn check_encoding(encoding: &Encoding, network: &NetworkConfig) -> Result<(), String> {
    let same = |what: &str, found: usize, wanted: usize| match found == wanted {
        true => Ok(()),
        false => Err(format!("{what}: {found}, expected {wanted}")),
    };
    if encoding.feature_version != FEATURE_VERSION {
        return Err(format!(
            "feature version {}, expected {FEATURE_VERSION}",
            encoding.feature_version
        ));
    }
    same("surface signals", encoding.surface_mean.len(), surface::NAMES.len())?;
    same("surface scales", encoding.surface_scale.len(), surface::NAMES.len())?;
    if ![0, encoder::EMBEDDING_DIM].contains(&encoding.embedding_dim) {
        return Err(format!(
            "embedding length {}, expected {}",
            encoding.embedding_dim,
            encoder::EMBEDDING_DIM
        ));
    }
    if ![0, DENSE_DIM].contains(&encoding.dense_dim) {
        return Err(format!(
            "transformer embedding length {}, expected {DENSE_DIM}",
            encoding.dense_dim
        ));
    }
    same("network inputs", network.d_dense, encoding.d_dense())?;
    same(
        "n-grams of the network",
        network.n_ngrams,
        encoding.ngram_hashes.len().max(1),
    )?;
    same("n-gram weights", encoding.ngram_idf.len(), encoding.ngram_hashes.len())?;
    if !encoding.ngram_hashes.is_sorted_by(|a, b| a < b) {
        return Err("n-gram hashes are not in ascending order".to_owned());
    }
    let mut values = encoding
        .surface_mean
        .iter()
        .chain(&encoding.surface_scale)
        .chain(&encoding.ngram_idf);
    match values.all(|value| value.is_finite()) {
        true => Ok(()),
        false => Err("a value is not finite".to_owned()),
    }
}

fn check_tiers(
    manifest: &Manifest,
    network: &NetworkConfig,
    (catalog, added): (&Catalog, &[AddedTier]),
    calibration: &Calibration,
) -> Result<(), CheckpointError> {
    let names: Vec<&str> = catalog.tiers().iter().map(|tier| tier.name.as_str()).collect();
    let all: Vec<&str> = names
        .iter()
        .copied()
        .chain(added.iter().map(|added| added.tier.name.as_str()))
        .collect();
    if all != manifest.tiers {
        return Err(invalid(
            CATALOG,
            format!("tiers {all:?} are not those of the manifest {:?}", manifest.tiers),
        ));
    }
    for added in added {
        added.check(names.len()).map_err(|what| invalid(ADDED, what))?;
    }
    if network.n_tiers != names.len() {
        return Err(invalid(
            NETWORK,
            format!("{} tiers, the catalog has {}", network.n_tiers, names.len()),
        ));
    }
    if calibration.tiers.len() != names.len() {
        return Err(invalid(
            CALIBRATION,
            format!("{} tiers, the catalog has {}", calibration.tiers.len(), names.len()),
        ));
    }
    for (tier, name) in calibration.tiers.iter().zip(names) {
        tier.check()
            .map_err(|what| invalid(CALIBRATION, format!("tier `{name}`: {what}")))?;
    }
    if calibration.grid != GRID {
        return Err(invalid(CALIBRATION, "the quality grid is not 0, 0.05, ..., 1"));
    }
    let levels = calibration.service_levels;
    match [levels.auto, levels.cheap]
        .iter()
        .all(|floor| (0.0..=1.0).contains(floor))
    {
        true => Ok(()),
        false => Err(invalid(CALIBRATION, "a service level is outside 0..=1")),
    }
}

fn parse<T: DeserializeOwned>(folder: &Path, manifest: &Manifest, name: &str) -> Result<T, CheckpointError> {
    serde_json::from_slice(&read(folder, manifest, name)?).map_err(|error| invalid(name, error))
}

/// Reads a file that the manifest names, and checks that it is that file.
fn read(folder: &Path, manifest: &Manifest, name: &str) -> Result<Vec<u8>, CheckpointError> {
    let wanted = manifest
        .files
        .get(name)
        .ok_or_else(|| invalid(MANIFEST, format!("names no {name}")))?;
    let bytes = read_limited(&folder.join(name))?;
    match sha256(&bytes) == *wanted {
        true => Ok(bytes),
        false => Err(CheckpointError::Altered {
            file: name.to_owned(),
            what: "its SHA-256 differs".to_owned(),
        }),
    }
}

fn read_limited(path: &Path) -> Result<Vec<u8>, CheckpointError> {
    let io = |source| CheckpointError::Io {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    if length > LARGEST_FILE {
        return Err(invalid(
            &path.display().to_string(),
            format!("{length} bytes are more than {LARGEST_FILE}"),
        ));
    }
    let mut bytes = Vec::new();
    file.take(LARGEST_FILE).read_to_end(&mut bytes).map_err(io)?;
    Ok(bytes)
}

fn json(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(value).expect("our own structs have string keys and finite numbers");
    bytes.push(b'\n');
    bytes
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
