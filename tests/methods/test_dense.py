"""Every dense base against its equation, typed plainly in NumPy float64."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.special import erf

from napari_prelabel.methods import dense
from napari_prelabel.methods.attention import attend
from napari_prelabel.values.bases import ABOUT
from napari_prelabel.values.job import BASES

HEADS, WIDTH, OUT = 4, 32, 12
GRID = (3, 5)


def quick_gelu(x):
    return x / (1 + np.exp(-1.702 * x))


def gelu(x):
    return x * (1 + erf(x / np.sqrt(2))) / 2


ACTIVATIONS = {"quick": (dense.quick_gelu, quick_gelu), "plain": (F.gelu, gelu)}


def make_tower(layers, activation="quick", pool="cls", layer_scale=False, seed=0):
    rng = torch.Generator().manual_seed(seed)

    def rand(*shape, scale=0.3):
        return torch.randn(*shape, generator=rng, dtype=torch.float64) * scale

    def norm():
        return dense.Norm(1 + rand(WIDTH), rand(WIDTH), 1e-5)

    def block():
        mlp = dense.Mlp(
            norm(),
            rand(2 * WIDTH, WIDTH),
            rand(2 * WIDTH),
            rand(WIDTH, 2 * WIDTH),
            rand(WIDTH),
            ACTIVATIONS[activation][0],
            rand(WIDTH) if layer_scale else None,
        )
        return dense.Block(
            HEADS,
            norm(),
            rand(3 * WIDTH, WIDTH),
            rand(3 * WIDTH),
            rand(WIDTH, WIDTH),
            rand(WIDTH),
            mlp,
            rand(WIDTH) if layer_scale else None,
        )

    return dense.Tower(tuple(block() for _ in range(layers)), norm(), rand(WIDTH, OUT), pool=pool)


def make_tokens(batch=2, seed=1):
    rng = torch.Generator().manual_seed(seed)
    count = 1 + GRID[0] * GRID[1]
    return torch.randn(batch, count, WIDTH, generator=rng, dtype=torch.float64)


# The references: one window, one head at a time.


def ref_norm(norm, x):
    mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / np.sqrt(var + norm.eps) * norm.weight.numpy() + norm.bias.numpy()


def ref_softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def ref_unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def ref_heads(block, normed):
    joint = normed @ block.qkv_weight.numpy().T + block.qkv_bias.numpy()
    q, k, v = np.split(joint, 3, axis=-1)
    d = WIDTH // HEADS
    return [[z[:, h * d : (h + 1) * d] for z in (q, k, v)] for h in range(HEADS)]


def ref_out(block, per_head):
    y = np.concatenate(per_head, -1) @ block.out_weight.numpy().T + block.out_bias.numpy()
    return y if block.scale is None else y * block.scale.numpy()


def ref_mlp(block, x, activation):
    m = block.mlp
    hidden = ref_norm(m.norm, x) @ m.hidden_weight.numpy().T + m.hidden_bias.numpy()
    y = ACTIVATIONS[activation][1](hidden) @ m.out_weight.numpy().T + m.out_bias.numpy()
    return y if m.scale is None else y * m.scale.numpy()


def ref_maps(block, x):
    scale = (WIDTH // HEADS) ** -0.5
    return [ref_softmax(q @ k.T * scale) for q, k, _ in ref_heads(block, ref_norm(block.norm, x))]


def ref_block(block, x, activation):
    heads = ref_heads(block, ref_norm(block.norm, x))
    mixed = [a @ v for a, (_, _, v) in zip(ref_maps(block, x), heads, strict=True)]
    x = x + ref_out(block, mixed)
    return x + ref_mlp(block, x, activation)


def ref_inputs(tower, x, activation):
    inputs = [x]
    for block in tower.blocks[:-1]:
        inputs.append(ref_block(block, inputs[-1], activation))
    return inputs


def ref_read(tower, x):
    return ref_unit(ref_norm(tower.norm, x) @ tower.proj.numpy())[1:]


def ref_omega():
    places = [(y, x) for y in range(GRID[0]) for x in range(GRID[1])]
    n = len(places)
    omega = np.zeros((n + 1, n + 1))
    for i, a in enumerate(places):
        for j, b in enumerate(places):
            omega[i + 1, j + 1] = np.exp(-((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2) / (2 * 5**2))
    return omega


def ref_last(name, block, x, activation):
    """Output tokens of the last block as `name` defines it."""
    scale = (WIDTH // HEADS) ** -0.5
    mixed = []
    for q, k, v in ref_heads(block, ref_norm(block.norm, x)):
        attention = {
            "maskclip": lambda q, k: np.eye(len(q)),  # noqa: ARG005
            "sclip": lambda q, k: ref_softmax(q @ q.T * scale) + ref_softmax(k @ k.T * scale),
            "clearclip": lambda q, k: ref_softmax(q @ q.T * scale),  # noqa: ARG005
            "naclip": lambda q, k: ref_softmax(k @ k.T * scale + ref_omega()),  # noqa: ARG005
        }[name.partition("_")[0]](q, k)
        mixed.append(attention @ v)
    y = ref_out(block, mixed)
    if name.endswith("_residual"):
        y = x + y
    with_mlp = name in ("maskclip", "sclip") or name.endswith("_residual")
    return y + ref_mlp(block, y, activation) if with_mlp else y


def ref_gem(tower, x, activation):
    depth = {3: 1, 5: 2, 8: 4, 13: 6}[len(tower.blocks)]
    inputs = ref_inputs(tower, x, activation)
    stream = inputs[-depth]
    for block, own in zip(tower.blocks[-depth:], inputs[-depth:], strict=True):
        normed = ref_norm(block.norm, own)
        tau = np.linalg.norm(normed, axis=-1).mean() * (WIDTH // HEADS) ** -0.5
        mixed = []
        for q, k, v in ref_heads(block, normed):
            total = 0
            for z in (v, k, q):
                z = ref_unit(z)
                z = ref_unit(ref_softmax(tau * z @ z.T) @ z)
                total = total + ref_softmax(tau * z @ z.T) @ v
            mixed.append(total / 3)
        stream = stream + ref_out(block, mixed)
    return stream


@pytest.mark.parametrize("layer_scale", [False, True])
@pytest.mark.parametrize("activation", ["quick", "plain"])
@pytest.mark.parametrize("name", [base for base in BASES if base != "gem"])
def test_a_base_is_its_equation(name, activation, layer_scale):
    tower = make_tower(3, activation, layer_scale=layer_scale)
    tokens = make_tokens()
    got = dense.BASES[name](dense.run_trunk(tower, tokens, GRID), tower)
    assert got.shape == (2, 15, OUT)
    for window, x in zip(got, tokens.numpy(), strict=True):
        last = ref_inputs(tower, x, activation)[-1]
        block = tower.blocks[-1]
        if name == "vanilla":
            out = ref_block(block, last, activation)
        else:
            out = ref_last(name, block, last, activation)
        np.testing.assert_allclose(window.numpy(), ref_read(tower, out), atol=1e-12)


def test_every_base_is_computed_titled_and_told_apart():
    assert tuple(ABOUT) == BASES == tuple(dense.BASES)
    assert len({a.title for a in ABOUT.values()}) == len(BASES)
    assert len({a.help for a in ABOUT.values()}) == len(BASES)
    tower, tokens = make_tower(3), make_tokens()
    trunk = dense.run_trunk(tower, tokens, GRID, inputs=True)
    rows = [base(trunk, tower) for base in dense.BASES.values()]
    for i, a in enumerate(rows):
        for b in rows[:i]:
            assert (a * b).sum(-1).min() < 0.999


@pytest.mark.parametrize("layers", [3, 5, 8, 13])
def test_gem_is_its_equation(layers):
    tower, tokens = make_tower(layers, "plain"), make_tokens()
    got = dense.gem(dense.run_trunk(tower, tokens, GRID, inputs=True), tower)
    for window, x in zip(got, tokens.numpy(), strict=True):
        expected = ref_read(tower, ref_gem(tower, x, "plain"))
        np.testing.assert_allclose(window.numpy(), expected, atol=1e-12)


@pytest.mark.parametrize(("layers", "depth"), [(1, 1), (3, 1), (6, 3), (12, 6), (24, 6)])
def test_gem_takes_half_the_blocks_and_at_most_six(layers, depth):
    assert dense.gem_depth(layers) == depth


def test_attention_is_the_mean_of_layers_and_heads_before_the_last():
    tower, tokens = make_tower(4), make_tokens()
    trunk = dense.run_trunk(tower, tokens, GRID, attention=True, head0=True)
    for window in range(2):
        inputs = ref_inputs(tower, tokens[window].numpy(), "quick")
        maps = [ref_maps(b, x) for b, x in zip(tower.blocks[:-1], inputs[:-1], strict=True)]
        np.testing.assert_allclose(trunk.attention[window], np.mean(maps, (0, 1)), atol=1e-13)
        head0 = np.mean([m[0] for m in maps], 0)
        np.testing.assert_allclose(trunk.attention_head0[window], head0, atol=1e-13)


def test_looking_at_the_attention_changes_nothing():
    tower, tokens = make_tower(4), make_tokens()
    plain = dense.run_trunk(tower, tokens, GRID)
    looked = dense.run_trunk(tower, tokens, GRID, attention=True, inputs=True, cls=True)
    torch.testing.assert_close(plain.tokens, looked.tokens, atol=1e-12, rtol=0)
    assert (plain.attention, plain.block_inputs, plain.cls) == (None, (), None)
    assert looked.block_inputs[-1] is looked.tokens


@pytest.mark.parametrize("pool", ["cls", "norm_then_mean", "mean_then_norm"])
def test_the_image_vector_is_the_pooled_last_block(pool):
    tower, tokens = make_tower(3, pool=pool), make_tokens()
    got = dense.run_trunk(tower, tokens, GRID, cls=True).cls
    for vector, x in zip(got, tokens.numpy(), strict=True):
        out = ref_block(tower.blocks[-1], ref_inputs(tower, x, "quick")[-1], "quick")
        pooled = {
            "cls": ref_norm(tower.norm, out[0]),
            "norm_then_mean": ref_norm(tower.norm, out[1:]).mean(0),
            "mean_then_norm": ref_norm(tower.norm, out[1:].mean(0)),
        }[pool]
        np.testing.assert_allclose(vector, ref_unit(pooled @ tower.proj.numpy()), atol=1e-12)


def test_rows_of_sclip_sum_to_two_and_of_the_affinity_to_one():
    tower, tokens = make_tower(2), make_tokens()
    last = tower.blocks[-1]
    ones = torch.ones(2, HEADS, 16, WIDTH // HEADS, dtype=torch.float64)
    q, k, _ = last.qkv(last.normed(tokens))
    torch.testing.assert_close(attend(q, q, ones) + attend(k, k, ones), 2 * ones)
    affinity = dense.run_trunk(tower, tokens, GRID, attention=True).attention
    torch.testing.assert_close(affinity.sum(-1), torch.ones(2, 16, dtype=torch.float64))


def test_one_block_alone_has_no_layers_before_it():
    tower, tokens = make_tower(1), make_tokens()
    trunk = dense.run_trunk(tower, tokens, GRID, attention=True, inputs=True)
    assert not trunk.attention.any()
    assert dense.gem(trunk, tower).shape == (2, 15, OUT)


def test_summing_the_weights_gives_the_same_attention_with_bias_too():
    q, k, v = torch.randn(3, 2, HEADS, 7, 5, dtype=torch.float64)
    bias = torch.randn(7, 7, dtype=torch.float64)
    total, head0 = torch.zeros(2, 2, 7, 7, dtype=torch.float64)
    summed = attend(q, k, v, bias=bias, total=total, total_head0=head0)
    torch.testing.assert_close(summed, attend(q, k, v, bias=bias))
    weights = (q @ k.transpose(-1, -2) / 5**0.5 + bias).softmax(-1)
    torch.testing.assert_close(total, weights.sum(1))
    torch.testing.assert_close(head0, weights[:, 0])


def test_logits_are_scaled_cosines_class_by_class():
    features, text = F.normalize(torch.randn(2, 15, OUT), dim=-1), torch.eye(OUT)[:3]
    logits = dense.class_logits(features, text, 100.0)
    torch.testing.assert_close(logits, 100 * features[..., :3].transpose(1, 2))


def test_a_tower_in_half_precision_answers_in_float32_units():
    tower, tokens = make_tower(3), make_tokens()
    half = tower.to(torch.bfloat16)
    got = dense.sclip(dense.run_trunk(half, tokens.bfloat16(), GRID), half)
    assert got.dtype == torch.float32
    exact = dense.sclip(dense.run_trunk(tower, tokens, GRID), tower)
    assert (got * exact).sum(-1).min() > 0.99
