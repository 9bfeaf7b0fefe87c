"""The prompt sets that ship: in the documented form, and those that are generated are what the generator makes."""

import json
from pathlib import Path
from typing import Any

import pytest

from training.prompt_sets import write

FOLDER = Path(__file__).resolve().parents[2] / "assets" / "prompts"


def content(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / name).read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("name", ["exact_tasks.json", "heldout.txt"])
def test_generated_sets_are_what_the_generator_makes(name: str, tmp_path: Path) -> None:
    write(tmp_path)
    assert (tmp_path / name).read_text(encoding="utf-8") == (FOLDER / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["booth.json", "mlperf_client_shape.json", "exact_tasks.json"])
def test_sets_have_the_documented_form(name: str) -> None:
    whole = content(name)
    assert whole["schema"] == 1
    assert whole["name"]
    assert whole["description"]
    entries = whole.get("prompts") or whole["tasks"]
    assert len({entry["id"] for entry in entries}) == len(entries)
    assert all(entry["prompt"].strip() for entry in entries)


def test_booth_prompts_are_varied_and_some_are_long() -> None:
    prompts = content("booth.json")["prompts"]
    assert len(prompts) >= 24
    assert len({prompt["category"] for prompt in prompts}) >= 5
    assert sum(len(prompt["prompt"].split()) >= 80 for prompt in prompts) >= 5
    assert all(len(prompt["title"]) <= 28 and prompt["max_new_tokens"] > 0 for prompt in prompts)


def test_every_exact_task_has_its_answer() -> None:
    tasks = content("exact_tasks.json")["tasks"]
    assert len(tasks) >= 100
    assert all(task["answer"].strip() == task["answer"] != "" for task in tasks)
