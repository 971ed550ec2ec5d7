"""Checks the signature of a request: HMAC-SHA1 over a canonical text, from the rules anew."""

import base64
import hashlib
import hmac
from email.utils import parsedate_to_datetime
from time import time
from urllib.parse import parse_qsl, unquote, urlsplit

from odps_errors import OdpsError

SKEW_S = 900
"""A request is refused when its clock and the server's differ by more."""


def canonical_text(method, target, headers):
    """What is signed: method, some headers in order, and the resource with its parameters."""
    parts = urlsplit(unquote(target))
    params = dict(parse_qsl(parts.query, keep_blank_values=True))
    signed = {"content-type": "", "content-md5": "", "date": headers.get("Date", "")}
    for name, value in headers.items():
        lower = name.lower()
        if lower in ("content-type", "content-md5") or lower.startswith("x-odps-"):
            signed[lower] = value
    signed |= {name: value for name, value in params.items() if name.startswith("x-odps-")}
    lines = [method]
    for name in sorted(signed):
        lines.append(f"{name}:{signed[name]}" if name.startswith("x-odps-") else signed[name])
    resource = parts.path
    if params:
        named = (f"{k}={v}" if v != "" else k for k, v in sorted(params.items()))
        resource += "?" + "&".join(named)
    return "\n".join([*lines, resource])


def check(method, target, headers, accounts):
    """Raise unless the request is signed by one of ``accounts`` (id -> (secret, token or None))."""
    scheme, _, rest = headers.get("Authorization", "").partition(" ")
    access_id, _, given = rest.rpartition(":")
    if scheme != "ODPS" or not access_id:
        raise OdpsError(
            "Unauthorized", "The request authorization header is invalid or missing", 401
        )
    if access_id not in accounts:
        raise OdpsError("ODPS-0410051", "Invalid credentials - accessKeyId not found", 401)
    secret, token = accounts[access_id]
    digest = hmac.new(
        secret.encode(), canonical_text(method, target, headers).encode(), hashlib.sha1
    ).digest()
    if not hmac.compare_digest(base64.b64encode(digest).decode(), given):
        raise OdpsError(
            "ODPS-0410042", "Invalid signature value - User signature does not match", 401
        )
    if token is not None and headers.get("authorization-sts-token") != token:
        raise OdpsError("ODPS-0410061", "Invalid STS token", 401)
    if abs(parsedate_to_datetime(headers["Date"]).timestamp() - time()) > SKEW_S:
        raise OdpsError("RequestTimeTooSkewed", "The request time is too skewed", 403)
