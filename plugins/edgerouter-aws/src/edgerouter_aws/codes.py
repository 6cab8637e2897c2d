"""Error codes of AWS by what happens next, in one table for this distribution.

Sources: the service models in botocore, "Common error types" of the SQS API reference, "Error responses" of the S3 API reference.
"""

from __future__ import annotations

THROTTLED = frozenset(
    {
        "BandwidthLimitExceeded", "KMS.ThrottlingException", "KmsThrottled", "LimitExceededException", "OverLimit",
        "PriorRequestNotComplete", "RequestLimitExceeded", "RequestThrottled", "RequestThrottledException", "SlowDown",
        "ThrottledException", "Throttling", "ThrottlingException", "TooManyRequests", "TooManyRequestsException",
    }
)  # fmt: skip

BAD_KEY = {
    "InvalidAccessKeyId": "the access key id is not known to AWS",
    "InvalidClientTokenId": "the access key id is not known to AWS",
    "UnrecognizedClientException": "the access key id or the session token is not known to AWS",
    "SignatureDoesNotMatch": "the secret access key does not belong to the access key id, or the device's clock is wrong",
    "InvalidSignatureException": "the secret access key does not belong to the access key id, or the device's clock is wrong",
    "IncompleteSignature": "the credentials cannot be used to sign a request",
    "ExpiredToken": "the session token has expired",
    "ExpiredTokenException": "the session token has expired",
    "TokenRefreshRequired": "the session token must be refreshed",
    "InvalidToken": "the session token is not valid",
    "InvalidIdentityToken": "the web identity token is not valid",
    "MissingAuthenticationToken": "the request was not signed: no credentials were found",
    "MissingAuthenticationTokenException": "the request was not signed: no credentials were found",
    "RequestTimeTooSkewed": "the device's clock is wrong",
    "RequestExpired": "the device's clock is wrong",
    "InvalidSecurity": "the request was not made over HTTPS, or not signed",
}
"""Credentials; AWS's own text is not repeated, because that of a wrong signature holds parts of the request."""

NOT_ALLOWED = frozenset(
    {
        "403", "AccessDenied", "AccessDeniedException", "AuthorizationError", "Forbidden", "KMS.AccessDeniedException",
        "KmsAccessDenied", "UnauthorizedOperation",
    }
)  # fmt: skip

NOT_THERE = {
    "NonExistentQueue": "the queue does not exist; check its name, region and account",
    "QueueDoesNotExist": "the queue does not exist; check its name, region and account",
    "QueueDeletedRecently": "the queue was deleted less than a minute ago",
    "InvalidAddress": "the queue's URL is not valid in this region",
    "NoSuchBucket": "the bucket does not exist; check its name",
    "InvalidBucketName": "the bucket's name is not valid",
    "404": "nothing is there, and the answer is not one of AWS; check endpoint_url",
    "ResourceNotFoundException": "the secret does not exist; check its name and region",
    "NoSuchAccessPoint": "the access point does not exist; check its ARN",
}

SET_UP = frozenset(
    {
        "AccessControlListNotSupported", "AccountProblem", "AllAccessDisabled", "BatchEntryIdsNotDistinct", "DecryptionFailure",
        "EncryptionFailure", "EncryptionTypeMismatch", "InvalidArgument", "InvalidBatchEntryId",
        "InvalidBucketState", "InvalidEncryptionAlgorithmError", "InvalidObjectState", "InvalidParameterException", "InvalidPayer",
        "InvalidRequest", "InvalidRequestException", "InvalidStorageClass", "InvalidTag", "MetadataTooLarge", "MethodNotAllowed",
        "MissingParameter", "NotImplemented", "NotSignedUp", "OptInRequired", "UnsupportedArgument", "UnsupportedOperation",
    }
)  # fmt: skip
"""Wrong set-up, here or in AWS; AWS's own text gives the reason. S3's invalid arguments and requests belong here: objects differ
only in key and bytes, for which S3 has separate codes."""
OF_THE_QUEUE = ("queue type", "ContentBasedDeduplication")
"""In the text of an `InvalidParameterValue` of SQS that is about the queue's kind, and so about every message alike."""
OF_THE_KEY = ("KMS.", "Kms")
"""Beginnings of the codes that concern the encryption's key, its state, or the permission to use it."""

WRONG_REGION = frozenset(
    {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "301", "TemporaryRedirect"}
)

REJECTED = frozenset(
    {
        "BatchRequestTooLong", "EmptyBatchRequest", "EntityTooLarge", "InvalidAttributeValue", "InvalidMessageContents",
        "InvalidParameterValue", "InvalidURI", "KeyTooLong", "KeyTooLongError", "MessageTooLong",
        "TooManyEntriesInBatchRequest", "ValidationError", "XMinioInvalidObjectName",
    }
)  # fmt: skip
"""A message of the request can never be taken; the router finds it by halving."""

RETRY = frozenset(
    {
        "BadDigest", "ConditionalRequestConflict", "EntityTooSmall", "IDPCommunicationError", "IncompleteBody", "InternalError",
        "InternalFailure", "InternalServiceError", "InvalidDigest", "InvalidPart", "InvalidPartNumber", "InvalidPartOrder",
        "MalformedTrailerError", "MalformedXML", "MissingContentLength", "MissingRequestBodyError",
        "NoSuchUpload", "OperationAborted", "PreconditionFailed", "RequestTimeout", "ServiceUnavailable",
        "XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch", "XMinioAdminBucketQuotaExceeded", "XMinioStorageFull",
    }
)  # fmt: skip
"""Gone when tried again, even where the answer is a 4xx or says that an entry is to blame: the request was damaged on its way, or
an upload in parts came apart, and the same bytes can be stored by a new one."""
