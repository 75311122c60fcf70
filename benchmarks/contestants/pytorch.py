"""PyTorch: the data as tensors on the device, batches as slices of them, no waiting between steps.

Variants: "eager" (what a tutorial shows), "channels_last" (that memory format, and the fused optimizer), "compile"
(torch.compile of the loss, and the fused optimizer). Threads are PyTorch's default.
"""

import functools
import math

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks import network
from benchmarks.problem import Problem

# In place where PyTorch's own models have it so: it saves a pass over memory.
_ACTIVATIONS = {
    "relu": functools.partial(nn.ReLU, inplace=True), "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "elu": nn.ELU,
    "gelu": functools.partial(nn.GELU, approximate="tanh"), "silu": nn.SiLU, "linear": nn.Identity,
}  # fmt: skip


class Shift(nn.Module):
    """Shifts each training image by up to a fraction of its height and of its width, between pixels too."""

    def __init__(self, height: float, width: float):
        super().__init__()
        self.register_buffer("most", 2 * torch.tensor([width, height]), persistent=False)  # The image is 2 wide.

    def forward(self, images):
        if not self.training:
            return images
        transforms = torch.eye(2, 3, device=images.device).repeat(len(images), 1, 1)
        transforms[:, :, 2] = (2 * torch.rand(len(images), 2, device=images.device) - 1) * self.most
        grid = F.affine_grid(transforms, list(images.shape), align_corners=False)
        return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def build(layers: list[network.Layer], shift: tuple[float, float] = (0.0, 0.0)) -> nn.Sequential:
    """The network on images of Nx1x28x28. A layer's L2 factor is the attribute `l2` of its module."""
    modules = [Shift(*shift)] if any(shift) else []
    for layer in layers:
        if layer.kind in ("conv", "depthwise"):
            if any(layer.zeros):
                modules.append(nn.ZeroPad2d(layer.zeros * 2))
            modules.append(
                nn.Conv2d(
                    layer.inputs, layer.width, layer.size, layer.stride, groups=layer.groups, bias=layer.bias,
                    padding=layer.padding if layer.stride == 1 else "valid",  # PyTorch has no `same` with a stride.
                )
            )  # fmt: skip
        elif layer.kind == "dense":
            modules.append(nn.Linear(layer.inputs, layer.width))
            modules[-1].l2 = layer.l2
        elif layer.kind == "global_pool":
            kind = {"average": nn.AdaptiveAvgPool2d, "max": nn.AdaptiveMaxPool2d}[layer.pooling]
            modules += kind(1), nn.Flatten()
        elif layer.kind == "batch_norm":
            kind = nn.BatchNorm1d if any(isinstance(module, nn.Flatten) for module in modules) else nn.BatchNorm2d
            modules.append(kind(layer.width, network.BATCH_NORM_EPSILON, 1 - network.BATCH_NORM_MOMENTUM))
        else:
            makers = {"max_pool": lambda one: nn.MaxPool2d(one.size), "flatten": lambda _: nn.Flatten()}
            modules.append(makers.get(layer.kind, lambda one: nn.Dropout(one.rate))(layer))
        if layer.init:
            _initialize(modules[-1], layer.init)
            if layer.activation != "linear":
                modules.append(_ACTIVATIONS[layer.activation]())
    return nn.Sequential(*modules)


def _initialize(module: nn.Module, name: str) -> None:
    """Keras's initialisers by name, such as he_normal; biases to zero."""
    scale, shape = name.split("_")
    fan_in, fan_out = nn.init._calculate_fan_in_and_fan_out(module.weight)
    if getattr(module, "groups", 1) > 1:  # Keras has a depthwise kernel's inputs and outputs the other way round.
        fan_in, fan_out = fan_out, fan_in
    variance = {"glorot": 2 / (fan_in + fan_out), "he": 2 / fan_in, "lecun": 1 / fan_in}[scale]
    if shape == "uniform":
        nn.init.uniform_(module.weight, -math.sqrt(3 * variance), math.sqrt(3 * variance))
    else:
        nn.init.trunc_normal_(
            module.weight, std=math.sqrt(variance), a=-2 * math.sqrt(variance), b=2 * math.sqrt(variance)
        )
    if module.bias is not None:
        nn.init.zeros_(module.bias)


