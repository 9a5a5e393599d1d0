"""Attacks beside those of other libraries: the same samples and models, one process, interleaved.

Whatever comes back is judged by the same code: the prediction and the distance are measured here, and what lies
outside the box or the budget is no success. Each competitor runs once to warm up, with its passes through the model
recorded, then `--repeats` times in turn with the others; its fastest run counts. The recorded passes are then replayed
alone, at the same batch sizes (no more than 300 of them, evenly chosen): their time is the model's own. Ratios are
ours over theirs; a peer is `as strong` if its success is at most half a percent below ours and, without an eps,
its mean distance at most one percent above.

    python tests/benchmarks/attacks.py [--attack pgd] [--model mlp] [--quick] [--json]
"""

import argparse
import importlib.util
import json
import statistics
import sys
import time
import warnings
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from io import StringIO
from pathlib import Path

import torch
from contests import CALLS, CONTESTS
from models import CACHE, component, samples, trained

from tasks import registry
from tasks.counted import CountedModel
from tasks.metrics import distances, rowwise
from tasks.streams import Streams

CLOCKS = [time.perf_counter]
"""The last one counts."""
MOST_REPLAYED = 300
BATCH = 250


class Record:
    """The passes through a model while it is open: [images, whether a graph was made, backwards] in their order."""

    def __init__(self, model):
        self.passes = []
        self.model = model

    def __enter__(self):
        def seen(module, inputs, scores):
            one = [len(scores), scores.requires_grad, 0]
            self.passes.append(one)
            if scores.requires_grad:
                scores.register_hook(lambda gradient: one.__setitem__(2, one[2] + 1))

        self.handle = self.model.register_forward_hook(seen)
        return self

    def __exit__(self, *error):
        self.handle.remove()

    def seconds(self, images):
        """What the same passes take alone."""
        chosen = self.passes[:: -(-len(self.passes) // MOST_REPLAYED)]
        cost = sum(rows * (1 + backwards) for rows, _, backwards in self.passes)
        share = sum(rows * (1 + backwards) for rows, _, backwards in chosen) / cost
        batches = {rows: images.repeat(-(-rows // len(images)), 1, 1, 1)[:rows] for rows, _, _ in chosen}
        begun = now(images)
        for rows, graph, backwards in chosen:
            batch = batches[rows].detach().requires_grad_(graph)
            with torch.set_grad_enabled(graph):
                scores = self.model(batch)
            for left in reversed(range(backwards)):
                torch.autograd.grad(scores, batch, torch.ones_like(scores), retain_graph=left > 0)
        return (now(images) - begun) / share


def now(images):
    if images.is_cuda:
        torch.cuda.synchronize(images.device)
    return CLOCKS[-1]()


def in_batches(attack, model, images, labels):
    with torch.enable_grad():
        found = [attack(model, *part) for part in zip(images.split(BATCH), labels.split(BATCH), strict=True)]
    return torch.cat([part.detach().to(images) for part in found])


def described(contest):
    return registry.describe("attack", contest.attack)


def ours(contest):
    """Our attack, called as the judge calls it. SystemExit where the contest's parameters are none of its own."""
    # A perturbation that is fitted first is fitted to the very images: what is compared is the fitting.
    unknown = contest.parameters.keys() - described(contest).parameters.keys()
    if unknown:
        raise SystemExit(f"{contest.attack} has no parameter {', '.join(sorted(unknown))}: see contests.py")
    parameters = component("attack", contest.attack, **contest.parameters).parameters
    function = registry.load("attack", contest.attack)

    def attack(model, images, labels):
        rows = torch.arange(len(labels), device=labels.device)
        counted = CountedModel(model, rows, contest.budget, num_classes=10)
        streams, state = Streams("benchmark", rows), ()
        if described(contest).facts.prepared:
            prepare = registry.load_prepare(contest.attack)
            state = (prepare(counted, images, labels, contest.budget, streams, **parameters).state,)
        return function(counted, images.clone(), labels, contest.budget, streams, *state, **parameters)[0]

    return attack


def judged(model, found, images, labels, budget):
    """Success and the distances of what succeeded; `left` are the images that left the box or the budget."""
    outside = ((found < -1e-5) | (found > 1 + 1e-5) | ~found.isfinite()).flatten(1).any(1)
    found = torch.where(rowwise(outside, found), images, found).clamp(0, 1)
    distance = distances(found, images)[budget.norm].double()
    if budget.eps is not None:
        outside |= distance > budget.eps * (1 + 1e-4) + 1e-6
    with torch.no_grad():
        predicted = torch.cat([model(part).argmax(1) for part in found.split(BATCH)])
    success = (predicted != labels) & ~outside
    far = distance[success].tolist() or [float("nan")]
    left, share = int(outside.sum()), float(success.double().mean())
    return {"success": share, "median": statistics.median(far), "mean": statistics.mean(far), "left": left}


def measured(contest, model, images, labels, repeats):
    """One row per competitor: {who: figures}, and notes on those that failed."""
    fields = {"ours": ours(contest)}
    fields |= {
        name: partial(CALLS[name], **settings)
        for name, settings in contest.peers.items()
        if importlib.util.find_spec(name)
    }
    rows, records, notes = {}, {}, []
    for who in list(fields):
        torch.manual_seed(0)
        try:
            with Record(model) as record:
                begun = now(images)
                found = in_batches(fields[who], model, images, labels)
                seconds = now(images) - begun
            rows[who] = {"seconds": seconds, **judged(model, found, images, labels, contest.budget)}
            records[who] = record
        except Exception as error:  # a library that fails must not end the comparison
            if who == "ours":
                raise
            notes.append(f"{contest.name}: {who} failed: {type(error).__name__}: {str(error)[:200]}")
    for turn in range(repeats):
        for who, row in rows.items():
            torch.manual_seed(0)
            begun = now(images)
            in_batches(fields[who], model, images, labels)
            seconds = now(images) - begun
            row["seconds"] = seconds if turn == 0 else min(row["seconds"], seconds)
            own = records[who].seconds(images)
            row["own_seconds"] = min(row.get("own_seconds", own), own)
    for who, row in rows.items():
        passes = records[who].passes
        row.setdefault("own_seconds", records[who].seconds(images))
        row["forwards"] = sum(rows for rows, _, _ in passes) / len(images)
        row["backwards"] = sum(rows * backwards for rows, _, backwards in passes) / len(images)
        row["rate"] = len(images) / row["seconds"]
        row["over_passes"] = row["seconds"] / row["own_seconds"]
        row["ratio"] = rows["ours"]["rate"] / row["rate"]
        row["as_strong"] = who != "ours" and strong(row, rows["ours"], contest.budget)
    return rows, notes


def strong(row, mine, budget):
    near = budget.eps is not None or row["mean"] <= 1.01 * mine["mean"]
    return row["success"] >= mine["success"] - 0.005 and near


def summary(results):
    head = ["attack", "model", "ours", *CALLS, "over fastest", "over fastest as strong", "time over passes"]
    lines = []
    for name, model, rows in results:
        peers = [row for who, row in rows.items() if who != "ours"]
        over = [f"{min(row['ratio'] for row in some):.2f} x" if some else "-"
                for some in (peers, [row for row in peers if row["as_strong"]])]  # fmt: skip
        rates = [f"{rows[who]['rate']:.3g}" if who in rows else "-" for who in ("ours", *CALLS)]
        lines.append([name, model, *rates, *over, f"{rows['ours']['over_passes']:.2f}"])
    return table(head, lines)


def details(results):
    head = ["attack", "model", "by", "samples/s", "success", "median", "mean", "left", "forwards", "backwards",
            "time over passes", "ours over it", "as strong"]  # fmt: skip
    lines = [
        [name, model, who, f"{row['rate']:.3g}", f"{row['success']:.1%}", f"{row['median']:.4g}", f"{row['mean']:.4g}",
         str(row["left"]), f"{row['forwards']:.4g}", f"{row['backwards']:.4g}", f"{row['over_passes']:.2f}",
         *(("", "") if who == "ours" else (f"{row['ratio']:.2f} x", "yes" if row["as_strong"] else "no"))]
        for name, model, rows in results
        for who, row in rows.items()
    ]  # fmt: skip
    return table(head, lines)


def table(head, lines):
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *lines])


def parsed():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attack", action="append", help="only this one of ours (may be given again)")
    parser.add_argument("--model", choices=["cnn", "mlp"], help="only this one")
    parser.add_argument("--samples", type=int, help="for every attack, instead of its own number")
    parser.add_argument("--repeats", type=int, default=3, help="timed runs of each; slow attacks have one")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--cpu-time", action="store_true", help="seconds of this process: for a machine that is busy")
    parser.add_argument("--data-root", type=Path, default=CACHE, help="where FashionMNIST lies")
    parser.add_argument("--quick", action="store_true", help="the MLP, few samples, nothing slow: a minute")
    parser.add_argument("--json", action="store_true", help="print the figures instead of tables")
    return parser.parse_args()


def main():
    options = parsed()
    torch.set_num_threads(options.threads)
    if options.cpu_time:
        CLOCKS.append(time.process_time)
    warnings.simplefilter("ignore")
    known, notes, results = registry.names("attack"), [], []
    wanted = [one for one in CONTESTS if not options.attack or one.attack in options.attack]
    for place, kind in enumerate(("cnn", "mlp")):
        if kind != (options.model or ("mlp" if options.quick else kind)):
            continue
        model = trained(kind, options.data_root, options.device)
        for contest in wanted:
            if contest.attack not in known or contest.budget.norm not in described(contest).facts.norms:
                notes.append(f"{contest.name}: skipped, there is no {contest.attack} in {contest.budget.norm}")
            elif not (options.quick and contest.slow):
                count = options.samples or -(-contest.samples[place] // (10 if options.quick else 1))
                images, labels = samples(model, options.data_root, count, options.device)
                repeats = 0 if contest.slow else 1 if options.quick else options.repeats
                with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
                    rows, failed = measured(contest, model, images, labels, repeats)
                results.append((contest.name, kind, rows))
                notes += failed
    if options.json:
        print(json.dumps([{"attack": name, "model": kind, "by": rows} for name, kind, rows in results], indent=1))
    else:
        print("Samples per second:", summary(results), "All figures:", details(results), sep="\n\n")
    print("", *dict.fromkeys(notes), sep="\n", file=sys.stderr)


if __name__ == "__main__":
    main()
