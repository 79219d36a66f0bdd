"""Inside there is one thread of torch, and after it as many as before, whatever happened."""

import pytest
import torch

from study.core.threads import one_thread


def test_there_is_one_thread_inside():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert one_thread()(torch.get_num_threads)() == 1
        assert torch.get_num_threads() == 2
        with pytest.raises(KeyError), one_thread():
            raise KeyError
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
