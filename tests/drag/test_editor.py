"""The engine against the literal drag, and what a drag promises."""

import re
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode

from drag.editor import _Stop, _View, drag
from drag.features import FeatureNetwork, FeaturePieces, default_resolution
from drag.points import check_points
from drag.settings import DragSettings, check_settings
from drag.supervision import motion_supervision_loss
from drag.tracking import NearestTracker, make_tracker
from tests.conftest import tiny_generator, tiny_ws
from tests.drag.oracle import LiteralDrag
from weights.errors import InvalidInput

LR = 0.02


def problem(size, dtype):
    """A tiny generator, a code, and three handles: in the middle, off the grid, and at the border."""
    network = tiny_generator(size, channels=8, dtype=dtype)
    u = size / 512
    handles = np.array([[200.0, 260.0], [333.3, 121.7], [5.0, 490.0]]) * u
    targets = handles + np.array([[20.0, -12.0], [-9.5, 14.2], [30.0, 4.0]]) * u
    return network, tiny_ws(network), handles, targets


def soft_mask(size):
    x = np.linspace(0, 1, size, dtype=np.float32)
    return np.clip(2 * np.minimum(x, x[:, None]), 0, 1)


@pytest.mark.parametrize("size", [128, 512])
@pytest.mark.parametrize("masked", [False, True], ids=["free", "masked"])
def test_one_step_equals_the_literal_one(size, masked):
    network, w, handles, targets = problem(size, torch.float32)
    mask = soft_mask(size) if masked else None
    literal = LiteralDrag(network, w, handles, targets, lr=LR, mask=mask)
    # From a state in which F differs from F0, as in the midst of a drag.
    with torch.no_grad():
        literal.moved += 0.1 * torch.randn(literal.moved.shape, generator=torch.Generator().manual_seed(1))
    features = FeatureNetwork(network, w, rows=6, resolution=default_resolution(size), dtype=torch.float32)
    view = _View(features, mask)
    with torch.no_grad():
        view.hold(w[:, :6])
        tracker = NearestTracker(view.see(w[:, :6], handles), handles)
    moved = literal.moved.detach().clone().requires_grad_()
    pieces = view.see(moved, handles)
    loss = motion_supervision_loss(pieces, handles, targets, np.ones(3)) + 20 * view.mask_loss()
    (gradient,) = torch.autograd.grad(loss, moved)
    expected = literal.loss()
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-4)
    wanted = literal.gradient()
    assert torch.allclose(gradient, wanted, rtol=1e-4, atol=1e-4 * float(wanted.abs().max()))
    literal.track()
    assert tracker.track(pieces, handles, targets).points == pytest.approx(np.array(literal.points), abs=1e-9)


@pytest.mark.parametrize(("size", "steps"), [(128, 20), (512, 8)])
@pytest.mark.parametrize("masked", [False, True], ids=["free", "masked"])
def test_steps_equal_the_literal_ones(size, steps, masked):
    network, w, handles, targets = problem(size, torch.float64)
    mask = soft_mask(size) if masked else None
    literal = LiteralDrag(network, w, handles, targets, lr=LR, mask=mask)
    result = drag(
        network,
        w,
        check_points(handles, targets, size=size),
        spread=1.0,
        settings=DragSettings(steps=steps, learning_rate=LR, patience=0),
        mask=mask,
        dtype=torch.float64,
    )
    assert result.steps == steps
    for step in range(steps):
        assert result.path[step + 1] == pytest.approx(literal.advance(), abs=1e-6), step
    assert torch.allclose(result.w[:, :6], literal.moved, rtol=1e-6, atol=1e-7)


def easy(**settings):
    """A drag on a 64 px generator that arrives within a few steps."""
    network = tiny_generator(64, seed=3)
    w = tiny_ws(network)
    points = check_points([[30, 30]], [[31, 30.5]], size=64)
    return network, w, points, DragSettings(**{"learning_rate": 0.02, "steps": 60} | settings)


