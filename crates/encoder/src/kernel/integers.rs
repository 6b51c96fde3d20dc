//! Int8 matrices: how they lie in memory, and their product in plain Rust.
//!
//! A code is within -127..=127 and a row has at most `INNER_DIM` = 1536 of them, so no sum of products
//! exceeds 1536 * 255 * 127 < 2^26 even with the offset of 128: 32 bits never overflow, and a sum is
//! the same in any order.

use super::Kernel;
use crate::dense::DENSE_DIM;
use crate::weights::INNER_DIM;

/// Outputs that are computed together: the width of an attention head.
pub(crate) const STRIP: usize = 32;
/// Outputs that lie side by side.
pub(super) const PANEL: usize = 16;
/// Inputs of one output that lie side by side.
pub(super) const GROUP: usize = 4;
/// Lengths of a row. The kernels are compiled for each, for addresses that are constants.
pub(super) const WIDTHS: [usize; 2] = [DENSE_DIM, INNER_DIM];
/// What VNNI's unsigned codes are greater by.
const OFFSET: i32 = 128;

/// Weights of a linear layer.
#[derive(Debug, Clone)]
pub(crate) struct Packed {
    n_inputs: usize,
    /// `[n_outputs / PANEL, n_inputs / GROUP, PANEL, GROUP]`
    codes: Vec<i8>,
    /// Sum of an output's codes times `OFFSET`, `[n_outputs / STRIP, STRIP]`
    compensations: Vec<[i32; STRIP]>,
}

impl Packed {
    /// From `[n_outputs, n_inputs]`.
    pub(crate) fn new(codes: &[i8], n_inputs: usize) -> Self {
        assert_eq!(codes.len() % (STRIP * n_inputs), 0, "whole strips");
        assert!(WIDTHS.contains(&n_inputs), "a length that the kernels know");
        let mut packed = Vec::with_capacity(codes.len());
        for panel in codes.chunks_exact(PANEL * n_inputs) {
            for group in (0..n_inputs).step_by(GROUP) {
                for output in panel.chunks_exact(n_inputs) {
                    packed.extend_from_slice(&output[group..][..GROUP]);
                }
            }
        }
        let compensation = |output: &[i8]| OFFSET * output.iter().map(|code| i32::from(*code)).sum::<i32>();
        let compensations: Vec<i32> = codes.chunks_exact(n_inputs).map(compensation).collect();
        Self {
            n_inputs,
            codes: packed,
            compensations: compensations.as_chunks::<STRIP>().0.to_vec(),
        }
    }

    pub(crate) fn n_inputs(&self) -> usize {
        self.n_inputs
    }

    pub(crate) fn n_strips(&self) -> usize {
        self.compensations.len()
    }

    /// `[STRIP / PANEL, n_inputs / GROUP, PANEL, GROUP]`
    pub(super) fn strip(&self, strip: usize) -> &[i8] {
        let n_codes = STRIP * self.n_inputs;
        &self.codes[strip * n_codes..][..n_codes]
    }

    pub(super) fn compensations(&self, strip: usize) -> &[i32; STRIP] {
        &self.compensations[strip]
    }
}

/// Quantised rows, laid out for one kernel.
#[derive(Debug, Clone)]
pub(crate) struct Codes {
    width: usize,
    /// `[n_rows]`
    scales: Vec<f32>,
    /// Codes of 16 bits, `[n_rows, width]`; empty where the kernel wants an offset.
    wide: Vec<i16>,
    /// Codes + `OFFSET`, `[n_rows, width]`; empty otherwise.
    offset: Vec<u8>,
}

impl Codes {
    pub(crate) fn new(kernel: Kernel, n_rows: usize, width: usize) -> Self {
        let (n_wide, n_offset) = if kernel.wants_offset() {
            (0, n_rows * width)
        } else {
            (n_rows * width, 0)
        };
        Self {
            width,
            scales: vec![0.0; n_rows],
            wide: vec![0; n_wide],
            offset: vec![0; n_offset],
        }
    }

    pub(crate) fn n_rows(&self) -> usize {
        self.scales.len()
    }

    pub(crate) fn width(&self) -> usize {
        self.width
    }

    pub(crate) fn scales(&self) -> &[f32] {
        &self.scales
    }

    pub(super) fn is_for(&self, kernel: Kernel) -> bool {
        self.offset.is_empty() != kernel.wants_offset() || self.scales.is_empty()
    }

    #[inline(always)]
    pub(super) fn begin_row(&mut self, row: usize, scale: f32) {
        self.scales[row] = scale;
    }

    /// Writes codes `8 * group..` of a row.
    #[inline(always)]
    pub(super) fn write(&mut self, row: usize, group: usize, codes: [i32; 8]) {
        let begin = row * self.width + 8 * group;
        if self.offset.is_empty() {
            self.wide[begin..][..8].copy_from_slice(&codes.map(|code| code as i16));
        } else {
            self.offset[begin..][..8].copy_from_slice(&codes.map(|code| (code + OFFSET) as u8));
        }
    }

    pub(super) fn wide(&self) -> &[i16] {
        &self.wide
    }

    pub(super) fn offset(&self) -> &[u8] {
        &self.offset
    }
}

/// `Kernel::multiply` without any special instruction.
pub(super) fn multiply_portable(codes: &Codes, weights: &Packed, strip: usize, sums: &mut [i32]) {
    let columns = columns(weights, strip);
    let rows = codes.wide().chunks_exact(codes.width());
    for (codes, sums) in rows.zip(sums.as_chunks_mut::<STRIP>().0) {
        let mut totals = [0; STRIP];
        for (code, weights) in codes.iter().zip(&columns) {
            for (total, weight) in totals.iter_mut().zip(weights) {
                *total += i32::from(*code) * i32::from(*weight);
            }
        }
        *sums = totals;
    }
}

/// `Kernel::products` without any special instruction.
pub(super) fn products(row: &[i8], rows: &[i8], products: &mut [i32]) {
    for (product, other) in products.iter_mut().zip(rows.chunks_exact(row.len().max(1))) {
        *product = dot(row, other);
    }
}

/// Sixteen sums side by side, so that the compiler can use wide registers.
fn dot(a: &[i8], b: &[i8]) -> i32 {
    let mut sums = [0_i32; 16];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
    for (a, b) in a.iter().zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += i32::from(i16::from(*a) * i16::from(*b));
        }
    }
    let rest = a_rest.iter().zip(b_rest).map(|(a, b)| i32::from(*a) * i32::from(*b));
    sums.iter().sum::<i32>() + rest.sum::<i32>()
}

/// A strip as `[n_inputs, STRIP]`, the order in which compilers find vectors.
fn columns(weights: &Packed, strip: usize) -> Vec<[i16; STRIP]> {
    let mut columns = vec![[0; STRIP]; weights.n_inputs()];
    let panels = weights.strip(strip).chunks_exact(PANEL * weights.n_inputs());
    for (panel_idx, panel) in panels.enumerate() {
        let groups = panel.as_chunks::<GROUP>().0.as_chunks::<PANEL>().0;
        for (group, columns) in groups.iter().zip(columns.as_chunks_mut::<GROUP>().0) {
            for (output, weights) in group.iter().enumerate() {
                for (column, weight) in columns.iter_mut().zip(weights) {
                    column[panel_idx * PANEL + output] = i16::from(*weight);
                }
            }
        }
    }
    columns
}
