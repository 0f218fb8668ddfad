//! Tokens of others (OpenID Connect, OAuth): who an issuer says that somebody is. The gateway checks them and gives its
//! word to the signer, whose tokens then say `asserted`.

mod claims;
mod issuer;
mod keys;

use std::sync::Arc;
use std::time::Duration;

use domain::{Clock, Error, OrgId, Result, SecretText};
use jsonwebtoken::Algorithm::{self, ES256, ES384, RS256, RS384, RS512};
use moka::sync::Cache;
use signer_protocol::record::Assertion;

use crate::egress::{Egress, Word};
use claims::{Claims, Expected};
use issuer::{Issuer, Place};

/// Issuers of agents' tokens whose keys are kept; those that were not asked for longest go first.
const ISSUERS: u64 = 1000;
const SIGN_IN: [Algorithm; 2] = [RS256, ES256];
const CLIENTS: [Algorithm; 5] = [RS256, RS384, RS512, ES256, ES384];
/// That a client's token may still be good for: it is a key until it expires, and nobody can take it back.
const LONGEST_CLIENT: Duration = Duration::from_secs(24 * 60 * 60);

/// Google, as it is set up; or somebody else who does it the same way.
#[derive(Clone, Debug)]
pub struct Google {
    /// For whom tokens must be.
    pub client_id: String,
    /// `https://accounts.google.com`
    pub issuer: String,
    /// Where the keys are.
    pub jwks: String,
}

/// Who has logged in with Google.
pub struct GooglePerson {
    pub issuer: String,
    pub subject: String,
    /// As Google has verified it.
    pub email: String,
    pub name: Option<String>,
}

impl GooglePerson {
    /// What a record pins.
    pub fn assertion(&self) -> Assertion {
        Assertion::Person { issuer: self.issuer.clone(), subject: self.subject.clone() }
    }
}

pub struct Openid {
    google: Option<(Google, Issuer)>,
    /// Each organisation's by themselves: what one lets an issuer be asked for is no delay for another.
    issuers: Cache<(OrgId, String), Arc<Issuer>>,
}

/// Why a token was not taken.
pub enum Refused {
    /// It is not good: why, for the log.
    Token(String),
    /// Nobody can tell, since the issuer's keys are not there.
    NoKeys(String),
}

impl Openid {
    /// # Errors
    /// One sentence for an operator, if the keys' address is none that may be asked.
    pub fn new(google: Option<Google>, egress: &Egress) -> Result<Self> {
        if let Some(google) = &google {
            egress.check(&google.jwks).map_err(|rule| {
                Error::invalid(
                    "TALON_GOOGLE_JWKS",
                    format!("{rule} (networks of your own: TALON_EGRESS_ALLOW)"),
                )
            })?;
        }
        let google = google.map(|google| {
            let issuer = Issuer::new(Place::Keys(google.jwks.clone()));
            (google, issuer)
        });
        Ok(Self { google, issuers: Cache::new(ISSUERS) })
    }

    /// Whose `id_token` it is. `None`: Google is not set up.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn google(
        &self,
        egress: &Egress,
        clock: &Clock,
        token: &SecretText,
    ) -> Option<Result<GooglePerson, Refused>> {
        let (google, issuer) = self.google.as_ref()?;
        let bare = google.issuer.strip_prefix("https://").unwrap_or(&google.issuer);
        let expected = Expected {
            // Google's tokens have had both.
            issuers: &[&google.issuer, bare],
            audience: &google.client_id,
            algorithms: &SIGN_IN,
            longest: None,
        };
        let claims = verified(issuer, egress, clock, Word::Operator, token, &expected).await;
        Some(claims.and_then(|claims| person(google, claims)))
    }

    /// Whether a client of an issuer's has sent its token for us, by the name that clients have for us.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn client(
        &self,
        egress: &Egress,
        clock: &Clock,
        (org, issuer, client_id): (OrgId, &str, &str),
        audience: &str,
        token: &SecretText,
    ) -> Result<(), Refused> {
        let make = || Arc::new(Issuer::new(Place::Discovered(issuer.to_owned())));
        let known = self.issuers.get_with((org, issuer.to_owned()), make);
        let expected =
            Expected { issuers: &[issuer], audience, algorithms: &CLIENTS, longest: Some(LONGEST_CLIENT) };
        let claims = verified(&known, egress, clock, Word::Tenant(org), token, &expected).await?;
        // Whatever it says of its client must be this one, and it must say so.
        let mut clients = [claims.azp, claims.client_id].into_iter().flatten().peekable();
        if clients.peek().is_none() || clients.any(|client| client != client_id) {
            return Err(Refused::Token("it is another client's (azp, client_id)".to_owned()));
        }
        Ok(())
    }
}

async fn verified(
    issuer: &Issuer,
    egress: &Egress,
    clock: &Clock,
    word: Word,
    token: &SecretText,
    expected: &Expected<'_>,
) -> Result<Claims, Refused> {
    let id = claims::key_id(token.expose()).map_err(Refused::Token)?;
    let key = issuer.key(egress, clock, word, &id).await.map_err(Refused::NoKeys)?;
    let key = key.ok_or_else(|| Refused::Token("the issuer has no such key (kid)".to_owned()))?;
    claims::open(token.expose(), &key, expected, clock.now()).map_err(Refused::Token)
}

fn person(google: &Google, claims: Claims) -> Result<GooglePerson, Refused> {
    let refused = |why: &str| Refused::Token(why.to_owned());
    if claims.azp.is_some_and(|azp| azp != google.client_id) {
        return Err(refused("it was given to another client (azp)"));
    }
    if claims.email_verified != Some(true) {
        return Err(refused("its email is not verified (email_verified)"));
    }
    let subject = claims.sub.ok_or_else(|| refused("it names nobody (sub)"))?;
    let email = claims.email.ok_or_else(|| refused("it has no email"))?;
    // One spelling: it is what the person is found by.
    Ok(GooglePerson { issuer: google.issuer.clone(), subject, email, name: claims.name })
}
