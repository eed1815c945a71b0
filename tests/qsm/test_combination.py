"""One magnitude from many echoes."""

import torch

from neuraxis.qsm.combination import root_sum_of_squares


def test_it_is_the_length_of_the_vector_of_echoes_and_leaves_its_input_alone():
    echoes = torch.rand(3, 4, 5, 6)
    before = echoes.clone()
    assert torch.allclose(root_sum_of_squares(echoes), torch.linalg.vector_norm(echoes, dim=-1))
    assert torch.equal(echoes, before) and root_sum_of_squares(echoes * 0).abs().max() == 0
