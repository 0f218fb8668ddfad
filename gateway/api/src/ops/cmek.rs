//! Customers' keys (CMEK): values that are encrypted before they come here. Talon keeps a fingerprint of the key; the key
//! itself it sees only while values are changed over to another.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::access::{ManageCmek, Permit};
use domain::cmek::{Encrypted, Fingerprint, KEY};
use domain::{CmekJobId, Error, OrMissing as _, Result, Time, VaultId};
use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use signer_protocol::cmek::AllowRotation;
use signer_protocol::wire::Secret;
use store::cmek::{self, Begun, Job};
use store::vaults::{self, Vault};
use zeroize::Zeroizing;

use super::secrets::{PutSecretRequest, signing_only};
use super::vaults::VaultResponse;
use super::{OfCmekJob, OfVault};
use crate::access::{Granted, OnVault};
use crate::cx::Cx;
use crate::decode::{self, NothingElse};
use crate::jobs::cmek::{LEASE, Rotation};
use crate::operation::{Operation, Reply, Route};

/// The headers in which keys come. They stand in no log.
pub const OLD_KEY: &str = "x-cmek-old-key";
pub const NEW_KEY: &str = "x-cmek-new-key";

/// How long the signer's leave lasts, in which a job must come to its end: an hour less than it gives at most, for clocks
/// that differ.
const GRANT: Duration = Duration::from_secs(23 * 60 * 60);

#[derive(Deserialize, JsonSchema)]
pub struct EnableCmekRequest {
    /// SHA-256 of the key's 32 bytes: 64 hex digits, with or without `sha256:` in front.
    fingerprint: String,
    #[serde(flatten)]
    _nothing_else: NothingElse,
}

/// Demands a customer's key for new values.
pub struct EnableCmek;

impl Operation for EnableCmek {
    const ROUTE: Route = Route::new(
        "enableCmek",
        Method::POST,
        "/v1/vaults/{vault_id}/cmek",
        200,
        "Takes only values that you have encrypted with a key of your own from now on: base64 of 0x01, a 12-byte IV, the \
         ciphertext and a 16-byte tag (AES-256-GCM without further data). Talon gets the key's SHA-256, and can't decrypt \
         them. What is in the vault already stays as it is.",
    )
    .audited("cmek.enable", "vault");
    type Path = OfVault;
    type Params = decode::From<EnableCmekRequest>;
    type Output = VaultResponse;
    type Access = OnVault<ManageCmek>;

    async fn run(
        cx: &Cx,
        Granted { may, .. }: Granted<Permit<ManageCmek, VaultId>>,
        path: OfVault,
        decode::From(new): Self::Params,
    ) -> Result<Reply<VaultResponse>> {
        let key = Fingerprint::parse("fingerprint", &new.fingerprint)?;
        let mut act = cx.begin().await?;
        if !cmek::enable(&mut act, &may, key).await? {
            return Err(Error::conflict(
                "CMEK is enabled on this vault with another key; change its values over with cmek-rotate, or disable CMEK \
                 first.",
            ));
        }
        act.note("fingerprint", key.to_string());
        act.commit(path.vault_id).await?;
        changed(cx, path.vault_id).await
    }
}

/// Takes new values as they are.
pub struct DisableCmek;

impl Operation for DisableCmek {
    const ROUTE: Route = Route::new(
        "disableCmek",
        Method::DELETE,
        "/v1/vaults/{vault_id}/cmek",
        200,
        "Takes new values without a key of yours again. What was encrypted with it stays so, and still needs it.",
    )
    .audited("cmek.disable", "vault");
    type Path = OfVault;
    type Params = ();
    type Output = VaultResponse;
    type Access = OnVault<ManageCmek>;

    async fn run(
        cx: &Cx,
        Granted { may, .. }: Granted<Permit<ManageCmek, VaultId>>,
        path: OfVault,
        (): (),
    ) -> Result<Reply<VaultResponse>> {
        let mut act = cx.begin().await?;
        if !cmek::disable(&mut act, &may).await? {
            return Err(Error::invalid("vault_id", "CMEK is not enabled on this vault"));
        }
        act.commit(path.vault_id).await?;
        changed(cx, path.vault_id).await
    }
}

