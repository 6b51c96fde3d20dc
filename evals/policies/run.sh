#!/bin/sh
# Compares all routing policies on four data sets: trains a checkpoint with a cascade on each, then reads the
# test split once. Usage: evals/policies/run.sh [DATA] [OUT]; DATA has the outcome files with text and replies.
set -eu
cd "$(dirname "$0")/../.."
data=${1:-../shared/data}
out=${2:-evals/policies}
tiercast=${TIERCAST:-target/release/tiercast}
run() {
    set_name=$1 tiers=$2
    shift 2
    "$tiercast" train --outcomes "$data/$set_name.parquet" --tiers "$tiers" --out "runs/policies/$set_name" "$@"
    "$tiercast" evaluate --policies all --checkpoint "runs/policies/$set_name" \
        --outcomes "$data/$set_name.parquet" --split "${SPLIT:-test}" --out "$out/$set_name"
}
run mmlu_pro gemini-1.5-pro-002,Meta-Llama-3.1-70B-Instruct,gemini-1.5-flash-002,Meta-Llama-3.1-8B-Instruct,mathstral-7B --cascade
run zeroeval o1-mini-2024-09-12,gpt-4o-2024-08-06,Meta-Llama-3.1-70B-Instruct,gpt-4o-mini-2024-07-18,Meta-Llama-3.1-8B-Instruct --cascade
run bfcl claude-3-5-sonnet-20240620,meta-llama_Meta-Llama-3-70B-Instruct,gpt-4o-mini-2024-07-18,claude-3-haiku-20240307,Salesforce_xLAM-7b-fc-r --cascade
run routellm gpt-4-1106-preview,mistralai/Mixtral-8x7B-Instruct-v0.1
# Its two parts: MMLU has no replies, so no cascade; GSM8K has few rows, and a cascade. Needs pyarrow (PYTHON).
python=${PYTHON:-python3}
for part in mmlu gsm8k; do
    "$python" evals/policies/subset.py "$data/routellm.parquet" "$part" "runs/policies/routellm_$part.parquet"
done
"$tiercast" evaluate --policies meta,meta:trade-off,classifier --checkpoint runs/policies/routellm \
    --outcomes runs/policies/routellm_mmlu.parquet --split "${SPLIT:-test}" --out "$out/routellm_mmlu"
"$tiercast" train --cascade --outcomes runs/policies/routellm_gsm8k.parquet --out runs/policies/routellm_gsm8k \
    --tiers gpt-4-1106-preview,mistralai/Mixtral-8x7B-Instruct-v0.1
"$tiercast" evaluate --policies all --checkpoint runs/policies/routellm_gsm8k \
    --outcomes runs/policies/routellm_gsm8k.parquet --split "${SPLIT:-test}" --out "$out/routellm_gsm8k"
