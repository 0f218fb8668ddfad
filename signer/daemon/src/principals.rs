//! Principal records: who may make and change them.

use domain::{AgentId, OrgId, PrincipalId, Role, UserId};
use signer_protocol::attested::Attested;
use signer_protocol::identity::{Identity, PublicHalves};
use signer_protocol::passkey::{
    Asserted, challenge_of_leaving, challenge_of_new_agent, challenge_of_role, challenge_of_rotation,
    challenge_of_settings,
};
use signer_protocol::record::{
    AgentLogin, AgentSettings, Assertion, Change, ChangePrincipal, Credential, CredentialKind,
    FoundOrganisation, Guardrails, Principal, TokenLimit, Verifier,
};

use crate::approvals::check_policy;
use crate::authority::Authority;
use crate::callers::{Checked, seen};
use crate::encoding::length_prefixed;
use crate::loosening::{loosens, raises};
use crate::people::changed_person;
use crate::refuse::{Result, conflict, forbidden, invalid, tampered};
use crate::statements::digest;
use crate::stopping::stopped_by_manager;
use crate::tally;

/// Entries of a list in a record, at most: a record travels with every request.
pub const MAX_LIST: usize = 1000;

/// Tokens, contracts and, over all contracts, their functions, at most.
const MAX_TOKENS: usize = 100;
const MAX_CONTRACTS: usize = 100;
const MAX_SELECTORS: usize = 500;

/// Bytes of an issuer's name, or of whom it knows, at most.
const MAX_NAME: usize = 2048;

/// Seconds, as for an agent that says nothing.
const DEFAULT_TTL: u32 = 3600;

impl Authority {
    /// Sign-up: the owner of an organisation that nobody has had.
    pub async fn found_organisation(&self, request: FoundOrganisation) -> Result<Attested<Principal>> {
        let FoundOrganisation { org, owner, email, login } = request;
        let record = self.new_person(org, owner, Role::Owner, email, &login).await?;
        let attested = self.statements.attest(&record).await?;
        self.ledger.found(seen(&record, digest(&attested))).await?;
        Ok(attested)
    }

    /// Answers with the record as the change makes it. Its predecessor counts until the new one is first seen.
    pub async fn change_principal(&self, request: ChangePrincipal) -> Result<Attested<Principal>> {
        let by = self.caller(&request.by).await?;
        let user = by.user()?;
        by.unbounded()?;
        let record = match (request.base, request.change) {
            (None, Change::CreateAgent { id, login, identity, settings }) => {
                let identity = self.identity_of(by.org(), id, identity).await?;
                let record = self.create_agent(&by, user, id, login, identity, settings.clone()).await?;
                if settings.intents {
                    let challenge = |made| challenge_of_new_agent(user, made, &settings);
                    self.makes_by_passkey(&by, request.passkey.as_ref(), challenge).await?;
                }
                record
            }
            (Some(attested), change) => {
                let base = self.newest(&attested).await?;
                match base.id {
                    PrincipalId::Agent(_) => {
                        may_change(&by, user, &base)?;
                        let rotates = matches!(change, Change::RotateKey(_));
                        let stopped_by_manager = stopped_by_manager(&by, user, &base, &change)?;
                        let record = self.changed(&base, change).await?;
                        let record = Principal { stopped_by_manager, ..record };
                        let passkey = request.passkey.as_ref();
                        if rotates {
                            let challenge = challenge_of_rotation(&attested);
                            self.confirmed_by_passkey(&by, passkey, challenge, false).await?;
                        }
                        self.loosens_by(&by, &attested, &base, &record, passkey).await?;
                        record
                    }
                    PrincipalId::User(person) => {
                        let challenge = match change {
                            Change::SetRole(role) if raises(base.role, role) => {
                                Some(challenge_of_role(&attested, role))
                            }
                            Change::Deactivate if person == user => Some(challenge_of_leaving(&attested)),
                            _ => None,
                        };
                        let record = changed_person(&by, &base, change)?;
                        if let Some(challenge) = challenge {
                            self.confirmed_by_passkey(&by, request.passkey.as_ref(), challenge, false)
                                .await?;
                        }
                        record
                    }
                }
            }
            (None, _) => return Err(invalid("base: names the record to change.")),
        };
        self.statements.attest(&record).await
    }

    /// Makes a record the newest: it was answered by [`Authority::change_principal`], so it is somebody's
    /// authorised will.
    pub async fn confirm(&self, record: Attested<Principal>) -> Result<()> {
        self.newest(&record).await.map(|_| ())
    }

    /// Whether the signer made these records. An older one is genuine too: what is shown from it is what somebody
    /// authorised.
    pub async fn vouch(&self, records: Vec<Attested<Principal>>) -> Result<()> {
        for record in &records {
            self.statements.verify(record).await?;
        }
        Ok(())
    }

