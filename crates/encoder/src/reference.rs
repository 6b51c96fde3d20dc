//! MiniLM-L6 in f32 on burn, from the same weights: what the kernels are tested against, and a way to
//! run the encoder on any device of burn's.

use burn::module::{Module, Param};
use burn::tensor::activation::{gelu, softmax};
use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::dense::{DENSE_DIM, DENSE_MAX_TOKENS, with_specials};
use crate::weights::{self, DenseWeights, HEAD_DIM, N_HEADS, N_TOKENS};

/// BERT's, in every normalisation.
const EPSILON: f32 = 1e-12;

/// The whole network.
#[derive(Module, Debug)]
pub struct Transformer {
    /// `[N_TOKENS, DENSE_DIM]`
    words: Param<Tensor<2>>,
    /// With the embedding of token type 0, `[DENSE_MAX_TOKENS, DENSE_DIM]`
    positions: Param<Tensor<2>>,
    norm: Norm,
    layers: Vec<Layer>,
}

#[derive(Module, Debug)]
struct Layer {
    qkv: Linear,
    attention_output: Linear,
    attention_norm: Norm,
    inner: Linear,
    output: Linear,
    output_norm: Norm,
}

#[derive(Module, Debug)]
struct Linear {
    /// `[n_inputs, n_outputs]`
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
}

#[derive(Module, Debug)]
struct Norm {
    weight: Param<Tensor<1>>,
    bias: Param<Tensor<1>>,
}

impl Transformer {
    /// The network with its weights as floats, 91 MB.
    pub fn load(weights: &DenseWeights, device: &Device) -> Self {
        let words = weights.word_codes.chunks_exact(DENSE_DIM).zip(&weights.word_scales);
        let words = words
            .flat_map(|(codes, scale)| codes.iter().map(move |code| f32::from(*code) * scale))
            .collect();
        let positions = weights.positions.clone();
        Self {
            words: param(words, [N_TOKENS, DENSE_DIM], device),
            positions: param(positions, [DENSE_MAX_TOKENS, DENSE_DIM], device),
            norm: Norm::load(&weights.embedding_norm, device),
            layers: weights.layers.iter().map(|layer| Layer::load(layer, device)).collect(),
        }
    }

    /// As `DenseEncoder::embed_f32`.
    pub fn embed(&self, tokens: &[u32]) -> [f32; DENSE_DIM] {
        let tokens: Vec<i32> = with_specials(tokens).iter().map(|token| token.cast_signed()).collect();
        let tokens = Tensor::<1, Int>::from_data(tokens.as_slice(), &self.words.device());
        let data = self.forward(tokens).into_data().convert::<f32>();
        let values: Vec<f32> = data.try_to_vec().expect("the data was converted to f32");
        values.try_into().expect("an embedding has DENSE_DIM components")
    }

    /// Tokens, `[n]` of at most `DENSE_MAX_TOKENS`, with specials, to an embedding, `[DENSE_DIM]`.
    pub fn forward(&self, tokens: Tensor<1, Int>) -> Tensor<1> {
        let [n] = tokens.dims();
        let words = self.words.val().select(0, tokens); // [n, DENSE_DIM]
        let positions = self.positions.val().slice([0..n, 0..DENSE_DIM]); // [n, DENSE_DIM]
        let hidden = self.norm.forward(words + positions);
        let hidden = self.layers.iter().fold(hidden, |hidden, layer| layer.forward(hidden));
        let mean = hidden.mean_dim(0); // [1, DENSE_DIM]
        let length = mean.clone().square().sum_dim(1).sqrt(); // [1, 1]
        (mean / length).squeeze_dim::<1>(0)
    }
}

impl Layer {
    fn load(layer: &weights::Layer, device: &Device) -> Self {
        Self {
            qkv: Linear::load(&layer.qkv, device),
            attention_output: Linear::load(&layer.attention_output, device),
            attention_norm: Norm::load(&layer.attention_norm, device),
            inner: Linear::load(&layer.inner, device),
            output: Linear::load(&layer.output, device),
            output_norm: Norm::load(&layer.output_norm, device),
        }
    }

