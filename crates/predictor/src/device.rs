//! Which burn backend fits the network.

use std::str::FromStr;

use burn::tensor::Device;
use thiserror::Error;

/// A backend by its name on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceKind {
    /// burn-flex: CPU, the default.
    #[default]
    Flex,
    /// burn-ndarray: CPU, deprecated by its authors; cargo feature `ndarray`.
    Ndarray,
    /// burn-wgpu: GPU, or a software adapter; cargo feature `wgpu`.
    Wgpu,
}

/// Why a device cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DeviceError {
    /// The name is not one of ours.
    #[error("unknown device `{0}`: it is one of flex, ndarray, wgpu")]
    Unknown(String),
    /// This build does not have it.
    #[error("this build has no `{0}` backend: build with `cargo build --release --features {0}`")]
    NotBuilt(&'static str),
    /// There is nothing to run on.
    #[error(
        "no wgpu adapter: install a GPU driver, or Mesa's software Vulkan (mesa-vulkan-drivers), or use --device flex"
    )]
    NoAdapter,
}

impl FromStr for DeviceKind {
    type Err = DeviceError;
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "flex" => Ok(Self::Flex),
            "ndarray" => Ok(Self::Ndarray),
            "wgpu" => Ok(Self::Wgpu),
            other => Err(DeviceError::Unknown(other.to_owned())),
        }
    }
}

impl DeviceKind {
    /// The burn device.
    pub fn device(self) -> Result<Device, DeviceError> {
        match self {
            Self::Flex => Ok(Device::flex()),
            #[cfg(feature = "ndarray")]
            #[expect(
                deprecated,
                reason = "deprecated by its authors; kept because users ask for it by name"
            )]
            Self::Ndarray => Ok(Device::ndarray()),
            #[cfg(not(feature = "ndarray"))]
            Self::Ndarray => Err(DeviceError::NotBuilt("ndarray")),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => wgpu(),
            #[cfg(not(feature = "wgpu"))]
            Self::Wgpu => Err(DeviceError::NotBuilt("wgpu")),
        }
    }
}

/// The best adapter, else a software one. Burn panics where there is none, so a small sum is tried.
#[cfg(feature = "wgpu")]
fn wgpu() -> Result<Device, DeviceError> {
    use burn::tensor::{DeviceKind as Adapter, Tensor};

    let works = |device: &Device| {
        let sum = || Tensor::<1>::from_data([1.0, 2.0], device).sum().into_scalar::<f32>();
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(sum)).is_ok_and(|sum| sum == 3.0)
    };
    let candidates = [Adapter::DefaultDevice, Adapter::Cpu].map(Device::wgpu);
    candidates.into_iter().find(works).ok_or(DeviceError::NoAdapter)
}
