"""S3 as this project needs it: a client that lists and reads, and its errors in words."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from loadgen.config import ConfigError, S3Target
from loadgen.model import NS
from loadgen.targets.hiding import Hiding, hiding_of, url_without_secrets
from loadgen.targets.http import wants_certificate
from loadgen.targets.proxies import proxy_of
from loadgen.units import duration_text

# S3 takes requests that are up to 15 minutes old; a difference of clocks below this refuses none.
_SKEWED_NS = 240 * NS
_SKEW_CODES = frozenset({"RequestTimeTooSkewed", "RequestExpired", "RequestIsNotYetValid"})
# Said of the credential or of the way to ask, with a status as if it were said of the object.
_OF_THE_REQUEST = _SKEW_CODES | {
    "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken", "TokenRefreshRequired",
    "AuthorizationHeaderMalformed", "SecondLevelDomainForbidden", "NoSuchBucket", "BadDigest",
}  # fmt: skip
_NOT_IMPLEMENTED = frozenset(
    {"NotImplemented", "XNotImplemented", "MethodNotAllowed", "NotSupported", "UnsupportedOperation", "Unsupported"}
    | {"OperationNotSupported", "FeatureNotSupported", "501", "405"}
)
DEFAULT_REGION = "us-east-1"


def s3_client(
    target: S3Target, timeout_s: float = 10.0, connections: int = 8, attempts: int = 2, lean: bool = False
) -> Any:
    """A client that is what the target says, whatever the environment holds.

    Args:
        target: where, as whom, by which way.
        timeout_s: limit of one attempt, from the look-up of the name to the last byte.
        connections: idle connections that are kept.
        attempts: made in all, when nobody answers or S3 is busy.
        lean: neither signs content nor checks arguments, which costs CPU.

    Raises:
        ConfigError: a file with a secret or a certificate, or a proxy, cannot be used.
        ValueError, botocore's errors: the endpoint is no URL.
    """
    # The library takes half a second to load, and many commands need no S3.
    from botocore.config import Config

    from loadgen.targets.s3_way import S3Sender, isolated_session, style_of

    sender = S3Sender(target, timeout_s, connections)
    client = isolated_session().create_client(
        "s3",
        endpoint_url=target.endpoint or None,
        region_name=target.region or DEFAULT_REGION,
        aws_access_key_id=target.access_key_id or None,
        aws_secret_access_key=target.secret_key() or None,
        aws_session_token=target.secret_session_token() or None,
        config=Config(
            s3={**style_of(target), **({"payload_signing_enabled": False} if lean else {})},
            parameter_validation=not lean,
            retries={"total_max_attempts": attempts, "mode": "standard"},
            proxies={},
            # Checksums of the newer kind are refused by S3s that do not know them, reads and writes alike.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
    client.meta.events.register_first("before-send.s3", sender)
    return client


def list_page(client: Any, bucket: str, **more: Any) -> dict[str, Any]:
    """One page of a bucket's listing, as boto3 gives it.

    Raises:
        NotAListing: a 2xx answer of something that is not S3; boto3 takes it for an empty bucket.
        ConfigError, botocore's errors: as `s3_client` and boto3 raise them.
    """
    try:
        page: dict[str, Any] = client.list_objects_v2(Bucket=bucket, **more)
    except ValueError as problem:
        if type(problem).__module__.startswith("botocore"):
            raise
        # botocore does not translate what it says of a time or a number that it cannot read.
        raise NotAListing(f"the answer is no listing that can be read ({str(problem)[:120]})") from problem
    if not page.keys() & {"Name", "KeyCount", "IsTruncated", "Contents"}:
        kind = page.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("content-type", "no content type")
        raise NotAListing(f"the answer is no listing of a bucket ({kind})")
    return page


class NotAListing(Exception):
    """Something else answered in place of S3."""


def error_code(problem: BaseException) -> str:
    """S3's code of a failed request, or the kind of the error; the same for the same cause."""
    return str(_error(problem).get("Code", "")) or type(problem).__name__


def http_status(problem: BaseException) -> int:
    """The status of S3's answer; 0 if there was none."""
    return int(_metadata(problem).get("HTTPStatusCode", 0) or 0)


def is_about_object(problem: BaseException) -> bool:
    """Whether a failed request tells something of its object, and not that S3 is away, busy or refuses us."""
    status = http_status(problem)
    return 400 <= status < 500 and status not in (408, 429) and error_code(problem) not in _OF_THE_REQUEST


def is_about_clocks(problem: BaseException) -> bool:
    """Whether S3 refused a request because of the time in it."""
    said = str(_error(problem).get("Message", "")).lower()
    return error_code(problem) in _SKEW_CODES or "date is too old" in said or "time too skewed" in said


def is_not_implemented(problem: BaseException) -> bool:
    """Whether this S3 does not know a request at all, as far as its answer tells."""
    if error_code(problem) in _NOT_IMPLEMENTED or http_status(problem) in (405, 501):
        return True
    said = str(_error(problem).get("Message", "")).lower()
    unknown = any(words in said for words in ("not implemented", "not supported", "unsupported operation"))
    return http_status(problem) in (400, 404) and unknown and "header" not in said


