//! Network weights as a burnpack file, to the same bytes for the same weights.
//!
//! burn's own record keeps random parameter ids and trusts names and types of a file until the
//! tensors are made; here a file is compared with the network it is for before anything is built.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Bool, Bytes, DType, Device, Int, Tensor, TensorData};
use burn_pack::{Reader, Writer};

use tiercast_routing::distribution::GRID_POINTS;

use crate::encoding::Encoding;
use crate::network::{Ensemble, NetworkConfig};
use crate::views::{Linear, Pmf, Tables};

/// The weights as bytes.
pub fn to_bytes(network: &Ensemble) -> Result<Vec<u8>, String> {
    let mut collector = Collector::default();
    network.visit(&mut collector);
    let packed = Writer::new(collector.tensors)
        .into_bytes()
        .map_err(|error| error.to_string())?;
    Ok(packed.to_vec())
}

/// The network of `config` with the weights in `bytes`. Names, shapes and types must be exactly
/// those of the network and every value finite; the error says which is not.
pub fn from_bytes(bytes: Vec<u8>, config: &NetworkConfig, device: &Device) -> Result<Ensemble, String> {
    let mut loader = Loader {
        path: Vec::new(),
        tensors: read(bytes)?,
        device: device.clone(),
        error: None,
    };
    // The seed does not matter: every value is replaced.
    let network = config.init(0, device).map(&mut loader);
    match (loader.error, loader.tensors.keys().next()) {
        (Some(error), _) => Err(error),
        (None, Some(name)) => Err(format!("tensor `{name}` does not belong to this network")),
        (None, None) => Ok(network),
    }
}

/// Shape and values of every tensor, by name.
type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

fn read(bytes: Vec<u8>) -> Result<Tensors, String> {
    let reader = Reader::from_bytes(Bytes::from_bytes_vec(bytes)).map_err(|error| error.to_string())?;
    let mut tensors = BTreeMap::new();
    for tensor in reader.into_tensors().map_err(|error| error.to_string())? {
        let shape = tensor.shape.to_vec();
        tensors.insert(tensor.name.clone(), (shape, values(tensor)?));
    }
    Ok(tensors)
}

/// The tables as bytes, in single precision.
pub fn tables_to_bytes(tables: &Tables) -> Vec<u8> {
    let n_tiers = tables.base.len();
    let flat = |pmfs: &[Pmf]| -> Vec<f32> { pmfs.as_flattened().iter().map(|mass| *mass as f32).collect() };
    let mut tensors = vec![packed("base", flat(&tables.base), [n_tiers, GRID_POINTS])];
    if !tables.tasks.is_empty() {
        let values = tables.tasks.iter().flat_map(|tiers| flat(tiers)).collect();
        tensors.push(packed("tasks", values, [tables.tasks.len(), n_tiers, GRID_POINTS]));
    }
    for (name, linear) in [("ngrams", &tables.ngrams), ("surface", &tables.surface)] {
        if let Some(Linear { weights, intercept }) = linear {
            let shape = [weights.len() / n_tiers, n_tiers];
            tensors.push(packed(&format!("{name}.weights"), weights.clone(), shape));
            tensors.push(packed(&format!("{name}.intercept"), intercept.clone(), [n_tiers]));
        }
    }
    let bytes = Writer::new(tensors)
        .into_bytes()
        .expect("tensors of our own making can be packed");
    bytes.to_vec()
}

fn packed<const D: usize>(name: &str, values: Vec<f32>, shape: [usize; D]) -> burn_pack::Tensor {
    let data = TensorData::new(values, shape);
    let (bytes, shape, dtype) = data.into_parts();
    burn_pack::Tensor::new(name.to_owned(), dtype, shape, None, bytes)
}

/// The tables in `bytes`; their shapes must be those that network and encoding need.
pub fn tables_from_bytes(bytes: Vec<u8>, network: &NetworkConfig, encoding: &Encoding) -> Result<Tables, String> {
    let mut tensors = read(bytes)?;
    let n_tiers = network.n_tiers;
    let mut take = |name: &str, wanted: &[usize]| match tensors.remove(name) {
        Some((shape, values)) if shape == wanted && values.len() == wanted.iter().product::<usize>() => {
            Ok(Some(values))
        }
        Some((shape, _)) => Err(format!("tensor `{name}` has shape {shape:?}, not {wanted:?}")),
        None => Ok(None),
    };
    let base = take("base", &[n_tiers, GRID_POINTS])?.ok_or("tensor `base` is missing")?;
    let tasks = take("tasks", &[network.n_tasks, n_tiers, GRID_POINTS])?.unwrap_or_default();
    let mut linear = |name: &str, n_columns: usize| -> Result<Option<Linear>, String> {
        let weights = take(&format!("{name}.weights"), &[n_columns, n_tiers])?;
        let intercept = take(&format!("{name}.intercept"), &[n_tiers])?;
        Ok(weights
            .zip(intercept)
            .map(|(weights, intercept)| Linear { weights, intercept }))
    };
    let (ngrams, surface) = (
        linear("ngrams", network.n_ngrams)?,
        linear("surface", encoding.surface_mean.len())?,
    );
    if let Some(name) = tensors.keys().next() {
        return Err(format!("tensor `{name}` does not belong here"));
    }
    Ok(Tables {
        base: distributions(&base)?,
        tasks: distributions(&tasks)?.chunks(n_tiers).map(<[Pmf]>::to_vec).collect(),
        ngrams,
        surface,
    })
}

