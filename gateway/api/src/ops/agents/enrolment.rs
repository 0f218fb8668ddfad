//! An agent that enrols itself with a person whose address it knows. Who asks learns nothing about the address: the
//! request is put down, and looked at later. The key goes to the person alone, by a link in their mail.

use std::sync::Arc;
use std::time::Duration;

use domain::limit::Window;
use domain::ticket::{Purpose, TicketHash};
use domain::{AgentId, Error, OrMissing as _, Result, Revealed, SecretText, Time, access};
use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use signer_protocol::identity::Maker;
use signer_protocol::people::{ArmAgent, EnrolAgent};
use store::Tx;
use store::agents::{self, Agent};
use store::enrolments::{self, Enrolment};
use store::users::{self, User};
use store::{Store, tickets};

use super::{identity, record};
use crate::access::Public;
use crate::cx::Cx;
use crate::decode::{self, NothingElse};
use crate::email;
use crate::gateway::Gateway;
use crate::mailbox::{self, Mails};
use crate::operation::{Operation, Reply, Route};
use crate::ops::{description, name};
use crate::outside::mail::{self, Letter};
use crate::{links, refusal, throttle};

/// That name one address of a person's, be it known or not.
const FOR_ONE_PERSON: Window = Window::new(1, Duration::from_secs(10 * 60));
/// That are made with one person, whoever asks.
const A_DAY: Window = Window::new(5, Duration::from_secs(24 * 60 * 60));
/// Of an organisation's agents that wait for their key: whoever knows its people's addresses fills it with no more.
const MOST_KEYLESS: u64 = 20;
/// From one client.
const FROM_ONE_PLACE: Window = Window::new(10, Duration::from_secs(60 * 60));

#[derive(Deserialize, JsonSchema)]
pub struct EnrollAgentRequest {
    name: String,
    /// The person who will own the agent. They get its key, by mail.
    human_email: String,
    #[serde(default)]
    description: Option<String>,
    #[serde(flatten)]
    _nothing_else: NothingElse,
}

#[derive(Serialize, JsonSchema)]
pub struct EnrollAgentResponse {
    /// What the agent's id will be, if the person exists.
    agent_id: AgentId,
    message: &'static str,
}

/// Asks to be enrolled.
pub struct EnrollAgent;

impl Operation for EnrollAgent {
    const ROUTE: Route = Route::new(
        "enrollAgent",
        Method::POST,
        "/v1/agents/enroll",
        201,
        "Enrols an agent with a person, who gets its key by mail. The answer is the same whether the address is known or \
         not. Once in ten minutes for an address.",
    )
    .audited("agent.enroll", "agent");
    type Path = ();
    type Params = decode::From<EnrollAgentRequest>;
    type Output = EnrollAgentResponse;
    type Access = Public;

    async fn run(
        cx: &Cx,
        (): (),
        (): (),
        decode::From(new): Self::Params,
    ) -> Result<Reply<EnrollAgentResponse>> {
        let email = email::parse("human_email", &new.human_email)?;
        let enrolment = Enrolment {
            agent: AgentId::new(),
            name: name("name", &new.name)?,
            description: description(new.description)?,
            address: cx.address.map(|ip| ip.to_string()),
            attempts: 0,
            created_at: cx.now(),
            email,
        };
        let place = throttle::place(cx.address);
        throttle::take(&cx.gateway, "enroll.address", &[&place], FROM_ONE_PLACE).await?;
        throttle::take(&cx.gateway, "enroll.email", &[&enrolment.email], FOR_ONE_PERSON).await?;
        if mailbox::has_room(&cx.gateway, Mails::OthersAskFor, &enrolment.email).await? {
            let mut tx = cx.store().begin().await?;
            enrolments::queue(&mut tx, &enrolment).await?;
            tx.commit().await?;
        }
        Ok(Reply::of(EnrollAgentResponse {
            agent_id: enrolment.agent,
            message: "If the address belongs to somebody here, they have been sent a link to the agent's key. Ask them for the key.",
        }))
    }
}

