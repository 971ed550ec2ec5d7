"""Secrets in text: taken out before a text is stored, logged or shown."""

import os
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

HIDDEN = "***"
FOLDERS = ("PWD", "OLDPWD")
"""Variables that are named like a password and hold a path."""
SHORTEST = 8
"""Characters of a secret that is looked for by its value."""
SECRET_NAMES = (
    *("password", "passwd", "passphrase", "pwd", "secret", "secret_key", "secret_access_key"),
    *("access_key", "access_key_id", "access_id", "security_token", "session_token", "token"),
    *("api_key", "credential", "credentials", "authorization", "signature", "private_key"),
)
"""Names of values that nobody must see; also as the end of a longer name."""
_NAMES = "|".join(sorted((name.replace("_", "[_-]?") for name in SECRET_NAMES), key=len)[::-1])
# Every repetition has a limit: a text from outside must not make the search slow.
_IN_URL = re.compile(
    r"(?P<head>(?<![A-Za-z0-9+.-])[A-Za-z][A-Za-z0-9+.-]{0,30}://[^\s:/@]{0,256}):[^\s/]{0,1024}@"
)
_NAMED = re.compile(
    rf"(?P<name>(?:{_NAMES})[\"']?\s{{0,4}}[=:]\s{{0,4}})"
    r"(?:Bearer |Basic )?(?:\"[^\"]{0,1024}\"|'[^']{0,1024}'|[^\s,;&)}\]\"']{1,1024}){1,8}",
    re.IGNORECASE,
)
_IS_SECRET = re.compile(rf"(?:{_NAMES})$", re.IGNORECASE)


def redacted(text: str) -> str:
    """A text without passwords of URLs and without values that are named like secrets.

    Examples
    --------
    >>> redacted("cannot reach postgresql://ann:hush@db/quarry?sslpassword=hush")
    'cannot reach postgresql://ann:***@db/quarry?sslpassword=***'
    >>> redacted("aws_secret_access_key = hush, region = eu-1")
    'aws_secret_access_key = ***, region = eu-1'
    """
    for value in _own():
        text = text.replace(value, HIDDEN)
    text = _IN_URL.sub(rf"\g<head>:{HIDDEN}@", text)
    return _NAMED.sub(rf"\g<name>{HIDDEN}", text)


def _own() -> Iterator[str]:
    """Secrets that the environment gives this process: they are known without a name beside them.

    Short values are left alone: a password ``a`` would blot out every text.
    """
    for name in _named(frozenset(os.environ)):
        value = os.environ.get(name, "")
        if len(value) >= SHORTEST:
            yield value


@lru_cache(maxsize=8)
def _named(names: frozenset[str]) -> tuple[str, ...]:
    """Those named like secrets; a ledger asks a hundred thousand times."""
    return tuple(sorted(n for n in names if _IS_SECRET.search(n) and n not in FOLDERS))


def redacted_values(value: Any) -> Any:
    """The same for JSON-like values, where a name above a value may tell that it is secret.

    Examples
    --------
    >>> redacted_values({"aod": 0.1, "options": {"access_key_id": "hush"}, "at": "s3://a:b@c"})
    {'aod': 0.1, 'options': {'access_key_id': '***'}, 'at': 's3://a:***@c'}
    """
    if isinstance(value, Mapping):
        return {
            str(name): HIDDEN if _IS_SECRET.search(str(name)) else redacted_values(item)
            for name, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [redacted_values(item) for item in value]
    return redacted(value) if isinstance(value, str) else value