def test_result_tells_the_whole_way():
    network, w, points, settings = easy()
    seen = []
    result = drag(network, w, points, spread=1.0, settings=settings, callback=seen.append)
    assert result.reason == "arrived"
    assert result.distances == pytest.approx(np.hypot(*(points.targets - result.path[-1]).T))
    assert (result.distances <= 64 / 512 + 1e-6).all()
    assert result.path.shape == (result.steps + 1, 1, 2)
    assert [step.index for step in seen] == list(range(result.steps + 1))
    assert torch.equal(result.w_at(result.steps), result.w)
    assert torch.equal(result.w_at(0), w)
    assert torch.equal(result.w[:, 6:], w[:, 6:])
    assert not torch.equal(result.w[:, :6], w[:, :6])


def test_two_drags_in_a_row_read_as_one():
    network, w, points, settings = easy()
    first = drag(network, w, points, spread=1.0, settings=settings, callback=lambda step: step.index < 2)
    assert (first.reason, first.steps) == ("stopped", 2)
    points = check_points(first.path[-1], points.targets, size=64)
    second = drag(network, first.w, points, spread=1.0, settings=settings)
    both = first.then(second)
    assert both.steps == 2 + second.steps
    assert both.path.shape == (both.steps + 1, 1, 2)
    assert torch.equal(both.w_at(2), first.w)
    assert torch.equal(both.w_at(both.steps), second.w)


@pytest.mark.parametrize("space", ["w", "w+"])
def test_a_code_goes_no_farther_than_its_reach_from_where_the_first_drag_began(space):
    network, w, points, settings = easy(patience=0, space=space, steps=8)
    points = check_points([[30, 30]], [[50, 30]], size=64)
    free = drag(network, w, points, spread=2.0, settings=settings)
    far = (free.w - w).square().mean().sqrt()
    settings = replace(settings, reach=float(far) / 2.0 / 4)
    limit = settings.reach * 2.0
    first = drag(network, w, points, spread=2.0, settings=settings)
    second = drag(network, first.w, points, spread=2.0, settings=settings, origin=w)
    for result in (first, second):
        rows = torch.cat([result.rows - w[:, :6], torch.zeros(result.steps + 1, w.shape[1] - 6, w.shape[2])], dim=1)
        ways = rows.square().mean(dim=(1, 2)).sqrt()
        assert float(ways.max()) <= limit * (1 + 1e-4)
        assert float(ways[-1]) == pytest.approx(limit, rel=1e-3)
    assert not torch.equal(first.w, second.w)  # along the limit it still moves


def test_the_mask_holds_on_to_the_picture_before_the_first_drag():
    network, w, points, settings = easy(steps=10, patience=0, learning_rate=0.005, mask_weight=1e4, tolerance=1e-3)
    moved = w + 0.05 * torch.randn(w.shape, generator=torch.Generator().manual_seed(0))
    still = np.zeros((64, 64), np.float32)
    before = network.synthesis.features(w, 32)
    back, on = (
        drag(network, moved, points, spread=1.0, settings=settings, mask=still, origin=origin) for origin in (w, None)
    )
    apart = [float((network.synthesis.features(code, 32) - before).abs().mean()) for code in (back.w, on.w)]
    assert apart[0] < 0.8 * apart[1]


def test_in_w_a_reach_holds_what_moved_as_one_alone():
    network, w, points, settings = easy(steps=3)
    first = drag(network, w, points, spread=1.0, settings=settings)
    alone = replace(settings, space="w", reach=0.05)
    with pytest.raises(InvalidInput, match="each by itself from the origin"):
        drag(network, first.w, points, spread=1.0, settings=alone, origin=w)
    assert drag(network, first.w, points, spread=1.0, settings=alone).steps > 0


def test_a_drag_needs_no_grad_mode_of_its_caller():
    network, w, points, settings = easy(steps=2)
    expected = drag(network, w, points, spread=1.0, settings=settings)
    with torch.no_grad():
        assert torch.equal(drag(network, w, points, spread=1.0, settings=settings).w, expected.w)


