"""S3 as this project needs it: a client that lists and reads, and its errors in words."""

from __future__ import annotations

from typing import Any

from loadgen.config import S3Target
from loadgen.targets.http import url_without_secrets


def s3_client(target: S3Target, timeout_s: float = 10.0, connections: int = 8) -> Any:
    """A boto3 client with path-style addresses, bounded times and one quick retry.

    Raises:
        ConfigError: the file with the secret key cannot be read.
        ValueError, botocore's errors: the endpoint is no URL.
    """
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        endpoint_url=target.endpoint or None,
        region_name=target.region,
        aws_access_key_id=target.access_key_id or None,
        aws_secret_access_key=target.secret_key() or None,
        verify=(target.ca_file or True) if target.verify_tls else False,
        config=Config(
            s3={"addressing_style": "path"},
            connect_timeout=min(timeout_s, 5.0),
            read_timeout=timeout_s,
            retries={"total_max_attempts": 2, "mode": "standard"},
            max_pool_connections=connections,
        ),
    )


def list_page(client: Any, bucket: str, **more: Any) -> dict[str, Any]:
    """One page of a bucket's listing, as boto3 gives it.

    Raises:
        NotAListing: a 2xx answer of something that is not S3; boto3 takes it for an empty bucket.
        ConfigError, botocore's errors: as `s3_client` and boto3 raise them.
    """
    page: dict[str, Any] = client.list_objects_v2(Bucket=bucket, **more)
    if not page.keys() & {"Name", "KeyCount", "IsTruncated", "Contents"}:
        kind = page.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("content-type", "no content type")
        raise NotAListing(f"the answer is no listing of a bucket ({kind})")
    return page


class NotAListing(Exception):
    """Something else answered in place of S3."""


def error_code(problem: BaseException) -> str:
    """S3's code of a failed request, or the kind of the error; the same for the same cause."""
    response = getattr(problem, "response", None)
    code = str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""
    return code or type(problem).__name__


def is_about_object(problem: BaseException) -> bool:
    """Whether a failed request tells something of its object, and not that S3 is away or busy."""
    response = getattr(problem, "response", None)
    if not isinstance(response, dict):
        return False
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    return 400 <= status < 500 and status not in (408, 429)


MAY_NOT_READ = "this credential may not list or read here; give it List and Read on the bucket"


def explain_s3(
    problem: BaseException, target: S3Target, bucket: str, key: str = "", if_denied: str = MAY_NOT_READ
) -> str:
    """One sentence for a failed S3 request: where, what, and what to do. The secret key is never in it."""
    where = f"{url_without_secrets(target.endpoint) or 's3'}/{bucket}" + (f"/{key}" if key else "")
    code = error_code(problem)
    hint = {
        "AccessDenied": if_denied,
        "403": if_denied,
        "InvalidAccessKeyId": "the access key is not known here; check access_key_id",
        "SignatureDoesNotMatch": "the secret key is wrong; check secret_access_key",
        "NoSuchBucket": "create the bucket, or correct its name in the target",
        "404": "not there",
    }.get(code)
    said = " ".join(str(problem).split())[:200]
    if hint is None:
        hint = {
            "EndpointConnectionError": "check the endpoint and that S3 runs",
            "ConnectTimeoutError": "check the endpoint, the network and that S3 runs",
            "ReadTimeoutError": "S3 is slow or stuck",
            "NoCredentialsError": "set access_key_id and secret_access_key",
            "SSLError": (
                "the server does not speak TLS here; perhaps the endpoint must begin with http://"
                if "WRONG_VERSION_NUMBER" in str(problem)
                else "the certificate cannot be verified; set ca_file to the authority's PEM file"
            ),
            "NotAListing": "a proxy or another program answered, not S3; check the endpoint",
        }.get(code, "check endpoint, credentials and S3's log")
    return f"{where}: {code}, {said!r}; {hint}"
