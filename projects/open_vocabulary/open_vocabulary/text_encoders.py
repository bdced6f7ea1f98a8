"""From phrases to a vector a word: a transformer over words that learns here, or a text model of Hugging Face."""
import logging
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from mmengine.logging import print_log
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional

from cxrdet.core.errors import ConfigError, DataError, check_numbers, did_you_mean
from cxrdet.registry import MODELS

from .fusion import Attention, FeedForward
from .prompts import words_of

_BYTES = 32  # of a word in the vocabulary
_KEPT = 10_000  # phrases whose features are kept


class TextEncoder(BaseModule):
    """What a detector asks of a text encoder.

    Each phrase is encoded on its own, so that the others of a prompt, and their order, change nothing. While it does
    not learn, the features of each phrase are computed once and kept; :meth:`train` and :meth:`eval` forget them.

    Attributes:
        out_channels: width of the features, C.
    """

    out_channels: int

    def __init__(self, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self._kept: dict[str, Tensor] = {}

    def encode(self, phrases: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Features (P, L, C) of P phrases, and which of the L words are there, (P, L) bool: at least one of each."""
        raise NotImplementedError

    def forward(self, phrases: Sequence[str]) -> tuple[Tensor, Tensor]:
        """As :meth:`encode`, from what is kept where the encoder does not learn; L is that of the longest phrase."""
        if self.training and torch.is_grad_enabled() and any(part.requires_grad for part in self.parameters()):
            return self.encode(phrases)
        missing = [phrase for phrase in dict.fromkeys(phrases) if phrase not in self._kept]
        if missing:
            if len(self._kept) + len(missing) > _KEPT:
                self._kept.clear()
                missing = list(dict.fromkeys(phrases))
            with torch.no_grad():
                features, mask = self.encode(missing)
            self._kept.update((phrase, rows[present]) for phrase, rows, present in zip(missing, features, mask))
        rows = [self._kept[phrase] for phrase in phrases]
        lengths = torch.tensor([len(row) for row in rows], device=rows[0].device)
        return (nn.utils.rnn.pad_sequence(rows, batch_first=True),
                torch.arange(int(lengths.max()), device=lengths.device) < lengths[:, None])

    def add_words(self, phrases: Iterable[str]) -> int:
        """Make the words of ``phrases`` known, where the encoder has a vocabulary of its own; how many were new."""
        return 0

    def forget(self) -> None:
        """Forget kept features: the weights are others now."""
        self._kept.clear()

    def train(self, mode: bool = True) -> 'TextEncoder':
        self.forget()
        return super().train(mode)

    def _apply(self, fn, recurse=True):
        self.forget()
        return super()._apply(fn, recurse)

    def _load_from_state_dict(self, *args) -> None:
        self.forget()
        super()._load_from_state_dict(*args)


@MODELS.register_module()
class WordTransformer(TextEncoder):
    """A small transformer over words, trained from random weights; positions begin anew in each phrase.

    The vocabulary is part of the weights, so a checkpoint brings it along; :class:`VocabularyHook` fills it from the
    training set. Words that are not in it share one vector, which training meets in place of a few words; each such
    word is told once.

    Args:
        vocabulary_size: words that there is room for, beside the unknown one.
        dims: width.
        num_layers: of self-attention; 0: each word keeps its own vector, whatever stands beside it.
        heads: of the attention.
        max_words: of a phrase; longer ones are an error.
        unknown_share: of the words, in training, that the vector of unknown ones stands for, in [0, 1).
        init_cfg: as of any module of MMEngine.

    Raises: ConfigError for numbers out of range; when it runs, DataError for a phrase without a word or too long.
    """

    def __init__(self, vocabulary_size: int = 2000, *, dims: int = 128, num_layers: int = 1, heads: int = 4,
                 max_words: int = 32, unknown_share: float = 0.02, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        check_numbers('WordTransformer', vocabulary_size=(vocabulary_size, '[1, inf)'),
                      num_layers=(num_layers, '[0, inf)'), max_words=(max_words, '[1, inf)'),
                      unknown_share=(unknown_share, '[0, 1)'))
        self.out_channels, self.max_words, self.unknown_share = dims, max_words, unknown_share
        self.register_buffer('spelled', torch.zeros(vocabulary_size, _BYTES, dtype=torch.uint8))
        self.words = nn.Embedding(vocabulary_size + 1, dims)  # row 0: any unknown word
        self.positions = nn.Embedding(max_words, dims)
        for table in (self.words, self.positions):
            nn.init.normal_(table.weight, std=1 / math.sqrt(dims))
        self.layers = nn.ModuleList(_WordLayer(dims, heads) for _ in range(num_layers))
        self.norm = nn.LayerNorm(dims)
        self._rows: dict[str, int] | None = None
        self._told: set[str] = set()

    @property
    def vocabulary(self) -> dict[str, int]:
        """The known words, and the row of each in the table."""
        if self._rows is None:
            texts = (bytes(row).rstrip(b'\0').decode('utf-8') for row in self.spelled.cpu().tolist())
            self._rows = {text: row for row, text in enumerate(texts, 1) if text}
        return self._rows

    def add_words(self, phrases: Iterable[str]) -> int:
        """Give those words of ``phrases`` that are new a row each, in the order of the alphabet; how many they were.

        Raises: ConfigError if there is no room for them.
        """
        known = self.vocabulary
        new = sorted({_short(word) for phrase in phrases for word in words_of(phrase)} - known.keys())
        if len(known) + len(new) > len(self.spelled):
            raise ConfigError(f'WordTransformer: {len(known) + len(new)} words, but room for {len(self.spelled)}: give '
                              'a larger vocabulary_size')
        for row, word in enumerate(new, len(known)):
            data = list(word.encode('utf-8'))
            self.spelled[row] = torch.tensor(data + [0] * (_BYTES - len(data)), dtype=torch.uint8)
        self.forget()
        return len(new)

    def forget(self) -> None:
        super().forget()
        self._rows = None

    def encode(self, phrases: Sequence[str]) -> tuple[Tensor, Tensor]:
        rows = self._numbers(phrases)
        length = max(map(len, rows))
        numbers = torch.tensor([row + [-1] * (length - len(row)) for row in rows], device=self.words.weight.device)
        mask = numbers >= 0
        numbers = numbers.clamp(min=0)
        if self.training and self.unknown_share:
            numbers = numbers.masked_fill(torch.rand(numbers.shape, device=numbers.device) < self.unknown_share, 0)
        places = self.positions.weight[:length]
        features = self.words(numbers)
        for layer in self.layers:
            features = layer(features, places, mask)
        return self.norm(features), mask

    def _numbers(self, phrases: Sequence[str]) -> list[list[int]]:
        known, rows, unknown = self.vocabulary, [], set()
        for phrase in phrases:
            words = [_short(word) for word in words_of(phrase)]
            if not 1 <= len(words) <= self.max_words:
                raise DataError(f'expected phrases of 1 to {self.max_words} words (max_words of WordTransformer), got '
                                f'{len(words)} in {phrase[:200]!r}')
            rows.append([known.get(word, 0) for word in words])
            unknown.update(word for word in words if word not in known)
        self._tell(sorted(unknown - self._told), known)
        return rows

    def _tell(self, new: list[str], known: dict[str, int]) -> None:
        if new:
            self._told.update(new)
            shown = ', '.join(f'"{word}"{did_you_mean(word, known)}' for word in new[:10])
            print_log(f'{len(new)} words were in no phrase of the training and mean nothing to the model: {shown}'
                      f'{" …" if len(new) > 10 else ""}', logger='current', level=logging.WARNING)


def _short(word: str) -> str:
    """A word as the vocabulary spells it: at most 32 bytes of UTF-8."""
    return word.encode('utf-8')[:_BYTES].decode('utf-8', 'ignore')


class _WordLayer(nn.Module):
    def __init__(self, dims: int, heads: int) -> None:
        super().__init__()
        self.norm, self.attention = nn.LayerNorm(dims), Attention(dims, heads=heads)
        self.feedforward = FeedForward(dims, hidden=2 * dims)

    def forward(self, words: Tensor, places: Tensor, mask: Tensor) -> Tensor:
        inner = self.norm(words)
        placed = inner + places
        return self.feedforward(words + self.attention(placed, placed, inner, mask=mask))


@MODELS.register_module()
class HuggingFaceText(TextEncoder):
    """A text model of Hugging Face's transformers, from a local folder; nothing is downloaded.

    The folder holds config.json, the weights (safetensors) and the tokenizer's files, as ``save_pretrained`` writes
    them. ``transformers`` is imported when the encoder is built. Of a model with a text and an image half (CLIP), the
    text half is taken.

    Args:
        folder: the folder.
        frozen: the weights stay as they are, without dropout, and features of phrases are kept in training, too.
        max_tokens: of a phrase; longer ones are cut, with a warning.
        init_cfg: as of any module of MMEngine.

    Raises: ConfigError if transformers is missing, or the folder is no such model.
    """

    def __init__(self, folder: str, *, frozen: bool = True, max_tokens: int = 64, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        try:
            import transformers
        except ImportError as error:
            raise ConfigError('HuggingFaceText needs the package transformers: pip install transformers') from error
        if not Path(folder, 'config.json').is_file():
            raise ConfigError(f'HuggingFaceText: {folder}: no folder of a text model, it has no config.json. Download '
                              'one beforehand and give its folder')
        try:
            self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
            model = transformers.AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True)
        except (OSError, ValueError, KeyError) as error:
            raise ConfigError(f'HuggingFaceText: {folder}: cannot be read as a text model: {error}') from error
        self.model = getattr(model, 'text_model', model)
        self.out_channels = self.model.config.hidden_size
        self.frozen, self.max_tokens = frozen, max_tokens
        self.model.requires_grad_(not frozen)

    def train(self, mode: bool = True) -> 'HuggingFaceText':
        super().train(mode)
        if self.frozen:
            self.model.eval()
        return self

    def encode(self, phrases: Sequence[str]) -> tuple[Tensor, Tensor]:
        device = next(self.model.parameters()).device
        tokens = self.tokenizer([' '.join(phrase.split()) for phrase in phrases], padding=True, truncation=True,
                                max_length=self.max_tokens, return_special_tokens_mask=True, return_tensors='pt')
        special = tokens.pop('special_tokens_mask').bool().to(device)
        tokens = tokens.to(device)
        mask = tokens['attention_mask'].bool()
        features = self.model(**tokens).last_hidden_state
        inner = mask & ~special  # but for phrases of which no token is left
        return features, torch.where(inner.any(dim=1, keepdim=True), inner, mask)


def cosines(features: Tensor, phrases: Tensor) -> Tensor:
    """Cosine similarity of (B, N, D) with (B, P, D): (B, N, P)."""
    return functional.normalize(features, dim=-1) @ functional.normalize(phrases, dim=-1).transpose(1, 2)
