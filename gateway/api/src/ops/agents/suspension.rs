//! The kill switches: one agent's, and one for all of an organisation's agents. Each works in the signer as well.

use domain::access::{ChangeAgent, Permit, SuspendAgents};
use domain::{AgentId, OrMissing as _, OrgId, PrincipalId, Result, Role};
use http::Method;
use schemars::JsonSchema;
use serde::Serialize;
use signer_protocol::people;
use signer_protocol::record::{Change, Principal};
use store::{agents, ip_rules};

use super::record::{Row, change, ended, settings_of};
use super::{AgentResponse, principal};
use crate::access::{InOrg, OnAgent};
use crate::cx::Cx;
use crate::decode::Nothing;
use crate::operation::{Operation, Reply, Route};
use crate::ops::OfAgent;

#[derive(Serialize, JsonSchema)]
pub struct SuspensionResponse {
    /// Whether no agent of the organisation gets in, whatever is said of each.
    agents_suspended: bool,
}

/// Stops all agents.
pub struct SuspendAllAgents;

impl Operation for SuspendAllAgents {
    const ROUTE: Route = Route::new(
        "suspendAllAgents",
        Method::POST,
        "/v1/agents/suspend-all",
        200,
        "Stops all agents of your organisation at once: no token, no request, no signature, until they are resumed.",
    )
    .audited("agent.suspend_all", "organisation");
    type Path = ();
    type Params = Nothing;
    type Output = SuspensionResponse;
    type Access = InOrg<SuspendAgents>;

    async fn run(
        cx: &Cx,
        may: Permit<SuspendAgents, OrgId>,
        (): (),
        _: Nothing,
    ) -> Result<Reply<SuspensionResponse>> {
        switch(cx, &may, true).await
    }
}

/// Lets all agents go on.
pub struct ResumeAllAgents;

impl Operation for ResumeAllAgents {
    const ROUTE: Route = Route::new(
        "resumeAllAgents",
        Method::POST,
        "/v1/agents/resume-all",
        200,
        "Ends the suspension of your organisation's agents. Takes a login of your own, not an API key.",
    )
    .audited("agent.resume_all", "organisation");
    type Path = ();
    type Params = Nothing;
    type Output = SuspensionResponse;
    type Access = InOrg<SuspendAgents>;

    async fn run(
        cx: &Cx,
        may: Permit<SuspendAgents, OrgId>,
        (): (),
        _: Nothing,
    ) -> Result<Reply<SuspensionResponse>> {
        switch(cx, &may, false).await
    }
}

/// While the row is held nobody else sets the switch, so that the database and the signer end up saying the same.
async fn switch(
    cx: &Cx,
    may: &Permit<SuspendAgents, OrgId>,
    suspended: bool,
) -> Result<Reply<SuspensionResponse>> {
    let request = people::SuspendAgents { by: cx.for_signer()?, suspended };
    let mut act = cx.begin().await?;
    ip_rules::suspend(&mut act, may, suspended).await?;
    cx.signer(async |signer, context| signer.suspend_agents(context, request).await).await?;
    act.commit(may.org()).await?;
    cx.gateway.known.forget_gate(may.org()).await;
    Ok(Reply::of(SuspensionResponse { agents_suspended: suspended }))
}

/// Stops an agent for a while.
pub struct SuspendAgent;

impl Operation for SuspendAgent {
    const ROUTE: Route = Route::new(
        "suspendAgent",
        Method::POST,
        "/v1/agents/{agent_id}/suspend",
        200,
        "Stops an agent at once and ends its tokens; its key is good again when it is resumed.",
    )
    .audited("agent.suspend", "agent");
    type Path = OfAgent;
    type Params = Nothing;
    type Output = AgentResponse;
    type Access = OnAgent<ChangeAgent>;

    async fn run(
        cx: &Cx,
        may: Permit<ChangeAgent, AgentId>,
        path: OfAgent,
        _: Nothing,
    ) -> Result<Reply<AgentResponse>> {
        set_active(cx, &may, path.agent_id, false).await
    }
}

/// Lets a suspended agent go on.
pub struct ResumeAgent;

impl Operation for ResumeAgent {
    const ROUTE: Route = Route::new(
        "resumeAgent",
        Method::POST,
        "/v1/agents/{agent_id}/resume",
        200,
        "Lets a suspended agent go on, with the key that it has.",
    )
    .audited("agent.resume", "agent");
    type Path = OfAgent;
    type Params = Nothing;
    type Output = AgentResponse;
    type Access = OnAgent<ChangeAgent>;

    async fn run(
        cx: &Cx,
        may: Permit<ChangeAgent, AgentId>,
        path: OfAgent,
        _: Nothing,
    ) -> Result<Reply<AgentResponse>> {
        set_active(cx, &may, path.agent_id, true).await
    }
}

async fn set_active(
    cx: &Cx,
    may: &Permit<ChangeAgent, AgentId>,
    id: AgentId,
    active: bool,
) -> Result<Reply<AgentResponse>> {
    let mut agent = agents::facts(cx.store(), id).await?.or_missing("agent")?;
    let record = principal(&agent)?;
    if active && !record.has_login() {
        return Err(ended(&agent));
    }
    // What its maker has stopped, an owner or admin may stop as well, so that the maker alone can't let it go on.
    let stops_it_too = !active && !record.stopped_by_manager && rules_over(cx, &record)?;
    if record.active != active || stops_it_too {
        let mut settings = settings_of(&agent)?;
        settings.active = active;
        agent = change(cx, may, agent, Change::Update(settings), Row::Keep).await?;
    }
    Ok(Reply::of(AgentResponse::new(cx, &agent).await?))
}

/// Whether the caller is an owner or admin, and the agent another's.
fn rules_over(cx: &Cx, agent: &Principal) -> Result<bool> {
    let subject = cx.subject()?;
    let made_it = agent.created_by.map(PrincipalId::User) == Some(subject.id);
    Ok(!made_it && subject.role.is_some_and(Role::manages))
}
