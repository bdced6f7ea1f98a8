"""The vocabulary of a text encoder, from the training set."""
from mmengine.hooks import Hook
from mmengine.logging import print_log

from cxrdet.core.errors import ConfigError
from cxrdet.engine.process import unwrap
from cxrdet.registry import HOOKS

from .grounding_dataset import phrases_of


@HOOKS.register_module()
class VocabularyHook(Hook):
    """Before training, make the words of the training set known to the text encoder.

    The same on all processes. A resumed run, or one that starts from a checkpoint, keeps the words that it brings, and
    new ones get rows of their own. Encoders with a tokenizer need no such hook, and it does nothing to them.
    """

    priority = 'VERY_HIGH'  # before weights are copied for averaging

    def before_train(self, runner) -> None:
        encoder = getattr(unwrap(runner.model), 'text_encoder', None)
        if encoder is None:
            raise ConfigError('VocabularyHook: the model has no text_encoder')
        new = encoder.add_words(phrases_of(runner.train_dataloader.dataset))
        if new:
            print_log(f'{new} words of the training set are new to the text encoder', logger='current')
