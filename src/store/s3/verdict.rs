//! What an answer says is wrong, by its code and status.

use super::failed::Answer;

/// What is wrong, as far as one would act differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    UnknownAccessKey,
    WrongSecret,
    ExpiredCredentials,
    Denied,
    NoBucket,
    BadBucketName,
    WrongRegion,
    WrongClock,
    Full,
    OverQuota,
    /// The server is in trouble or has too much to do.
    Busy,
    /// Another write of the key was under way, again and again.
    Collision,
    /// The body did not arrive as it was sent.
    Damaged,
    TooLarge,
    /// The object is refused for what it is.
    BadObject,
    Archived,
    Encryption,
    /// An object stands where the key needs a folder, or the reverse.
    InTheWay,
    Unsupported,
    WantsTls,
    /// Something else answers.
    NotS3,
    /// Something before the server answers that it cannot reach it.
    Gateway,
    /// Refused for a reason that has no word here.
    Refused,
    /// The same, for a reason that is likely to pass.
    RefusedForNow,
}

use Verdict as V;

/// Codes of S3 (<https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>), of MinIO
/// (<https://github.com/minio/minio/blob/master/cmd/api-errors.go>) and of Versity S3 Gateway
/// (<https://github.com/versity/versitygw/blob/main/s3err/s3err.go>).
const CODES: &[(&str, Verdict)] = &[
    ("InvalidAccessKeyId", V::UnknownAccessKey),
    ("XAdminUserNotFound", V::UnknownAccessKey), // Versity
    ("SignatureDoesNotMatch", V::WrongSecret),
    ("ExpiredToken", V::ExpiredCredentials),
    ("InvalidToken", V::ExpiredCredentials),
    ("TokenRefreshRequired", V::ExpiredCredentials),
    ("AccessDenied", V::Denied),
    ("AllAccessDisabled", V::Denied),
    ("AccountProblem", V::Denied),
    ("InvalidPayer", V::Denied),
    ("InvalidSecurity", V::Denied),
    ("NotSignedUp", V::Denied),
    ("UnauthorizedAccess", V::Denied),
    ("NoSuchBucket", V::NoBucket),
    ("InvalidBucketName", V::BadBucketName),
    ("AuthorizationHeaderMalformed", V::WrongRegion),
    ("IllegalLocationConstraintException", V::WrongRegion),
    ("InvalidLocationConstraint", V::WrongRegion),
    ("InvalidRegion", V::WrongRegion), // MinIO
    ("PermanentRedirect", V::WrongRegion),
    ("TemporaryRedirect", V::WrongRegion),
    ("RequestTimeTooSkewed", V::WrongClock),
    ("XMinioStorageFull", V::Full),
    ("XMinioAdminBucketQuotaExceeded", V::OverQuota),
    ("QuotaExceeded", V::OverQuota), // Versity
    ("ServiceUnavailable", V::Busy),
    ("SlowDown", V::Busy),
    ("SlowDownRead", V::Busy),  // MinIO
    ("SlowDownWrite", V::Busy), // MinIO
    ("TooManyRequests", V::Busy),
    ("RequestTimeout", V::Busy),
    ("InternalError", V::Busy),
    ("ConditionalRequestConflict", V::Collision),
    ("OperationAborted", V::Collision),
    ("BadDigest", V::Damaged),
    ("IncompleteBody", V::Damaged),
    ("XAmzContentSHA256Mismatch", V::Damaged),
    ("EntityTooLarge", V::TooLarge),
    ("KeyTooLongError", V::BadObject),
    ("InvalidArgument", V::BadObject),
    ("InvalidObjectName", V::BadObject),
    ("InvalidURI", V::BadObject),
    ("MetadataTooLarge", V::BadObject),
    ("XMinioInvalidObjectName", V::BadObject),
    ("XMinioInvalidResourceName", V::BadObject),
    ("InvalidObjectState", V::Archived),
    ("XMinioParentIsObject", V::InTheWay),
    ("XMinioObjectExistsAsDirectory", V::InTheWay),
    ("ObjectParentIsFile", V::InTheWay),        // Versity
    ("ExistingObjectIsDirectory", V::InTheWay), // Versity
    ("MethodNotAllowed", V::Unsupported),
    ("NotImplemented", V::Unsupported),
];

/// Judges an answer to a request about `key`.
pub(super) fn verdict(answer: &Answer, key: Option<&str>) -> Verdict {
    if let 301 | 307 | 308 = answer.status
        && (answer.code.is_some() || answer.region.is_some())
    {
        return V::WrongRegion;
    }
    let Some(code) = answer.code.as_deref() else { return stranger(answer) };
    if let Some((_, known)) = CODES.iter().find(|(known, _)| *known == code) {
        return *known;
    }
    match answer.status {
        _ if code.starts_with("KMS") => V::Encryption,
        507 => V::Full,
        408 | 429 | 500..=599 => V::Busy,
        404 | 409 | 412 => V::RefusedForNow, // about what is there at this moment
        413 => V::TooLarge,
        400 if key.is_some() && answer.key.as_deref() == key => V::BadObject,
        403 => V::Denied,
        _ => V::Refused,
    }
}

/// An answer without any code of S3: from something else, or from something in between.
fn stranger(answer: &Answer) -> Verdict {
    match answer.status {
        _ if answer.wants_tls => V::WantsTls,
        413 => V::TooLarge,
        507 => V::Full,
        408 | 429 | 500 | 502..=504 => V::Gateway,
        _ => V::NotS3,
    }
}
