"""Bare loops: each runtime driven with as little code as it takes, in a process of its own, to compare the engine with.

`python -m bench.bare BACKEND FOLDER THREADS` reads one JSON line per run, {"ids", "new"}, from stdin, and answers with
{"ttft_s", "decode_tokens_per_s"}. Nothing of `backends` or `comparison` is used here.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

Run = Callable[[list[int], int], list[int]]
"""From prompt ids and a number of tokens to the moment before the prefill and those of the tokens (`time.perf_counter_ns`)."""


def transformers(folder: str, threads: int) -> Run:
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(threads)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    @torch.inference_mode()
    def run(ids: list[int], new: int) -> list[int]:
        times, past, given = [time.perf_counter_ns()], None, torch.tensor([ids])
        for _ in range(new):
            output = model(input_ids=given, past_key_values=past, use_cache=True, logits_to_keep=1)
            past, given = output.past_key_values, output.logits[:, -1].argmax(-1, keepdim=True)
            given.item()
            times.append(time.perf_counter_ns())
        return times

    return run


OPENVINO = {"PERFORMANCE_HINT": "LATENCY", "ENABLE_CPU_PINNING": False}


def openvino_optimum(folder: str, threads: int) -> Run:
    import torch
    from optimum.intel.openvino import OVModelForCausalLM

    torch.set_num_threads(threads)
    model = OVModelForCausalLM.from_pretrained(folder, ov_config=OPENVINO | {"INFERENCE_NUM_THREADS": threads})

    def run(ids: list[int], new: int) -> list[int]:
        times, past, given = [time.perf_counter_ns()], None, torch.tensor([ids])
        for _ in range(new):
            output = model(given, past_key_values=past)
            past, given = output.past_key_values, output.logits[:, -1].argmax(-1, keepdim=True)
            given.item()
            times.append(time.perf_counter_ns())
        return times

    return run


def openvino_genai(folder: str, threads: int) -> Run:
    import numpy as np
    from openvino import Tensor
    from openvino_genai import GenerationConfig, LLMPipeline, StreamerBase, StreamingStatus

    pipeline = LLMPipeline(folder, "CPU", ATTENTION_BACKEND="SDPA", INFERENCE_NUM_THREADS=threads, **OPENVINO)

    class Stamps(StreamerBase):
        def __init__(self) -> None:
            super().__init__()
            self.times: list[int] = []

        def write(self, token: int | list[int]) -> StreamingStatus:
            self.times += [time.perf_counter_ns()] * (1 if isinstance(token, int) else len(token))
            return StreamingStatus.RUNNING

        def end(self) -> None: ...

    def run(ids: list[int], new: int) -> list[int]:
        config = GenerationConfig()
        config.max_new_tokens, config.ignore_eos, config.do_sample, config.apply_chat_template = new, True, False, False
        stamps, before = Stamps(), time.perf_counter_ns()
        pipeline.generate(Tensor(np.array([ids])), config, stamps)
        return [before, *stamps.times]

    return run


def onnxruntime_genai(folder: str, threads: int) -> Run:
    import onnxruntime_genai as og

    config = og.Config(folder)
    session = {"intra_op_num_threads": threads, "session.intra_op.allow_spinning": "0"}
    config.overlay(json.dumps({"model": {"eos_token_id": -1, "decoder": {"session_options": session}}}))
    config.clear_providers()
    model = og.Model(config)

    def run(ids: list[int], new: int) -> list[int]:
        times = [time.perf_counter_ns()]
        params = og.GeneratorParams(model)
        params.set_search_options(max_length=len(ids) + new, do_sample=False)
        generator = og.Generator(model, params)
        generator.append_tokens(ids)
        for _ in range(new):
            generator.generate_next_token()
            generator.get_next_tokens()
            times.append(time.perf_counter_ns())
        return times

    return run


LOOPS: dict[str, Callable[[str, int], Run]] = {
    "transformers": transformers,
    "openvino-optimum": openvino_optimum,
    "openvino-genai": openvino_genai,
    "onnxruntime-genai": onnxruntime_genai,
}


def figures(times: list[int]) -> dict[str, Any]:
    """TTFT in seconds and decode tokens per second from one run's moments."""
    return {
        "ttft_s": (times[1] - times[0]) / 1e9,
        "decode_tokens_per_s": (len(times) - 2) / ((times[-1] - times[1]) / 1e9),
    }


def main() -> None:
    name, folder, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
    # The same calm that a worker gives its runtime: so many threads, and idle ones sleep.
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    os.environ |= {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0", "GOMP_SPINCOUNT": "0"}
    answers, sys.stdout = sys.stdout, sys.stderr
    run = LOOPS[name](folder, threads)
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(figures(run(asked["ids"], asked["new"]))), file=answers, flush=True)


if __name__ == "__main__":
    main()
