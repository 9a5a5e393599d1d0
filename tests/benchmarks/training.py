"""The training loop beside a plain one, and what of it is not the model: one process, in turn with each other.

Ours is the training `standard` with the natural defense, Adam and the defaults of everything else. The plain loop is
the usual one: Adam, `CrossEntropyLoss`, the mean loss and the accuracy counted with `item()`. It reads its batches
from a shuffled `DataLoader`: of images with `ToTensor`, as those of torchvision (without workers and with two: the
faster counts), and of a `TensorDataset` of floats. Model, first weights, device and batch size are the same.

The bare passes are the forward pass, the loss and the backward pass on batches that lie ready. `outside` is the share
of our loop that is not those; of it, what the optimizer's step adds to the bare passes, and making the batches and
counting, which were timed alone. Every competitor runs once to warm up and then `--repeats` times in turn; its fastest
run counts.

    python tests/benchmarks/training.py [--network "mlp 256"] [--threads 1] [--cpu-time] [--markdown]
"""

import argparse
import gc
import resource
import time
from pathlib import Path

import numpy as np
import torch
from models import CACHE, component
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset
from torchvision.transforms import ToTensor

from tasks.config import Cell
from tasks.model import build_model, load_split, make
from tasks.training.batches import Epochs
from tasks.training.objective import objective
from tasks.training.step import make_optimizer, set_rate
from tasks.trainings.standard import standard
from tasks.types import DataRoot, Split

NETWORKS = {
    "mlp 392-196": ("fashion_mnist", "mlp", {"hidden": [392, 196]}, 128, 25_600),
    "mlp 256": ("fashion_mnist", "mlp", {"hidden": [256]}, 64, 25_600),
    "cnn_2conv": ("fashion_mnist", "cnn_2conv", {}, 128, 2_560),
    "resnet_small": ("cifar10", "resnet_small", {}, 128, 768),
}
"""Dataset (its shapes, where it is not at hand), architecture, its parameters, batch size, images in an epoch."""
SHAPES = {"fashion_mnist": (1, 28, 28), "cifar10": (3, 32, 32)}
LR = 1e-3
CLOCKS = [time.perf_counter]
"""The last one counts."""


class Pictures(Dataset):
    """Images one by one, each decoded and transformed when it is asked for: what torchvision's datasets do."""

    def __init__(self, split):
        self.data = np.ascontiguousarray(split.images.permute(0, 2, 3, 1).squeeze(3).numpy())
        self.targets = split.labels.tolist()
        self.transform = ToTensor()

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, place):
        return self.transform(Image.fromarray(self.data[place])), self.targets[place]


def splits(dataset, count, root):
    """So many training images and a few test images: the dataset's, or noise of its shapes."""
    found = {"fashion_mnist": "FashionMNIST", "cifar10": "cifar-10-batches-py"}[dataset]
    sizes = {"train": count, "test": 2}
    if (root.path / found).is_dir():
        whole = {name: load_split(component("dataset", dataset), name, root) for name in sizes}
        return [first(whole[name], size) for name, size in sizes.items()]
    generator = torch.Generator().manual_seed(0)
    return [noise(SHAPES[dataset], size, generator) for size in sizes.values()]


def first(split, count):
    return Split(split.images[:count], split.labels[:count], split.class_names, split.mean, split.std)


def noise(shape, count, generator):
    images = torch.randint(256, (count, *shape), generator=generator, dtype=torch.uint8)
    labels = torch.randint(10, (count,), generator=generator)
    return Split(images, labels, tuple("0123456789"), (0.5,) * shape[0], (0.25,) * shape[0])


def built(dataset, architecture, parameters, train, device):
    cell = Cell(
        dataset=component("dataset", dataset),
        architecture=component("architecture", architecture, **parameters),
        activation=component("activation", "relu"),
        head=component("head", "softmax"),
        defense=component("defense", "natural"),
        training=component("training", "standard"),
        seed=0,
    )
    return build_model(cell, train).to(device)


def plain(model, loader, device):
    """One epoch of the usual loop."""
    criterion, optimizer = nn.CrossEntropyLoss(), torch.optim.Adam(model.parameters(), lr=LR)
    model.train()
    loss_sum, correct, count = 0.0, 0, 0
    for batch in loader:
        images, labels = (part.to(device) for part in batch)
        optimizer.zero_grad()
        scores = model(images)
        loss = criterion(scores, labels)
        loss.backward()
        optimizer.step()
        loss_sum += loss.item() * len(labels)
        correct += (scores.argmax(1) == labels).sum().item()
        count += len(labels)
    return loss_sum / count, correct / count


