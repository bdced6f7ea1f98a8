"""The report page: what it tells (:mod:`.content`), and how it becomes one file (:mod:`.page`)."""
from .content import Content, Picture  # noqa: F401
from .page import render_page  # noqa: F401
