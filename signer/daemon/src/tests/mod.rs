//! The attacker's list, each item tried against the rules themselves, on a real ledger.

use std::sync::Arc;
use std::time::Duration;

use domain::{
    AgentId, Clock, InvitationId, OrgId, PrincipalId, Role, SecretPath, SecretType, UserId, VaultId, Wei,
};
use signer_protocol::attested::Attested;
use signer_protocol::link::{Followed, LinkTo, MakeLink};
use signer_protocol::people::{Invitation, Invite, Join, Login, Newcomer, ResetPassword};
use signer_protocol::record::{
    AgentLogin, AgentSettings, Change, ChangePrincipal, Credential, CredentialKind, FoundOrganisation,
    Guardrails, Principal,
};
use signer_protocol::sealing::{Label, MakeVaultKey, Seal, Sealed, VaultKey};
use signer_protocol::token::{Caller, IssueToken};
use signer_protocol::wire::{Blob, Secret};
use signer_protocol::{Reason, Refusal};
use tempfile::TempDir;

use crate::authority::{Authority, Limits};
use crate::encoding::sha256;
use crate::ledger::{self, Ledger};
use crate::refuse::Result;

mod api_keys;
mod approvals;
mod asserted;
mod backups;
mod cmek;
mod confirmed;
mod creations;
mod dependencies;
mod derived;
mod devices;
mod enrolment;
mod guardrails;
mod heads;
mod identities;
mod intents;
mod keystore;
mod ledgers;
mod links;
mod mfa;
mod organisations;
mod passkeys;
mod people;
mod principals;
mod remote;
mod replacements;
mod roots;
mod rotation;
mod sealing;
mod sharing;
mod socket;
mod starting;
mod tokens;
mod vault_keys;
mod webhook_keys;

use keystore::MemoryKeystore;

/// A signer with a ledger in a folder of its own, and a clock that tests move.
pub struct World {
    pub signer: Arc<Authority>,
    pub clock: Clock,
    pub keys: Arc<MemoryKeystore>,
    pub folder: TempDir,
}

/// Somebody with a record, a credential and a token.
#[derive(Clone)]
pub struct Actor {
    pub id: PrincipalId,
    pub org: OrgId,
    pub record: Attested<Principal>,
    pub credential: Credential,
    pub token: Secret,
}

/// A vault with its key.
pub struct Vault {
    pub id: VaultId,
    pub org: OrgId,
    pub key: Attested<VaultKey>,
}

/// What a mailed link carries.
pub const TICKET: &[u8] = b"a ticket";

/// Everybody's address.
pub fn address() -> Blob {
    Blob(vec![7; 32])
}

impl World {
    pub fn new() -> Self {
        let keys = Arc::new(MemoryKeystore::new());
        Self::over(tempfile::tempdir().unwrap(), keys, Clock::default())
    }

    fn over(folder: TempDir, keys: Arc<MemoryKeystore>, clock: Clock) -> Self {
        let origin = Some(crate::webauthn::tests::ORIGIN.parse().unwrap());
        Self::limited(folder, keys, clock, Limits { origin, ..Limits::default() })
    }

    fn limited(folder: TempDir, keys: Arc<MemoryKeystore>, clock: Clock, limits: Limits) -> Self {
        let ledger = Ledger::open(&folder.path().join(ledger::FILE), clock.clone()).unwrap();
        let signer = Authority::new(keys.clone(), 2, ledger, clock.clone(), limits).unwrap();
        Self { signer: Arc::new(signer), clock, keys, folder }
    }

    /// Ends the signer and starts another on the same ledger and keys.
    pub fn restarted(self) -> Self {
        let Self { signer, clock, keys, folder } = self;
        drop(signer);
        Self::over(folder, keys, clock)
    }