def test_a_hair_of_progress_is_none():
    """Within the patience, handles come nearer by more than 0.05 u in all."""
    for step, stalled in ((0.008, True), (0.08, False)):
        stop = _Stop(DragSettings(patience=5), size=512)
        left = 50 - step * np.arange(20)
        reasons = [stop.reason(np.array([d]), np.ones(1), stopped=False, last=False) for d in left]
        assert ("stalled" in reasons) == stalled


def test_undo_and_going_on():
    network, w, points, settings = easy()
    whole = drag(network, w, points, spread=1.0, settings=settings)
    back = whole.undo(2)
    assert (back.steps, back.path.shape[0]) == (2, 3)
    assert torch.equal(back.w, whole.w_at(2))
    # Adam forgets its moments at a pause; where it goes on from, and what it looks for, is the same.
    again = drag(network, w, points, spread=1.0, settings=settings, after=back)
    assert again.reason == "arrived"
    assert np.array_equal(again.path[:3], whole.path[:3])
    assert torch.equal(again.w_at(2), back.w)
    assert again.steps == again.path.shape[0] - 1 > 2
    home = check_points(points.handles, whole.path[-1] - [0.5, 0.5], size=64)
    assert drag(network, w, home, spread=1.0, settings=settings, after=whole).steps > whole.steps


def test_a_drag_goes_on_from_rows_that_moved_as_its_own_do():
    network, w, points, settings = easy(steps=3)
    whole = drag(network, w, points, spread=1.0, settings=settings)
    with pytest.raises(InvalidInput, match="moved 6 rows of w, this one would move 4"):
        drag(network, w, points, spread=1.0, settings=replace(settings, rows=4), after=whole)
    with pytest.raises(InvalidInput, match="each by itself"):
        drag(network, w, points, spread=1.0, settings=replace(settings, space="w"), after=whole)
    alike = drag(network, w, points, spread=1.0, settings=replace(settings, space="w"))
    for space in ("w", "w+"):
        again = drag(network, w, points, spread=1.0, settings=replace(settings, space=space), after=alike)
        assert again.steps > alike.steps


@pytest.mark.parametrize("corner", [(0, 0), (63, 63)])
def test_a_handle_at_the_border_stays_there(corner):
    network, w, _, settings = easy(steps=12, patience=0)
    at, inward = np.array(corner), 1 if corner[0] == 0 else -1
    points = check_points([at, [30, 30]], [at, [31, 30.5]], size=64, anchors=[True, False])
    result = drag(network, w, points, spread=1.0, settings=settings)
    assert np.abs(result.path[1][0] - at).max() < 0.3  # F is the same out there: it was taken for farther out
    assert (result.path >= 0).all()
    assert (result.path <= 63).all()
    outside = check_points([at - 0.3 * inward], [at + 4 * inward], size=64)
    path = drag(network, w, outside, spread=1.0, settings=settings).path
    assert ((path[1:] >= -0.3) & (path[1:] <= 63.3)).all()


def test_a_handle_without_a_match_is_lost():
    network, w, points, settings = easy(patience=0, learning_rate=3.0)
    result = drag(network, w, points, spread=1.0, settings=settings)
    assert result.reason == "lost"
    assert result.steps < 60


@pytest.mark.parametrize("tracker", ["nearest", "steady"])
def test_trackers_find_a_shifted_map(tracker):
    """F moved by whole cells: both trackers must follow exactly, and be sure."""
    rng = np.random.default_rng(0)
    values = torch.from_numpy(rng.normal(size=(1, 8, 64, 64))).float()
    handles = np.array([[60.0, 60.0], [33.0, 91.0]])
    shifted = values.roll((1, -1), dims=(2, 3))
    view = [FeaturePieces(v, np.zeros((1, 2), np.int64), 64, 128).around(handles, 6.0) for v in (values, shifted)]
    found = make_tracker(tracker, view[0], handles).track(view[1], handles, handles + 5)
    assert found.points == pytest.approx(handles + np.array([-2, 2]))
    assert (found.confidence > 0.95).all()


