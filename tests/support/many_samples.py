"""Two work folders with made-up records, so that the report's page is tested without running models.

many_samples.py SOURCE_TREE FOLDER: FOLDER/study (texts and a task, few items) and FOLDER/many
(50 conditions of 1000 samples). The records have the form that `qualm stage` writes.
"""
import hashlib
import json
import math
import os
import random
import sys

RELATIONS = {"en": "iid", "zh": "cross-language"}


def key_of(*parts):
    return hashlib.md5(" ".join(map(str, parts)).encode()).hexdigest()


def about(language):
    return {"dataset": "set-" + language, "subject": "", "task": "made up", "language": language}


def calibration(name, language, control=False, again=""):
    return {"name": name, "kind": "random_tokens" if control else "corpus", "corpus": "x.txt", "text_field": "text", "task": "",
            "split": "", "category": "", "mixed": [], "temperature": 1.0, "sampler": "random-crop",
            "samples": 16, "length": 64, "held_out": 2, "again": again, "is_control": control,
            "about": about(language)}


def test(name, language, task):
    return {"name": name, "corpus": "" if task else "x.txt", "text_field": "text", "protocol": "gptq",
            "seqlen": 64, "task": "made-up" if task else "", "category": "", "limit": 0, "about": about(language)}


NO_FILES = "0" * 32  # the hash under which the plan keeps the empty set of files


def inputs_of(kind, result):
    common = {"model": {"path": "/m"}, "model_hash": "0" * 32}
    if kind == "quantize":
        return common | {"recipe": {"path": "r"}, "order": "", "recipe_hash": "", "calibration": "", "seed": 0}
    return common | {"kind": result["kind"], "quantize": "", "limit": 0, "corpus": {"path": ""}, "text_field": "text",
                     "protocol": "gptq", "protocol_version": 1, "seqlen": 64, "task": {"path": ""}, "category": "",
                     "shots": None, "rows": {"pool": "all", "seed": 0, "calibration_share": 0.0}}


def estimate(value, error):
    return {"value": value, "stderr": error}


def record(stage, result):
    return {"key": stage["key"], "kind": stage["kind"], "label": stage["label"], "status": "done", "error": "",
            "host": "host", "processor": "Processor <1>", "version": "0", "finished_at": "2026-01-01T00:00:00Z",
            "seconds": 1.0, "peak_memory_bytes": 1, "threads": 1, "inputs": stage["inputs"],
            "files": stage["files"], "result": result}