    /// A signer as it is after a power cut: it sees what is on the disk at this moment, and no more.
    pub fn after_power_cut(&self) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::copy(self.folder.path().join(ledger::FILE), folder.path().join(ledger::FILE)).unwrap();
        Self::over(folder, self.keys.clone(), self.clock.clone())
    }

    pub async fn owner(&self) -> Actor {
        let (org, owner) = (OrgId::new(), UserId::new());
        let credential = password(1);
        let request =
            FoundOrganisation { org, owner, email: address(), login: Login::Proof(credential.clone()) };
        let record = self.signer.found_organisation(request).await.unwrap();
        self.actor(record, credential).await
    }

    /// Another person of the organisation, whom its owner has invited.
    pub async fn person(&self, owner: &Actor, role: Role) -> Actor {
        let invitation = self.invite(owner, role).await.unwrap();
        let who = Newcomer::New(Login::Proof(password(2)));
        self.actor(self.join(&invitation, who).await.unwrap(), password(2)).await
    }

    pub async fn invite(&self, by: &Actor, role: Role) -> Result<Attested<Invitation>> {
        self.invite_at(by, role, address()).await
    }

    pub async fn invite_at(&self, by: &Actor, role: Role, email: Blob) -> Result<Attested<Invitation>> {
        let expires_at = self.clock.now().plus(Duration::from_secs(3600));
        let (by, id, user) = (by.caller(), InvitationId::new(), UserId::new());
        self.signer.invite(Invite { by, id, user, role, email, expires_at, passkey: None }).await
    }

    pub async fn join(
        &self,
        invitation: &Attested<Invitation>,
        who: Newcomer,
    ) -> Result<Attested<Principal>> {
        let email = invitation.peek().unwrap().email;
        let followed = self.follow(LinkTo::Invitation(invitation.clone()), email).await?;
        self.signer.join(Join { invitation: invitation.clone(), followed, who }).await
    }

    /// Has a link made for this address, and follows it.
    pub async fn follow(&self, to: LinkTo, email: Blob) -> Result<Followed> {
        let ticket = Blob(sha256(TICKET).to_vec());
        let link = self.signer.make_link(MakeLink { to, email, ticket }).await?;
        Ok(Followed { link, ticket: TICKET.to_vec().into() })
    }

    pub async fn reset_password(
        &self,
        record: Attested<Principal>,
        new: Credential,
    ) -> Result<Attested<Principal>> {
        let followed = self.follow(LinkTo::Password(record.clone()), address()).await?;
        self.signer.reset_password(ResetPassword { record, followed, new }).await
    }

    /// Confirms a changed record, and logs in with what it takes now.
    pub async fn again(&self, actor: &Actor, record: Attested<Principal>) -> Actor {
        self.signer.confirm(record.clone()).await.unwrap();
        self.actor(record, actor.credential.clone()).await
    }

    pub async fn agent(&self, by: &Actor, settings: AgentSettings) -> Actor {
        let credential = agent_key(3);
        let record = self.create_agent(by, AgentId::new(), &credential, settings).await.unwrap();
        self.actor(record, credential).await
    }

    pub async fn create_agent(
        &self,
        by: &Actor,
        id: AgentId,
        credential: &Credential,
        settings: AgentSettings,
    ) -> Result<Attested<Principal>> {
        let login = AgentLogin::Key(credential.clone());
        let change = Change::CreateAgent { id, login, identity: None, settings };
        self.signer
            .change_principal(ChangePrincipal { by: by.caller(), base: None, change, passkey: None })
            .await
    }

    pub async fn change(&self, by: &Actor, base: &Actor, change: Change) -> Result<Attested<Principal>> {
        let base = Some(base.record.clone());
        self.signer.change_principal(ChangePrincipal { by: by.caller(), base, change, passkey: None }).await
    }

    /// Signs in, and so makes the record the newest.
    pub async fn actor(&self, record: Attested<Principal>, credential: Credential) -> Actor {
        let Principal { id, org, .. } = record.peek().unwrap();
        let token = self.sign_in(&record, &credential).await.unwrap();
        Actor { id, org, record, credential, token }
    }

    pub async fn sign_in(&self, record: &Attested<Principal>, credential: &Credential) -> Result<Secret> {
        let proof = credential.clone();
        let request = IssueToken { record: Some(record.clone()), proof, derived_scopes: Vec::new() };
        Ok(self.signer.issue_token(request).await?.jwt)
    }

    pub async fn vault(&self, by: &Actor) -> Vault {
        let id = VaultId::new();
        let key = self.signer.make_vault_key(MakeVaultKey { by: by.caller(), vault: id }).await.unwrap();
        Vault { id, org: by.org, key }
    }

    pub async fn seal(&self, by: &Actor, vault: &Vault, label: Label, value: &str) -> Result<Sealed> {
        self.signer
            .seal(Seal {
                by: by.caller(),
                vault_key: vault.key.clone(),
                label,
                value: value.as_bytes().to_vec().into(),
                signing_only: false,
            })
            .await
    }

    pub async fn open(&self, by: &Actor, vault: &Vault, label: Label, sealed: &Blob) -> Result<String> {
        let request = signer_protocol::sealing::Open {
            by: by.caller(),
            vault_key: vault.key.clone(),
            label,
            sealed: sealed.clone(),
        };
        let opened = self.signer.open(request).await?;
        Ok(String::from_utf8(opened.expose().to_vec()).unwrap())
    }

    pub fn wait(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }
}

