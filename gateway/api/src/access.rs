//! Who may call an operation: each names one of these, and gets the proof that it holds.

use std::marker::PhantomData;
use std::sync::Arc;

use domain::access::{
    self, AgentAction, AgentFacts, ManageMember, MemberFacts, OperatorAction, OrgAction, Permit,
    PersonAction, Platform, RevokeApiKey, SecretAction, SecretAt, VaultAction,
};
use domain::{
    AgentId, ApiKeyId, Error, OrMissing as _, OrgId, PrincipalId, Result, Role, SecretPath, UserId, VaultId,
};
use store::vaults::Vault;

use crate::cx::Cx;

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
