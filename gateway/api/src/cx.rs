//! What an operation has at hand: the gateway's parts, who asks, and the audit trail.

use std::net::IpAddr;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use domain::access::{self, OperatorAction, Permit, Platform, Subject};
use domain::audit::Event;
use domain::policy::Policy;
use domain::{Error, EventId, OrgId, PrincipalId, RequestId, Result, Time, VaultId};
use http::HeaderMap;
use serde_json::{Map, Value};
use signer_protocol::record::{Change, ChangePrincipal, Principal};
use signer_protocol::token::Caller as SignerCaller;
use signer_protocol::{Attested, Reason, Refusal, SignerClient};
use store::vaults::Vault;
use store::{Store, Tx};
use tokio::sync::watch;

use crate::authenticate::Caller;
use crate::certificate::Fingerprint;
use crate::gateway::Gateway;
use crate::operation::Route;
use crate::refusal;

/// One request.
pub struct Cx {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) route: Route,
    pub(crate) request: RequestId,
    pub(crate) headers: HeaderMap,
    pub(crate) address: Option<IpAddr>,
    /// What the client has shown to us, or to a proxy that is believed.
    pub(crate) certificate: Option<Fingerprint>,
    pub(crate) now: Time,
    pub(crate) caller: Option<Caller>,
    /// Its other end is dropped when the client hangs up.
    pub(crate) client: watch::Receiver<()>,
}

impl Cx {
    /// What is done later of a request that has been answered, or that nobody made: without a caller.
    pub(crate) fn later(gateway: &Arc<Gateway>, route: Route) -> Self {
        Self {
            gateway: gateway.clone(),
            route,
            request: RequestId::new(),
            headers: HeaderMap::new(),
            address: None,
            certificate: None,
            now: gateway.clock.now(),
            caller: None,
            client: watch::channel(()).1,
        }
    }

    /// Ends when nobody is there any more to hear the answer. What writes goes on all the same.
    pub(crate) async fn hung_up(&self) {
        let mut client = self.client.clone();
        while client.changed().await.is_ok() {}
    }

    pub fn store(&self) -> &Store {
        &self.gateway.store
    }

    pub fn now(&self) -> Time {
        self.now
    }

    pub fn request(&self) -> RequestId {
        self.request
    }

    /// # Errors
    /// `Unauthenticated` on a public route without a token.
    pub(crate) fn caller(&self) -> Result<&Caller> {
        self.caller.as_ref().ok_or_else(|| Error::unauthenticated("This needs a token."))
    }

    pub fn subject(&self) -> Result<Subject<'_>> {
        Ok(self.caller()?.subject(self.address, self.now))
    }

    /// The caller as the signer checks it.
    pub fn for_signer(&self) -> Result<SignerCaller> {
        Ok(self.caller()?.for_signer())
    }

    pub fn header(&self, name: &str) -> Result<Option<&str>> {
        let value = self.headers.get(name);
        value.map(|v| v.to_str().map_err(|_| Error::invalid(name, "must be ASCII"))).transpose()
    }

    pub async fn vault(&self, id: VaultId) -> Result<Option<Arc<Vault>>> {
        self.gateway.known.vault(self.store(), id).await
    }

    /// The caller's own policies.
    pub async fn policies(&self) -> Result<Arc<Vec<Policy>>> {
        self.gateway.known.policies(self.store(), self.caller()?.principal().id).await
    }

    /// Leave to do something to the installation itself.
    pub async fn operator<A: OperatorAction>(&self) -> Result<Permit<A, Platform>> {
        access::operator(&self.subject()?, self.gateway.installation.operators(self.store()).await?)
    }

    /// A principal's record as the change makes it. It counts when it is first seen or [confirmed](Gateway::confirm).
    pub async fn propose(
        &self,
        base: Option<Attested<Principal>>,
        change: Change,
    ) -> Result<Attested<Principal>> {
        let (by, passkey) = (self.for_signer()?, self.passkey().await?);
        let request = ChangePrincipal { by, base: base.clone(), change, passkey };
        let answer =
            self.gateway.signer.call(async |signer, context| signer.change_principal(context, request).await);
        match (answer.await, base) {
            (Ok(record), _) => Ok(record),
            (Err(refusal), Some(base)) if self.was_changed(&refusal, &base).await => {
                Err(refusal::of_change(refusal))
            }
            (Err(refusal), _) => Err(self.refused(refusal).await),
        }
    }

    /// Whether the signer calls a record rolled back that has a successor in the database: then it was changed a moment ago, by
    /// another request, and nobody has tampered with anything.
    pub(crate) async fn was_changed(&self, refusal: &Refusal, sent: &Attested<Principal>) -> bool {
        if refusal.reason != Reason::RolledBack {
            return false;
        }
        let Ok(Principal { id, org, .. }) = sent.peek() else { return false };
        self.gateway.known.forget_principal(id).await;
        let now = self.gateway.known.principal(self.store(), id, org).await;
        now.is_ok_and(|now| now.is_some_and(|now| now.record != *sent))
    }

    /// Asks the signer; see [`signer_protocol::Client::call`].
    pub async fn signer<T>(
        &self,
        request: impl AsyncFnOnce(
            &SignerClient,
            signer_protocol::Context,
        ) -> Result<Result<T, Refusal>, signer_protocol::RpcError>,
    ) -> Result<T> {
        match self.gateway.signer.call(request).await {
            Ok(answer) => Ok(answer),
            Err(refusal) => Err(self.refused(refusal).await),
        }
    }

    /// Begins to write. The audit event that the route names is written with it.
    pub async fn begin(&self) -> Result<Act> {
        let (action, resource) = self
            .route
            .audit
            .ok_or_else(|| Error::internal(format!("{} writes, but names no audit event", self.route.id)))?;
        self.begin_as(action, resource).await
    }

    /// As [`Cx::begin`], for what a request leads to beside what its route names.
    pub(crate) async fn begin_as(&self, action: &'static str, resource: &'static str) -> Result<Act> {
        let caller = self.caller.as_ref().map(|c| (c.principal().id, c.principal().org));
        Ok(Act {
            tx: self.gateway.store.begin().await?,
            event: self.event(action, resource, caller.map(|c| c.0), caller.map(|c| c.1)),
        })
    }

    /// The audit event of a value that is about to be read.
    pub fn read_event(&self, resource: String, details: Map<String, Value>) -> Result<Event> {
        let (action, kind) = self
            .route
            .audit
            .ok_or_else(|| Error::internal(format!("{} names no audit event", self.route.id)))?;
        let principal = self.caller()?.principal();
        let draft = self.event(action, kind, Some(principal.id), Some(principal.org));
        Ok(Event { details, resource: (kind, resource), ..draft.into_event(principal.org) })
    }

    /// Records a failed login of somebody who is known. Nobody waits for it: it would take longer than for somebody who is
    /// not.
    pub fn auth_failure(&self, who: PrincipalId, org: OrgId, method: &str) {
        let draft = self.event("auth.failure", who.kind(), Some(who), Some(org));
        let mut event = Event { resource: (who.kind(), who.uuid()), ..draft.into_event(org) };
        event.details.insert("method".to_owned(), method.into());
        self.gateway.notes.failed(event);
    }

    fn event(
        &self,
        action: &'static str,
        resource: &'static str,
        actor: Option<PrincipalId>,
        org: Option<OrgId>,
    ) -> Draft {
        Draft {
            action,
            resource,
            actor,
            org,
            details: Map::new(),
            address: self.address.map(|a| a.to_string()),
            at: self.now,
        }
    }
}

