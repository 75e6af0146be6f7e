"""The network: sizes, what each arm's angles can see, the traps of its predecessor, saving, exporting, speed tricks."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ablate.depth_refinement.attention import SelfAttention, TrainedAttention
from ablate.depth_refinement.dropout import ByteDropout
from ablate.depth_refinement.layers import ElePoseBackbone, FeedForward
from ablate.depth_refinement.model import PoseNetwork, create_model
from ablate.study import InputError

ARMS = {
    "existing": {},
    "existing-2d": {"use_2d_tokens": True},
    "elepose": {"use_elepose": True, "use_existing": False},
    "hybrid": {"use_elepose": True},
}
SMALL = {"d_model": 32, "num_layers": 2, "num_heads": 4, "elepose_hidden_dim": 64, "fusion_dim": 32}


def small(arm: str = "hybrid", **changes: object) -> PoseNetwork:
    torch.manual_seed(0)
    return create_model(**{**SMALL, **ARMS[arm], **changes})


def examples(batch: int = 6) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(batch, 17, 6, generator=generator) * 0.3
    inputs[..., 5] = torch.rand(batch, 17, generator=generator)
    return inputs


def parameters(**arm: object) -> int:
    return sum(p.numel() for p in create_model(d_model=128, **arm).parameters())


# --- sizes


def test_parameter_counts_are_the_seeds() -> None:
    base, hybrid = parameters(use_elepose=False), parameters(use_elepose=True)
    assert 2_150_000 < base < 2_250_000
    assert 6_950_000 < hybrid < 7_050_000
    assert 4_750_000 < hybrid - base < 4_850_000


def test_the_existing_features_are_about_1536_wide() -> None:
    assert create_model().angle_head.existing_dim == pytest.approx(1536, rel=0.02)


def test_the_backbone_has_the_counted_parameters() -> None:
    assert sum(p.numel() for p in ElePoseBackbone().parameters()) == 4_244_480
    assert ElePoseBackbone().eval()(torch.zeros(3, 17, 2)).shape == (3, 1024)


@pytest.mark.parametrize("arm", ARMS)
def test_angle_path_counts_exactly_the_parameters_the_angles_depend_on(arm: str) -> None:
    model = small(arm)
    model(examples())["angles"].sum().backward()
    reached = sum(p.numel() for p in model.parameters() if p.grad is not None)
    counts = model.parameter_counts()
    assert counts["angle_path"] == reached
    assert (counts["elepose"] > 0) == bool(ARMS[arm].get("use_elepose"))


# --- what the angles can see


def changed_by(arm: str, *channels: int) -> bool:
    model, inputs = small(arm).eval(), examples()
    other = inputs.clone()
    other[..., channels] += 0.5
    return not torch.equal(model(inputs)["angles"], model(other)["angles"])


@pytest.mark.parametrize(
    ("arm", "sees_2d", "sees_3d"),
    [("existing", False, True), ("existing-2d", True, True), ("elepose", True, False), ("hybrid", True, True)],
)
def test_each_arm_sees_its_inputs_and_no_others(arm: str, sees_2d: bool, sees_3d: bool) -> None:
    assert changed_by(arm, 0, 1) is sees_2d
    assert changed_by(arm, 2, 3, 4) is sees_3d
    assert changed_by(arm, 5) is sees_3d  # visibility comes with the 3D


def test_the_angle_head_reads_joint_features_after_attention() -> None:
    """Trap 1: with the direct 3D features cut off, angles still depend on every layer and on every joint's 3D."""
    model, inputs = small("existing"), examples().requires_grad_()
    scaled = inputs[..., 2:5]
    joints = model.encoder(inputs[..., :2], scaled, inputs[..., 5:])
    head = model.angle_head
    head(joints, inputs[..., :2], scaled.detach(), inputs[..., 5:].detach()).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.encoder.blocks[-1].parameters())
    # One joint's features alone carry the other joints' 3D only if attention came first.
    inputs.grad = None
    model.encoder(inputs[..., :2], inputs[..., 2:5], inputs[..., 5:])[:, 0].square().sum().backward()
    assert inputs.grad is not None
    assert (inputs.grad[:, 1:, 2:5].abs().amax(dim=(0, 2)) > 0).all()


