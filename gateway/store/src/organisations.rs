//! Organisations, and their end: the signer ends one first, and for ever; then its rows go, all at once.

use domain::{OrgId, Result, Time};

use crate::row::Columns as _;
use crate::users::User;
use crate::{Store, Tx, failed, users};

/// Changes nothing.
const HOLD: &str = "UPDATE organisations SET id = id WHERE id = $1";
const BEGIN_ENDING: &str = "INSERT INTO organisation_endings (org_id, begun_at) VALUES ($1, $2) \
                            ON CONFLICT (org_id) DO UPDATE SET begun_at = excluded.begun_at";
const ABANDON: &str = "DELETE FROM organisation_endings WHERE org_id = $1";
const BEGUN: &str = "SELECT org_id FROM organisation_endings WHERE begun_at < $1 ORDER BY org_id LIMIT 100";
const PEOPLE: &str = "SELECT id FROM users WHERE org_id = $1 ORDER BY id LIMIT 1";

/// All that belongs to an organisation but its audit chain, what points at others before them. A new table with
/// something of an organisation's is a line here; a test looks for what was forgotten.
const EVERYTHING: &[&str] = &[
    "DELETE FROM idempotency_keys WHERE agent_id IN (SELECT id FROM agents WHERE org_id = $1)",
    "DELETE FROM transactions WHERE org_id = $1",
    "DELETE FROM shares WHERE org_id = $1",
    "DELETE FROM cmek_jobs WHERE org_id = $1",
    "DELETE FROM policies WHERE vault_id IN (SELECT id FROM vaults WHERE org_id = $1)",
    "DELETE FROM secret_versions WHERE secret_id IN \
     (SELECT secrets.id FROM secrets JOIN vaults ON vaults.id = secrets.vault_id WHERE vaults.org_id = $1)",
    "DELETE FROM secrets WHERE vault_id IN (SELECT id FROM vaults WHERE org_id = $1)",
    "DELETE FROM vaults WHERE org_id = $1",
    "DELETE FROM api_keys WHERE org_id = $1",
    "DELETE FROM tickets WHERE subject IN (SELECT id FROM users WHERE org_id = $1)",
    "DELETE FROM tickets WHERE subject IN (SELECT id FROM agents WHERE org_id = $1)",
    "DELETE FROM tickets WHERE subject IN (SELECT id FROM invitations WHERE org_id = $1)",
    "DELETE FROM approvals WHERE org_id = $1",
    "DELETE FROM events WHERE org_id = $1",
    "DELETE FROM agents WHERE org_id = $1",
    "DELETE FROM users WHERE org_id = $1",
    "DELETE FROM invitations WHERE org_id = $1",
    "DELETE FROM ip_rules WHERE org_id = $1",
    "DELETE FROM webhook_troubles WHERE webhook_id IN (SELECT id FROM webhooks WHERE org_id = $1)",
    "DELETE FROM webhooks WHERE org_id = $1",
    "DELETE FROM organisation_endings WHERE org_id = $1",
    "DELETE FROM organisations WHERE id = $1",
];

/// Whatever else is to hold it waits until the transaction ends.
pub(crate) async fn hold(tx: &mut Tx, org: OrgId) -> Result<()> {
    sqlx::query(HOLD).bind(org.to_string()).execute(tx.connection()).await.map_err(failed).map(drop)
}

/// Notes that the signer is about to be asked to end it.
pub async fn begin_ending(tx: &mut Tx, org: OrgId, at: Time) -> Result<()> {
    let begin = sqlx::query(BEGIN_ENDING).bind(org.to_string()).bind(at.millis());
    begin.execute(tx.connection()).await.map_err(failed).map(drop)
}

/// The signer has not ended it.
pub async fn abandon_ending(tx: &mut Tx, org: OrgId) -> Result<()> {
    sqlx::query(ABANDON).bind(org.to_string()).execute(tx.connection()).await.map_err(failed).map(drop)
}

/// Endings that were begun before then and are not finished, each with one of its people.
pub async fn unfinished(store: &Store, before: Time) -> Result<Vec<(OrgId, Option<User>)>> {
    let mut connection = store.read().await?;
    let begun = sqlx::query(BEGUN).bind(before.millis()).fetch_all(&mut *connection).await.map_err(failed)?;
    let mut unfinished = Vec::new();
    for row in begun {
        let org: OrgId = row.parsed("org_id")?;
        let somebody = sqlx::query(PEOPLE).bind(org.to_string()).fetch_optional(&mut *connection).await;
        let somebody = somebody.map_err(failed)?.map(|row| row.parsed("id")).transpose()?;
        unfinished.push((org, somebody));
    }
    drop(connection);
    let mut with_people = Vec::new();
    for (org, somebody) in unfinished {
        let somebody = match somebody {
            Some(id) => users::facts(store, id).await?,
            None => None,
        };
        with_people.push((org, somebody));
    }
    Ok(with_people)
}

/// Deletes an organisation that the signer has ended, with all that is its but the audit chain. Who was in it: their
/// addresses.
pub async fn delete(tx: &mut Tx, org: OrgId) -> Result<Vec<String>> {
    let people = users::hold_people(tx, org).await?;
    for statement in EVERYTHING.iter().copied() {
        sqlx::query(statement).bind(org.to_string()).execute(tx.connection()).await.map_err(failed)?;
    }
    Ok(people.into_iter().map(|user| user.email).collect())
}