def clock_text(problem: BaseException, clock: Callable[[], int]) -> str:
    """How the clock of the S3 server that answered differs from ours, if that can refuse requests; empty if not."""
    server_ns, ours_ns = _moment(_error(problem).get("ServerTime")), clock()
    if not server_ns:
        server_ns = _moment(_metadata(problem).get("HTTPHeaders", {}).get("date"))
    ahead_ns = ours_ns - server_ns
    if not server_ns or abs(ahead_ns) < _SKEWED_NS:
        return ""
    how = "ahead of" if ahead_ns > 0 else "behind"
    return f"this machine's clock is {duration_text(abs(ahead_ns) / NS)} {how} the S3 server's"


def _error(problem: BaseException) -> dict[str, Any]:
    response = getattr(problem, "response", None)
    error = response.get("Error") if isinstance(response, dict) else None
    return error if isinstance(error, dict) else {}


def _metadata(problem: BaseException) -> dict[str, Any]:
    response = getattr(problem, "response", None)
    metadata = response.get("ResponseMetadata") if isinstance(response, dict) else None
    return metadata if isinstance(metadata, dict) else {}


def _moment(text: object) -> int:
    """A time as HTTP or XML has it; 0 if it is none."""
    for read in (parsedate_to_datetime, lambda said: datetime.fromisoformat(said.replace("Z", "+00:00"))):
        try:
            return int(read(str(text)).timestamp()) * NS
        except (ValueError, TypeError, OverflowError):
            continue
    return 0


MAY_NOT_READ = "this credential may not list or read here; give it List and Read on the bucket"


def explain_s3(
    problem: BaseException,
    target: S3Target,
    bucket: str,
    key: str = "",
    if_denied: str = MAY_NOT_READ,
    clock: Callable[[], int] = time.time_ns,
) -> str:
    """One sentence for a failed S3 request: where, what, and what to do. The secret key is never in it."""
    where = f"{url_without_secrets(target.endpoint) or 's3'}/{bucket}" + (f"/{key}" if key else "") + _way(target)
    code = error_code(problem)
    hide = _hiding(target)
    hint = {
        "AccessDenied": if_denied,
        "403": if_denied,
        "InvalidAccessKeyId": (
            "the access key is not known here; check access_key_id, and set session_token if it is a temporary one"
        ),
        "InvalidToken": "the session token is wrong or does not belong to the access key; check session_token",
        "ExpiredToken": "the session token is over; get a new one and set session_token",
        "SignatureDoesNotMatch": "the secret key is wrong; check secret_access_key",
        "AuthorizationHeaderMalformed": _region(problem),
        "SecondLevelDomainForbidden": 'this S3 takes no bucket in the path; set addressing_style = "virtual"',
        "VirtualHostDomainForbidden": 'this S3 takes no bucket in the host name; set addressing_style = "path"',
        "NoSuchBucket": "create the bucket, or correct its name in the target",
        "404": "not there",
    }.get(code)
    if code == "ProxyConnectionError":
        return f"{where}: {getattr(problem, 'kwargs', {}).get('proxy_url', problem)}"
    said = hide.brief(problem)
    differ = clock_text(problem, clock)
    if is_about_clocks(problem):
        differ = differ or "the clocks of this machine and of the S3 server differ"
        hint = f"{differ}, and S3 refuses requests of another time; set both clocks by NTP"
    elif differ and hint != "not there":
        differ = f"; {differ}, which may be why"
    if hint is None:
        hint = {
            "EndpointConnectionError": "check the endpoint and that S3 runs",
            "ConnectTimeoutError": "check the endpoint, the network and that S3 runs",
            "ReadTimeoutError": "S3 is slow or stuck",
            "NoCredentialsError": "set access_key_id and secret_access_key",
            "PartialCredentialsError": "set access_key_id and secret_access_key",
            "SSLError": _tls(str(problem)),
            "NotAListing": "a proxy or another program answered, not S3; check the endpoint",
        }.get(code, "check endpoint, credentials and S3's log")
    return f"{where}: {code}, {said!r}; {hint}{'' if is_about_clocks(problem) else differ}"


def _way(target: S3Target) -> str:
    url = urlsplit(target.endpoint)
    try:
        port = url.port or (443 if url.scheme == "https" else 80)
        proxy = proxy_of(url.scheme, url.hostname or "", port, target)
    except (ConfigError, ValueError):
        return ""
    return f" (by way of {proxy.told})" if proxy is not None else ""


def _hiding(target: S3Target) -> Hiding:
    try:
        return hiding_of(target)
    except ConfigError:  # whoever cannot read a secret cannot tell it either
        return Hiding(())


def _region(problem: BaseException) -> str:
    wanted = str(_error(problem).get("Region", ""))
    return f'set region = "{wanted}" in [s3]' if wanted else "set the region of this S3 in [s3] region"


def _tls(text: str) -> str:
    if "WRONG_VERSION_NUMBER" in text:
        return "the server does not speak TLS here; perhaps the endpoint must begin with http://"
    if wants_certificate(text) or "cert_file" in text:
        return "the server wants a certificate of ours, or another one; set cert_file and key_file"
    return "the certificate cannot be verified; set ca_file to the authority's PEM file"
