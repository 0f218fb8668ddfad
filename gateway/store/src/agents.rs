//! Agents. What decides (guardrails, scopes, keys) is in the record that the signer attests; the columns are for
//! looking up and for people.

use domain::access::{ChangeAgent, CreateAgent, ListAgents, Permit, SeeAgent};
use domain::{AgentId, Error, OrgId, PrincipalId, Result, Time};
use signer_protocol::Attested;
use signer_protocol::record::Principal;
use sqlx::any::AnyRow;

use crate::row::Columns as _;
use crate::{Store, Tx, failed};

pub struct Agent {
    pub id: AgentId,
    pub org: OrgId,
    pub name: String,
    pub description: Option<String>,
    pub auth_method: String,
    pub key_prefix: Option<String>,
    pub record: Attested<Principal>,
    /// The record's version.
    pub version: u64,
    pub created_at: Time,
    pub last_active_at: Option<Time>,
}

/// What a change writes: whole columns, against the version that it was made from.
pub struct Change<'a> {
    pub from_version: u64,
    pub name: &'a str,
    pub description: Option<&'a str>,
    pub key_prefix: Option<&'a str>,
    pub record: &'a Attested<Principal>,
}

const INSERT: &str = "INSERT INTO agents (id, org_id, name, description, auth_method, key_prefix, record, version, \
                      created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
const FIND: &str = "SELECT * FROM agents WHERE id = $1";
const FIND_IN_ORG: &str = "SELECT * FROM agents WHERE id = $1 AND org_id = $2";
const FIND_BY_KEY: &str = "SELECT * FROM agents WHERE key_prefix = $1 ORDER BY id LIMIT 8";
const LIST: &str = "SELECT * FROM agents WHERE org_id = $1 ORDER BY id";
const LIST_ITSELF: &str = "SELECT * FROM agents WHERE org_id = $1 AND id = $2";
const CHANGE: &str = "UPDATE agents SET name = $4, description = $5, key_prefix = $6, record = $7, version = $8 \
                      WHERE id = $1 AND org_id = $2 AND version = $3";
const ARM: &str = "UPDATE agents SET record = $3, version = version + 1, key_prefix = $4 \
                   WHERE id = $1 AND record = $2";
const SEEN: &str = "UPDATE agents SET last_active_at = $2 WHERE id = $1";
const IN_ORG: &str = "SELECT COUNT(*) AS found FROM agents WHERE id = $1 AND org_id = $2";

pub async fn insert(tx: &mut Tx, _may: &Permit<CreateAgent, OrgId>, agent: &Agent) -> Result<()> {
    sqlx::query(INSERT)
        .bind(agent.id.to_string())
        .bind(agent.org.to_string())
        .bind(&agent.name)
        .bind(agent.description.as_deref())
        .bind(&agent.auth_method)
        .bind(agent.key_prefix.as_deref())
        .bind(agent.record.as_bytes())
        .bind(number(agent.version)?)
        .bind(agent.created_at.millis())
        .execute(tx.connection())
        .await
        .map_err(failed)
        .map(drop)
}

/// The facts about an agent, for the pipeline to authenticate and decide with.
pub async fn facts(store: &Store, id: AgentId) -> Result<Option<Agent>> {
    let row = sqlx::query(FIND)
        .bind(id.to_string())
        .fetch_optional(&mut *store.read().await?)
        .await
        .map_err(failed)?;
    row.map(read).transpose()
}

/// The facts about the agents that a key may belong to: seldom more than one.
pub async fn facts_by_key_prefix(store: &Store, prefix: &str) -> Result<Vec<Agent>> {
    let rows =
        sqlx::query(FIND_BY_KEY).bind(prefix).fetch_all(&mut *store.read().await?).await.map_err(failed)?;
    rows.into_iter().map(read).collect()
}

