from .channels_last import ChannelsLastHook  # noqa: F401
from .checkpoint import CheckpointHook  # noqa: F401
from .reproducible import ReproducibleHook  # noqa: F401