impl Actor {
    pub fn caller(&self) -> Caller {
        Caller { token: self.token.clone(), record: self.record.clone() }
    }

    pub fn with_record(&self, record: Attested<Principal>) -> Self {
        Self { record, ..self.clone() }
    }

    pub fn user(&self) -> UserId {
        match self.id {
            PrincipalId::User(id) => id,
            PrincipalId::Agent(_) => panic!("an agent"),
        }
    }

    pub fn agent_id(&self) -> AgentId {
        match self.id {
            PrincipalId::Agent(id) => id,
            PrincipalId::User(_) => panic!("a person"),
        }
    }
}

impl Vault {
    pub fn label(&self, path: &str, kind: SecretType) -> Label {
        Label { org: self.org, vault: self.id, path: SecretPath::parse(path).unwrap(), version: 1, kind }
    }
}

pub fn settings() -> AgentSettings {
    AgentSettings {
        intents: false,
        scopes: Vec::new(),
        vault_ids: Vec::new(),
        token_ttl_seconds: 3600,
        guardrails: Guardrails::default(),
        active: true,
        expires_at: None,
    }
}

pub fn password(seed: u8) -> Credential {
    Credential { kind: CredentialKind::Password, secret: vec![seed; 32].into() }
}

pub fn agent_key(seed: u8) -> Credential {
    Credential { kind: CredentialKind::AgentKey, secret: vec![b'a' + seed; 47].into() }
}

pub fn ether(text: &str) -> Wei {
    Wei::parse_ether("value", text).unwrap()
}

/// Changes a statement and keeps its code, as one can who writes to the database.
pub fn edited<T: signer_protocol::attested::Statement>(
    statement: &Attested<T>,
    from: &str,
    to: &str,
) -> Attested<T> {
    let (mac, body) = statement.parts().unwrap();
    let text = std::str::from_utf8(body).unwrap();
    assert!(text.contains(from), "{from} is not in {text}");
    Attested::from_parts(*mac, text.replacen(from, to, 1).as_bytes())
}

pub fn reason<T>(outcome: Result<T, Refusal>) -> Reason {
    match outcome {
        Ok(_) => panic!("was not refused"),
        Err(refusal) => refusal.reason,
    }
}

/// The refusal that a guardrail of that name gives.
pub fn guardrail(name: &str) -> Reason {
    Reason::Guardrail(name.to_owned())
}
