//! The other backends train and predict as flex does.

use tiercast_predictor::device::DeviceKind;
use tiercast_predictor::encoding::Encoded;
use tiercast_predictor::member::Member;
use tiercast_predictor::model::{NetworkSays, ask};
use tiercast_predictor::network::NetworkConfig;

use crate::dataset::{Answer, LengthScale, Row};
use crate::fit::{Data, FitConfig, fit_one};

/// Largest difference allowed in a loss or a probability after a few steps, single precision.
#[cfg(any(feature = "ndarray", feature = "wgpu"))]
const TOLERANCE: f64 = 2e-4;

fn rows(n: usize) -> Vec<Row> {
    let row = |idx: usize| {
        let easy = idx.is_multiple_of(3);
        let answer = |score| {
            Some(Answer {
                score,
                output_tokens: Some(20.0 + idx as f64),
                visible_tokens: None,
                input_tokens: None,
                cost_usd: None,
            })
        };
        Row {
            encoded: Encoded {
                dense: vec![f32::from(easy), (idx % 7) as f32 / 7.0, 0.5],
                key: Vec::new(),
                ngrams: vec![(idx % 5) as u32],
                weights: vec![1.0],
            },
            prompt: idx,
            answers: vec![
                answer(f64::from(easy)),
                if idx.is_multiple_of(4) { None } else { answer(0.35) },
            ],
            task: Some(usize::from(easy)),
        }
    };
    (0..n).map(row).collect()
}

/// Losses of both phases, three epochs of two steps each, and what the network then says of one row.
fn train(kind: DeviceKind) -> (Vec<f64>, NetworkSays) {
    let device = kind.device().unwrap();
    let (train, validation) = (rows(64), rows(16));
    let config = NetworkConfig::new(3, 5, 2, 2).with_n_members(1).with_d_hidden(16);
    let lengths = [LengthScale { mean: 4.0, std: 0.5 }; 2];
    let data = Data {
        train: &train.iter().collect::<Vec<_>>(),
        validation: &validation.iter().collect::<Vec<_>>(),
        lengths: &lengths,
    };
    let options = FitConfig {
        max_epochs: 3,
        batch_size: 32,
        ..FitConfig::default()
    };
    let mut losses = Vec::new();
    let network = fit_one(&config, &options, data, 0, &device, &mut |epoch| {
        losses.extend([epoch.train_loss, epoch.validation_score]);
    });
    (losses, ask(&[Member::new(&network)], &validation[0].encoded))
}

#[cfg(any(feature = "ndarray", feature = "wgpu"))]
fn close(found: &[f64], wanted: &[f64]) {
    assert_eq!(found.len(), wanted.len());
    for (found, wanted) in found.iter().zip(wanted) {
        assert!((found - wanted).abs() <= TOLERANCE, "{found} against {wanted}");
    }
}

#[cfg(any(feature = "ndarray", feature = "wgpu"))]
fn check(kind: DeviceKind) {
    let ((flex_losses, flex), (losses, other)) = (train(DeviceKind::Flex), train(kind));
    close(&losses, &flex_losses);
    close(other.quality.as_flattened(), flex.quality.as_flattened());
    close(&other.length_mean, &flex.length_mean);
}

#[test]
fn flex_repeats_itself_to_the_bit() {
    assert_eq!(train(DeviceKind::Flex), train(DeviceKind::Flex));
}

#[test]
fn learning_lowers_the_loss() {
    let (losses, _) = train(DeviceKind::Flex);
    assert!(losses[4] < losses[0], "task: {losses:?}");
    assert!(losses[10] < losses[6], "quality: {losses:?}");
}

#[test]
#[cfg(feature = "ndarray")]
fn backend_ndarray_agrees_with_flex() {
    check(DeviceKind::Ndarray);
}

/// Runs where there is an adapter; `TIERCAST_REQUIRE=wgpu` makes its absence a failure.
#[test]
#[cfg(feature = "wgpu")]
#[expect(clippy::disallowed_methods, reason = "a test asks the environment what it must find")]
fn backend_wgpu_agrees_with_flex() {
    use tiercast_predictor::device::DeviceError;

    let required = std::env::var("TIERCAST_REQUIRE").is_ok_and(|parts| parts.split(',').any(|part| part == "wgpu"));
    match DeviceKind::Wgpu.device() {
        Ok(_) => check(DeviceKind::Wgpu),
        Err(DeviceError::NoAdapter) if !required => eprintln!("skipped: no wgpu adapter on this machine"),
        Err(error) => panic!("{error}"),
    }
}
