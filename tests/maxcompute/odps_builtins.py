"""Names that a statement may call: functions of MaxCompute SQL that this server can run.

DuckDB knows many functions that the service does not; a statement that calls one of them must fail
here as well. The list holds documented built-in functions only, and not all of them.
"""

import re

import sqlglot
from odps_errors import OdpsError, semantic
from sqlglot.tokens import TokenType
from sqlglot_maxcompute import MaxCompute


def _words(text):
    return set(text.split())


FUNCTIONS = _words(
    """
    abs acos any_value arg_max arg_min array array_contains array_distinct array_join array_max
    array_min asin atan avg base64 bin cast cbrt ceil char_length coalesce collect_list
    collect_set concat concat_ws conv cos cosh count count_if crc32 current_timestamp date_add
    date_format date_sub dateadd datediff datepart datetrunc day dense_rank exp explode
    first_value floor format_number from_json from_unixtime get_json_object getdate greatest
    hash hex hour if initcap instr isnan json_object json_tuple lag last_value lead least length
    lengthb ln log log10 log2 lower lpad ltrim map map_from_entries map_keys map_values max
    max_by md5 median min min_by minute month named_struct nvl ordinal percentile
    percentile_approx pi posexplode pow power quarter rand rank regexp_count regexp_extract
    regexp_instr regexp_replace regexp_substr repeat replace reverse round row_number rpad rtrim
    second sha sha1 sha2 shiftleft shiftright sign sin sinh size slice sort_array split
    split_part sqrt stddev stddev_samp struct substr substring sum tan tanh to_char to_date
    to_json tolower toupper trim trunc unbase64 unhex unix_timestamp upper variance var_samp
    weekday wm_concat year
    """
)
NOT_CALLS = _words(
    """
    and or not in as on select where from join by having over values partition when then else
    case exists between like with distribute sort order group limit table into overwrite union
    all any comment partitioned tblproperties set add drop if cluster using anti left inner
    outer is rlike varchar char decimal mapjoin skewjoin
    """
)


def tokens_of(text):
    """Tokens of a statement."""
    try:
        return MaxCompute().tokenize(text)
    except sqlglot.errors.TokenError as error:
        raise OdpsError("ODPS-0130161", f"[1,1] Parse exception - {error}") from None


def statements_in(text):
    """Texts of the statements in a script, split at semicolons outside of strings."""
    pieces, begin = [], 0
    for token in tokens_of(text):
        if token.token_type == TokenType.SEMICOLON:
            pieces.append(text[begin : token.start])
            begin = token.end + 1
    return [piece.strip() for piece in [*pieces, text[begin:]] if piece.strip()]


def check_calls(text, known):
    """Raise for a function that is neither built in nor in ``known``."""
    tokens = tokens_of(text)
    for place, token in enumerate(tokens[:-1]):
        if tokens[place + 1].token_type != TokenType.L_PAREN:
            continue
        name = token.text.lower()
        before = tokens[place - 1].text.lower() if place else ""
        if not re.fullmatch(r"[a-z_]\w*", name) or name in NOT_CALLS or name in FUNCTIONS:
            continue
        if name in known or before in ("table", "into", "exists", "as", "."):
            continue
        raise semantic(f"function or view '{name}' cannot be resolved")


_OPTION = re.compile(r"\s*set\s+([\w.]+)\s*=\s*(.*)\Z", re.I | re.S)


def option_of(text):
    """``(name, value)`` of a SET statement, or None."""
    found = _OPTION.match(text)
    return (found[1], found[2].strip()) if found else None


RANGES = {
    "odps.stage.mapper.mem": (256, 12288),
    "odps.stage.reducer.mem": (256, 12288),
    "odps.stage.joiner.mem": (256, 12288),
    "odps.stage.mapper.split.size": (1, 1 << 20),
    "odps.stage.reducer.num": (1, 99999),
    "odps.sql.executionengine.batch.rowcount": (1, 1 << 20),
    "odps.function.timeout": (1, 3600),
    "odps.sql.udf.python.memory": (1, 4096),
    "odps.sql.job.max.time.hours": (1, 72),
}


def check_hints(hints):
    """Raise for a hint that is out of its range."""
    for name, (low, high) in RANGES.items():
        if name in hints:
            text = str(hints[name])
            if not text.isdigit() or not low <= int(text) <= high:
                raise OdpsError(
                    "ODPS-0420061", f"Invalid parameter - {name}={text} is not in [{low}, {high}]"
                )