/// Makes the agent, if the address is somebody's, and writes to them. Where there are too many already it does neither, and
/// nobody is told: who asked would learn that the address is known.
pub async fn enrol(gateway: &Arc<Gateway>, asked: &Enrolment, person: &User) -> Result<()> {
    if enrolments::keyless(&gateway.store, person.org).await? >= MOST_KEYLESS {
        tracing::warn!(agent = %asked.agent, org = %person.org, "an agent is not enrolled: too many wait for their key");
        return Ok(());
    }
    let mut cx = Cx::later(gateway, EnrollAgent::ROUTE);
    cx.address = asked.address.as_deref().and_then(|ip| ip.parse().ok());
    let may = access::enrolment(person.id, person.org);
    let maker = Maker::Enrolment(person.record.clone());
    let born = identity::make(&cx, &may, maker, asked.agent).await?;
    let request = EnrolAgent {
        person: person.record.clone(),
        id: asked.agent,
        identity: Some(born.made.identity.clone()),
    };
    let record = cx.signer(async |signer, context| signer.enrol_agent(context, request).await).await?;
    let agent = Agent {
        id: asked.agent,
        org: person.org,
        name: asked.name.clone(),
        description: asked.description.clone(),
        auth_method: "api_key".to_owned(),
        key_prefix: None,
        record,
        version: 1,
        created_at: asked.created_at,
        last_active_at: None,
    };
    let mut act = cx.begin().await?;
    act.within(person.org);
    if !enrolments::end(&mut act, asked).await? || !has_room(&mut act, person, cx.now()).await? {
        return Ok(());
    }
    // Without a policy: not even for its own pair. Whoever it belongs to says what it may read.
    if !born.store(&cx, &mut act, &may, agent.id, false).await? {
        return Err(Error::unavailable("The organisation's vault of identities was made just now."));
    }
    agents::insert(&mut act, &may, &agent).await?;
    let letter = Letter::AgentCredentials { agent: agent.id, name: agent.name.clone() };
    mail::queue(&mut act, &person.email, &letter, cx.now()).await?;
    act.note("name", agent.name.as_str());
    act.note("created_by", person.id.to_string());
    act.commit(agent.id).await?;
    cx.gateway.confirm(&agent.record).await
}

/// Whether one more may be made, on all gateways together; it counts if the transaction commits.
async fn has_room(tx: &mut Tx, person: &User, now: Time) -> Result<bool> {
    Ok(enrolments::keyless_within(tx, person.org).await? < MOST_KEYLESS
        && throttle::has_room_within(tx, "enroll.person", &[&person.id.to_string()], A_DAY, now).await?)
}

#[derive(Deserialize, JsonSchema)]
pub struct EnrollmentCredentialsRequest {
    /// From the mail's link.
    token: SecretText,
}

#[derive(Serialize, JsonSchema)]
pub struct EnrollmentCredentialsResponse {
    agent_id: AgentId,
    /// Shown once.
    api_key: Revealed,
}

/// Gives an enrolled agent its key.
pub struct EnrollmentCredentials;

impl Operation for EnrollmentCredentials {
    const ROUTE: Route = Route::new(
        "enrollmentCredentials",
        Method::POST,
        "/v1/agents/enroll/credentials",
        200,
        "Makes the key of an agent that was enrolled, with the token of the mail's link, and gives it out, once.",
    )
    .audited("agent.arm", "agent");
    type Path = ();
    type Params = decode::From<EnrollmentCredentialsRequest>;
    type Output = EnrollmentCredentialsResponse;
    type Access = Public;

    async fn run(
        cx: &Cx,
        (): (),
        (): (),
        decode::From(given): Self::Params,
    ) -> Result<Reply<EnrollmentCredentialsResponse>> {
        let found = links::followed(cx, Purpose::AgentKey, &given.token).await?;
        let (id, followed): (AgentId, _) = found.ok_or_else(used_up)?;
        let agent = agents::facts(cx.store(), id).await?.or_missing("agent")?;
        let person = owner(cx.store(), &agent).await?.ok_or_else(used_up)?;
        let (key, credential) = record::new_key()?;
        let request = ArmAgent { person: person.record, agent: agent.record.clone(), followed, credential };
        let armed = cx.gateway.signer.call(async |signer, c| signer.arm_agent(c, request).await).await;
        let armed = armed.map_err(refusal::of_change)?;
        let mut act = cx.begin().await?;
        act.within(agent.org);
        let ticket = TicketHash::of(&given.token);
        tickets::redeem(&mut act, Purpose::AgentKey, &ticket, cx.now()).await?.ok_or_else(used_up)?;
        let prefix = record::prefix(&key);
        if !agents::arm(&mut act, id, &agent.record, &armed, &prefix).await? {
            return Err(Error::conflict("The agent was changed just now; try again."));
        }
        act.note("key_prefix", prefix);
        act.commit(id).await?;
        cx.gateway.confirm(&armed).await?;
        Ok(Reply::of(EnrollmentCredentialsResponse { agent_id: id, api_key: Revealed::new(&key) }))
    }
}

/// Who made the agent, if they are in its organisation still: whoever has left has the mail with the link.
pub async fn owner(store: &Store, agent: &Agent) -> Result<Option<User>> {
    let Some(made_by) = agent.record.peek().map_err(Error::internal)?.created_by else { return Ok(None) };
    let person = users::facts(store, made_by).await?;
    Ok(person.filter(|person| person.org == agent.org))
}

fn used_up() -> Error {
    Error::invalid("token", "is used up or has expired; the agent's owner can give it a new key instead")
}