def competitors(network, root, device):
    """{who: what runs an epoch}."""
    dataset, architecture, parameters, size, count = NETWORKS[network]
    train, test = splits(dataset, count, root)
    natural = make(component("defense", "natural"))
    model = built(dataset, architecture, parameters, train, device)
    floats = TensorDataset(train.images.float() / 255, train.labels)
    pictures = Pictures(train)
    epochs = Epochs(train, device, 0, 0.0, None)
    batches = list(epochs.batches(1, size))
    optimizer = make_optimizer(model, "adam", 0.0, 0.0, nesterov=False)
    set_rate(optimizer, 0.0)
    loss = objective(natural, model)
    scores = torch.zeros(size, 10, device=device)

    def passes():
        model.train()
        for images, labels in batches:
            loss(model, images, labels)[0].backward()
            optimizer.zero_grad()

    def counting():
        predicted = [scores[: len(labels)].argmax(dim=1) for _, labels in batches]
        return int((torch.cat(predicted) == torch.cat([labels for _, labels in batches])).sum())

    def passes_and_updates():
        model.train()
        for images, labels in batches:
            loss(model, images, labels)[0].backward()
            optimizer.step()  # at a learning rate of nought
            optimizer.zero_grad()

    def loader(data, workers):
        return DataLoader(data, size, shuffle=True, num_workers=workers)

    return {
        "ours": lambda: standard(model, train, test, natural, 0, epochs=1, lr=LR, batch_size=size),
        "ToTensor": lambda: plain(model, loader(pictures, 0), device),
        "ToTensor, 2 workers": lambda: plain(model, loader(pictures, 2), device),
        "TensorDataset": lambda: plain(model, loader(floats, 0), device),
        "passes": passes,
        "batches": lambda: [None for _ in epochs.batches(2, size)],
        "passes and updates": passes_and_updates,
        "counting": counting,
    }


def cpu_time():
    """Seconds of this process and of those it has waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def now(device):
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return CLOCKS[-1]()


def fastest(runs, repeats, device):
    """{who: seconds of its fastest run}."""
    seconds = dict.fromkeys(runs, float("inf"))
    for turn in range(repeats + 1):
        for who, run in runs.items():
            gc.collect()
            begun = now(device)
            run()
            spent = now(device) - begun
            if turn:
                seconds[who] = min(seconds[who], spent)
    return seconds


def parsed():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", action="append", choices=NETWORKS, help="only this one (may be given again)")
    parser.add_argument("--repeats", type=int, default=3, help="timed runs of each")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", type=torch.device)
    parser.add_argument("--cpu-time", action="store_true", help="seconds of the processes: for a machine that is busy")
    parser.add_argument("--data-root", type=Path, default=CACHE, help="where the images lie; noise where they do not")
    parser.add_argument("--markdown", action="store_true", help="the table in Markdown")
    return parser.parse_args()


def printed(lines, *, markdown):
    if markdown:
        lines = [lines[0], ["---"] * len(lines[0]), *lines[1:]]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def main():
    options = parsed()
    torch.set_num_threads(options.threads)
    if options.cpu_time:
        CLOCKS.append(cpu_time)
    rates = [["images/s", "ours", "ToTensor", "TensorDataset", "over ToTensor", "over TensorDataset"]]
    shares = [["of our loop", "passes", "outside", "batches", "optimizer", "counting", "rest"]]
    for network in options.network or NETWORKS:
        seconds = fastest(
            competitors(network, DataRoot(options.data_root), options.device), options.repeats, options.device
        )
        ours, count = seconds["ours"], NETWORKS[network][-1]
        pictures = min(seconds["ToTensor"], seconds["ToTensor, 2 workers"])
        times = (ours, pictures, seconds["TensorDataset"])
        rates.append([network, *(f"{count / one:.0f}" for one in times), *(f"{one / ours:.2f}" for one in times[1:])])
        seconds["optimizer"] = seconds["passes and updates"] - seconds["passes"]
        parts = [seconds[part] / ours for part in ("passes", "batches", "optimizer", "counting")]
        figures = (parts[0], 1 - parts[0], *parts[1:], 1 - sum(parts))
        shares.append([network, *(f"{share:.1%}" for share in figures)])
    print(printed(rates, markdown=options.markdown), printed(shares, markdown=options.markdown), sep="\n\n")


if __name__ == "__main__":
    main()