    /// Whoever has a passkey confirms what loosens an agent's bounds; where the agent's policy asks for passkeys, nobody
    /// loosens them without.
    async fn loosens_by(
        &self,
        by: &Checked,
        attested: &Attested<Principal>,
        base: &Principal,
        changed: &Principal,
        passkey: Option<&Asserted>,
    ) -> Result<()> {
        if !loosens(base, changed, self.limits.max_fee) {
            return Ok(());
        }
        let challenge = challenge_of_settings(attested, &settings_of(changed));
        let demanded = base.guardrails.approval.as_ref().is_some_and(|policy| policy.passkey);
        self.confirmed_by_passkey(by, passkey, challenge, demanded).await.map(drop)
    }

    async fn create_agent(
        &self,
        by: &Checked,
        user: UserId,
        id: AgentId,
        login: AgentLogin,
        identity: Option<PublicHalves>,
        settings: AgentSettings,
    ) -> Result<Principal> {
        let id = PrincipalId::Agent(id);
        if self.ledger.knows(id)? {
            return Err(conflict("id: an agent has had it."));
        }
        check_settings(&settings)?;
        let (verifier, asserted) = match login {
            AgentLogin::Key(credential) => (Some(self.enrol(id, &credential).await?), None),
            AgentLogin::Asserted(assertion) => (None, Some(agents_own(assertion)?)),
        };
        let born =
            Principal { verifier, asserted, created_by: Some(user), identity, ..newborn(id, by.org()) };
        Ok(with_settings(born, settings))
    }

    /// The public halves that were made for this agent, and for no other.
    pub(crate) async fn identity_of(
        &self,
        org: OrgId,
        agent: AgentId,
        made: Option<Attested<Identity>>,
    ) -> Result<Option<PublicHalves>> {
        let Some(made) = made else { return Ok(None) };
        let made = self.statements.verify(&made).await?;
        if (made.org, made.agent) != (org, agent) {
            return Err(tampered("The identity is another agent's."));
        }
        Ok(Some(made.halves.clone()))
    }

    async fn changed(&self, base: &Principal, change: Change) -> Result<Principal> {
        let mut record = successor(base)?;
        match change {
            Change::CreateAgent { .. } => return Err(invalid("base: a new agent has none.")),
            Change::Update(settings) => {
                check_settings(&settings)?;
                record = with_settings(record, settings);
                if base.active && !record.active {
                    record.epoch = next(base.epoch)?;
                }
            }
            // Two ways in would be two to close.
            Change::RotateKey(_) if base.asserted.is_some() => {
                return Err(conflict(
                    "The agent logs in with an identity of its own, and has no key to rotate.",
                ));
            }
            Change::SetRole(_) => return Err(invalid("role: people alone have one.")),
            Change::RotateKey(credential) => {
                record.verifier = Some(self.enrol(base.id, &credential).await?);
                record.epoch = next(base.epoch)?;
            }
            Change::Deactivate => {
                record.active = false;
                // What it logged in with has ended for good: reactivating takes a new key.
                (record.verifier, record.asserted) = (None, None);
                record.epoch = next(base.epoch)?;
            }
        }
        Ok(record)
    }

    pub(crate) async fn enrol(&self, id: PrincipalId, credential: &Credential) -> Result<Verifier> {
        let fits = match (id, credential.kind) {
            (PrincipalId::User(_), CredentialKind::Password) => credential.secret.expose().len() == 32,
            // A prefix and 32 random bytes in base64.
            (PrincipalId::Agent(_), CredentialKind::AgentKey) => {
                (40..=128).contains(&credential.secret.expose().len())
            }
            _ => false,
        };
        if !fits {
            return Err(invalid("credential: is not of the kind or length that this principal has."));
        }
        Ok(Verifier { kind: credential.kind, code: credential_code(self, id, credential).await? })
    }
}

/// What a credential of `owner` comes to, in hex: the MAC over it and whose it is.
pub async fn credential_code(
    authority: &Authority,
    owner: impl std::fmt::Display,
    credential: &Credential,
) -> Result<String> {
    let kind: &[u8] = match credential.kind {
        CredentialKind::AgentKey => b"agent_key",
        CredentialKind::ApiKey => b"api_key",
        CredentialKind::Password => b"password",
        CredentialKind::Passphrase => b"passphrase",
    };
    let message = zeroize::Zeroizing::new(length_prefixed(&[
        b"talon/verifier/1",
        kind,
        owner.to_string().as_bytes(),
        credential.secret.expose(),
    ]));
    authority.pool.on_keys(move |keys| keys.mac(&message)).await.map(hex::encode)
}

