"""Szegedy's attack: L-BFGS within the box on c times the squared distance plus a loss, and a search for the c."""

import torch
from torch import Tensor

from tasks.attacks._class_boundary import believed, drawn_back, settled
from tasks.cases import Budget
from tasks.counted import CountedModel
from tasks.metrics import Box, clip, rowwise
from tasks.parameters import Count, Positive
from tasks.per_sample import PerSample
from tasks.registry import component
from tasks.streams import Streams
from tasks.types import Images, Labels, Rows, Steps

_ARMIJO = 1e-4
"""The share of the decrease promised by the gradient that a step must keep."""
_HALVINGS = 10
"""Steps tried along a direction before its search gives up."""
_SPREAD = 30.0
"""From the least to the most likely class at the image, in log-probability, once these have been multiplied."""
_SHARPEST = 256.0
"""What they are multiplied by at most: of an image on a boundary the loss must not vanish a hair beyond it."""
_STALLED = 0.999
"""A search ends when a step does not bring the objective below this share of what it was."""
_CLOSE = 1.02
"""A c whose bounds are within this factor is searched no further."""


@component(
    "attack",
    version=2,
    paper="https://arxiv.org/abs/1312.6199",
    norms=("l2",),
    budget="minimal",
    knowledge="white-box",
    targeting=("untargeted", "targeted"),
    stops="drawing",
)
def lbfgs(
    model: CountedModel,
    images: Images,
    labels: Labels,
    budget: Budget,
    streams: Streams,
    *,
    search_steps: Count = 10,
    steps: Count = 50,
    history: Count = 5,
    initial_c: Positive = 1.0,
) -> tuple[Images, Steps]:
    """L-BFGS, https://arxiv.org/abs/1312.6199: minimise c |r|^2 - log P(aim at x + r) in the box, for the largest c.

    Szegedy et al. 2014, section 4.1. The aim is the target, or any class but the label. Each of `search_steps` searches
    evaluates up to `steps` points at one c, with `history` pairs of L-BFGS; c is multiplied by 10 while its minimum is
    adversarial, divided by 10 while it is not, and bisected between. At the end the ray is searched for the boundary.
    Returned is the smallest adversarial point evaluated, else the last minimum; steps are points evaluated by the
    searches. c is in units of one over the space's.

    Deviations: the distance is squared, as its own gradient is not defined at the image. Log-probabilities are
    multiplied so that they spread over 30 at the image, and the loss is divided by the length of its gradient there: no
    scale of the scores changes where the minimum lies, or what a c does. The paper has targets
    only; without one the label's loss is raised by way of -log(1 - P(label)), which grows with confidence where
    log P(label) saturates. A search starts from the minimum of the one before it. L-BFGS is the two loops of Nocedal
    on the pixels that can still move, with steps projected on the box and halved until they descend (Armijo).
    """
    state = _State(images, labels, history, initial_c)
    found, made = images.clone(), torch.zeros_like(labels)
    whole, rows = model, torch.arange(len(labels), device=labels.device)
    state.visit(model, first=True)
    state.done, step = state.distance == 0, 0
    state.ended |= state.done
    state.move(model.box)
    while len(rows) > 0:
        if step % model.sync_every == 0:
            ended = torch.nonzero(state.ended)[:, 0]
            if len(ended) > 0:
                state.next_search(ended, search_steps)
                going = torch.nonzero(~state.done)[:, 0]
                if len(going) < len(rows):
                    found[rows], made[rows] = state.found(model), state.made
                    rows, state, model = rows[going], state.at(going), model.at(going)
                    continue
        state.visit(model)
        state.ended = state.ended | (state.updates >= steps)
        state.move(model.box)
        step += 1
    return settled(whole, images, labels, found), made


