"""What the libraries that ask others raise when those others fail; everything else is a mistake of ours.

These are functions, so that nothing is imported before something has failed: ``except s3_errors() as problem``.
"""

from __future__ import annotations

import functools

import urllib3

from loadgen.targets.s3 import NotAListing

Errors = tuple[type[Exception], ...]


@functools.cache
def s3_errors(*more: type[Exception]) -> Errors:
    """What boto3 raises when S3 fails or cannot be reached, and ``more``.

    Most is a ``ClientError`` (S3 answered with an error) or a ``BotoCoreError`` (no answer, no credentials, …). An
    answer that cannot be parsed has a class of its own, and where a body is read only some of urllib3's errors are
    translated. An ``OSError`` is what a socket or a TLS file says.
    """
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    return (ClientError, BotoCoreError, ResponseParserError, NotAListing, urllib3.exceptions.HTTPError, OSError, *more)


@functools.cache
def cluster_errors() -> Errors:
    """What the client of Kubernetes raises when the cluster refuses or cannot be reached."""
    try:
        from kubernetes.client.exceptions import OpenApiException
        from kubernetes.config import ConfigException
    except ModuleNotFoundError:
        return (urllib3.exceptions.HTTPError, OSError)
    return (OpenApiException, ConfigException, urllib3.exceptions.HTTPError, OSError)
