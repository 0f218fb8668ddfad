//! Talon's signer: the only process that opens a secret or uses a key.
//!
//! It trusts nobody's word, the gateway's least. Where a rule is enforced: who asks in [`callers`], who may change
//! whom in [`principals`] and [`people`], what comes after the first proof in [`mfa`], whose devices are let in by [`devices`], whose keys pass for a person in [`api_keys`], what may be opened in [`sealing`], what may be signed in [`guardrails`],
//! [`intents`] and [`replace`], what people must agree to in [`approvals`], what they confirm by [`passkeys`], when a change is [`loosening`], where audit chains stood in [`audit`], what tells of events to the outside in [`webhooks`], what a new root wraps in [`rewrapping`], what must never be forgotten in [`ledger`]. What each protects against, and what is not yet
//! refused: `signer/docs/threat-model.md`.

mod alone;
mod api_keys;
mod approvals;
mod audit;
mod authority;
mod backup;
mod calldata;
mod callers;
mod calls;
mod certificates;
mod cmek;
mod config;
mod devices;
mod encoding;
mod enrolment;
mod ethereum;
mod guardrails;
mod identities;
mod intents;
mod isolation;
pub mod keys;
mod keystore;
pub mod ledger;
mod links;
mod listen;
mod loosening;
mod mfa;
mod options;
mod passkeys;
mod people;
mod pool;
mod principals;
mod process;
mod recovery;
mod refuse;
mod remote;
mod replace;
mod restore;
mod rewrapping;
mod rotation;
mod sealing;
mod service;
mod sharing;
mod signing_keys;
mod start;
mod statements;
mod stopping;
mod tally;
mod tokens;
mod totp;
mod webauthn;
mod webhooks;

#[cfg(test)]
mod tests;

pub use authority::Limits;
pub use certificates::Options as CertificateOptions;
pub use config::{Config, KeystoreConfig, TlsConfig};
pub use isolation::isolate;
pub use options::Options;
pub use process::{
    main, main_certificates, main_forget, main_forget_head, main_forget_passkeys, main_init, main_restore,
    main_retire, main_rotate,
};
pub use recovery::{ForgetHeadOptions, ForgetOptions};
pub use restore::RestoreOptions;
pub use rotation::RetireOptions;
pub use start::{StartError, init, run};
pub use webauthn::Origin;
