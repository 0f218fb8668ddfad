//! Vaults: made, listed, deleted.

use domain::access::{self, Permit, SeeVault};
use domain::policy::Policy;
use domain::{Error, OrgId, Result, Time, VaultId};
use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use signer_protocol::record::Principal;
use signer_protocol::sealing;
use store::vaults::{self, Vault};

use super::{OfVault, description, name};
use crate::access::{Granted, InOrg, OnVault};
use crate::cx::Cx;
use crate::decode;
use crate::operation::{Operation, Reply, Route};
use crate::tool::{Effect, Tool, arg};

/// How the names of Talon's own vaults start.
const RESERVED: &str = "__";

#[derive(Serialize, JsonSchema)]
pub struct VaultResponse {
    id: VaultId,
    org_id: OrgId,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    created_by: String,
    created_by_type: &'static str,
    created_at: Time,
    cmek_enabled: bool,
    /// SHA-256 of the customer's key that is in force, in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    cmek_fingerprint: Option<String>,
    /// Talon's own, such as `__agent-keys`: read by policy, and neither written nor deleted.
    reserved: bool,
}

impl From<&Vault> for VaultResponse {
    fn from(vault: &Vault) -> Self {
        Self {
            id: vault.id,
            org_id: vault.org,
            name: vault.name.clone(),
            description: vault.description.clone(),
            created_by: vault.creator.uuid(),
            created_by_type: vault.creator.kind(),
            created_at: vault.created_at,
            cmek_enabled: vault.cmek.is_some(),
            cmek_fingerprint: vault.cmek.map(|key| key.to_string()),
            reserved: vault.is_reserved(),
        }
    }
}

#[derive(Deserialize, JsonSchema)]
pub struct CreateVaultRequest {
    name: String,
    #[serde(default)]
    description: Option<String>,
}

/// Makes a vault; its creator may do everything with it.
pub struct CreateVault;

impl Operation for CreateVault {
    const ROUTE: Route = Route::new(
        "createVault",
        Method::POST,
        "/v1/vaults",
        201,
        "Makes a vault. Its creator may read, write and delete in it, and manages its policies.",
    )
    .audited("vault.create", "vault")
    .tool(
        Tool::new(
            "create_vault",
            Effect::Adds,
            "Makes a vault of your own: you may read, write and delete in it, and give others access (grant_access). The other \
             tools work in the vault that the client's configuration names, or in the only one that you can use.",
        )
        .takes(&[arg("name").about("1 to 200 characters."), arg("description")])
        .only_for(may_make),
    );
    type Path = ();
    type Params = decode::From<CreateVaultRequest>;
    type Output = VaultResponse;
    type Access = InOrg<access::CreateVault>;

    async fn run(
        cx: &Cx,
        may: Permit<access::CreateVault, OrgId>,
        (): (),
        decode::From(new): Self::Params,
    ) -> Result<Reply<VaultResponse>> {
        let (name, description) = (name("name", &new.name)?, description(new.description)?);
        let id = VaultId::new();
        if name.starts_with(RESERVED) {
            return Err(Error::invalid(
                "name",
                "must not start with __, as the names of Talon's own vaults do",
            ));
        }
        if !cx.subject()?.vault_ids.is_empty() || !may_make(cx.caller()?.principal()) {
            return Err(Error::forbidden("Your token is bound to certain vaults; it can't make others."));
        }
        let request = sealing::MakeVaultKey { by: cx.for_signer()?, vault: id };
        let key = cx.signer(async |signer, context| signer.make_vault_key(context, request).await).await?;
        let vault = Vault {
            id,
            org: may.org(),
            name,
            description,
            creator: may.by(),
            key,
            purpose: None,
            cmek: None,
            created_at: cx.now(),
        };
        let mut act = cx.begin().await?;
        vaults::insert(&mut act, &may, &vault).await?;
        act.note("name", vault.name.as_str());
        act.commit(id).await?;
        Ok(Reply::of(VaultResponse::from(&vault)))
    }
}

/// Who is bound to certain vaults makes no others.
fn may_make(who: &Principal) -> bool {
    who.vault_ids.is_empty()
}

#[derive(Serialize, JsonSchema)]
pub struct VaultListResponse {
    vaults: Vec<VaultResponse>,
}

/// The vaults that the caller may use.
pub struct ListVaults;

impl Operation for ListVaults {
    const ROUTE: Route =
        Route::new("listVaults", Method::GET, "/v1/vaults", 200, "The vaults that you may use or manage.").tool(
            Tool::new(
                "list_vaults",
                Effect::Reads,
                "Lists the vaults that you may use, with their ids. Use it to find a vault_id for grant_access, or the one \
                 that the client's configuration should name.",
            ),
        );
    type Path = ();
    type Params = ();
    type Output = VaultListResponse;
    type Access = InOrg<access::ListVaults>;

    async fn run(
        cx: &Cx,
        may: Permit<access::ListVaults, OrgId>,
        (): (),
        (): (),
    ) -> Result<Reply<VaultListResponse>> {
        let seen = reachable(cx, &may, &cx.policies().await?).await?;
        Ok(Reply::of(VaultListResponse { vaults: seen.iter().map(VaultResponse::from).collect() }))
    }
}

/// The vaults that the caller may use or manage, by these policies of its own.
pub async fn reachable(
    cx: &Cx,
    may: &Permit<access::ListVaults, OrgId>,
    policies: &[Policy],
) -> Result<Vec<Vault>> {
    let subject = cx.subject()?;
    let mut all = vaults::list(cx.store(), may).await?;
    all.retain(|v| access::vault::<SeeVault>(&subject, &v.facts(), policies).is_ok());
    Ok(all)
}

/// One vault.
pub struct GetVault;

impl Operation for GetVault {
    const ROUTE: Route = Route::new("getVault", Method::GET, "/v1/vaults/{vault_id}", 200, "One vault.");
    type Path = OfVault;
    type Params = ();
    type Output = VaultResponse;
    type Access = OnVault<SeeVault>;

    async fn run(
        _: &Cx,
        granted: Granted<Permit<SeeVault, VaultId>>,
        _: OfVault,
        (): (),
    ) -> Result<Reply<VaultResponse>> {
        Ok(Reply::of(VaultResponse::from(&*granted.vault)))
    }
}

/// Deletes a vault and destroys its key.
pub struct DeleteVault;

impl Operation for DeleteVault {
    const ROUTE: Route = Route::new(
        "deleteVault",
        Method::DELETE,
        "/v1/vaults/{vault_id}",
        204,
        "Deletes a vault for good: its key is destroyed, and what it held can't be opened any more.",
    )
    .audited("vault.delete", "vault");
    type Path = OfVault;
    type Params = ();
    type Output = ();
    type Access = OnVault<access::DeleteVault>;

    async fn run(
        cx: &Cx,
        granted: Granted<Permit<access::DeleteVault, VaultId>>,
        path: OfVault,
        (): (),
    ) -> Result<Reply<()>> {
        // The key first: a crash in between leaves a vault that can't be opened, and a second DELETE ends it.
        let (by, passkey) = (cx.for_signer()?, cx.passkey().await?);
        let request = sealing::DestroyVaultKey { by, key: granted.vault.key.clone(), passkey };
        cx.signer(async |signer, context| signer.destroy_vault_key(context, request).await).await?;
        let mut act = cx.begin().await?;
        if !vaults::delete(&mut act, &granted.may, cx.now()).await? {
            return Err(Error::missing("vault"));
        }
        act.commit(path.vault_id).await?;
        cx.gateway.known.forget_vault(path.vault_id).await;
        Ok(Reply::of(()))
    }
}