/// The vault as it is now.
async fn changed(cx: &Cx, id: VaultId) -> Result<Reply<VaultResponse>> {
    cx.gateway.known.forget_vault(id).await;
    let vault = vaults::facts(cx.store(), id).await?.or_missing("vault")?;
    Ok(Reply::of(VaultResponse::from(&vault)))
}

#[derive(Deserialize, JsonSchema)]
pub struct CmekRotateRequest {
    /// SHA-256 of the new key, as for enabling.
    new_fingerprint: String,
    #[serde(flatten)]
    _nothing_else: NothingElse,
}

#[derive(Serialize, JsonSchema)]
pub struct CmekRotationJobResponse {
    id: CmekJobId,
    /// The same as `id`, as clients name it.
    job_id: CmekJobId,
    vault_id: VaultId,
    old_fingerprint: String,
    new_fingerprint: String,
    /// `running`, `completed` or `failed`.
    status: &'static str,
    /// Versions that are to be changed over, and those that are.
    total_secrets: u64,
    processed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    started_at: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    completed_at: Option<Time>,
    created_at: Time,
}

impl From<&Job> for CmekRotationJobResponse {
    fn from(job: &Job) -> Self {
        Self {
            id: job.id,
            job_id: job.id,
            vault_id: job.vault,
            old_fingerprint: job.old.to_string(),
            new_fingerprint: job.new.to_string(),
            status: job.status.as_str(),
            total_secrets: job.total,
            processed: job.processed,
            error: job.error.clone(),
            started_at: job.started_at,
            completed_at: job.completed_at,
            created_at: job.created_at,
        }
    }
}

/// Changes a vault's values over to another key.
pub struct RotateCmek;

impl Operation for RotateCmek {
    const ROUTE: Route = Route::new(
        "rotateCmek",
        Method::POST,
        "/v1/vaults/{vault_id}/cmek-rotate",
        202,
        "Changes a vault's values over to another key, in the background. The keys (base64 of 32 bytes) come in the headers \
         x-cmek-old-key and x-cmek-new-key, and stay in memory alone. New values need the new key from the answer on. Sent \
         again with the same keys, a rotation that was interrupted goes on.",
    )
    .audited("cmek.rotate", "vault");
    type Path = OfVault;
    type Params = decode::From<CmekRotateRequest>;
    type Output = CmekRotationJobResponse;
    type Access = OnVault<ManageCmek>;

    async fn run(
        cx: &Cx,
        Granted { may, vault }: Granted<Permit<ManageCmek, VaultId>>,
        path: OfVault,
        decode::From(new): Self::Params,
    ) -> Result<Reply<CmekRotationJobResponse>> {
        let keys = Keys::of(cx, &new)?;
        let unfinished = cmek::unfinished(cx.store(), &may, keys.old.print, keys.new.print).await?;
        let id = unfinished.unwrap_or_else(CmekJobId::new);
        let request = AllowRotation {
            by: cx.for_signer()?,
            job: id,
            vault_key: vault.key.clone(),
            old: keys.old.print.0,
            new: keys.new.print.0,
            expires_at: cx.now().plus(GRANT),
        };
        let grant = cx.signer(async |signer, context| signer.allow_rotation(context, request).await).await?;
        let mut act = cx.begin().await?;
        let (prints, times) = ((keys.old.print, keys.new.print), (cx.now(), cx.now().plus(LEASE)));
        let job = match cmek::begin(&mut act, &may, (id, unfinished.is_some()), prints, times).await? {
            Begun::Yours(job) => job,
            // Asked for twice at once: the other has just begun it.
            Begun::Busy(job) if (job.old, job.new) == prints => return Ok(Reply::of((&job).into())),
            Begun::Busy(job) => return Err(busy(&job)),
            Begun::OtherKey => return Err(Error::invalid(OLD_KEY, NOT_IN_FORCE)),
        };
        act.note("job", job.id.to_string());
        act.note("old_fingerprint", job.old.to_string());
        act.note("new_fingerprint", job.new.to_string());
        act.commit(path.vault_id).await?;
        cx.gateway.known.forget_vault(path.vault_id).await;
        let answer = CmekRotationJobResponse::from(&job);
        Rotation { job, by: may.by(), keys, grant, vault_key: vault.key.clone() }.start(&cx.gateway);
        Ok(Reply::of(answer))
    }
}