/// An audit event in the making.
#[derive(Clone)]
struct Draft {
    action: &'static str,
    resource: &'static str,
    actor: Option<PrincipalId>,
    org: Option<OrgId>,
    details: Map<String, Value>,
    address: Option<String>,
    at: Time,
}

impl Draft {
    fn into_event(self, org: OrgId) -> Event {
        Event {
            id: EventId::new(),
            org,
            action: self.action,
            actor: self.actor,
            resource: (self.resource, String::new()),
            details: self.details,
            address: self.address,
            at: self.at,
        }
    }
}

/// A database transaction that commits together with its audit event; dropped, neither happened.
pub struct Act {
    tx: Tx,
    event: Draft,
}

impl Act {
    /// Adds a detail to the event; never a value or a credential.
    pub fn note(&mut self, key: &str, value: impl Into<Value>) {
        self.event.details.insert(key.to_owned(), value.into());
    }

    /// Names another event than the route's, where the request led to something else.
    pub fn instead(&mut self, action: &'static str) {
        self.event.action = action;
    }

    /// Names who acts, where the request itself proves it (sign-up, login).
    pub fn by(&mut self, actor: PrincipalId, org: OrgId) {
        self.event.actor = Some(actor);
        self.event.org = Some(org);
    }

    /// Names the organisation that it belongs to, where nobody is known to act.
    pub fn within(&mut self, org: OrgId) {
        self.event.org = Some(org);
    }

    /// Adds an event about something that is done along with the rest.
    ///
    /// # Errors
    /// `Internal` where nobody acts.
    pub fn also(
        &mut self,
        action: &'static str,
        kind: &'static str,
        resource: impl ToString,
        details: Map<String, Value>,
    ) -> Result<()> {
        let org = self.event.org.ok_or_else(|| Error::internal("an audit event without an organisation"))?;
        let draft = Draft { action, ..self.event.clone() };
        let event = Event { details, resource: (kind, resource.to_string()), ..draft.into_event(org) };
        self.tx.record(event);
        Ok(())
    }

    /// Commits; `resource` is what it was done to.
    pub async fn commit(mut self, resource: impl ToString) -> Result<()> {
        let org = self.event.org.ok_or_else(|| Error::internal("an audit event without an organisation"))?;
        let kind = self.event.resource;
        let event = Event { resource: (kind, resource.to_string()), ..self.event.into_event(org) };
        self.tx.record(event);
        self.tx.commit().await
    }
}

impl Deref for Act {
    type Target = Tx;
    fn deref(&self) -> &Tx {
        &self.tx
    }
}

impl DerefMut for Act {
    fn deref_mut(&mut self) -> &mut Tx {
        &mut self.tx
    }
}