class Study:
    def __init__(self, name, items):
        self.name, self.items, self.stages, self.cells, self.records = name, items, [], [], []

    def stage(self, kind, label, result, needs=()):
        stage = {"key": key_of(self.name, kind, label), "kind": kind, "label": label, "group": kind,
                 "needs": list(needs), "inputs": inputs_of(kind, result), "files": NO_FILES, "seconds": 1.0,
                 "memory_bytes": 1, "disk_bytes": 1}
        self.stages.append(stage)
        self.records.append(record(stage, result))
        return stage["key"]

    def text_result(self, rng, excess):
        losses = [3 + rng.gauss(0, .3) for _ in range(24)]
        noise = random.Random(self.name + str(excess))
        losses = [loss + excess + noise.gauss(0, .02) * (excess > 0) for loss in losses]
        return {"kind": "text", "protocol": "gptq", "protocol_version": 1, "seqlen": 64, "n": 24, "n_tokens": 1512,
                "ppl": estimate(math.exp(sum(losses) / 24), .5),
                "items": {"loss": losses, "weight": [1.0] * 24, "cluster": list(range(24))},
                "distance": {"kl": estimate(excess, .001), "kl_median": estimate(excess, .001),
                             "kl_p99": estimate(excess, .001), "same_top1": estimate(.9, .01),
                             "rms_delta_p": estimate(.01, .001)},
                "overlap": {"grams": 100, "found": 3}}

    def task_result(self, seed, is_float):
        rng = random.Random(seed)
        n = self.items
        right = [rng.random() < .6 for _ in range(n)]
        result = {"kind": "task", "task": "made-up", "task_version": 1, "metric": "acc", "shots": 0, "n": n,
                  "rows_in_split": n, "prompts_with_fewer_shots": 0, "prompts_truncated": 0,
                  "note": "made up <b>rows</b>", "first_request": "",
                  "scores": [{"metric": "acc", "value": sum(right) / n, "stderr": .01, "n": n, "baseline": .5}],
                  "items": {"value": [float(r) for r in right], "right": [int(r) for r in right],
                            "picked": [int(r) for r in right], "near_tie": [0] * n, "gold": [1] * n,
                            "cluster": [i // 4 for i in range(n)],
                            "log_likelihoods": [[-1 - rng.random(), -1 - rng.random()] for _ in range(n)]}}
        samples = []
        for i in range(n):
            sample = {"item": i, "answer": " yes </script>" if right[i] else " no"}
            if is_float:
                sample |= {"row": f"row {i}", "right": " yes", "prompt": f"Prompt {i}: " + "word " * (20 + i % 40)}
            samples.append(sample)
        return result | {"samples": samples}

    def write(self, folder, recipes, calibrations, tests, seeds):
        for one in tests:
            result = self.task_result("float", True) if one["task"] else self.text_result(random.Random(one["name"]), 0)
            self.cell("float", "-", 0, one, "none", "", self.stage("evaluate", "float on " + one["name"], result))
        for r, recipe in enumerate(recipes):
            for c, made in enumerate(calibrations):
                for seed in range(seeds):
                    what = f"{recipe} {made['name']} {seed}"
                    layers = [{"name": f"layer.{i}", "bits": 4.0, "mse": 1e-4, "calibration": .05, "held_out": .06 + i / 100,
                               "fell_back": False} for i in range(4)]
                    quantize = self.stage("quantize", what, {"artefact_hash": "x", "bits_per_weight": 2.5 + r,
                                                             "bits_per_weight_model": 5.0, "blocks_resumed": 0,
                                                             "layers": layers})
                    for one in tests:
                        relation = "control" if made["is_control"] else \
                            "iid" if made["about"] == one["about"] else "cross-language"
                        excess = .3 / (r + 1) + (.1 if relation == "cross-language" else 0) + .01 * seed + .001 * c
                        result = self.task_result(what, False) if one["task"] else \
                            self.text_result(random.Random(one["name"]), excess)
                        evaluate = self.stage("evaluate", what + " on " + one["name"], result, [quantize])
                        self.cell(recipe, made["name"], seed, one, relation, quantize, evaluate)
        study = {"name": self.name, "version": 1, "title": {"en": "Made up", "zh": "虚构"},
                 "question": {"en": "Is the page well?", "zh": "页面是否正常？"}, "models": ["model"],
                 "recipes": recipes, "order": "", "seeds": seeds, "calibrations": calibrations, "tests": tests,
                 "loss": "error", "budgets": [{"bits_per_weight": 3.0, "tokens_per_second": 0.0}], "text": "name: x"}
        plan = {"format": 2, "study": study, "model_paths": ["/m"], "data_folder": "", "instruction_set": "avx2",
                "version": "0", "skipped": ["a test: no file"], "files": {NO_FILES: {"files": []}}, "stages": self.stages, "cells": self.cells}
        for name in ("stages", "studies"):
            os.makedirs(os.path.join(folder, name))
        with open(os.path.join(folder, "studies", self.name + ".json"), "w") as out:
            json.dump(plan, out)
        for one in self.records:
            with open(os.path.join(folder, "stages", one["key"] + ".json"), "w") as out:
                json.dump(one, out)

    def cell(self, recipe, name, seed, one, relation, quantize, evaluate):
        self.cells.append({"model": "model", "recipe": recipe, "calibration": name, "seed": seed, "test": one["name"],
                           "relation": relation, "calibrate": "", "quantize": quantize, "evaluate": evaluate,
                           "measure": ""})


def main():
    folder = sys.argv[2]
    sets = [calibration("english-16x64", "en"), calibration("chinese", "zh"), calibration("random", "", True),
            calibration("again", "en", again="english-16x64")]
    tests = [test("english text", "en", False), test("chinese text", "zh", False), test("questions", "en", True)]
    Study("study", 40).write(os.path.join(folder, "study"), ["gptq-w2-g32", "gptq-w4-g64"], sets, tests, 2)
    many = [calibration(f"set-{i}", "en" if i % 2 else "zh") for i in range(10)]
    Study("many", 1000).write(
        os.path.join(folder, "many"), [f"gptq-w{i}-g32" for i in range(2, 7)], many, [test("questions", "en", True)], 1)


if __name__ == "__main__":
    main()
