"""Trainings that break one promise each. All are variations of `run`: gradient descent with momentum, by hand."""

import time

import pyarrow as pa
import torch
from safetensors.torch import load, save

from broken.mark import breaks, keeps
from tasks.model import derive_seed, seeded
from tasks.registry import component
from tasks.schema import HISTORY
from tasks.training.loop import Epoch
from tasks.training.objective import Defense, mean_loss, objective
from tasks.types import ModelError, StateError

CPU = torch.device("cpu")
EPOCHS, RATE = 3, 0.05


class Run:
    """A training by hand; what a toy does otherwise it overrides."""

    def __init__(self, model, train, test, defense, seed, on_epoch, state):
        self.model, self.train, self.test, self.seed, self.on_epoch = model, train, test, seed, on_epoch
        self.loss = self.objective(defense)
        self.momentum = {name: torch.zeros_like(weight) for name, weight in model.named_parameters()}
        self.rows = []
        if state is not None:
            self.resume(state)

    def objective(self, defense):
        return objective(defense, self.model)

    def generator(self, epoch):
        return seeded(derive_seed(self.seed, f"epoch {epoch}"), CPU)

    def step(self, images, labels):
        self.model.zero_grad()
        value, scores = self.loss(self.model, images, labels)
        self.refuse(value)
        value.backward()
        with torch.no_grad():
            for name, weight in self.model.named_parameters():
                self.momentum[name].mul_(0.9).add_(weight.grad)
                weight.sub_(RATE * self.momentum[name])
        self.model.zero_grad()
        return value.item(), scores

    def refuse(self, value):
        if not value.isfinite():
            raise ModelError(f"the loss is {value.item()}")

    def run(self):
        for epoch in range(len(self.rows) + 1, EPOCHS + 1):
            begun = time.perf_counter()
            self.model.train()
            with self.generator(epoch):
                order = torch.randperm(len(self.train.labels))
                losses = [self.step(self.train.images[part], self.train.labels[part])[0] for part in order.split(16)]
            self.rows.append(self.row(epoch, sum(losses) / len(losses), time.perf_counter() - begun))
            self.tell(epoch)
        return self.history()

    def row(self, epoch, loss, seconds):
        unmeasured = dict.fromkeys(("validation_loss", "validation_accuracy", "test_accuracy"))
        return {"epoch": epoch, "loss": loss, "train_accuracy": 0.5, **unmeasured, "lr": RATE, "seconds": seconds}

    def tell(self, epoch):
        if self.on_epoch:
            self.on_epoch(Epoch(epoch, EPOCHS, self.rows, self.model.eval(), self.pack))

    def history(self):
        return pa.Table.from_pylist(self.rows, schema=HISTORY)

    def pack(self):
        tensors = {f"model.{name}": tensor.clone() for name, tensor in self.model.state_dict().items()}
        tensors |= {f"momentum.{name}": tensor.clone() for name, tensor in self.momentum.items()}
        losses = torch.tensor([row["loss"] for row in self.rows], dtype=torch.float64)
        return save(tensors | {"losses": losses})

    def resume(self, state):
        try:
            tensors = load(state)
        except Exception as error:
            raise StateError(f"the state cannot be read: {error}") from error
        self.model.load_state_dict({n[6:]: t for n, t in tensors.items() if n.startswith("model.")})
        self.momentum = {n[9:]: t for n, t in tensors.items() if n.startswith("momentum.")}
        self.rows = [self.row(number, loss, 0.0) for number, loss in enumerate(tensors["losses"].tolist(), 1)]


@keeps
@component("training", version=1)
def good(model, train, test, defense, seed, on_epoch=None, state=None):
    """Gradient descent with momentum, for three epochs."""
    return Run(model, train, test, defense, seed, on_epoch, state).run()


class InRows(Run):
    def history(self):
        return self.rows


@breaks("returns_a_history")
@component("training", version=1)
def returns_rows(model, train, test, defense, seed, on_epoch=None, state=None):
    """Its history is a list, and no table."""
    return InRows(model, train, test, defense, seed, on_epoch, state).run()


class FromZero(Run):
    def row(self, epoch, loss, seconds):
        return super().row(epoch - 1, loss, seconds)


@breaks("returns_a_history")
@component("training", version=1)
def counts_epochs_from_zero(model, train, test, defense, seed, on_epoch=None, state=None):
    """Its epochs are numbered from 0."""
    return FromZero(model, train, test, defense, seed, on_epoch, state).run()


class Uphill(Run):
    def objective(self, defense):
        whole = super().objective(defense)
        return lambda *given: (-whole(*given)[0], whole(*given)[1])


@breaks("learns")
@component("training", version=1)
def climbs(model, train, test, defense, seed, on_epoch=None, state=None):
    """It raises the loss."""
    return Uphill(model, train, test, defense, seed, on_epoch, state).run()


class Undefended(Run):
    def objective(self, defense):
        return mean_loss


@breaks("minimises_what_the_defense_says")
@component("training", version=1)
def ignores_the_defense(model, train, test, defense, seed, on_epoch=None, state=None):
    """It minimises the loss of the head, whatever the defense says."""
    return Undefended(model, train, test, defense, seed, on_epoch, state).run()


class Unpenalised(Run):
    def objective(self, defense):
        return super().objective(Defense(craft=defense.craft, loss=defense.loss))


