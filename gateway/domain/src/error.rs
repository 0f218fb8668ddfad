//! One error, two messages: what the caller is told, and why, for the log.

use std::fmt;

/// What kind of failure it is. Each door (HTTP, MCP) maps it in one exhaustive match.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A bad path, body or value.
    Invalid,
    Unauthenticated,
    Forbidden,
    Missing,
    MethodNotAllowed,
    Conflict,
    /// Expired, deleted or used up.
    Gone,
    TooLarge,
    UnsupportedMediaType,
    /// Understood, but it can't be done: a simulation that reverts, an idempotency key with another body.
    Unprocessable,
    TooManyRequests {
        /// Seconds until another try makes sense.
        retry_after: u64,
    },
    /// A bug or a broken part. The caller learns nothing more than that.
    Internal,
    /// The signer, the HSM, the database or a chain's node can't be reached.
    Unavailable,
}

/// An error as a value. `detail` goes to the caller and says what to do next; `cause` goes to the log alone.
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: Kind,
    detail: String,
    cause: Option<String>,
    extra: serde_json::Map<String, serde_json::Value>,
    refused: Option<&'static str>,
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            detail: detail.into(),
            cause: None,
            extra: Default::default(),
            refused: None,
        }))
    }

    /// A field of the request is wrong: `invalid("to", "must be a 20-byte address")`.
    pub fn invalid(field: &str, rule: impl fmt::Display) -> Self {
        Self::new(Kind::Invalid, format!("{field}: {rule}"))
    }

    pub fn unauthenticated(detail: impl Into<String>) -> Self {
        Self::new(Kind::Unauthenticated, detail)
    }

    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(Kind::Forbidden, detail)
    }

    /// `missing("vault")`: no such thing, or none that the caller may know of.
    pub fn missing(what: &str) -> Self {
        let check = match what {
            // Whoever asks for these may have no organisation.
            "share" => "Check the link or the id: it may have ended, or been taken back.",
            "device code" => "Check what the device shows: a code is good once, and not for long.",
            "account" => "Check the email.",
            _ => "Check the id or path, and that it belongs to your organisation.",
        };
        Self::new(Kind::Missing, format!("No such {what}. {check}"))
    }

    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(Kind::Conflict, detail)
    }

    pub fn gone(detail: impl Into<String>) -> Self {
        Self::new(Kind::Gone, detail)
    }

    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(Kind::Unavailable, detail)
    }

    /// Something broke on our side. The cause is for the log; the caller gets a generic text.
    pub fn internal(cause: impl fmt::Display) -> Self {
        Self::new(
            Kind::Internal,
            "Something went wrong on the server. The log has the details under this request's id.",
        )
        .because(cause)
    }

    /// Adds what only the log may say.
    pub fn because(mut self, cause: impl fmt::Display) -> Self {
        self.0.cause = Some(cause.to_string());
        self
    }

    /// Adds a member to the problem body (RFC 9457 §3.2).
    pub fn with(mut self, key: &str, value: impl Into<serde_json::Value>) -> Self {
        self.0.extra.insert(key.to_owned(), value.into());
        self
    }

    /// Says that the signer would not do it, and for which of its rules: whoever may see the audit trail is told.
    pub fn refused_for(mut self, rule: &'static str) -> Self {
        self.0.refused = Some(rule);
        self
    }

    /// Whoever is to know that it was refused has been told.
    pub fn told(mut self) -> Self {
        self.0.refused = None;
        self
    }

    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    pub fn cause(&self) -> Option<&str> {
        self.0.cause.as_deref()
    }

    /// The signer's rule that was broken.
    pub fn refused(&self) -> Option<&'static str> {
        self.0.refused
    }

    pub fn extra(&self) -> &serde_json::Map<String, serde_json::Value> {
        &self.0.extra
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.cause {
            Some(cause) => write!(f, "{} ({cause})", self.0.detail),
            None => f.write_str(&self.0.detail),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)
    }
}

impl std::error::Error for Error {}

/// Says what absence means: `.or_missing("vault")?`.
pub trait OrMissing<T> {
    fn or_missing(self, what: &str) -> Result<T>;
}

impl<T> OrMissing<T> for Option<T> {
    fn or_missing(self, what: &str) -> Result<T> {
        self.ok_or_else(|| Error::missing(what))
    }
}
