"""BatchNorm: torch's, over time and batch."""

import pytest
import torch
from delrec import BatchNorm
from torch import nn


@pytest.mark.parametrize("batch_first", [False, True])
def test_batch_norm_is_torchs_over_time_and_batch(batch_first):
    ours, theirs = BatchNorm(5, momentum=0.3, batch_first=batch_first), nn.BatchNorm1d(5, momentum=0.3)
    for _ in range(3):
        x = torch.randn(7, 3, 5) * 2 + 1
        given = x.transpose(0, 1) if batch_first else x
        torch.testing.assert_close(ours(given), theirs(given.flatten(0, 1)).view_as(given))
    theirs.load_state_dict(ours.state_dict())
    ours.eval(), theirs.eval()
    torch.testing.assert_close(ours(x[0]), theirs(x[0]))


@pytest.mark.parametrize("batch_first", [False, True])
def test_batch_norm_sees_each_samples_own_steps(batch_first):
    x, lengths = torch.randn(7, 3, 5), [7, 2, 4]
    own = torch.cat([x[:n, b] for b, n in enumerate(lengths)])
    expected = nn.BatchNorm1d(5)(own)
    norm = BatchNorm(5, batch_first=batch_first)
    out = norm(x.transpose(0, 1) if batch_first else x, lengths)
    out = out.transpose(0, 1) if batch_first else out
    torch.testing.assert_close(torch.cat([out[:n, b] for b, n in enumerate(lengths)]), expected)
    assert not out[2:, 1].any() and not out[4:, 2].any()
    with pytest.raises(ValueError, match="lengths holds 8"):
        norm(x.transpose(0, 1) if batch_first else x, [8, 1, 1])
