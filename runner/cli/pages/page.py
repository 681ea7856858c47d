"""Renders a page. Whatever is given is escaped, and the page may load nothing and run nothing but its own script."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.cli.pages.text import moment, seconds, visible
from runner.cli.render import bytes_told

if TYPE_CHECKING:
    from jinja2 import Environment

_TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, **given: Any) -> str:
    """The text of a page."""
    return (
        _environment()
        .get_template(template)
        .render(made_at=moment(datetime.now(UTC)), hwe_version=version("hwe-runner"), **given)
    )


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalized,  # before escaping, so that no expression of a template can forget it
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = (_TEMPLATES / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment.globals |= {
        "style": Markup((_TEMPLATES / "page.css").read_text(encoding="utf-8")),  # noqa: S704 - ours
        "script": Markup(script),  # noqa: S704 - ours
        # Styles are inline for the bars of the timeline. All else is forbidden, so nothing that slipped through
        # could load, send or run anything.
        "content_security_policy": f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'",
    }
    environment.filters |= {"seconds": seconds, "memory": _memory, "moment": moment, "size": bytes_told}
    return environment


def _finalized(value: object) -> object:
    # Text that is safe already was made by a template out of what has been through here.
    return visible(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def _memory(count: int | None) -> str:
    return bytes_told(count) if count else "–"
