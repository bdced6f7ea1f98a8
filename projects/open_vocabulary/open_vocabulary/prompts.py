"""Phrases: read from a prompt or a caption, cut into words, exchanged for synonyms."""
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from cxrdet.core.errors import ConfigError, DataError, did_you_mean

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


def words_of(phrase: str) -> list[str]:
    """Its words in lower case: letters, digits, inner apostrophes; hyphens and underscores part words."""
    return _WORD.findall(phrase.lower())


def read_prompt(prompt: str | Sequence[str]) -> tuple[str, ...]:
    """The phrases of a prompt: ``'white blood cell . platelet'``, with full stops between them, or a sequence of them.

    Underscores are spaces: ``--cfg-options`` keeps no spaces in a value.

    Raises: ConfigError if there is no phrase, one without a word, or one twice.
    """
    parts = prompt.split('.') if isinstance(prompt, str) else list(prompt)
    phrases = tuple(' '.join(str(part).replace('_', ' ').split()) for part in parts)
    if isinstance(prompt, str):
        phrases = tuple(phrase for phrase in phrases if phrase)
    if not phrases:
        raise ConfigError('expected a prompt with at least one phrase, as "white blood cell . platelet", got '
                          f'{prompt!r}')
    for phrase in phrases:
        if not words_of(phrase):
            raise ConfigError(f'the phrase {phrase!r} of the prompt {prompt!r} has no word')
    words = [words_of(phrase) for phrase in phrases]
    twice = [phrase for phrase, own in zip(phrases, words) if words.count(own) > 1]
    if twice:
        raise ConfigError(f'the prompt names {twice[0]!r} twice; its boxes could not be told apart')
    return phrases


def phrases_by_span(caption: str, spans: Sequence[Sequence[int]], where: str) -> tuple[str, ...]:
    """The parts of a caption at ``spans``, [start, end) in characters.

    Args:
        caption: the sentence.
        spans: a pair of whole numbers a phrase.
        where: how errors call the place.

    Raises: DataError for a span outside of the caption or without a word in it.
    """
    found = []
    for number, span in enumerate(spans):
        whole = len(span) == 2 and all(isinstance(end, int) for end in span)
        if not whole or not 0 <= span[0] < span[1] <= len(caption):
            raise DataError(f'{where}: phrase {number}: expected [start, end] with 0 <= start < end <= {len(caption)}, '
                            f'the length of the caption, got {list(span)}')
        found.append(' '.join(caption[span[0]:span[1]].split()))
        if not words_of(found[-1]):
            raise DataError(f'{where}: phrase {number}: no word in {caption[span[0]:span[1]]!r} at {list(span)}')
    return tuple(found)


def read_synonyms(path: str | Path, classes: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Phrases by class, from a text file with a line a class: ``RBC: red blood cell, erythrocyte``; # begins a comment.

    A class that has no line is called by its own name; one with a line by what stands there, so that a file can keep
    a name from being used.

    Raises: DataError for an unknown class, a class given twice, or a line of another kind, with file and line.
    """
    path, found = Path(path), {}
    try:
        lines = path.read_text(encoding='utf-8').splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f'{path}: the file of synonyms cannot be read: {error}') from error
    for number, line in enumerate(lines, 1):
        line = line.partition('#')[0].strip()
        if not line:
            continue
        name, colon, rest = line.partition(':')
        name, phrases = name.strip(), tuple(' '.join(part.split()) for part in rest.split(',') if words_of(part))
        if not colon or not phrases:
            raise DataError(f'{path}, line {number}: expected "class: phrase, phrase", got {line!r}')
        if name not in classes:
            raise DataError(f'{path}, line {number}: no class "{name}".{did_you_mean(name, classes)} There are: '
                            f'{", ".join(classes)}')
        if name in found:
            raise DataError(f'{path}, line {number}: a second line for the class "{name}"')
        found[name] = phrases
    used: dict[str, str] = {}
    for name in classes:
        for phrase in found.setdefault(name, (name, )):
            if used.setdefault(phrase.lower(), name) != name:
                raise DataError(f'{path}: "{phrase}" stands for "{used[phrase.lower()]}" and for "{name}"')
    return {name: found[name] for name in classes}


_SIDES = {'left': 'right', 'right': 'left', 'leftmost': 'rightmost', 'rightmost': 'leftmost'}
_HEIGHTS = {'top': 'bottom', 'bottom': 'top', 'upper': 'lower', 'lower': 'upper', 'above': 'below', 'below': 'above',
            'topmost': 'bottommost', 'bottommost': 'topmost'}


def mirrored(phrase: str, direction: str) -> str:
    """The phrase as it must be of a mirrored image: left and right, or upper and lower, change places.

    Args:
        phrase: the phrase.
        direction: 'horizontal', 'vertical' or 'diagonal' (both), as MMDetection's RandomFlip names them.
    """
    table: Mapping[str, str] = {**(_SIDES if direction != 'vertical' else {}),
                                **(_HEIGHTS if direction != 'horizontal' else {})}
    return _WORD.sub(lambda word: table.get(word[0].lower(), word[0]), phrase)
