"""The equations agree with each other: an energy, its free energy and its mean-field update."""

import pytest
import torch

from dpn.mrf import MRFConfig, energy


@pytest.fixture
def model() -> energy.Model:
    size = (3, 4)
    log_p = torch.randn(12, 3, dtype=torch.float64).log_softmax(1)
    image = torch.rand(12, 3, dtype=torch.float64)
    mu = torch.rand(3, 3, dtype=torch.float64)
    mu = ((mu + mu.T) / 2)[:, None, :, None, None]
    return energy.Model(log_p, image, size, 3.0, 0.1, mu, MRFConfig(window=9, normalize=False, include_center=False))


def test_free_energy_of_a_certain_q_is_the_energy_of_its_labelling(model):
    labels = torch.randint(3, (12,))
    q = torch.nn.functional.one_hot(labels, 3).double()
    torch.testing.assert_close(energy.free_energy(model, q), energy.energy(model, labels))


def test_energy_by_loops(model):
    labels = torch.randint(3, (12,))
    expected = -sum(model.log_p[i, labels[i]] for i in range(12))
    for i in range(12):
        for j in range(i):
            dy, dx = i // 4 - j // 4, i % 4 - j % 4
            d = 3.0 * (model.image[i] - model.image[j]).square().sum() + 0.1 * (dy * dy + dx * dx)
            expected += model.mu[labels[i], 0, labels[j], 0, 0] * torch.exp(-d)
    torch.testing.assert_close(energy.energy(model, labels), expected)


def test_equation_6_is_where_the_free_energy_is_stationary(model):
    """dF/dq = Phi + sum q Psi + ln q + 1: at Eqn. 6's q_i, with the other pixels held, it is the same for all labels of i."""
    q = torch.rand(12, 3, dtype=torch.float64).softmax(1)
    updated = energy.classic_step(model, q)
    for i in range(12):
        mixed = q.clone()
        mixed[i] = updated[i]
        mixed.requires_grad_()
        gradient = torch.autograd.grad(energy.free_energy(model, mixed), mixed)[0][i]
        torch.testing.assert_close(gradient, gradient[:1].expand(3))


def test_updating_pixel_by_pixel_never_raises_the_free_energy(model):
    q = torch.rand(12, 3, dtype=torch.float64).softmax(1)
    before = energy.free_energy(model, q)
    for i in range(12):
        q[i] = energy.classic_step(model, q)[i]
        after = energy.free_energy(model, q)
        assert after <= before + 1e-12
        before = after


def test_equation_7_lowers_the_triple_free_energy_from_the_unary(model):
    """With an attractive (Potts) mu the one step of Eqn. 7 leaves Q better than p by the energy it descends from."""
    potts = (1 - torch.eye(3, dtype=torch.float64))[:, None, :, None, None]
    model = energy.Model(model.log_p, model.image, model.size, 3.0, 0.1, potts, MRFConfig(window=5))
    p = model.log_p.exp()
    assert energy.triple_free_energy(model, energy.mean_field_step(model, p)) < energy.triple_free_energy(model, p)


def test_equation_7_with_one_1x1_component_is_equation_6(model):
    q = torch.rand(12, 3, dtype=torch.float64).softmax(1)
    torch.testing.assert_close(energy.mean_field_step(model, q), energy.classic_step(model, q))


def test_even_windows_reach_one_pixel_further_back():
    model = energy.Model(
        torch.zeros(9, 1), torch.zeros(9, 3), (1, 9), 1.0, 1.0, torch.zeros(1, 1, 1, 1, 1), MRFConfig(window=4)
    )
    assert energy.neighbours(model)[4].nonzero().flatten().tolist() == [2, 3, 4, 5]