fn distributions(values: &[f32]) -> Result<Vec<Pmf>, String> {
    let of = |chunk: &[f32]| -> Result<Pmf, String> {
        let total: f32 = chunk.iter().sum();
        if chunk.iter().any(|mass| *mass < 0.0) || (total - 1.0).abs() > 1e-3 {
            return Err("a distribution does not sum to 1".to_owned());
        }
        Ok(std::array::from_fn(|point| f64::from(chunk[point])))
    };
    values.chunks_exact(GRID_POINTS).map(of).collect()
}

fn values(tensor: burn_pack::Tensor) -> Result<Vec<f32>, String> {
    let name = tensor.name.clone();
    if tensor.dtype != DType::F32 {
        return Err(format!("tensor `{name}` is {:?}, not F32", tensor.dtype));
    }
    let bytes = tensor.into_bytes().map_err(|error| error.to_string())?;
    let values: Vec<f32> = bytes
        .chunks_exact(4)
        .map(|chunk| f32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]))
        .collect();
    match values.iter().all(|value| value.is_finite()) {
        true => Ok(values),
        false => Err(format!("tensor `{name}` holds a value that is not finite")),
    }
}

#[derive(Default)]
struct Collector {
    path: Vec<String>,
    tensors: Vec<burn_pack::Tensor>,
}

impl ModuleVisitor for Collector {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let (bytes, shape, dtype) = param.val().into_data().into_parts();
        self.tensors
            .push(burn_pack::Tensor::new(self.path.join("."), dtype, shape, None, bytes));
    }
}

struct Loader {
    path: Vec<String>,
    tensors: Tensors,
    device: Device,
    error: Option<String>,
}

impl Loader {
    fn take<const D: usize>(&mut self, wanted: [usize; D]) -> Result<Tensor<D>, String> {
        let name = self.path.join(".");
        let (shape, values) = self
            .tensors
            .remove(&name)
            .ok_or_else(|| format!("tensor `{name}` is missing"))?;
        if shape != wanted || values.len() != wanted.iter().product::<usize>() {
            return Err(format!(
                "tensor `{name}` has shape {shape:?}, the network needs {wanted:?}"
            ));
        }
        Ok(Tensor::from_data(TensorData::new(values, wanted), &self.device))
    }
}

impl ModuleMapper for Loader {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match self.take(param.val().dims()) {
            Ok(tensor) => Param::initialized(param.id, tensor),
            Err(error) => {
                self.error.get_or_insert(error);
                param
            }
        }
    }

    fn map_int<const D: usize>(&mut self, param: Param<Tensor<D, Int>>) -> Param<Tensor<D, Int>> {
        param
    }

    fn map_bool<const D: usize>(&mut self, param: Param<Tensor<D, Bool>>) -> Param<Tensor<D, Bool>> {
        param
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> NetworkConfig {
        NetworkConfig::new(3, 4, 2, 2).with_n_members(2).with_d_hidden(8)
    }

    #[test]
    fn round_trip_gives_the_same_bytes() {
        let device = Device::flex();
        let bytes = to_bytes(&config().init(3, &device)).unwrap();
        let again = to_bytes(&from_bytes(bytes.clone(), &config(), &device).unwrap()).unwrap();
        assert_eq!(bytes, again);
        assert_eq!(
            bytes,
            to_bytes(&config().init(3, &device)).unwrap(),
            "one seed, one file"
        );
        assert_ne!(bytes, to_bytes(&config().init(4, &device)).unwrap());
    }

    #[test]
    fn a_file_for_another_network_is_refused() {
        let device = Device::flex();
        let bytes = to_bytes(&config().init(3, &device)).unwrap();
        let refuse = |config: NetworkConfig| from_bytes(bytes.clone(), &config, &device).unwrap_err();
        assert!(refuse(config().with_d_hidden(9)).contains("shape"));
        assert!(refuse(config().with_n_members(1)).contains("does not belong"));
        assert!(refuse(config().with_n_members(3)).contains("missing"));
    }

    #[test]
    fn mutated_files_never_panic() {
        let device = Device::flex();
        let bytes = to_bytes(&config().init(3, &device)).unwrap();
        for step in 0..400_usize {
            let mut mutated = bytes.clone();
            let position = step * 7919 % mutated.len().min(4096);
            mutated[position] ^= 1 << (step % 8);
            let _ = from_bytes(mutated, &config(), &device);
            let _ = from_bytes(bytes[..step * bytes.len() / 400].to_vec(), &config(), &device);
        }
    }
}
