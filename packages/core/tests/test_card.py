"""Behaviour on a GPU, as far as it can be tested without one."""

from unittest.mock import Mock

import pytest
import torch
from delrec import NotFiniteError, RecurrentDelays, check_finite
from delrec.engines import engine_for


def test_what_the_last_batch_held_is_told_when_asked():
    layer = RecurrentDelays(3)
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), layer)
    check_finite(model)
    for finite in (True, False):
        event = Mock()
        event.query = lambda event=event: event.synchronize.called  # its flag is there once it is waited for
        layer._watch._pending.append((event, torch.tensor(finite), "current holds NaN"))
    layer._watch._read()
    with pytest.raises(NotFiniteError, match=r"current holds NaN \(found in an earlier call\)"):
        check_finite(model)
    check_finite(model)  # told once


@pytest.mark.skipif(not hasattr(torch.Tag, "cudagraph_unsafe"), reason="this torch has no such mark")
def test_operators_that_look_at_values_are_left_out_of_cuda_graphs():
    assert engine_for("cpu", "cpu")  # operators are registered
    for operator in (torch.ops.delrec.cpu_scan, torch.ops.delrec.cpu_scan_backward):
        assert torch.Tag.cudagraph_unsafe in operator.default.tags


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a device")
def test_where_triton_cannot_launch_the_engine_says_so_and_does_not_fail():
    engine = pytest.importorskip("delrec.engines.triton")
    assert "cannot be launched by triton" in engine._no_launch()