@breaks("minimises_what_the_defense_says")
@component("training", version=1)
def leaves_out_penalties(model, train, test, defense, seed, on_epoch=None, state=None):
    """It leaves out the defense's penalty."""
    return Unpenalised(model, train, test, defense, seed, on_epoch, state).run()


@breaks("leaves_the_splits_alone")
@component("training", version=1)
def standardises_in_place(model, train, test, defense, seed, on_epoch=None, state=None):
    """It centres the training images in place."""
    train.images.sub_(0.45)
    return Run(model, train, test, defense, seed, on_epoch, state).run()


@breaks("leaves_torchs_generator")
@component("training", version=1)
def seeds_for_all(model, train, test, defense, seed, on_epoch=None, state=None):
    """It seeds torch's own generator, and leaves it there."""
    torch.manual_seed(seed)
    return Run(model, train, test, defense, seed, on_epoch, state).run()


class Global(Run):
    def generator(self, epoch):
        return torch.random.fork_rng([])


@breaks("repeats_itself")
@component("training", version=1)
def draws_from_anywhere(model, train, test, defense, seed, on_epoch=None, state=None):
    """It draws from wherever torch's own generator is, and puts that back."""
    return Global(model, train, test, defense, seed, on_epoch, state).run()


class InOrder(Run):
    def generator(self, epoch):
        return seeded(epoch, CPU)


@breaks("draws_from_its_seed")
@component("training", version=1)
def ignores_its_seed(model, train, test, defense, seed, on_epoch=None, state=None):
    """It shuffles alike whatever the seed is."""
    return InOrder(model, train, test, defense, seed, on_epoch, state).run()


class Taciturn(Run):
    def tell(self, epoch):
        if epoch == EPOCHS:
            super().tell(epoch)


@breaks("tells_of_every_epoch")
@component("training", version=1)
def tells_of_the_last(model, train, test, defense, seed, on_epoch=None, state=None):
    """It tells of its last epoch alone."""
    return Taciturn(model, train, test, defense, seed, on_epoch, state).run()


class Training(Run):
    def tell(self, epoch):
        if self.on_epoch:
            self.on_epoch(Epoch(epoch, EPOCHS, self.rows, self.model.train(), self.pack))


@breaks("tells_of_every_epoch")
@component("training", version=1)
def tells_in_training_mode(model, train, test, defense, seed, on_epoch=None, state=None):
    """It tells of the model while it is in training mode."""
    return Training(model, train, test, defense, seed, on_epoch, state).run()


class OneStream(Run):
    """Draws for all epochs from one generator, which watchers can move."""

    def run(self):
        with seeded(derive_seed(self.seed, "all"), CPU):
            return super().run()

    def generator(self, epoch):
        return torch.random.fork_rng([], enabled=False)


@breaks("is_not_disturbed_between_epochs")
@component("training", version=1)
def draws_from_one_stream(model, train, test, defense, seed, on_epoch=None, state=None):
    """What is drawn after an epoch moves the generator of the next."""
    return OneStream(model, train, test, defense, seed, on_epoch, state).run()


class Cleared(Run):
    """Clears gradients only after its own steps."""

    def step(self, images, labels):
        value, scores = self.loss(self.model, images, labels)
        self.refuse(value)
        value.backward()
        with torch.no_grad():
            for name, weight in self.model.named_parameters():
                self.momentum[name].mul_(0.9).add_(weight.grad)
                weight.sub_(RATE * self.momentum[name])
        self.model.zero_grad()
        return value.item(), scores


@breaks("is_not_disturbed_between_epochs")
@component("training", version=1)
def takes_gradients_of_others(model, train, test, defense, seed, on_epoch=None, state=None):
    """Gradients that are left in the model after an epoch count in the next step."""
    return Cleared(model, train, test, defense, seed, on_epoch, state).run()


class Stalled(Run):
    def resume(self, state):
        super().resume(state)
        self.momentum = {name: torch.zeros_like(weight) for name, weight in self.model.named_parameters()}


@breaks("goes_on_from_its_state")
@component("training", version=1)
def loses_its_momentum(model, train, test, defense, seed, on_epoch=None, state=None):
    """It goes on without the momentum that it had."""
    return Stalled(model, train, test, defense, seed, on_epoch, state).run()


class Anew(Run):
    def resume(self, state):
        rows, self.rows = self.rows, []
        super().resume(state)
        self.rows = rows


@breaks("goes_on_from_its_state")
@component("training", version=1)
def begins_anew(model, train, test, defense, seed, on_epoch=None, state=None):
    """It goes through all epochs again, from the weights of its state."""
    return Anew(model, train, test, defense, seed, on_epoch, state).run()


class Trusting(Run):
    def resume(self, state):
        try:
            super().resume(state)
        except StateError:
            self.rows = []


@breaks("refuses_a_torn_state")
@component("training", version=1)
def begins_again_from_a_torn_state(model, train, test, defense, seed, on_epoch=None, state=None):
    """Where its state is torn it begins again without a word."""
    return Trusting(model, train, test, defense, seed, on_epoch, state).run()


class Blind(Run):
    def refuse(self, value):
        pass


@breaks("refuses_a_loss_that_is_not_finite")
@component("training", version=1)
def goes_on_with_nan(model, train, test, defense, seed, on_epoch=None, state=None):
    """It goes on with a loss that is not finite."""
    return Blind(model, train, test, defense, seed, on_epoch, state).run()