    /// `[n, DENSE_DIM]` to the same.
    fn forward(&self, hidden: Tensor<2>) -> Tensor<2> {
        let attended = self.attention_output.forward(self.attend(hidden.clone()));
        let hidden = self.attention_norm.forward(hidden + attended);
        let inner = gelu(self.inner.forward(hidden.clone())); // [n, INNER_DIM]
        self.output_norm.forward(hidden + self.output.forward(inner))
    }

    fn attend(&self, hidden: Tensor<2>) -> Tensor<2> {
        let [n, _] = hidden.dims();
        let qkv = self
            .qkv
            .forward(hidden)
            .reshape([n, 3, N_HEADS, HEAD_DIM])
            .permute([1, 2, 0, 3]);
        let part = |idx: usize| {
            let part = qkv.clone().slice([idx..idx + 1, 0..N_HEADS, 0..n, 0..HEAD_DIM]);
            part.squeeze_dim::<3>(0) // [N_HEADS, n, HEAD_DIM]
        };
        let scores = part(0).matmul(part(1).transpose()) / (HEAD_DIM as f32).sqrt(); // [N_HEADS, n, n]
        let context = softmax(scores, 2).matmul(part(2)); // [N_HEADS, n, HEAD_DIM]
        context.swap_dims(0, 1).reshape([n, DENSE_DIM])
    }
}

impl Linear {
    fn load(linear: &weights::Linear, device: &Device) -> Self {
        let (n_inputs, n_outputs) = (linear.factors.len(), linear.scales.len());
        let rows = linear.codes.chunks_exact(n_inputs).zip(&linear.scales);
        let weight = rows.flat_map(|(codes, scale)| {
            let columns = codes.iter().zip(&linear.factors);
            columns.map(move |(code, factor)| f32::from(*code) * scale * factor)
        });
        let weight = TensorData::new(weight.collect(), [n_outputs, n_inputs]);
        let weight = Tensor::<2>::from_data(weight, device).transpose();
        Self {
            weight: Param::from_tensor(weight),
            bias: param(linear.biases.clone(), [n_outputs], device),
        }
    }

    fn forward(&self, input: Tensor<2>) -> Tensor<2> {
        input.matmul(self.weight.val()) + self.bias.val().unsqueeze()
    }
}

impl Norm {
    fn load(norm: &weights::Norm, device: &Device) -> Self {
        Self {
            weight: param(norm.weight.clone(), [DENSE_DIM], device),
            bias: param(norm.bias.clone(), [DENSE_DIM], device),
        }
    }

    /// Over the last dimension, `[n, DENSE_DIM]`.
    fn forward(&self, input: Tensor<2>) -> Tensor<2> {
        let centred = input.clone() - input.mean_dim(1);
        let variance = centred.clone().square().mean_dim(1); // [n, 1]
        centred / (variance + EPSILON).sqrt() * self.weight.val().unsqueeze() + self.bias.val().unsqueeze()
    }
}

fn param<const D: usize>(values: Vec<f32>, shape: [usize; D], device: &Device) -> Param<Tensor<D>> {
    Param::from_tensor(Tensor::from_data(TensorData::new(values, shape), device))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dense::DenseEncoder;
    use crate::texts::{model_path, tokenized};

    #[test]
    fn the_int8_path_agrees_with_it() {
        let weights = DenseWeights::open(&model_path()).unwrap();
        let reference = Transformer::load(&weights, &Device::flex());
        let encoder = DenseEncoder::new(weights);
        let cosine = |tokens: &Vec<u32>| -> f32 {
            let pairs = encoder.embed_f32(tokens).into_iter().zip(reference.embed(tokens));
            pairs.map(|(left, right)| left * right).sum()
        };
        let cosines: Vec<f32> = tokenized().iter().map(cosine).collect();
        let mean = cosines.iter().sum::<f32>() / cosines.len() as f32;
        let least = cosines.iter().copied().fold(1.0, f32::min);
        println!("mean {mean} least {least}");
        assert!(mean > 0.995, "{mean} {cosines:?}");
        assert!(least > 0.985, "{least} {cosines:?}");
    }
}
