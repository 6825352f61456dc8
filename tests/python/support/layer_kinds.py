"""Small networks of every kind of layer that policies are built of, for the exporters of PyTorch."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn


class Call(nn.Module):
    """A function of the observation, and the layers that it needs."""

    def __init__(self, function, *layers):
        super().__init__()
        self.function = function
        self.layers = nn.ModuleList(layers)

    def forward(self, obs):
        return self.function(obs, *self.layers).flatten(1)


def shaped(*shape):
    """The observation, `[batch, 24]`, as something of another shape."""
    return lambda obs: obs.reshape(-1, *shape)


LINE, SERIES, IMAGE, VOLUME, TOKENS = shaped(24), shaped(2, 12), shaped(2, 3, 4), shaped(2, 2, 3, 2), shaped(4, 6)


def on(view, *layers):
    """Layers one after the other, on a view of the observation."""
    return Call(lambda obs, *found: _through(view(obs), found), *layers)


def of(function, view=LINE):
    """A function of a view of the observation."""
    return Call(lambda obs: function(view(obs)))


def _through(x, layers):
    for layer in layers:
        x = layer(x)
    return x


class Attends(nn.Module):
    def __init__(self, **given):
        super().__init__()
        self.layer = nn.MultiheadAttention(6, 2, batch_first=True, **given)

    def forward(self, obs):
        x = TOKENS(obs)
        return self.layer(x, x, x, need_weights=False)[0].flatten(1)


class Masked(nn.Module):
    """Causal self-attention by hand, with the mask that everybody writes."""

    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(6, 18)
        self.register_buffer("mask", torch.full((4, 4), float("-inf")).triu(1))

    def forward(self, obs):
        q, k, v = self.qkv(TOKENS(obs)).chunk(3, dim=-1)
        scores = q @ k.transpose(-1, -2) / 6**0.5 + self.mask
        return (scores.softmax(-1) @ v).flatten(1)


class FilledMask(Masked):
    def forward(self, obs):
        q, k, v = self.qkv(TOKENS(obs)).chunk(3, dim=-1)
        scores = (q @ k.transpose(-1, -2)).masked_fill(torch.ones(4, 4).triu(1).bool(), float("-inf"))
        return (scores.softmax(-1) @ v).flatten(1)


class SoftDot(Masked):
    def forward(self, obs):
        q, k, v = self.qkv(TOKENS(obs)).unsqueeze(1).chunk(3, dim=-1)
        return F.scaled_dot_product_attention(q, k, v, is_causal=True).flatten(1)


class Experts(nn.Module):
    """A mixture of experts with einsum."""

    def __init__(self):
        super().__init__()
        self.gate = nn.Linear(24, 3)
        self.weight = nn.Parameter(torch.randn(3, 24, 5))

    def forward(self, obs):
        return torch.einsum("be,bi,eio->bo", self.gate(obs).softmax(-1), obs, self.weight)


class Normalises(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.randn(24))
        self.register_buffer("var", torch.rand(24) + 0.5)

    def forward(self, obs):
        return ((obs - self.mean) / torch.sqrt(self.var + 1e-8)).clamp(-5.0, 5.0)


class RmsNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(24) + 0.5)

    def forward(self, obs):
        return obs * torch.rsqrt(obs.pow(2).mean(-1, keepdim=True) + 1e-6) * self.weight


class Rotated(nn.Module):
    """Rotary embedding of positions."""

    def __init__(self):
        super().__init__()
        angle = torch.arange(4)[:, None] * torch.tensor([1.0, 0.1, 0.01])
        self.register_buffer("cos", angle.cos())
        self.register_buffer("sin", angle.sin())

    def forward(self, obs):
        a, b = TOKENS(obs).chunk(2, dim=-1)
        return torch.cat((a * self.cos - b * self.sin, a * self.sin + b * self.cos), dim=-1).flatten(1)


class Picks(nn.Module):
    """The values of the best action, by a gather with a computed index."""

    def __init__(self):
        super().__init__()
        self.value, self.choice = nn.Linear(24, 6), nn.Linear(24, 6)

    def forward(self, obs):
        index = self.choice(obs).argmax(dim=1, keepdim=True)
        return torch.cat((self.value(obs).gather(1, index), index.float()), dim=1)


class Embeds(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(5, 4)

    def forward(self, obs):
        return self.table(obs[:, :2].abs().floor().clamp(0, 4).long()).flatten(1)


class Bags(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(10, 6), nn.Linear(14, 6)
        self.mix = nn.Bilinear(6, 6, 4)

    def forward(self, obs):
        a, b = obs.split([10, 14], dim=1)
        return self.mix(self.first(a).tanh(), self.second(b).tanh())


def quaternion_inverse(q):
    return torch.cat((q[..., :1], -q[..., 1:]), dim=-1) / (q * q).sum(-1, keepdim=True)


def gravity(obs):
    """A direction turned by the inverse of a quaternion, as deployments of walkers compute it."""
    q, v = F.normalize(obs[:, :4], dim=-1), obs[:, 4:7]
    w, u = q[:, :1], -q[:, 1:]
    return v + 2 * torch.cross(u, torch.cross(u, v, dim=-1) + w * v, dim=-1)


KINDS = {
    # Products
    "linear": lambda: on(LINE, nn.Linear(24, 5)),
    "linear_without_bias": lambda: on(LINE, nn.Linear(24, 5, bias=False)),
    "linear_of_tokens": lambda: on(TOKENS, nn.Linear(6, 3)),
    "bilinear": Bags,
    "einsum_experts": Experts,
    "einsum_attention": lambda: of(lambda x: torch.einsum("bqd,bkd->bqk", x, x.tanh()), TOKENS),
    "einsum_outer": lambda: of(lambda x: torch.einsum("bi,bj->bij", x[:, :3], x[:, 3:5])),
    "einsum_diagonal": lambda: of(lambda x: torch.einsum("bii->bi", x[:, :9].reshape(-1, 3, 3))),
    "einsum_trace": lambda: of(lambda x: torch.einsum("bii->b", x[:, :9].reshape(-1, 3, 3))[:, None]),
    "einsum_sum": lambda: of(lambda x: torch.einsum("bij->bj", x), TOKENS),
    "einsum_ellipsis": lambda: of(lambda x: torch.einsum("...i,...i->...", x, x.sin()), TOKENS),
    "bmm": lambda: of(lambda x: torch.bmm(x, x.transpose(1, 2)), TOKENS),
    "baddbmm": lambda: of(lambda x: torch.baddbmm(x[:, :, :4], x, x.transpose(1, 2), beta=0.5, alpha=2.0), TOKENS),
    # Convolutions and images
    "conv1d": lambda: on(SERIES, nn.Conv1d(2, 3, 3, stride=2, padding=1)),
    "conv1d_causal": lambda: Call(
        lambda obs, conv, head: head(conv(F.pad(SERIES(obs), (2, 0))).flatten(1)), nn.Conv1d(2, 3, 3), nn.Linear(36, 4)
    ),
    "conv1d_depthwise": lambda: on(SERIES, nn.Conv1d(2, 4, 3, groups=2, dilation=2)),
    "conv1d_reflect": lambda: on(
        SERIES, nn.Conv1d(2, 3, 3, padding=1, padding_mode="reflect"), nn.Flatten(), nn.Linear(36, 4)
    ),
    "conv1d_same": lambda: on(SERIES, nn.Conv1d(2, 3, 4, padding="same")),
    "conv2d": lambda: on(IMAGE, nn.Conv2d(2, 3, (2, 3), padding=(1, 0))),
    "conv3d": lambda: on(VOLUME, nn.Conv3d(2, 3, (2, 2, 1))),
    "conv_transpose1d": lambda: on(SERIES, nn.ConvTranspose1d(2, 3, 3, stride=2, padding=1, output_padding=1)),
    "conv_transpose2d": lambda: on(IMAGE, nn.ConvTranspose2d(2, 4, 3, stride=2, groups=2)),
    "max_pool1d": lambda: on(SERIES, nn.MaxPool1d(3, 2)),
    "max_pool2d": lambda: on(IMAGE, nn.MaxPool2d(2, stride=1, padding=1)),
    "max_pool_ceil": lambda: on(IMAGE, nn.MaxPool2d(2, ceil_mode=True)),
    "avg_pool1d": lambda: on(SERIES, nn.AvgPool1d(3, 2, padding=1)),
    "avg_pool2d": lambda: on(IMAGE, nn.AvgPool2d(2, stride=1, padding=1, count_include_pad=False)),
    "lp_pool2d": lambda: of(lambda x: F.lp_pool2d(x.abs() + 0.1, 2.0, 2), IMAGE),
    "adaptive_avg_pool1d": lambda: on(SERIES, nn.AdaptiveAvgPool1d(4)),
    "adaptive_avg_pool2d": lambda: on(IMAGE, nn.AdaptiveAvgPool2d((1, 1))),
    "adaptive_max_pool1d": lambda: on(SERIES, nn.AdaptiveMaxPool1d(3)),
    "upsample_nearest": lambda: on(IMAGE, nn.Upsample(scale_factor=2)),
    "upsample_bilinear": lambda: on(IMAGE, nn.Upsample(scale_factor=2, mode="bilinear")),
    "upsample_bicubic": lambda: on(IMAGE, nn.Upsample(size=(5, 7), mode="bicubic", align_corners=True)),
    "interpolate_linear": lambda: of(lambda x: F.interpolate(x, size=7, mode="linear"), SERIES),
    "pixel_shuffle": lambda: on(shaped(4, 2, 3), nn.PixelShuffle(2)),
    "pixel_unshuffle": lambda: on(shaped(1, 4, 6), nn.PixelUnshuffle(2)),
    "unfold": lambda: on(IMAGE, nn.Unfold((2, 2))),
    "fold": lambda: on(shaped(4, 6), nn.Fold((3, 4), (2, 2))),
    "zero_pad": lambda: on(IMAGE, nn.ZeroPad2d((1, 0, 2, 1)), nn.Flatten(), nn.Linear(60, 4)),
    "replication_pad": lambda: on(SERIES, nn.ReplicationPad1d(2), nn.Flatten(), nn.Linear(32, 4)),
    "circular_pad": lambda: of(lambda x: F.pad(x, (2, 1), mode="circular"), SERIES),
    # Normalisations
    "layer_norm": lambda: on(LINE, nn.LayerNorm(24)),
    "layer_norm_of_tokens": lambda: on(TOKENS, nn.LayerNorm((4, 6), elementwise_affine=False)),
    "batch_norm1d": lambda: on(LINE, nn.BatchNorm1d(24)),
    "batch_norm2d": lambda: on(IMAGE, nn.BatchNorm2d(2)),
    "group_norm": lambda: on(shaped(4, 6), nn.GroupNorm(2, 4)),
    "instance_norm": lambda: on(SERIES, nn.InstanceNorm1d(2, affine=True)),
    "rms_norm": RmsNorm,
    "rms_norm_layer": lambda: on(LINE, nn.RMSNorm(24, eps=1e-6)),
    "local_response_norm": lambda: on(shaped(4, 2, 3), nn.LocalResponseNorm(3)),
    "normalize": lambda: of(lambda x: F.normalize(x, dim=-1), TOKENS),
    "observation_normaliser": Normalises,
    "standardised": lambda: of(lambda x: (x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True)),
    # Attention
    "multihead_attention": Attends,
    "multihead_attention_bias_kv": lambda: Attends(add_bias_kv=True),
    "masked_attention": Masked,
    "filled_mask": FilledMask,
    "scaled_dot_product": SoftDot,
    "transformer_layer": lambda: on(TOKENS, nn.TransformerEncoderLayer(6, 2, 12, batch_first=True)),
    "transformer_layer_first_norm": lambda: on(
        TOKENS, nn.TransformerEncoderLayer(6, 2, 12, activation="gelu", batch_first=True, norm_first=True)
    ),
    "rotary": Rotated,
    # Heads and choices
    "softmax": lambda: on(LINE, nn.Softmax(dim=-1)),
    "log_softmax": lambda: on(TOKENS, nn.LogSoftmax(dim=1)),
    "argmax": lambda: of(lambda x: x.argmax(dim=1, keepdim=True).float()),
    "one_hot": lambda: of(lambda x: F.one_hot(x[:, :5].argmax(1), 5).float()),
    "topk": lambda: of(lambda x: torch.cat([part.float() for part in x.topk(3, dim=1)], dim=1)),
    "sort": lambda: of(lambda x: x.sort(dim=1, descending=True)[0]),
    "picks": Picks,
    "embedding": Embeds,
    "cumsum": lambda: of(lambda x: x.cumsum(dim=1)),
    "cross": lambda: of(gravity),
    "quaternion": lambda: of(lambda x: quaternion_inverse(x[:, :4] + 1.5)),
    "atan2": lambda: of(lambda x: torch.atan2(x[:, :12], x[:, 12:])),
    "hyperbolic": lambda: of(lambda x: torch.cat((x.sinh(), x.cosh(), x.asinh(), (x.abs() + 1.1).acosh()), 1)),
    "inverse": lambda: of(
        lambda x: torch.cat((x.tanh().asin(), x.tanh().acos(), x.atan(), (x.tanh() * 0.9).atanh()), 1)
    ),
    "powers": lambda: of(
        lambda x: torch.cat((x**2, x.abs() ** 1.5, 2.0 ** x.tanh(), x.exp2() if hasattr(x, "exp2") else x), 1)
    ),
    "remainder": lambda: of(lambda x: torch.cat((torch.remainder(x, 0.7), torch.fmod(x, 0.7)), 1)),
    "rounding": lambda: of(lambda x: torch.cat((x.round(), x.floor(), x.ceil(), x.trunc(), x.frac()), 1)),
    "logarithms": lambda: of(lambda x: torch.cat((x.abs().add(0.1).log2(), x.abs().log1p(), x.expm1()), 1)),
    "where": lambda: of(lambda x: torch.where(x > 0.2, x, -0.5 * x)),
    "clamps": lambda: of(lambda x: torch.minimum(torch.maximum(x, -x * 0.1), x.abs().clamp(max=0.8))),
    "logical": lambda: of(lambda x: ((x > 0) & ~(x > 1) | (x < -1)).float()),
    "in_place": lambda: of(_in_place),
    "roll_and_flip": lambda: of(lambda x: torch.cat((x.roll(3, dims=1), x.flip(1)), 1)),
    "stack_and_unbind": lambda: of(lambda x: torch.stack([part.tanh() for part in x.unbind(1)], dim=2), TOKENS),
    "repeat_interleave": lambda: of(lambda x: torch.cat((x.repeat_interleave(2, dim=1), x.repeat(1, 2)), 1)),
    "tril": lambda: of(lambda x: x[:, :16].reshape(-1, 4, 4).tril()),
    "norms": lambda: of(
        lambda x: torch.cat((x.norm(dim=1, keepdim=True), x.norm(1, 1, True), x.norm(float("inf"), 1, True)), 1)
    ),
    "variance": lambda: of(lambda x: torch.stack((x.var(1), x.var(1, unbiased=False), x.logsumexp(1), x.prod(1)), 1)),
    "min_and_max": lambda: of(
        lambda x: torch.cat((x.amin(1, True), x.max(dim=1, keepdim=True)[0], x.min(dim=1, keepdim=True)[1].float()), 1)
    ),
    "nan_to_num": lambda: of(lambda x: torch.nan_to_num(x)),
    "scatter": lambda: of(
        lambda x: torch.zeros_like(x).scatter(1, torch.tensor([[1, 3, 5]]).expand(x.shape[0], 3), x[:, :3])
    ),
    "scatter_add": lambda: of(lambda x: x.index_add(1, torch.tensor([0, 2, 0]), x[:, :3])),
    "index_select": lambda: of(lambda x: x.index_select(1, torch.tensor([3, 0, 3]))),
    "fourier": lambda: of(lambda x: torch.view_as_real(torch.fft.rfft(x[:, :16], dim=1))),
    "meshgrid": lambda: of(lambda x: x[:, :4].unsqueeze(2) * torch.linspace(-1, 1, 3)),
    # Activations that are no single operator everywhere
    "glu": lambda: on(LINE, nn.GLU()),
    "gelu_tanh": lambda: on(LINE, nn.GELU("tanh")),
    "softmin": lambda: on(LINE, nn.Softmin(dim=1)),
    "hardshrink": lambda: on(LINE, nn.Hardshrink()),
    "rrelu": lambda: on(LINE, nn.RReLU()),
    "prelu": lambda: on(SERIES, nn.PReLU(2)),
    "log_sigmoid": lambda: on(LINE, nn.LogSigmoid()),
    "softplus": lambda: on(LINE, nn.Softplus(beta=2.0)),
    "threshold": lambda: on(LINE, nn.Threshold(0.1, -0.3)),
    "crelu": lambda: of(lambda x: torch.cat((F.relu(x), F.relu(-x)), dim=1)),
    "dropout": lambda: on(LINE, nn.Dropout(0.5), nn.AlphaDropout(0.2)),
    "cosine_similarity": lambda: of(lambda x: F.cosine_similarity(x[:, :12], x[:, 12:], dim=1)[:, None]),
    "pairwise_distance": lambda: of(lambda x: torch.cdist(x, x.flip(1)), TOKENS),
    "channel_shuffle": lambda: on(shaped(4, 2, 3), nn.ChannelShuffle(2)),
    "weight_norm": lambda: on(LINE, nn.utils.parametrizations.weight_norm(nn.Linear(24, 5))),
    "spectral_norm": lambda: on(LINE, nn.utils.parametrizations.spectral_norm(nn.Linear(24, 5))),
}


def _in_place(x):
    y = x.clone()
    y[:, 2:5] = x[:, :3] * 2
    y[:, 0] += 1.0
    return y


def layer(name):
    """A network of that kind, in eval mode, with random weights and statistics."""
    torch.manual_seed(0)
    made = KINDS[name]().eval()
    for buffer_name, values in made.named_buffers():
        if "running" in buffer_name:
            values.uniform_(0.5, 1.5)
    return made