/// An owner or admin of the same organisation, or the person who made the agent.
pub fn may_change(by: &Checked, user: UserId, base: &Principal) -> Result<()> {
    if by.org() != base.org {
        return Err(forbidden("The principal belongs to another organisation."));
    }
    if by.record().role.is_some_and(Role::manages) || base.created_by == Some(user) {
        Ok(())
    } else {
        Err(forbidden("Only an owner, an admin or the member who made the agent changes it."))
    }
}

/// What an agent may be recognised by.
fn agents_own(assertion: Assertion) -> Result<Assertion> {
    let fits = match &assertion {
        Assertion::Person { .. } => false,
        Assertion::Client { issuer, client_id } => is_name(issuer) && is_name(client_id),
        Assertion::Certificate { sha256 } => sha256.0.len() == 32,
    };
    if fits {
        Ok(assertion)
    } else {
        Err(invalid("login: must be a client of an issuer, or the SHA-256 of a certificate."))
    }
}

/// Of an issuer, or of whom it knows.
pub fn is_name(text: &str) -> bool {
    (1..=MAX_NAME).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// A record of nobody yet: who may do nothing, and not log in.
pub fn newborn(id: PrincipalId, org: OrgId) -> Principal {
    Principal {
        id,
        org,
        role: None,
        verifier: None,
        intents: false,
        scopes: Vec::new(),
        vault_ids: Vec::new(),
        token_ttl_seconds: DEFAULT_TTL,
        guardrails: Guardrails::default(),
        active: true,
        expires_at: None,
        created_by: None,
        identity: None,
        asserted: None,
        email: None,
        mfa: None,
        passkeys: None,
        stopped_by_manager: false,
        epoch: 1,
        version: 1,
    }
}

/// A record's next version, for a change to be made to it.
pub fn successor(base: &Principal) -> Result<Principal> {
    Ok(Principal { version: next(base.version)?, ..base.clone() })
}

pub fn next(number: u64) -> Result<u64> {
    number.checked_add(1).ok_or_else(|| invalid("The record can't change any more."))
}

fn check_settings(settings: &AgentSettings) -> Result<()> {
    if !(60..=86_400).contains(&settings.token_ttl_seconds) {
        return Err(invalid("token_ttl_seconds: must be from 60 to 86400."));
    }
    let lists = [
        ("scopes", settings.scopes.len()),
        ("vault_ids", settings.vault_ids.len()),
        ("tx_allowed_chains", settings.guardrails.allowed_chains.len()),
        ("tx_to_allowlist", settings.guardrails.to_allowlist.len()),
    ];
    match lists.into_iter().find(|(_, length)| *length > MAX_LIST) {
        Some((name, _)) => Err(invalid(format!("{name}: must have at most {MAX_LIST} entries."))),
        None => {
            settings.guardrails.approval.as_ref().map_or(Ok(()), check_policy)?;
            check_tokens(&settings.guardrails)
        }
    }
}

/// The lists of tokens and calls: short, and saying one thing.
fn check_tokens(guardrails: &Guardrails) -> Result<()> {
    let Guardrails { tokens, calls, .. } = guardrails;
    if tokens.len() > MAX_TOKENS {
        return Err(invalid(format!("tx_tokens: must have at most {MAX_TOKENS} entries.")));
    }
    let twice = |at: usize| {
        let is = |one: &TokenLimit| (one.chain_id, one.token) == (tokens[at].chain_id, tokens[at].token);
        tokens[..at].iter().any(is)
    };
    if (0..tokens.len()).any(twice) {
        return Err(invalid("tx_tokens: must name each token of a chain once."));
    }
    if tokens.iter().flat_map(|one| [one.max, one.daily]).flatten().any(|amount| amount >= tally::MOST) {
        return Err(invalid("tx_tokens: max and daily must be below 2^192."));
    }
    let selectors: usize = calls.iter().map(|one| one.selectors.len()).sum();
    if calls.len() > MAX_CONTRACTS || selectors > MAX_SELECTORS {
        return Err(invalid(format!(
            "tx_calls_allowlist: must have at most {MAX_CONTRACTS} contracts and {MAX_SELECTORS} selectors."
        )));
    }
    if calls.iter().any(|one| one.selectors.is_empty()) {
        return Err(invalid("tx_calls_allowlist: must name the selectors of each contract."));
    }
    Ok(())
}

fn settings_of(record: &Principal) -> AgentSettings {
    AgentSettings {
        intents: record.intents,
        scopes: record.scopes.clone(),
        vault_ids: record.vault_ids.clone(),
        token_ttl_seconds: record.token_ttl_seconds,
        guardrails: record.guardrails.clone(),
        active: record.active,
        expires_at: record.expires_at,
    }
}

fn with_settings(record: Principal, settings: AgentSettings) -> Principal {
    let AgentSettings { intents, scopes, vault_ids, token_ttl_seconds, guardrails, active, expires_at } =
        settings;
    Principal { intents, scopes, vault_ids, token_ttl_seconds, guardrails, active, expires_at, ..record }
}