# --- angles


def test_elevation_reaches_the_zenith_and_never_passes_it() -> None:
    """Trap 2: 30° · tanh could not answer outside ±30°."""
    model = small("existing").eval()
    last = model.angle_head.fusion_head[-1]
    for raw, low, high in [(4.5, 89, 90), (-4.5, -90, -89), (1000.0, 90, 90), (0.5, 27, 28)]:
        with torch.no_grad():
            last.weight.zero_()
            last.bias.copy_(torch.tensor([0.0, 1.0, raw]))
        elevation = model(examples())["angles"][:, 2].rad2deg()
        assert (elevation >= low - 1e-4).all()
        assert (elevation <= high + 1e-4).all()


def test_branches_are_normalised_before_the_concatenation() -> None:
    """Trap 7: a 2D branch a thousand times larger must not drown the other."""
    model = small("hybrid").eval()
    head = model.angle_head
    features = torch.randn(6, 64) * 1000
    assert float(head.elepose_norm(features).detach().std()) == pytest.approx(1, abs=0.05)
    assert head.existing_norm is not head.elepose_norm


def test_angles_are_not_rounded_under_autocast() -> None:
    model = small("existing").eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        angles = model(examples())["angles"]
    assert angles.dtype == torch.float32
    assert not torch.equal(angles, angles.bfloat16().float())


# --- depth


def test_an_untrained_depth_head_returns_the_noisy_pose() -> None:
    inputs = examples()
    assert torch.equal(small().eval()(inputs)["pose_3d"], inputs[..., 2:5])


def conditioned(**settings: object) -> PoseNetwork:
    """A network whose corrections depend on the angles it is given."""
    model = small("existing", dropout=0.0, **settings)
    torch.nn.init.normal_(model.depth_head.correction.weight)
    return model


def test_the_pose_reaches_no_angle_parameter() -> None:
    model = conditioned()
    model(examples())["pose_3d"].sum().backward()
    assert all(p.grad is None for p in model.angle_head.parameters())
    assert model.depth_head.angles.weight.grad is not None


def test_the_pose_depends_on_the_predicted_angles_without_a_seam() -> None:
    head, joints = conditioned().depth_head, torch.randn(1, 17, 32)

    def correct(azimuth_deg: float, elevation_deg: float) -> Tensor:
        azimuth = math.radians(azimuth_deg)
        angles = torch.tensor([[math.sin(azimuth), math.cos(azimuth), math.radians(elevation_deg)]])
        return head(joints, angles)

    assert not torch.allclose(correct(10, 0), correct(60, 0), atol=1e-3)
    assert not torch.allclose(correct(10, 0), correct(10, 30), atol=1e-3)
    assert torch.allclose(correct(179.99, 0), correct(-179.99, 0), atol=1e-2)


def test_angle_noise_begins_after_its_warmup_and_only_in_training() -> None:
    model, inputs = conditioned(angle_noise_std=20.0, angle_noise_warmup=2), examples()

    def varies() -> bool:
        return not torch.equal(model(inputs)["pose_3d"], model(inputs)["pose_3d"])

    model.train()
    observed = {}
    for epoch in (0, 1, 2, 3):
        model.set_epoch(epoch)
        observed[epoch] = varies()
    assert observed == {0: False, 1: False, 2: True, 3: True}
    model.eval()
    assert not varies()


def test_angle_noise_has_its_spread_on_azimuth_and_half_on_elevation() -> None:
    head = conditioned(angle_noise_std=5.0).depth_head.train()
    torch.manual_seed(0)
    angles = torch.tensor([[0.0, 1.0, 0.0]]).expand(20_000, 3)
    azimuth, elevation = head.condition(angles).rad2deg().std(dim=0).tolist()
    assert azimuth == pytest.approx(5.0, rel=0.03)
    assert elevation == pytest.approx(2.5, rel=0.03)