@pytest.mark.parametrize("texture", ["plain", "repeated"])
def test_the_steady_tracker_stays_where_places_look_alike(texture):
    """F stayed, but for a little noise: the nearest feature may be far off, the steady tracker's place is not."""
    rng = np.random.default_rng(0)
    x, y = np.meshgrid(np.arange(64), np.arange(64))
    phases = rng.uniform(0, 2 * np.pi, (8, 1, 1))
    period = 1000 if texture == "plain" else 2  # cells; 2 of them are 4 px, so that the window holds another
    values = np.sin(2 * np.pi * x / period + phases) + np.sin(2 * np.pi * y / 1000 + phases)
    handles = np.array([[60.0, 60.0], [33.0, 91.0], [80.0, 40.0]])
    misses = {"nearest": [], "steady": []}
    for _ in range(10):
        noisy = [torch.from_numpy(values + rng.normal(0, 0.05, values.shape)).float()[None] for _ in range(2)]
        view = [FeaturePieces(v, np.zeros((1, 2), np.int64), 64, 128).around(handles, 6.0) for v in noisy]
        for name, missed in misses.items():
            found = make_tracker(name, view[0], handles).track(view[1], handles, handles)
            missed += np.hypot(*(found.points - handles).T).tolist()
    assert np.mean(misses["steady"]) < 0.6 * np.mean(misses["nearest"])


def test_stops_after_the_last_step_and_when_stalled():
    network, w, points, settings = easy(steps=1, learning_rate=1e-6)
    assert drag(network, w, points, spread=1.0, settings=settings).reason == "steps"
    _, _, _, settings = easy(patience=5, learning_rate=1e-6)
    result = drag(network, w, points, spread=1.0, settings=settings)
    assert (result.reason, result.steps) == ("stalled", 5)


def test_a_single_w_moves_all_rows_alike():
    network, w, points, settings = easy(space="w", rows=4)
    result = drag(network, w, points, spread=1.0, settings=settings)
    difference = (result.w - w)[0]
    assert torch.allclose(difference[:4], difference[:1].expand(4, -1), atol=1e-6)
    assert (difference[0].abs() > 0).any()
    assert not difference[4:].any()


def test_the_learning_rate_is_in_units_of_the_spread():
    network, w, points, settings = easy(steps=1, tracker="none", patience=0)
    small, large = (drag(network, w, points, spread=s, settings=settings).w - w for s in (1.0, 2.0))
    assert torch.allclose(large, 2 * small, rtol=1e-4, atol=1e-7)


def test_a_mask_holds_what_lies_outside():
    network, w, points, settings = easy(steps=30, patience=0, tracker="none")
    mask = np.zeros((64, 64), np.float32)
    mask[20:42, 20:42] = 1
    change = {}
    for name, allowed in (("free", None), ("masked", mask)):
        result = drag(network, w, points, spread=1.0, settings=settings, mask=allowed)
        difference = (network.synthesis(result.w) - network.synthesis(w)).abs().mean(dim=1)[0]
        change[name] = float(difference[torch.as_tensor(mask) == 0].mean())
    assert change["masked"] < 0.5 * change["free"]


def test_a_handle_of_hardly_any_weight_pulls_nothing():
    network, w, _, settings = easy(steps=1, tracker="none", patience=0)
    both = check_points([[30, 30], [50, 10]], [[34, 31], [44, 14]], size=64, weights=[1, 1e-9])
    one = check_points([[30, 30]], [[34, 31]], size=64)
    results = [drag(network, w, points, spread=1.0, settings=settings).w for points in (both, one)]
    assert torch.allclose(*results, atol=1e-7)


