import torch

from inversion.prior import PnSpace
from tests.conftest import tiny_generator


def test_random_codes_are_at_distance_one_and_others_farther():
    mapping = tiny_generator(8, w_dim=16, z_dim=16).mapping
    space = PnSpace(mapping)
    ws = mapping(torch.randn(2000, 16, generator=torch.Generator().manual_seed(1)))
    assert abs(float(space.distance(ws).mean()) - 1) < 0.1
    far = mapping.w_avg + 3 * (ws - ws.mean(dim=0))
    assert (space.distance(far).mean() > 3).all()
    middle = torch.nn.functional.leaky_relu(space._mean, 0.2).expand(1, 4, -1)
    assert float(space.distance(middle)) < 1e-9


def test_it_is_white():
    """Equation 4 of the paper: v = L^-1 C^T (x - mean) has the unit covariance."""
    mapping = tiny_generator(8, w_dim=12, z_dim=24).mapping
    space = PnSpace(mapping)
    w = mapping(torch.randn(20000, 24, generator=torch.Generator().manual_seed(2)))[:, 0]
    v = (torch.where(w > 0, w, 5 * w) - space._mean) @ space._whiten
    covariance = torch.cov(v.T)
    assert (covariance - torch.eye(12)).abs().max() < 0.1


def test_a_mapping_of_low_rank_gives_finite_distances():
    mapping = tiny_generator(8, w_dim=32, z_dim=2).mapping
    assert torch.isfinite(PnSpace(mapping).distance(torch.randn(3, 4, 32))).all()
