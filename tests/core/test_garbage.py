"""The search for garbage is off within, and afterwards as it was."""
import gc

import pytest

from cxrdet.core.garbage import no_collection


@pytest.mark.parametrize('before', [True, False])
def test_as_it_was(before):
    was = gc.isenabled()
    try:
        gc.enable() if before else gc.disable()
        with pytest.raises(KeyError), no_collection():
            raise KeyError(gc.isenabled())
        assert gc.isenabled() is before and no_collection()(gc.isenabled)() is False
    finally:
        gc.enable() if was else gc.disable()