def test_bfloat16_pulls_the_same_way():
    network, w, handles, targets = problem(128, torch.float32)
    gradients = {}
    for dtype in (torch.float32, torch.bfloat16):
        moved = w[:, :6].clone().requires_grad_()
        pieces = FeatureNetwork(network, w, rows=6, resolution=64, dtype=dtype).pieces(moved, handles, 4.0)
        motion_supervision_loss(pieces, handles, targets, np.ones(3)).backward()
        gradients[dtype] = moved.grad.flatten()
    assert torch.cosine_similarity(*gradients.values(), dim=0) > 0.98


def test_the_tolerance_says_how_near_is_near_enough():
    network, w, _, _ = problem(128, torch.float32)
    points = check_points([[60, 60]], [[60.7, 60]], size=128)

    def begin(tolerance):
        settings = DragSettings(steps=0, tolerance=tolerance)
        return drag(network, w, points, spread=1.0, settings=settings).reason

    assert begin(0.0) == begin(2.7) == "steps"
    assert begin(2.9) == "arrived"  # 0.7 px of 128 are 2.8 u


def test_an_anchor_pulls_back_what_strayed():
    """An anchor at its place pulls nothing; away from it, it does."""
    network, w, _, _ = problem(128, torch.float32)
    points = check_points([[60, 60], [40, 80]], [[64, 60], [40, 80]], size=128, anchors=[False, True])
    features = FeatureNetwork(network, w, rows=6, resolution=64, dtype=torch.float32)
    for at, pulls in (([40.0, 80.0], False), ([42.0, 80.0], True)):
        moved = w[:, :6].clone().requires_grad_()
        places = np.array([at])
        pieces = features.pieces(moved, places, 8.0)
        loss = motion_supervision_loss(pieces, places, points.targets[1:], points.weights[1:])
        loss.backward()
        assert bool(moved.grad.abs().max() > 0) == pulls


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"steps": -1}, "The drag's steps is a number of 0 or more, not -1"),
        ({"rows": 0}, "rows is a number of 1 or more"),
        ({"learning_rate": float("nan")}, "learning-rate is a number of 0 or more, not nan"),
        ({"mask_weight": -1.0}, "mask-weight is a number of 0 or more"),
        ({"tracker": "patch"}, "tracker is nearest or steady or none, not 'patch'"),
        ({"space": "x"}, "space is w or w+, not 'x'"),
        ({"feature_resolution": 20}, "none of 20"),
        ({"feature_resolution": 128}, "none of 128"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, said):
    network, w, points, settings = easy(**settings)
    with pytest.raises(InvalidInput, match=re.escape(said)):
        drag(network, w, points, spread=1.0, settings=settings)


def test_a_compiler_that_is_missing_is_told_before_the_work(monkeypatch):
    settings = DragSettings(compile=True)
    monkeypatch.setenv("CXX", f"{sys.executable} -v")
    check_settings(settings, [64])
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(InvalidInput, match="needs a C\\+\\+ compiler, and no-such-compiler is not there"):
        check_settings(settings, [64])
    monkeypatch.delenv("CXX")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InvalidInput, match="or leave --compile out"):
        check_settings(settings, [64])


class NoDoubles(TorchFunctionMode):
    """A device that knows no float64, as Apple's: nothing of it is made there, or sent there."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        asked = kwargs.get("device") is not None or (func is torch.Tensor.to and isinstance(args[1], torch.device))
        doubles = [x for x in (result, *args[:1]) if isinstance(x, torch.Tensor) and x.dtype == torch.float64]
        if asked and doubles:
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype")
        return result


@pytest.mark.parametrize("tracker", ["nearest", "steady", "none"])
@pytest.mark.parametrize("masked", [False, True], ids=["free", "masked"])
def test_no_double_goes_to_the_device(tracker, masked):
    network, w, points, settings = easy(tracker=tracker, steps=3)
    with NoDoubles():
        assert drag(network, w, points, spread=1.0, settings=settings, mask=soft_mask(64) if masked else None).steps
