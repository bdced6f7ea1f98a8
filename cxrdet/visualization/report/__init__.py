"""The report page: what it tells (:mod:`.content`), its parts (:mod:`.sections`) and how they become one file."""
from .content import Content, Picture  # noqa: F401
from .page import render_page  # noqa: F401
