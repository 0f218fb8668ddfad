//! Whom an organisation lets in: its rules about addresses, and whether its agents are suspended.

use domain::access::{ManageIpRules, Permit, SeeIpRules, SuspendAgents};
use domain::ip_rule::IpRule;
use domain::{IpRuleId, OrgId, Result, Time, UserId};
use sqlx::any::AnyRow;

use crate::row::Columns as _;
use crate::{Store, Tx, failed, organisations};

/// A rule as people see it.
pub struct Stored {
    pub id: IpRuleId,
    pub org: OrgId,
    pub rule: IpRule,
    pub label: Option<String>,
    pub created_by: UserId,
    pub created_at: Time,
}

/// What decides at the door.
#[derive(Default)]
pub struct Gate {
    pub rules: Vec<IpRule>,
    pub agents_suspended: bool,
}

const LIST: &str = "SELECT * FROM ip_rules WHERE org_id = $1 ORDER BY id";
const IS_SUSPENDED: &str = "SELECT agents_suspended FROM organisations WHERE id = $1";
const INSERT: &str = "INSERT INTO ip_rules (id, org_id, effect, cidr, label, applies_to, created_by, created_at) \
                      VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
const DELETE: &str = "DELETE FROM ip_rules WHERE id = $1 AND org_id = $2 RETURNING *";
const LIFT: &str = "DELETE FROM ip_rules WHERE org_id = $1 RETURNING *";
const SUSPEND: &str = "UPDATE organisations SET agents_suspended = $2 WHERE id = $1";

/// The facts that decide whether anybody of the organisation comes in.
pub async fn facts(store: &Store, org: OrgId) -> Result<Gate> {
    let mut connection = store.read().await?;
    let rules = sqlx::query(LIST).bind(org.to_string()).fetch_all(&mut *connection).await.map_err(failed)?;
    let rules = rules.into_iter().map(|row| read(&row).map(|stored| stored.rule)).collect::<Result<_>>()?;
    let org = sqlx::query(IS_SUSPENDED).bind(org.to_string());
    let org = org.fetch_optional(&mut *connection).await.map_err(failed)?;
    // An organisation that is gone has nobody to let in.
    let agents_suspended = org.map_or(Ok(true), |row| row.flag("agents_suspended"))?;
    Ok(Gate { rules, agents_suspended })
}

/// The organisation's rules, oldest first.
pub async fn list(store: &Store, may: &Permit<SeeIpRules, OrgId>) -> Result<Vec<Stored>> {
    let list = sqlx::query(LIST).bind(may.on().to_string());
    let rows = list.fetch_all(&mut *store.read().await?).await.map_err(failed)?;
    rows.iter().map(read).collect()
}

/// The rules as they are. Changes of one organisation's rules come one after the other: each is judged with all before it.
pub async fn take(tx: &mut Tx, may: &Permit<ManageIpRules, OrgId>) -> Result<Vec<Stored>> {
    organisations::hold(tx, *may.on()).await?;
    let rows =
        sqlx::query(LIST).bind(may.on().to_string()).fetch_all(tx.connection()).await.map_err(failed)?;
    rows.iter().map(read).collect()
}

pub async fn insert(tx: &mut Tx, may: &Permit<ManageIpRules, OrgId>, new: &Stored) -> Result<()> {
    sqlx::query(INSERT)
        .bind(new.id.to_string())
        .bind(may.on().to_string())
        .bind(new.rule.effect.as_str())
        .bind(new.rule.net.to_string())
        .bind(new.label.as_deref())
        .bind(new.rule.applies_to.as_str())
        .bind(new.created_by.to_string())
        .bind(new.created_at.millis())
        .execute(tx.connection())
        .await
        .map_err(failed)
        .map(drop)
}

/// Removes a rule; `None` if there is no such rule in the organisation.
pub async fn delete(tx: &mut Tx, may: &Permit<ManageIpRules, OrgId>, id: IpRuleId) -> Result<Option<Stored>> {
    let delete = sqlx::query(DELETE).bind(id.to_string()).bind(may.on().to_string());
    delete.fetch_optional(tx.connection()).await.map_err(failed)?.as_ref().map(read).transpose()
}

/// Removes all of an organisation's rules: on the word of whoever operates the gateway's host, who shows no permit.
pub async fn lift(tx: &mut Tx, org: OrgId) -> Result<Vec<Stored>> {
    let lift = sqlx::query(LIFT).bind(org.to_string());
    lift.fetch_all(tx.connection()).await.map_err(failed)?.iter().map(read).collect()
}

/// Sets the kill switch, and holds it until the transaction ends: whoever sets it next waits.
pub async fn suspend(tx: &mut Tx, may: &Permit<SuspendAgents, OrgId>, suspended: bool) -> Result<()> {
    let set = sqlx::query(SUSPEND).bind(may.on().to_string()).bind(i64::from(suspended));
    set.execute(tx.connection()).await.map_err(failed).map(drop)
}

fn read(row: &AnyRow) -> Result<Stored> {
    let rule = IpRule {
        effect: row.parsed("effect")?,
        net: row.parsed("cidr")?,
        applies_to: row.parsed("applies_to")?,
    };
    Ok(Stored {
        id: row.parsed("id")?,
        org: row.parsed("org_id")?,
        rule,
        label: row.maybe_text("label")?,
        created_by: row.parsed("created_by")?,
        created_at: row.time("created_at")?,
    })
}