# --- running


@pytest.mark.parametrize("arm", ARMS)
def test_a_batch_of_one_answers_as_in_a_larger_batch(arm: str) -> None:
    model, inputs = small(arm).eval(), examples()
    together, alone = model(inputs), model(inputs[2:3])
    assert alone["angles"].shape == (1, 3)
    assert torch.allclose(together["angles"][2:3], alone["angles"], atol=1e-5)
    assert torch.allclose(together["pose_3d"][2:3], alone["pose_3d"], atol=1e-5)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # raised inside torch.export itself
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_exports_with_any_batch_size() -> None:
    model = small().eval()
    program = torch.export.export(model, (examples(2),), dynamic_shapes=({0: torch.export.Dim("batch")},))
    for batch in (1, 3, 9):
        inputs = examples(batch)
        answer = program.module()(inputs)
        assert torch.allclose(answer["angles"], model(inputs)["angles"], atol=1e-5)
        assert answer["pose_3d"].shape == (batch, 17, 3)


def test_wrong_input_shapes_are_named() -> None:
    with pytest.raises(ValueError, match=r"\(batch, 17, 6\), got \(2, 17, 5\)"):
        small()(torch.zeros(2, 17, 5))


@pytest.mark.parametrize("arm", ARMS)
def test_every_parameter_is_trained(arm: str) -> None:
    model = small(arm)
    torch.nn.init.normal_(model.depth_head.correction.weight)
    output = model(examples())
    (output["angles"].sum() + output["pose_3d"].square().sum()).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


# --- settings


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"d_model": 130}, ["d_model", "num_heads = 8", "130", "1, 2, 5, 10, 13, 26, 65, 130", "128 or 136"]),
        ({"num_heads": 0}, ["num_heads", "1 or more", "0"]),
        ({"num_layers": 2.5}, ["num_layers", "whole number", "2.5"]),
        ({"dropout": 1.0}, ["dropout", "below 1", "1.0"]),
        ({"dropout": math.nan}, ["dropout", "nan"]),
        ({"angle_noise_std": -1.0}, ["angle_noise_std", "-1.0"]),
        ({"angle_noise_warmup": -1}, ["angle_noise_warmup", "-1"]),
        ({"use_existing": False}, ["use_existing", "use_elepose"]),
        ({"use_elepose": "yes"}, ["use_elepose", "true or false", "yes"]),
    ],
)
def test_bad_settings_are_refused_with_rule_value_and_nearest(wrong: dict[str, object], told: list[str]) -> None:
    with pytest.raises(InputError) as raised:
        create_model(**wrong)  # type: ignore[arg-type]
    (problem,) = raised.value.problems
    assert problem.nearest
    for words in told:
        assert words in str(raised.value)


def test_all_bad_settings_are_told_at_once() -> None:
    with pytest.raises(InputError) as raised:
        create_model(d_model=130, dropout=2.0, angle_noise_std=-1.0)
    assert [p.place for p in raised.value.problems] == ["d_model", "dropout", "angle_noise_std"]


@settings(max_examples=10, deadline=None)
@given(
    d_model=st.sampled_from([8, 24, 40]),
    num_layers=st.integers(1, 3),
    num_heads=st.sampled_from([1, 2, 4]),
    arm=st.sampled_from(sorted(ARMS)),
    dropout=st.floats(0, 0.9),
)
def test_any_valid_size_trains_and_answers(
    d_model: int, num_layers: int, num_heads: int, arm: str, dropout: float
) -> None:
    sizes = {"d_model": d_model, "num_layers": num_layers, "num_heads": num_heads, "elepose_hidden_dim": 16}
    model = create_model(**{**sizes, "fusion_dim": 8, "dropout": dropout, **ARMS[arm]})
    output = model.train()(examples(4))
    (output["angles"].sum() + output["pose_3d"].sum()).backward()
    angles = model.eval()(examples(1))["angles"]
    assert angles.isfinite().all()
    assert (angles[:, 2].abs() <= math.pi / 2).all()


