"""Who speaks to MaxCompute and where: options first, then the environment. No secret is shown."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from geoquarry.schemas.errors import UsageError

PROJECT, ENDPOINT, TUNNEL = "ODPS_PROJECT_NAME", "ODPS_ENDPOINT", "ODPS_TUNNEL_ENDPOINT"
CREDENTIALS = (
    ("ODPS_ACCESS_ID", "ODPS_ACCESS_KEY", None),
    ("ODPS_STS_ACCESS_KEY_ID", "ODPS_STS_ACCESS_KEY_SECRET", "ODPS_STS_TOKEN"),
    (
        "ALIBABA_CLOUD_ACCESS_KEY_ID",
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
        "ALIBABA_CLOUD_SECURITY_TOKEN",
    ),
)
"""Variables that hold an id, its secret and a token; the first set that has an id is used. A set is
never mixed with another: an id with somebody else's secret fails in a way that is hard to read. So
a token goes with the id that it was given for, wherever that id comes from, and with no other."""
TEMPORARY = "STS."
"""How the ids of temporary credentials begin; they are worth nothing without their token."""
VARIABLES = (PROJECT, ENDPOINT, TUNNEL, *(n for names in CREDENTIALS for n in names if n))
"""All variables that are looked at."""
HIDDEN = "********"


@dataclass(frozen=True)
class Account:
    """A project, its endpoints, and who asks.

    Attributes
    ----------
    project, endpoint : str
    access_id : str
    secret_access_key, security_token : str
        Never in ``repr``; `hide` takes them out of texts.
    tunnel_endpoint, odps_schema, quota : str
        Empty: the service's own.
    """

    project: str
    endpoint: str
    access_id: str
    secret_access_key: str = field(repr=False)
    security_token: str = field(default="", repr=False)
    tunnel_endpoint: str = ""
    odps_schema: str = ""
    quota: str = ""

    def hide(self, text: str) -> str:
        """A text without the secret and the token, should a server have echoed them.

        >>> Account("p", "http://h/api", "me", "s3cret").hide("key s3cret is wrong")
        'key ******** is wrong'
        """
        for secret in (self.secret_access_key, self.security_token):
            if secret:
                text = text.replace(secret, HIDDEN)
        return text


def account_of(
    *,
    project: str | None = None,
    endpoint: str | None = None,
    tunnel_endpoint: str | None = None,
    access_id: str | None = None,
    secret_access_key: str | None = None,
    secret_file: str | None = None,
    security_token: str | None = None,
    odps_schema: str | None = None,
    quota: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> Account:
    """The account that options and the environment describe.

    Parameters
    ----------
    project, endpoint, tunnel_endpoint : str, optional
        Default: ``$ODPS_PROJECT_NAME``, ``$ODPS_ENDPOINT``, ``$ODPS_TUNNEL_ENDPOINT``.
    access_id, secret_access_key, security_token : str, optional
        Default: the first of `CREDENTIALS` that is set; with an ``access_id``, those of its id.
    secret_file : str, optional
        File whose first line is the secret, instead of ``secret_access_key``; a second line is the
        token.
    odps_schema, quota : str, optional
        Of a project with schemas; quota that jobs run in.
    environ : mapping, optional
        Default: the process's environment.

    Raises
    ------
    UsageError
        Something is missing; it is said which option or variable gives it.

    Examples
    --------
    >>> account_of(environ={})
    Traceback (most recent call last):
    geoquarry.schemas.errors.UsageError: MaxCompute: no project. Give --project or ...
    """
    env = os.environ if environ is None else environ
    project = project or env.get(PROJECT)
    endpoint = endpoint or env.get(ENDPOINT)
    if not project:
        raise UsageError(f"MaxCompute: no project. Give --project or ${PROJECT}.")
    if not endpoint or urlsplit(endpoint).scheme not in ("http", "https"):
        raise UsageError(
            f"MaxCompute: {'no endpoint' if not endpoint else f'{endpoint!r} is no URL'}. Give "
            f"--endpoint or ${ENDPOINT}, e.g. https://service.<region>.maxcompute.aliyun.com/api."
        )
    if secret_file:
        if secret_access_key:
            raise UsageError("MaxCompute: give a secret or a secret file, not both.")
        secret_access_key, filed = _lines(secret_file)
        security_token = security_token or filed
    if not (access_id and secret_access_key):
        access_id, secret_access_key = _from_environment(env, access_id, secret_access_key)
    token = security_token or _token_of(access_id, env)
    if access_id.startswith(TEMPORARY) and not token:
        raise UsageError(
            f"MaxCompute: access id {access_id!r} is one of temporary credentials, and their token "
            "is missing. Put it into the second line of --secret-file, or set the variables of one "
            f"set: {', '.join(f'${name}' for name in CREDENTIALS[-1] if name)}."
        )
    return Account(
        project=project,
        endpoint=endpoint.rstrip("/"),
        access_id=access_id,
        secret_access_key=secret_access_key,
        security_token=token,
        tunnel_endpoint=tunnel_endpoint or env.get(TUNNEL) or "",
        odps_schema=odps_schema or "",
        quota=quota or "",
    )


def _from_environment(
    env: Mapping[str, str], access_id: str | None, secret: str | None
) -> tuple[str, str]:
    """Id and secret of one set of variables."""
    for id_name, secret_name, _ in CREDENTIALS:
        own = env.get(id_name)
        if not own or (access_id and own != access_id):
            continue
        found = secret or env.get(secret_name)
        if not found:
            raise UsageError(f"MaxCompute: ${id_name} is set, but ${secret_name} is not.")
        return own, found
    if access_id:
        raise UsageError(
            f"MaxCompute: no secret for access id {access_id!r}. Give --secret-file, or set "
            f"both ${CREDENTIALS[0][0]} and ${CREDENTIALS[0][1]}."
        )
    sets = "; ".join(f"${names[0]} and ${names[1]}" for names in CREDENTIALS)
    raise UsageError(f"MaxCompute: no credentials. Set {sets}; or give --access-id, --secret-file.")


def _token_of(access_id: str, env: Mapping[str, str]) -> str:
    """The token that stands beside this id in the environment; empty if there is none."""
    for id_name, _, token_name in CREDENTIALS:
        if token_name and env.get(id_name) == access_id and env.get(token_name):
            return env[token_name]
    return ""


def _lines(path: str) -> tuple[str, str]:
    """Secret and token in a file; the token may be missing."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"MaxCompute: cannot read the secret file {path!r}: {error}") from error
    if not lines or not lines[0].strip():
        raise UsageError(f"MaxCompute: the secret file {path!r} is empty.")
    return lines[0].strip(), lines[1].strip() if len(lines) > 1 else ""


def set_variables(environ: Mapping[str, str] | None = None) -> list[str]:
    """Names of the variables that are set, for `doctor`; never their values.

    >>> set_variables({"ODPS_ACCESS_KEY": "s3cret"})
    ['ODPS_ACCESS_KEY']
    """
    env = os.environ if environ is None else environ
    return [name for name in VARIABLES if env.get(name)]