class _State(PerSample):
    """Where a batch of samples stands: one row each.

    `position` is the last point that descended, with its objective, gradient and L-BFGS pairs; `trial` is evaluated
    next.
    """

    def __init__(self, images: Images, labels: Labels, history: int, c: float) -> None:
        def every(value: float, dtype: torch.dtype = torch.float64) -> Tensor:
            return torch.full((len(images),), value, dtype=dtype, device=images.device)

        flat = images.flatten(1)
        self.images, self.labels = images, labels
        self.trial, self.position, self.best = images.clone(), images.clone(), images.clone()
        self.gradient = torch.zeros_like(flat)
        self.moves, self.bends = (flat.new_zeros(len(flat), history, flat.shape[1]) for _ in range(2))
        self.curvatures = flat.new_zeros(len(flat), history)  # 0 where there is no pair
        self.sharpness = every(1)
        self.distance, self.objective, self.scale = every(torch.inf), every(torch.inf), every(1)
        self.c, self.least, self.most = every(c), every(0), every(torch.inf)
        self.size, self.margin, self.first_margin = (every(1, images.dtype) for _ in range(3))
        self.searches, self.updates, self.made, self.halvings = (every(0, torch.int64) for _ in range(4))
        self.ended, self.done, self.fools = (every(0, torch.bool) for _ in range(3))

    def visit(self, model: CountedModel, *, first: bool = False) -> None:
        """Evaluate the trial points: offer them, and go there where they descend, else halve the step."""
        with torch.enable_grad():
            points = self.trial.detach().requires_grad_()
            scores = model(points)
            log_probabilities = model.log_probabilities(scores.double())
            if first:
                self.sharpness = _sharpness(log_probabilities.detach())
            loss = _loss(model, log_probabilities * self.sharpness[:, None], self.labels)
            (gradient,) = torch.autograd.grad(loss.sum(), points)
        gradient = gradient.nan_to_num(0.0).flatten(1)
        if first:
            length = torch.linalg.vector_norm(gradient.double(), dim=1)
            self.scale = torch.where(length > 0, length, 1.0)
        delta = (self.trial - self.images).flatten(1)
        distance = torch.linalg.vector_norm(delta, dim=1, dtype=torch.float64)
        objective = self.c * distance.square() + loss.detach() / self.scale
        gradient = torch.addcmul(gradient / self.scale[:, None].to(gradient), delta, 2 * self.c[:, None].to(gradient))
        fools = model.fooled(scores.detach(), self.labels)
        wanted = (distance < self.distance) & ~self.ended
        fools = believed(model, self.trial, self.labels, fools, wanted)
        closer = fools & wanted
        self.best = torch.where(rowwise(closer, self.best), self.trial, self.best)
        self.distance = torch.where(closer, distance, self.distance)
        margin = model.margins(scores.detach(), self.labels)
        self.margin = torch.where(closer, margin, self.margin)
        if first:
            self.first_margin = margin
        else:
            self.updates, self.made = self.updates + ~self.ended, self.made + ~self.ended
        self._settle(objective, gradient, fools)

    def found(self, model: CountedModel) -> Images:
        """What the searches found, drawn back to the boundary for the samples that are done."""
        found = torch.where(rowwise(self.distance.isfinite(), self.best), self.best, self.position)
        rows = torch.nonzero(self.done & self.distance.isfinite() & (self.distance > 0))[:, 0]
        if len(rows) > 0:
            ends = self.images, self.labels, self.best, self.margin, self.first_margin
            found[rows] = drawn_back(model.at(rows), *(values[rows] for values in ends))
        return found

    def _settle(self, objective: Tensor, gradient: Tensor, fools: Tensor) -> None:
        """Make the trial the position where it descends enough; mark the searches that got nowhere."""
        move = (self.trial - self.position).flatten(1)
        promised = (move * self.gradient).sum(1).clamp(max=0)
        fresh = self.objective.isinf()
        taken = (fresh | (objective <= self.objective + _ARMIJO * promised)) & ~self.ended
        self._remember(move, gradient - self.gradient, taken & ~fresh)
        stalled = taken & (objective > self.objective * _STALLED)
        self.halvings = torch.where(taken, 0, self.halvings + 1)
        self.ended = self.ended | stalled | (self.halvings > _HALVINGS)
        self.size = torch.where(taken, 1.0, self.size / 2)
        self.position = torch.where(rowwise(taken, self.trial), self.trial, self.position)
        self.gradient = torch.where(taken[:, None], gradient, self.gradient)
        self.objective = torch.where(taken, objective, self.objective)
        self.fools = torch.where(taken, fools, self.fools)

    def _remember(self, move: Tensor, bend: Tensor, taken: Tensor) -> None:
        """Put a pair first in the history of the samples that moved, if the objective curves upwards along it."""
        curvature = (move * bend).sum(1)
        rows = torch.nonzero(taken & (curvature > torch.finfo(move.dtype).tiny))[:, 0]
        for kept, latest in ((self.moves, move), (self.bends, bend), (self.curvatures, curvature)):
            kept[rows] = torch.cat([latest[rows, None], kept[rows, :-1]], dim=1)

    def move(self, box: Box) -> None:
        """Set the next trial: from the position against the gradient, bent by the history, within the box."""
        low, high = (end.expand_as(self.position).flatten(1) for end in box)
        position = self.position.flatten(1)
        stuck = ((position <= low) & (self.gradient > 0)) | ((position >= high) & (self.gradient < 0))
        gradient = self.gradient.masked_fill(stuck, 0.0)
        direction = self._descent(gradient).masked_fill(stuck, 0.0)
        ascends = (direction * gradient).sum(1) >= 0
        plain = gradient / (-2 * self.c[:, None]).to(gradient)
        direction = torch.where(ascends[:, None], plain, direction)
        trial = torch.addcmul(position, direction, self.size[:, None])
        self.trial = clip(trial, (low, high)).view_as(self.position)

    def _descent(self, gradient: Tensor) -> Tensor:
        """Minus the L-BFGS inverse Hessian times the gradient: the two loops, Nocedal 1980."""
        inverse = torch.where(self.curvatures > 0, 1 / self.curvatures, 0.0)
        vector, shares = -gradient, []
        for move, bend, weight in zip(self.moves.unbind(1), self.bends.unbind(1), inverse.unbind(1), strict=True):
            share = weight * (move * vector).sum(1)
            vector = vector.addcmul(bend, -share[:, None])
            shares.append(share)
        # Without a pair, the distance's own curvature: exact where the loss is linear.
        latest = self.curvatures[:, 0] / self.bends[:, 0].square().sum(1)
        size = torch.where(self.curvatures[:, 0] > 0, latest, (0.5 / self.c).to(gradient))
        vector = vector * size[:, None]
        pairs = zip(self.moves.unbind(1), self.bends.unbind(1), inverse.unbind(1), shares, strict=True)
        for move, bend, weight, share in reversed(list(pairs)):
            vector = vector.addcmul(move, (share - weight * (bend * vector).sum(1))[:, None])
        return vector

    def next_search(self, rows: Rows, search_steps: int) -> None:
        """Give some samples, whose search has ended, a new c, from where they are."""
        c, won = self.c[rows], self.fools[rows]
        least, most = torch.where(won, c, self.least[rows]), torch.where(won, self.most[rows], c)
        self.least[rows], self.most[rows] = least, most
        between = torch.where(most.isfinite(), (least * most).sqrt(), c * 10)
        self.c[rows] = torch.where(least > 0, between, c / 10)
        self.searches[rows] += 1
        self.done[rows] |= (self.searches[rows] >= search_steps) | (most <= _CLOSE * least)
        self.trial[rows] = self.position[rows]
        self.objective[rows] = torch.inf
        self.size[rows] = 1.0
        for restarted in (self.curvatures, self.moves, self.bends, self.updates, self.halvings, self.ended):
            restarted[rows] = 0


def _sharpness(log_probabilities: Tensor) -> Tensor:
    """What log-probabilities are multiplied by, (n,), so that they spread as far as any model's at the image."""
    low, high = log_probabilities.aminmax(dim=1)
    spread = high - low
    return (_SPREAD / spread.clamp(min=torch.finfo(torch.float32).tiny)).clamp(max=_SHARPEST)


def _loss(model: CountedModel, log_odds: Tensor, labels: Labels) -> Tensor:
    """Minus the log of the probability of the aim, (batch,), in float64: the target's, or that of all but the label."""
    log_probabilities = log_odds.log_softmax(1)
    if model.targets is not None:
        return -log_probabilities.gather(1, model.targets[:, None])[:, 0]
    return -log_probabilities.scatter(1, labels[:, None], -torch.inf).logsumexp(1)