/// The facts about an organisation's agents, as they are in this transaction.
pub async fn facts_in(tx: &mut Tx, org: OrgId) -> Result<Vec<Agent>> {
    let rows = sqlx::query(LIST).bind(org.to_string()).fetch_all(tx.connection()).await.map_err(failed)?;
    rows.into_iter().map(read).collect()
}

pub async fn find(store: &Store, may: &Permit<SeeAgent, AgentId>) -> Result<Option<Agent>> {
    let find = sqlx::query(FIND_IN_ORG).bind(may.on().to_string()).bind(may.org().to_string());
    find.fetch_optional(&mut *store.read().await?).await.map_err(failed)?.map(read).transpose()
}

/// The organisation's agents, oldest first; for an agent, itself.
pub async fn list(store: &Store, may: &Permit<ListAgents, OrgId>) -> Result<Vec<Agent>> {
    let org = may.org().to_string();
    let rows = match may.by() {
        PrincipalId::User(_) => sqlx::query(LIST).bind(org).fetch_all(&mut *store.read().await?).await,
        PrincipalId::Agent(id) => {
            sqlx::query(LIST_ITSELF).bind(org).bind(id.to_string()).fetch_all(&mut *store.read().await?).await
        }
    };
    rows.map_err(failed)?.into_iter().map(read).collect()
}

/// # Errors
/// `Conflict` if somebody else changed the agent in the meantime.
pub async fn change(tx: &mut Tx, may: &Permit<ChangeAgent, AgentId>, change: Change<'_>) -> Result<()> {
    let done = sqlx::query(CHANGE)
        .bind(may.on().to_string())
        .bind(may.org().to_string())
        .bind(number(change.from_version)?)
        .bind(change.name)
        .bind(change.description)
        .bind(change.key_prefix)
        .bind(change.record.as_bytes())
        .bind(number(change.from_version + 1)?)
        .execute(tx.connection())
        .await
        .map_err(failed)?;
    if done.rows_affected() == 1 {
        Ok(())
    } else {
        Err(Error::conflict(
            "Somebody else changed this agent just now; read it again, then repeat your change.",
        ))
    }
}

/// Stores the first key of an agent that was enrolled, on the leave of its ticket. `false`: somebody has changed the agent
/// since `from` was read.
pub async fn arm(
    tx: &mut Tx,
    id: AgentId,
    from: &Attested<Principal>,
    to: &Attested<Principal>,
    key_prefix: &str,
) -> Result<bool> {
    let arm =
        sqlx::query(ARM).bind(id.to_string()).bind(from.as_bytes()).bind(to.as_bytes()).bind(key_prefix);
    Ok(arm.execute(tx.connection()).await.map_err(failed)?.rows_affected() == 1)
}

/// Notes that the agent is alive. Exact to the moment of its last token.
pub async fn seen(tx: &mut Tx, id: AgentId, at: Time) -> Result<()> {
    let seen = sqlx::query(SEEN).bind(id.to_string()).bind(at.millis());
    seen.execute(tx.connection()).await.map_err(failed).map(drop)
}

/// Whether such an agent is in the organisation.
pub async fn is_member(store: &Store, org: OrgId, id: AgentId) -> Result<bool> {
    let row = sqlx::query(IN_ORG)
        .bind(id.to_string())
        .bind(org.to_string())
        .fetch_one(&mut *store.read().await?)
        .await;
    row.map_err(failed)?.flag("found")
}

fn number(count: u64) -> Result<i64> {
    i64::try_from(count).map_err(Error::internal)
}

fn read(row: AnyRow) -> Result<Agent> {
    Ok(Agent {
        id: row.parsed("id")?,
        org: row.parsed("org_id")?,
        name: row.text("name")?,
        description: row.maybe_text("description")?,
        auth_method: row.text("auth_method")?,
        key_prefix: row.maybe_text("key_prefix")?,
        record: Attested::from_bytes(row.bytes("record")?),
        version: row.count("version")?,
        created_at: row.time("created_at")?,
        last_active_at: row.maybe_time("last_active_at")?,
    })
}
