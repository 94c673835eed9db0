"""Asks llm-analysis for the accelerator-hours of runs: a JSON list on stdin, by the peers' interpreter.

Each run: ``params``, ``hidden``, ``tokens``, ``sequence``, ``recompute``, the accelerator's ``peak_tflops``,
``memory_gb``, ``bandwidth`` (GB/s) and the ``efficiency`` to assume, which its user has to know.
"""

# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import json
import logging
import sys
from typing import Any

from llm_analysis.analysis import ActivationRecomputation, DSZeRO, LLMAnalysis
from llm_analysis.config import GPUConfig, ModelConfig, ParallelismConfig

_VOCABULARY = 50_257  # GPT-2's, as llm-analysis has it for models of that kind
_HEAD = 128
_SPLITS = ((1, 1), (8, 1), (8, 2), (8, 4), (8, 8), (8, 16))  # tensor and pipeline: the first that it lets pass
_RECOMPUTED = {"full": ActivationRecomputation.FULL, "selective": ActivationRecomputation.SELECTIVE}


def hours(run: dict[str, Any]) -> float | None:
    """Accelerator-hours by llm-analysis; None where it has no answer."""
    # It takes feed-forward layers of four times the width; as many blocks as make the published number of parameters.
    blocks = max(1, round((run["params"] - _VOCABULARY * run["hidden"]) / (12 * run["hidden"] ** 2)))
    model = ModelConfig(
        name=run["name"], num_layers=blocks, n_head=max(1, run["hidden"] // _HEAD), hidden_dim=run["hidden"],
        vocab_size=_VOCABULARY, max_seq_len=run["sequence"],
    )  # fmt: skip
    gpu = GPUConfig(run["name"], run["memory_gb"], run["bandwidth"], 600, 8e-6, run["peak_tflops"])
    for tensor, pipeline in _SPLITS:
        split = ParallelismConfig(tp_size=tensor, pp_size=pipeline, dp_size=8, sp_size=tensor)
        try:
            asked = LLMAnalysis(model, gpu, parallelism_config=split, flops_efficiency=run["efficiency"])
            answer = asked.training(
                batch_size_per_gpu=1, gradient_accumulation_steps=1, seq_len=run["sequence"],
                total_num_tokens=run["tokens"], ds_zero=DSZeRO.STAGE_1,
                activation_recomputation=_RECOMPUTED.get(run["recompute"], ActivationRecomputation.NONE),
            )  # fmt: skip
        except (AssertionError, ValueError, ZeroDivisionError):  # so it says that a split does not fit
            continue
        return float(answer["total_training_latency"]) / 3600 * tensor * pipeline * 8
    return None


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    sys.stdout.write(json.dumps([hours(run) for run in json.load(sys.stdin)]))
