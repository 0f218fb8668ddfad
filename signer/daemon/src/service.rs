//! The protocol's requests, each handed to the rule that answers it.

use std::sync::Arc;

use domain::{AgentId, Wei};
use signer_protocol::api_key::{ApiKey, CreateApiKey, IssueKeyToken, RevokeApiKey};
use signer_protocol::attested::Attested;
use signer_protocol::identity::{MakeIdentity, NewIdentity};
use signer_protocol::intent::{Intent, Release, Sign, SignedTransaction, Submit};
use signer_protocol::record::{ChangePrincipal, FoundOrganisation, Principal};
use signer_protocol::sealing::{DestroyVaultKey, MakeVaultKey, Open, Seal, Sealed, VaultKey};
use signer_protocol::service::{Health, Info};
use signer_protocol::token::{IssueToken, IssuedToken, RevokeToken, RevokedToken};
use signer_protocol::wire::{Blob, Secret};
use signer_protocol::{Refusal, Signer};
use tarpc::context::Context;

use crate::authority::Authority;

/// One connection's handle on the rules.
#[derive(Clone)]
pub struct Service(pub Arc<Authority>);

impl Signer for Service {
    async fn info(self, _: Context) -> Info {
        let keystore = self.0.pool.keystore();
        Info {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            keystore: keystore.kind().to_owned(),
            token_public_key: Blob(keystore.token_public_key().to_vec()),
            key_id: self.0.tokens.key_id().to_owned(),
        }
    }

    async fn health(self, _: Context) -> Health {
        let asked = match self.0.ledger.health() {
            Ok(()) => self.0.pool.on_keys(|keys| keys.health()).await,
            refused => refused,
        };
        asked.map_or_else(|refusal| Health::Unavailable(refusal.detail), |()| Health::Ok)
    }

    async fn found_organisation(
        self,
        _: Context,
        request: FoundOrganisation,
    ) -> Result<Attested<Principal>, Refusal> {
        self.0.found_organisation(request).await
    }

    async fn change_principal(
        self,
        _: Context,
        request: ChangePrincipal,
    ) -> Result<Attested<Principal>, Refusal> {
        self.0.change_principal(request).await
    }

    async fn confirm(self, _: Context, record: Attested<Principal>) -> Result<(), Refusal> {
        self.0.confirm(record).await
    }

    async fn vouch(self, _: Context, records: Vec<Attested<Principal>>) -> Result<(), Refusal> {
        self.0.vouch(records).await
    }

    async fn make_identity(self, _: Context, request: MakeIdentity) -> Result<NewIdentity, Refusal> {
        self.0.make_identity(request).await
    }

    async fn create_api_key(self, _: Context, request: CreateApiKey) -> Result<Attested<ApiKey>, Refusal> {
        self.0.create_api_key(request).await
    }

    async fn revoke_api_key(self, _: Context, request: RevokeApiKey) -> Result<Attested<ApiKey>, Refusal> {
        self.0.revoke_api_key(request).await
    }

    async fn issue_key_token(self, _: Context, request: IssueKeyToken) -> Result<IssuedToken, Refusal> {
        self.0.issue_key_token(request).await
    }

    async fn issue_token(self, _: Context, request: IssueToken) -> Result<IssuedToken, Refusal> {
        self.0.issue_token(request).await
    }

    async fn revoke_token(self, _: Context, request: RevokeToken) -> Result<RevokedToken, Refusal> {
        self.0.revoke_token(request).await
    }

    async fn make_vault_key(self, _: Context, request: MakeVaultKey) -> Result<Attested<VaultKey>, Refusal> {
        self.0.make_vault_key(request).await
    }

    async fn destroy_vault_key(self, _: Context, request: DestroyVaultKey) -> Result<(), Refusal> {
        self.0.destroy_vault_key(request).await
    }

    async fn seal(self, _: Context, request: Seal) -> Result<Sealed, Refusal> {
        self.0.seal(request).await
    }

    async fn open(self, _: Context, request: Open) -> Result<Secret, Refusal> {
        self.0.open(request).await
    }

    async fn submit(self, _: Context, request: Submit) -> Result<Attested<Intent>, Refusal> {
        self.0.submit(request).await
    }

    async fn sign(self, _: Context, request: Sign) -> Result<SignedTransaction, Refusal> {
        self.0.sign(request).await
    }

    async fn release(self, _: Context, request: Release) -> Result<(), Refusal> {
        self.0.release(request).await
    }

    async fn spent(self, _: Context, agent: AgentId) -> Result<Wei, Refusal> {
        self.0.spent(agent).await
    }
}
