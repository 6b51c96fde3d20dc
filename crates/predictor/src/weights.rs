//! Network weights as a burnpack file, to the same bytes for the same weights.
//!
//! burn's own record keeps random parameter ids and trusts names and types of a file until the
//! tensors are made; here a file is compared with the network it is for before anything is built.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Bool, Bytes, DType, Device, Int, Tensor, TensorData};
use burn_pack::{Reader, Writer};

use crate::network::{Ensemble, NetworkConfig};

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
    let reader = Reader::from_bytes(Bytes::from_bytes_vec(bytes)).map_err(|error| error.to_string())?;
    let mut tensors = BTreeMap::new();
    for tensor in reader.into_tensors().map_err(|error| error.to_string())? {
        let shape = tensor.shape.to_vec();
        tensors.insert(tensor.name.clone(), (shape, values(tensor)?));
    }
    let mut loader = Loader {
        path: Vec::new(),
        tensors,
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
    tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
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
