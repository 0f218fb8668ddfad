//! Who may call an operation: each names one of these, and gets the proof that it holds.

use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use domain::access::{
    self, AgentAction, AgentFacts, DescribeSecret, ManageMember, MemberFacts, OperatorAction, OrgAction,
    Permit, PersonAction, Platform, ReadSecret, Reading, RevokeApiKey, SecretAction, SecretAt, VaultAction,
};
use domain::{
    AgentId, ApiKeyId, ApprovalId, Error, OrMissing as _, OrgId, PrincipalId, Result, Role, SecretPath,
    UserId, VaultId,
};
use store::secrets::{self, versions};
use store::vaults::Vault;

use crate::cx::Cx;
use crate::ops::approvals;

/// Decides whether the caller may, before anything else of the operation runs.
pub trait Access<P>: 'static {
    /// Routes without authentication.
    const PUBLIC: bool = false;
    /// Whether a token that is shown on such a route counts.
    const LOOKS: bool = false;
    /// What the operation gets to show for it.
    type Granted: Send;
    fn grant(cx: &Cx, path: &P) -> impl Future<Output = Result<Self::Granted>> + Send;
}

/// Anyone, without a token.
pub struct Public;

impl<P: Sync> Access<P> for Public {
    const PUBLIC: bool = true;
    type Granted = ();
    async fn grant(_: &Cx, _: &P) -> Result<()> {
        Ok(())
    }
}

/// Anyone; who shows a token is known by it. The organisation's IP rules are not asked: what is opened this way may be
/// another's. A token that is bad is refused, not overlooked.
pub struct Visitors;

impl<P: Sync> Access<P> for Visitors {
    const PUBLIC: bool = true;
    const LOOKS: bool = true;
    type Granted = ();
    async fn grant(_: &Cx, _: &P) -> Result<()> {
        Ok(())
    }
}

/// Any principal with a live token.
pub struct SignedIn;

impl<P: Sync> Access<P> for SignedIn {
    type Granted = PrincipalId;
    async fn grant(cx: &Cx, _: &P) -> Result<PrincipalId> {
        Ok(cx.caller()?.principal().id)
    }
}

/// People, never agents.
pub struct People;

impl<P: Sync> Access<P> for People {
    type Granted = UserId;
    async fn grant(cx: &Cx, _: &P) -> Result<UserId> {
        match cx.caller()?.principal().id {
            PrincipalId::User(id) => Ok(id),
            PrincipalId::Agent(_) => Err(Error::forbidden("This is for people; an agent's token won't do.")),
        }
    }
}

pub(crate) const ONLY_AGENTS: &str = "This is for agents; use an agent's token.";

/// Agents, never people.
pub struct Agents;

impl<P: Sync> Access<P> for Agents {
    type Granted = AgentId;
    async fn grant(cx: &Cx, _: &P) -> Result<AgentId> {
        match cx.caller()?.principal().id {
            PrincipalId::Agent(id) => Ok(id),
            PrincipalId::User(_) => Err(Error::forbidden(ONLY_AGENTS)),
        }
    }
}

/// Something of a person's own. The action says whether an API key will do.
pub struct Own<A>(PhantomData<A>);

impl<P: Sync, A: PersonAction + 'static> Access<P> for Own<A> {
    type Granted = Permit<A, UserId>;
    async fn grant(cx: &Cx, _: &P) -> Result<Self::Granted> {
        access::person(&cx.subject()?)
    }
}

/// A personal API key, to end it.
pub struct OnApiKey;

impl<P: NamesApiKey> Access<P> for OnApiKey {
    type Granted = Permit<RevokeApiKey, ApiKeyId>;
    async fn grant(cx: &Cx, path: &P) -> Result<Self::Granted> {
        access::api_key(&cx.subject()?, path.api_key())
    }
}

/// Something in the caller's own organisation.
pub struct InOrg<A>(PhantomData<A>);

impl<P: Sync, A: OrgAction + 'static> Access<P> for InOrg<A> {
    type Granted = Permit<A, OrgId>;
    async fn grant(cx: &Cx, _: &P) -> Result<Self::Granted> {
        access::org(&cx.subject()?)
    }
}

/// The installation itself: for people of the organisation that operates it.
pub struct Operators<A>(PhantomData<A>);

impl<P: Sync, A: OperatorAction + 'static> Access<P> for Operators<A> {
    type Granted = Permit<A, Platform>;
    async fn grant(cx: &Cx, _: &P) -> Result<Self::Granted> {
        cx.operator().await
    }
}

/// A path that names a vault.
pub trait NamesVault: Sync {
    fn vault(&self) -> VaultId;
}

/// A path that names a secret.
pub trait NamesSecret: NamesVault {
    fn secret(&self) -> &SecretPath;
}

/// A path that names an agent.
pub trait NamesAgent: Sync {
    fn agent(&self) -> AgentId;
}

/// A path that names a personal API key.
pub trait NamesApiKey: Sync {
    fn api_key(&self) -> ApiKeyId;
}

/// A path that names a member of the organisation.
pub trait NamesMember: Sync {
    fn member(&self) -> UserId;
}

/// A permit, and the vault that it is about.
pub struct Granted<P> {
    pub may: P,
    pub vault: Arc<Vault>,
}

/// A vault as a whole.
pub struct OnVault<A>(PhantomData<A>);

