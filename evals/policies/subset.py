"""Rows of one part of the RouteLLM file: subset.py FILE {mmlu,gsm8k} OUT. Needs pyarrow==25.0.0."""

import sys

import pyarrow.compute as pc
import pyarrow.parquet as pq

source, part, out = sys.argv[1:]
table = pq.read_table(source)
is_gsm8k = pc.equal(table["subset"], "gsm8k")
pq.write_table(table.filter(is_gsm8k if part == "gsm8k" else pc.invert(is_gsm8k)), out)