def make_optimizer(parameters, config: dict, fused: bool) -> torch.optim.Optimizer:
    """The optimizer of a `config.optimizer`; PyTorch has no fused RMSprop."""
    rate, extra = config["learning_rate"], {"fused": True} if fused else {}
    if config["name"] == "adam":
        betas = config["beta_1"], config["beta_2"]
        return torch.optim.Adam(parameters, rate, betas, config["epsilon"], **extra)
    if config["name"] == "sgd":
        return torch.optim.SGD(parameters, rate, config["momentum"], nesterov=config["nesterov"], **extra)
    return torch.optim.RMSprop(parameters, rate, config["rho"], config["epsilon"])


class Contestant:
    outside = 0.0

    def __init__(self, problem: Problem, variant: str):
        torch.manual_seed(problem.config["seed"])
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.device = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
        self.problem, self.batch_size, self.classes = problem, problem.batch_size, problem.classes
        layout = torch.channels_last if variant == "channels_last" else torch.contiguous_format
        self.place = lambda inputs: torch.from_numpy(inputs).permute(0, 3, 1, 2).to(device, memory_format=layout)
        self.images = self.place(problem.inputs)
        self.labels = torch.from_numpy(problem.labels).to(device, torch.int64)
        self.model = build(problem.layers, problem.shift).to(device, memory_format=layout).train()
        self.parameters = sum(t.numel() for t in self.model.state_dict().values() if t.is_floating_point())
        self.order, self.updates = None, 0
        self.optimizer = make_optimizer(self.model.parameters(), problem.config["optimizer"], variant != "eager")
        self.forward = torch.compile(self._forward) if variant == "compile" else self._forward

    def _forward(self, images, labels):
        logits = self.model(images)
        loss = F.cross_entropy(logits, labels, label_smoothing=self.problem.config["label_smoothing"])
        for module in self.model:
            if getattr(module, "l2", 0.0):
                loss = loss + module.l2 * module.weight.square().sum()
        return loss, logits

    def restart(self, seed: int) -> None:
        torch.manual_seed(seed)
        self.order, self.updates = torch.arange(len(self.labels)), 0
        self.optimizer.state.clear()
        layers = iter(layer for layer in self.problem.layers if layer.init)
        for module in self.model:
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                _initialize(module, next(layers).init)
            elif isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.reset_parameters()

    def _batch(self, start: int) -> tuple[torch.Tensor, torch.Tensor]:
        rows = slice(start, start + self.batch_size)
        if self.order is not None:
            rows = self.order[rows]
        return self.images[rows], self.labels[rows]

    def train(self, start: int, stop: int) -> tuple[float, float]:
        if self.order is not None and start == 0:
            self.order = torch.randperm(len(self.labels), device=self.labels.device)
        losses = torch.zeros((), device=self.labels.device)
        correct = torch.zeros((), device=self.labels.device, dtype=torch.int64)
        for i in range(start * self.batch_size, stop * self.batch_size, self.batch_size):
            images, labels = self._batch(i)
            if self.order is not None and self.problem.rates is not None:
                self.optimizer.param_groups[0]["lr"] = float(self.problem.rates[self.updates])
                self.updates += 1
            self.optimizer.zero_grad(set_to_none=True)
            loss, logits = self.forward(images, labels)
            loss.backward()
            self.optimizer.step()
            losses += loss.detach()
            correct += (logits.detach().argmax(1) == labels).sum()
        if self.device != "cpu":
            torch.cuda.synchronize()
        return losses.item() / (stop - start), correct.item() / ((stop - start) * self.batch_size)

    def test(self) -> float:
        _, inputs, labels = self.problem.test
        self.model.eval()
        with torch.no_grad():
            predicted = torch.cat([self.model(batch).argmax(1) for batch in self.place(inputs).split(500)])
        self.model.train()
        return float((predicted.cpu().numpy() == labels).mean())