impl<P: NamesVault, A: VaultAction + 'static> Access<P> for OnVault<A> {
    type Granted = Granted<Permit<A, VaultId>>;
    async fn grant(cx: &Cx, path: &P) -> Result<Self::Granted> {
        let vault = cx.vault(path.vault()).await?.or_missing("vault")?;
        let policies = cx.policies().await?;
        Ok(Granted { may: access::vault(&cx.subject()?, &vault.facts(), &policies)?, vault })
    }
}

/// A secret at a path.
pub struct OnSecret<A>(PhantomData<A>);

impl<P: NamesSecret, A: SecretAction + 'static> Access<P> for OnSecret<A> {
    type Granted = Granted<Permit<A, SecretAt>>;
    async fn grant(cx: &Cx, path: &P) -> Result<Self::Granted> {
        let vault = cx.vault(path.vault()).await?.or_missing("vault")?;
        let policies = cx.policies().await?;
        let may = access::secret(&cx.subject()?, &vault.facts(), &policies, path.secret().clone())?;
        Ok(Granted { may, vault })
    }
}

/// The value at a path, where a policy may ask for people's approval first.
pub struct OnValue;

/// Leave to read a value: by policy alone, or by an approval, which is good for one version.
pub struct MayRead {
    may: Permit<ReadSecret, SecretAt>,
    approval: Option<(ApprovalId, u64)>,
}

impl MayRead {
    pub fn approved(may: Permit<ReadSecret, SecretAt>, approval: ApprovalId, version: u64) -> Self {
        Self { may, approval: Some((approval, version)) }
    }

    /// What is used up when the read is recorded.
    pub fn approval(&self) -> Option<ApprovalId> {
        self.approval.map(|(id, _)| id)
    }

    /// # Errors
    /// `Conflict` if the approval is for another version than the one that was found.
    pub fn covers(&self, version: u64) -> Result<()> {
        match self.approval {
            Some((_, approved)) if approved != version => Err(Error::conflict(
                "The secret has a new version since, for which the approval is not good; read it again.",
            )),
            _ => Ok(()),
        }
    }
}

impl Deref for MayRead {
    type Target = Permit<ReadSecret, SecretAt>;
    fn deref(&self) -> &Self::Target {
        &self.may
    }
}

/// A path that names a secret, and perhaps one of its versions.
pub trait NamesValue: NamesSecret {
    /// `None`: the newest that is live.
    fn version(&self) -> Option<u64>;
}

impl<P: NamesValue> Access<P> for OnValue {
    type Granted = Granted<MayRead>;
    async fn grant(cx: &Cx, path: &P) -> Result<Self::Granted> {
        let vault = cx.vault(path.vault()).await?.or_missing("vault")?;
        let policies = cx.policies().await?;
        let reading = access::read(&cx.subject()?, &vault.facts(), &policies, path.secret().clone())?;
        let may = match reading {
            Reading::Now(may) => MayRead { may, approval: None },
            Reading::Asked(asked) => {
                let (store, at) = (cx.store(), asked.may().on());
                let version = match path.version() {
                    Some(number) => versions::facts(store, at, number).await?.or_missing("version")?,
                    None => secrets::facts(store, at).await?.or_missing("secret")?,
                };
                approvals::settle(cx, asked, &version).await?
            }
        };
        Ok(Granted { may, vault })
    }
}

/// What there is to know of a secret but its value: for who may read it, or may once people have approved it.
pub struct OnDescription;

impl<P: NamesSecret> Access<P> for OnDescription {
    type Granted = Granted<Permit<DescribeSecret, SecretAt>>;
    async fn grant(cx: &Cx, path: &P) -> Result<Self::Granted> {
        let vault = cx.vault(path.vault()).await?.or_missing("vault")?;
        let policies = cx.policies().await?;
        let may = access::describe(&cx.subject()?, &vault.facts(), &policies, path.secret().clone())?;
        Ok(Granted { may, vault })
    }
}

/// An agent.
pub struct OnAgent<A>(PhantomData<A>);

impl<P: NamesAgent, A: AgentAction + 'static> Access<P> for OnAgent<A> {
    type Granted = Permit<A, AgentId>;
    async fn grant(cx: &Cx, path: &P) -> Result<Self::Granted> {
        let id = path.agent();
        let org = cx.caller()?.principal().org;
        let known = cx.gateway.known.principal(cx.store(), PrincipalId::Agent(id), org).await?;
        let known = known.or_missing("agent")?;
        let facts = AgentFacts { id, org: known.principal.org, created_by: known.principal.created_by };
        access::agent(&cx.subject()?, &facts)
    }
}

/// A member of the organisation, to be managed.
pub struct OnMember;

impl<P: NamesMember> Access<P> for OnMember {
    type Granted = Permit<ManageMember, UserId>;
    async fn grant(cx: &Cx, path: &P) -> Result<Self::Granted> {
        let (id, org) = (path.member(), cx.caller()?.principal().org);
        let known = cx.gateway.known.principal(cx.store(), PrincipalId::User(id), org).await?;
        // Who may manage nobody learns nothing of who is there.
        let facts = known.map(|known| MemberFacts { id, role: known.principal.role.unwrap_or(Role::Member) });
        access::member(&cx.subject()?, facts)
    }
}