const NOT_IN_FORCE: &str =
    "is not the key in force: the vault has no CMEK, or another key; see its cmek_fingerprint";

fn busy(job: &Job) -> Error {
    Error::conflict(format!(
        "Another CMEK rotation of this vault is running ({}); wait until it has ended.",
        job.id
    ))
}

/// How a rotation goes.
pub struct GetCmekRotationJob;

impl Operation for GetCmekRotationJob {
    const ROUTE: Route = Route::new(
        "getCmekRotationJob",
        Method::GET,
        "/v1/vaults/{vault_id}/cmek-rotate/{job_id}",
        200,
        "How a change of keys goes. If it failed, nothing is lost: each version needs the key that it had, or the new one.",
    );
    type Path = OfCmekJob;
    type Params = ();
    type Output = CmekRotationJobResponse;
    type Access = OnVault<ManageCmek>;

    async fn run(
        cx: &Cx,
        Granted { may, .. }: Granted<Permit<ManageCmek, VaultId>>,
        path: OfCmekJob,
        (): (),
    ) -> Result<Reply<CmekRotationJobResponse>> {
        let job = cmek::find(cx.store(), &may, path.job_id, cx.now()).await?.or_missing("rotation")?;
        Ok(Reply::of(CmekRotationJobResponse::from(&job)))
    }
}

/// The keys of a rotation, in this process's memory alone, zeroed when dropped.
pub struct Keys {
    pub old: CustomerKey,
    pub new: CustomerKey,
}

pub struct CustomerKey {
    print: Fingerprint,
    bytes: Zeroizing<[u8; KEY]>,
}

impl Keys {
    fn of(cx: &Cx, request: &CmekRotateRequest) -> Result<Self> {
        let keys = Self { old: CustomerKey::of(cx, OLD_KEY)?, new: CustomerKey::of(cx, NEW_KEY)? };
        if keys.new.print != Fingerprint::parse("new_fingerprint", &request.new_fingerprint)? {
            return Err(Error::invalid("new_fingerprint", format!("is not the SHA-256 of {NEW_KEY}")));
        }
        if keys.new.print == keys.old.print {
            return Err(Error::invalid(NEW_KEY, "must be another key than the old one"));
        }
        Ok(keys)
    }
}

impl CustomerKey {
    fn of(cx: &Cx, header: &str) -> Result<Self> {
        let refused = || Error::invalid(header, "must be base64 of the key's 32 bytes");
        let text = cx.header(header)?.ok_or_else(refused)?;
        // The decoder wants room for what it expects at most.
        let mut room = Zeroizing::new([0; KEY + 4]);
        let length = STANDARD.decode_slice(text, room.as_mut_slice()).map_err(|_| refused())?;
        if length != KEY {
            return Err(refused());
        }
        let mut bytes = Zeroizing::new([0; KEY]);
        bytes.copy_from_slice(&room[..KEY]);
        Ok(Self { print: Fingerprint::of(&bytes), bytes })
    }

    /// For the signer.
    pub fn to_secret(&self) -> Secret {
        self.bytes.to_vec().into()
    }
}

/// What may be written into a vault that demands a customer's key.
///
/// # Errors
/// `Invalid`, with the format and never the value.
pub fn check(vault: &Vault, new: &PutSecretRequest) -> Result<()> {
    let Some(key) = vault.cmek else { return Ok(()) };
    if signing_only(&new.metadata) {
        return Err(Error::invalid(
            "metadata.signing_only",
            "can't be in a CMEK vault: Talon can't decrypt the key to sign with it",
        ));
    }
    if Encrypted::parse(new.value.expose().as_bytes()).is_none() {
        return Err(Error::invalid(
            "value",
            format!(
                "must be encrypted, as this is a CMEK vault: base64 of 0x01 | 12-byte IV | ciphertext | 16-byte tag, \
                 AES-256-GCM under the key whose SHA-256 is {key}"
            ),
        ));
    }
    Ok(())
}

/// What is made here would not be encrypted with the customer's key.
///
/// # Errors
/// `Conflict`, naming CMEK.
pub fn nothing_made(vault: &Vault) -> Result<()> {
    match vault.cmek {
        None => Ok(()),
        Some(_) => Err(Error::conflict(
            "This vault takes only what its customer has encrypted (CMEK), so no value can be made here; encrypt one and \
             write it with PUT.",
        )),
    }
}
