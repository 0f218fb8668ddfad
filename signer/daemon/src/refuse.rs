//! Refusals, by reason. The text is for the caller: it never holds a value, a key or a credential.

use signer_protocol::{Reason, Refusal};

pub type Result<T, E = Refusal> = std::result::Result<T, E>;

pub fn invalid(detail: impl Into<String>) -> Refusal {
    Refusal::new(Reason::Invalid, detail)
}

pub fn unauthenticated(detail: impl Into<String>) -> Refusal {
    Refusal::new(Reason::Unauthenticated, detail)
}

pub fn forbidden(detail: impl Into<String>) -> Refusal {
    Refusal::new(Reason::Forbidden, detail)
}

pub fn tampered(detail: impl Into<String>) -> Refusal {
    Refusal::new(Reason::Tampered, detail)
}

pub fn conflict(detail: impl Into<String>) -> Refusal {
    Refusal::new(Reason::Conflict, detail)
}

pub fn unavailable(detail: impl Into<String>) -> Refusal {
    Refusal::new(Reason::Unavailable, detail)
}

pub fn guardrail(name: &str, detail: impl std::fmt::Display) -> Refusal {
    Refusal::new(Reason::Guardrail(name.to_owned()), format!("{name}: {detail}"))
}