# --- fast paths against plain ones


@pytest.mark.parametrize("num_heads", [1, 4])
def test_trained_attention_agrees_with_softmax_and_sdpa(num_heads: int) -> None:
    torch.manual_seed(0)
    attention = SelfAttention(32, num_heads, dropout=0.0).double().train()
    qkv = torch.randn(3, 17, 96, dtype=torch.float64)
    fast = attention.by_trained_attention(qkv)
    assert torch.allclose(fast, attention.by_bmm(qkv), atol=1e-12)
    assert torch.allclose(fast, attention.by_sdpa(qkv), atol=1e-12)


@pytest.mark.parametrize(("num_heads", "keep"), [(1, 1.0), (2, 1.0), (2, 0.75)])
def test_trained_attention_has_the_right_gradient(num_heads: int, keep: float) -> None:
    torch.manual_seed(0)
    qkv = torch.randn(2, 5, 12, dtype=torch.float64, requires_grad=True)
    mask = (torch.rand(2 * num_heads, 5, 5) < keep).double() if keep < 1 else None
    assert torch.autograd.gradcheck(lambda x: TrainedAttention.apply(x, mask, keep, num_heads), (qkv,))


def test_trained_attention_leaves_its_input_and_gradient_alone() -> None:
    qkv = torch.randn(2, 17, 24, requires_grad=True)
    grad = torch.randn(2, 17, 8)
    before_qkv, before_grad = qkv.detach().clone(), grad.clone()
    TrainedAttention.apply(qkv, None, 1.0, 1).backward(grad)
    assert torch.equal(qkv, before_qkv)
    assert torch.equal(grad, before_grad)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_trained_attention_survives_enormous_scores(dtype: torch.dtype) -> None:
    qkv = (torch.randn(2, 17, 24) * 1e3).to(dtype).requires_grad_()
    out = TrainedAttention.apply(qkv, None, 1.0, 2)
    out.float().sum().backward()
    assert out.isfinite().all()
    assert qkv.grad is not None
    assert qkv.grad.isfinite().all()


@pytest.mark.parametrize("module", [FeedForward(16, 64, 0.3), SelfAttention(16, 2, 0.3)])
def test_dropout_changes_no_mean(module: torch.nn.Module) -> None:
    """Both are linear in what is dropped, so averaging many masks gives the eval answer."""
    torch.manual_seed(0)
    x = torch.randn(1, 17, 16)
    many = module.train()(x.expand(4000, 17, 16)).mean(dim=0)
    assert torch.allclose(many, module.eval()(x)[0], atol=0.03)


@settings(max_examples=25, deadline=None)
@given(p=st.floats(0, 0.99), seed=st.integers(0, 2**32))
def test_byte_dropout_drops_and_scales_by_the_same_exact_share(p: float, seed: int) -> None:
    torch.manual_seed(seed)
    dropout = ByteDropout(p).train()
    assert 1 - dropout.keep == pytest.approx(p, abs=1 / 512 + 1e-9)
    out = dropout(torch.ones(100_000))
    kept = out[out != 0]
    assert torch.allclose(kept, torch.tensor(1 / dropout.keep))
    spread = math.sqrt((1 - dropout.keep) / dropout.keep / 100_000)
    assert float(out.mean()) == pytest.approx(1.0, abs=5 * spread + 1e-6)


@pytest.mark.parametrize("count", [1, 7, 8, 9, 17 * 3])
def test_byte_dropout_keeps_shape_and_dtype(count: int) -> None:
    x = torch.ones(count, dtype=torch.bfloat16)
    out = ByteDropout(0.5).train()(x)
    assert out.shape == x.shape
    assert out.dtype == x.dtype
    assert ByteDropout(0.5).eval()(x) is x
    assert ByteDropout(0.0).train()(x) is x
