//! Transactions and their states. Each step is one statement that names the state it comes from.

use std::time::Duration;

use alloy_primitives::{Address, B256};
use domain::access::{ManageChains, Permit, Platform, SeeTransactions};
use domain::transaction::Status;
use domain::{AccessList, AgentId, ApprovalId, Error, OrgId, Result, Time, TxId, Wei};
use signer_protocol::Attested;
use signer_protocol::intent::{Fees, Intent};
use signer_protocol::key::SigningKey;
use signer_protocol::wire::Blob;
use sqlx::any::AnyRow;

use crate::replacements::Submits;
use crate::row::Columns as _;
use crate::secrets::{self, Version};
use crate::settling::InBlock;
use crate::{Store, Tx, failed};

/// How long a worker may hold a transaction before others take it up.
pub const LEASE: Duration = Duration::from_secs(30);

#[derive(Clone)]
pub struct Transaction {
    pub id: TxId,
    pub org: OrgId,
    pub agent: AgentId,
    /// The chain's name at submission.
    pub chain: String,
    pub chain_id: u64,
    pub from: Address,
    /// `None`: it creates a contract.
    pub to: Option<Address>,
    pub value: Wei,
    pub gas_limit: u64,
    pub fees: Fees,
    pub access_list: AccessList,
    /// What was tried before the signature.
    pub simulation: Option<Simulated>,
    pub nonce: Option<u64>,
    pub status: Status,
    /// What it waits for, or waited.
    pub approval: Option<ApprovalId>,
    pub error_message: Option<String>,
    pub signed_tx: Option<Blob>,
    pub hash: Option<B256>,
    pub block_number: Option<u64>,
    pub lease_until: Time,
    pub created_at: Time,
    pub signed_at: Option<Time>,
    /// When the chain was first seen past the nonce without this transaction.
    pub passed_at: Option<Time>,
    /// The transaction whose place it takes, and the one that takes its place.
    pub replaces: Option<TxId>,
    pub replaced_by: Option<TxId>,
    /// How often the gateway by itself has raised the fees, up to this one.
    pub bumps: u64,
    /// Of one in a block: blocks from that to the newest, as last seen, and since when.
    pub confirmations: Option<u64>,
    pub confirmed_at: Option<Time>,
}

/// A simulation that succeeded.
#[derive(Clone)]
pub struct Simulated {
    /// Tenderly's, or the gateway's own.
    pub id: String,
    pub status: String,
    /// Where Tenderly shows it.
    pub dashboard: Option<String>,
}

/// What the signer has accepted: what it signs, and with which key.
pub struct Accepted {
    pub intent: Attested<Intent>,
    /// `None`: the key was erased.
    pub key: Option<KeyVersion>,
}

/// The version of a secret that a key is in, as it is now. A transaction holds no copy: what is erased there is gone.
pub struct KeyVersion {
    pub of: Version,
    pub key: Attested<SigningKey>,
}

/// Of those that are not at their end.
const OPEN_ON: &str = "SELECT COUNT(*) AS open FROM transactions WHERE chain_id = $1 AND status NOT IN \
                       ('confirmed', 'reverted', 'replaced', 'failed', 'simulation_failed', 'denied', 'expired')";

/// Everything but what the signer accepted and the signed bytes, which may be large.
macro_rules! columns {
    () => {
        "approval_id, id, org_id, agent_id, chain, chain_id, from_address, to_address, value_wei, gas_limit, gas_price, \
         max_fee_per_gas, max_priority_fee_per_gas, access_list, nonce, status, error_message, tx_hash, \
         block_number, lease_until, created_at, signed_at, passed_at, simulation_id, simulation_status, simulation_url, \
         replaces, replaced_by, bumps, confirmations, confirmed_at"
    };
}

const INSERT: &str = "INSERT INTO transactions (id, org_id, agent_id, chain, chain_id, from_address, to_address, \
                      value_wei, gas_limit, gas_price, max_fee_per_gas, max_priority_fee_per_gas, status, intent, \
                      key_secret_id, key_version, lease_until, created_at, updated_at, access_list, simulation_id, \
                      simulation_status, simulation_url) \
                      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 'pending', $13, $14, $15, $16, $17, $17, \
                      $18, $19, $20, $21)";
const FIND: &str = concat!(
    "SELECT signed_tx, ",
    columns!(),
    " FROM transactions WHERE id = $1 AND agent_id = $2 AND org_id = $3"
);
const BY_ID: &str = concat!("SELECT signed_tx, ", columns!(), " FROM transactions WHERE id = $1");
const ACCEPTED: &str = "SELECT t.intent, s.id, s.path, s.newest, v.* FROM transactions t \
                        LEFT JOIN secret_versions v ON v.secret_id = t.key_secret_id AND v.version = t.key_version \
                        LEFT JOIN secrets s ON s.id = v.secret_id WHERE t.id = $1";
const LIST: &str = concat!(
    "SELECT NULL AS signed_tx, ",
    columns!(),
    " FROM transactions WHERE agent_id = $1 AND org_id = $2 ORDER BY id DESC LIMIT $3"
);
const LIST_SIGNED: &str = concat!(
    "SELECT signed_tx, ",
    columns!(),
    " FROM transactions WHERE agent_id = $1 AND org_id = $2 ORDER BY id DESC LIMIT $3"
);
/// Takes what nobody works on; the subselect is run again for the row that is updated.
const TAKE: &str = concat!(
    "UPDATE transactions SET lease_until = $3 WHERE lease_until < $2 AND status = $1 AND id IN \
     (SELECT id FROM transactions WHERE status = $1 AND chain_id = $5 AND lease_until < $2 \
     ORDER BY lease_until, id LIMIT $4) \
     RETURNING signed_tx, ",
    columns!()
);
const DUE: &str = "SELECT DISTINCT chain_id, status FROM transactions WHERE lease_until < $1 \
                   AND lease_until < 9223372036854775807 \
                   AND status IN ('pending', 'signed', 'broadcast', 'confirmed', 'reverted')";
const SIGNED: &str = "UPDATE transactions SET status = 'signed', signed_tx = $2, tx_hash = $3, signed_at = $4, \
                      updated_at = $4 WHERE id = $1 AND status = 'pending'";
const FAILED: &str = "UPDATE transactions SET status = 'failed', error_message = $2, updated_at = $3, \
                      lease_until = 9223372036854775807 WHERE id = $1 AND status = 'pending'";
const MOVE: &str = "UPDATE transactions SET status = $3, block_number = $4, error_message = NULL, updated_at = $5, \
                    lease_until = $6, confirmations = $7, confirmed_at = $8 WHERE id = $1 AND status = $2";
const NOTE: &str =
    "UPDATE transactions SET error_message = $2 WHERE id = $1 AND status IN ('signed', 'broadcast')";
const RELEASE: &str =
    "UPDATE transactions SET lease_until = $2 WHERE id = $1 AND lease_until < 9223372036854775807";
const AT_NONCE: &str = concat!(
    "SELECT NULL AS signed_tx, ",
    columns!(),
    " FROM transactions WHERE chain_id = $1 AND from_address = $2 AND nonce = $3 \
     AND status IN ('signed', 'broadcast') ORDER BY id DESC LIMIT 1"
);

/// Stores a transaction that the signer has accepted, held by the handler that submits it.
pub async fn insert(
    tx: &mut Tx,
    may: &Permit<impl Submits, AgentId>,
    new: &Transaction,
    accepted: &Accepted,
) -> Result<()> {
    insert_for(tx, may.org(), *may.on(), new, accepted).await
}

pub(crate) async fn insert_for(
    tx: &mut Tx,
    org: OrgId,
    agent: AgentId,
    new: &Transaction,
    accepted: &Accepted,
) -> Result<()> {
    let (gas_price, max_fee, priority) = fee_columns(&new.fees);
    sqlx::query(INSERT)
        .bind(new.id.to_string())
        .bind(org.to_string())
        .bind(agent.to_string())
        .bind(&new.chain)
        .bind(number("chain", new.chain_id)?)
        .bind(new.from.to_checksum(None))
        .bind(new.to.map(|to| to.to_checksum(None)).unwrap_or_default())
        .bind(new.value.to_string())
        .bind(number("gas_limit", new.gas_limit)?)
        .bind(gas_price)
        .bind(max_fee)
        .bind(priority)
        .bind(accepted.intent.as_bytes())
        .bind(accepted.key.as_ref().map(|key| key.of.id.to_string()))
        .bind(accepted.key.as_ref().map(|key| number("key_version", key.of.version)).transpose()?)
        .bind(new.lease_until.millis())
        .bind(new.created_at.millis())
        .bind(access_list(&new.access_list)?)
        .bind(new.simulation.as_ref().map(|simulated| &simulated.id))
        .bind(new.simulation.as_ref().map(|simulated| &simulated.status))
        .bind(new.simulation.as_ref().and_then(|simulated| simulated.dashboard.as_ref()))
        .execute(tx.connection())
        .await
        .map_err(failed)
        .map(drop)
}

/// How many transactions on a chain are not at their end yet, over all organisations. Take the chain first: then
/// it stays so.
pub async fn open_on(tx: &mut Tx, _: &Permit<ManageChains, Platform>, chain_id: u64) -> Result<u64> {
    let count = sqlx::query(OPEN_ON).bind(number("chain_id", chain_id)?);
    count.fetch_one(tx.connection()).await.map_err(failed)?.count("open")
}

pub async fn find(
    store: &Store,
    may: &Permit<SeeTransactions, AgentId>,
    id: TxId,
) -> Result<Option<Transaction>> {
    let find = sqlx::query(FIND).bind(id.to_string()).bind(may.on().to_string()).bind(may.org().to_string());
    find.fetch_optional(&mut *store.read().await?).await.map_err(failed)?.map(read).transpose()
}

/// The agent's transactions, newest first.
pub async fn list(
    store: &Store,
    may: &Permit<SeeTransactions, AgentId>,
    with_signed: bool,
    limit: u32,
) -> Result<Vec<Transaction>> {
    let list = if with_signed { LIST_SIGNED } else { LIST };
    let list =
        sqlx::query(list).bind(may.on().to_string()).bind(may.org().to_string()).bind(i64::from(limit));
    list.fetch_all(&mut *store.read().await?).await.map_err(failed)?.into_iter().map(read).collect()
}

/// What the signer accepted, for whoever has it signed.
pub async fn accepted(store: &Store, id: TxId) -> Result<Option<Accepted>> {
    let row = sqlx::query(ACCEPTED)
        .bind(id.to_string())
        .fetch_optional(&mut *store.read().await?)
        .await
        .map_err(failed)?;
    row.map(|row| {
        let key = row.maybe_bytes("signing_key")?.map(Attested::from_bytes);
        let key = key.map(|key| Ok::<_, Error>(KeyVersion { of: secrets::read(&row)?, key })).transpose()?;
        Ok(Accepted { intent: Attested::from_bytes(row.bytes("intent")?), key })
    })
    .transpose()
}

/// A transaction as it is now, for whoever works on it.
pub async fn by_id(store: &Store, id: TxId) -> Result<Option<Transaction>> {
    let find = sqlx::query(BY_ID).bind(id.to_string());
    find.fetch_optional(&mut *store.read().await?).await.map_err(failed)?.map(read).transpose()
}

/// The signed transaction that holds a nonce.
pub async fn at_nonce(
    store: &Store,
    chain_id: u64,
    from: Address,
    nonce: u64,
) -> Result<Option<Transaction>> {
    let find = sqlx::query(AT_NONCE)
        .bind(number("chain", chain_id)?)
        .bind(from.to_checksum(None))
        .bind(number("nonce", nonce)?);
    find.fetch_optional(&mut *store.read().await?).await.map_err(failed)?.map(read).transpose()
}

/// Transactions on one chain and in one state: one such group must not hold up another.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    pub chain_id: u64,
    pub status: Status,
}

/// Takes up to `most` transactions of a group, whose worker is gone, and holds them until `until`: those that have
/// waited longest.
pub async fn take(tx: &mut Tx, of: Group, most: usize, now: Time, until: Time) -> Result<Vec<Transaction>> {
    let take = sqlx::query(TAKE)
        .bind(of.status.as_str())
        .bind(now.millis())
        .bind(until.millis())
        .bind(i64::try_from(most).map_err(Error::internal)?)
        .bind(number("chain", of.chain_id)?);
    let rows = take.fetch_all(tx.connection()).await.map_err(failed)?;
    let mut taken = rows.into_iter().map(read).collect::<Result<Vec<_>>>()?;
    taken.sort_by_key(|tx| tx.id);
    Ok(taken)
}

/// In which groups there are transactions that somebody should look at: asked often, so it only reads.
pub async fn due(store: &Store, now: Time) -> Result<Vec<Group>> {
    let rows =
        sqlx::query(DUE).bind(now.millis()).fetch_all(&mut *store.read().await?).await.map_err(failed)?;
    rows.iter()
        .map(|row| Ok(Group { chain_id: row.count("chain_id")?, status: row.parsed("status")? }))
        .collect()
}

/// `pending → signed`, bytes and all. `false`: it is not pending any more.
pub async fn signed(tx: &mut Tx, id: TxId, raw: &Blob, hash: B256, at: Time) -> Result<bool> {
    let signed =
        sqlx::query(SIGNED).bind(id.to_string()).bind(&raw.0).bind(hash.to_string()).bind(at.millis());
    Ok(signed.execute(tx.connection()).await.map_err(failed)?.rows_affected() == 1)
}

/// `pending → failed`, for good. `false`: it is not pending any more.
pub async fn fail(tx: &mut Tx, id: TxId, why: &str, at: Time) -> Result<bool> {
    let fail = sqlx::query(FAILED).bind(id.to_string()).bind(why).bind(at.millis());
    Ok(fail.execute(tx.connection()).await.map_err(failed)?.rows_affected() == 1)
}

/// A step after the signature.
pub struct Step {
    pub from: Status,
    pub to: Status,
    /// Where it is, if it is in a block then.
    pub block: Option<InBlock>,
    pub at: Time,
    /// When others may look at it again.
    pub again: Time,
}

/// Takes a step. `false`: it was not in `from` any more.
///
/// # Errors
/// `Internal` if the states do not follow each other.
pub async fn advance(tx: &mut Tx, id: TxId, step: &Step) -> Result<bool> {
    let Step { from, to, .. } = step;
    if !from.may_become(*to) {
        return Err(Error::internal(format!(
            "a transaction can't go from {} to {}",
            from.as_str(),
            to.as_str()
        )));
    }
    let step = sqlx::query(MOVE)
        .bind(id.to_string())
        .bind(from.as_str())
        .bind(to.as_str())
        .bind(step.block.map(|block| number("block_number", block.number)).transpose()?)
        .bind(step.at.millis())
        .bind(step.again.millis())
        .bind(step.block.map(|block| number("confirmations", block.confirmations)).transpose()?)
        .bind(step.block.map(|block| block.since.millis()));
    Ok(step.execute(tx.connection()).await.map_err(failed)?.rows_affected() == 1)
}

/// Says why it is not further yet, for people.
pub async fn note(tx: &mut Tx, id: TxId, why: &str) -> Result<()> {
    sqlx::query(NOTE).bind(id.to_string()).bind(why).execute(tx.connection()).await.map_err(failed).map(drop)
}

/// Lets go of a transaction: others may take it up from `at` on.
pub async fn release(tx: &mut Tx, id: TxId, at: Time) -> Result<()> {
    let release = sqlx::query(RELEASE).bind(id.to_string()).bind(at.millis());
    release.execute(tx.connection()).await.map_err(failed).map(drop)
}

/// The field is named in the error.
pub(crate) fn number(field: &str, count: u64) -> Result<i64> {
    i64::try_from(count).map_err(|_| Error::invalid(field, "is too large"))
}

fn fee_columns(fees: &Fees) -> (Option<String>, Option<String>, Option<String>) {
    match fees {
        Fees::Legacy { gas_price } => (Some(gas_price.to_string()), None, None),
        Fees::Eip1559 { max_fee_per_gas, max_priority_fee_per_gas } => {
            (None, Some(max_fee_per_gas.to_string()), Some(max_priority_fee_per_gas.to_string()))
        }
    }
}

/// None is no text, as before there were any.
fn access_list(list: &AccessList) -> Result<Option<String>> {
    let text = || serde_json::to_string(list).map_err(Error::internal);
    if list.is_empty() { Ok(None) } else { text().map(Some) }
}

/// Of one that creates a contract it is empty, and not null: SQLite drops no NOT NULL without building the table anew.
fn to_address(row: &AnyRow) -> Result<Option<Address>> {
    let text = row.text("to_address")?;
    (!text.is_empty()).then(|| text.parse().map_err(Error::internal)).transpose()
}

fn read(row: AnyRow) -> Result<Transaction> {
    let fees = match row.maybe_text("gas_price")? {
        Some(_) => Fees::Legacy { gas_price: row.parsed("gas_price")? },
        None => Fees::Eip1559 {
            max_fee_per_gas: row.parsed("max_fee_per_gas")?,
            max_priority_fee_per_gas: row.parsed("max_priority_fee_per_gas")?,
        },
    };
    let simulation = match (row.maybe_text("simulation_id")?, row.maybe_text("simulation_status")?) {
        (Some(id), Some(status)) => {
            Some(Simulated { id, status, dashboard: row.maybe_text("simulation_url")? })
        }
        _ => None,
    };
    Ok(Transaction {
        simulation,
        id: row.parsed("id")?,
        org: row.parsed("org_id")?,
        agent: row.parsed("agent_id")?,
        chain: row.text("chain")?,
        chain_id: row.count("chain_id")?,
        from: row.parsed("from_address")?,
        to: to_address(&row)?,
        value: Wei::parse_wei("value_wei", &row.text("value_wei")?)
            .map_err(|e| Error::internal(e.detail()))?,
        gas_limit: row.count("gas_limit")?,
        fees,
        access_list: row
            .maybe_text("access_list")?
            .map(|text| serde_json::from_str(&text).map_err(Error::internal))
            .transpose()?
            .unwrap_or_default(),
        nonce: row.maybe_count("nonce")?,
        status: row.parsed("status")?,
        approval: row.maybe_parsed("approval_id")?,
        error_message: row.maybe_text("error_message")?,
        signed_tx: row.maybe_bytes("signed_tx")?.map(Blob),
        hash: row.maybe_text("tx_hash")?.map(|h| h.parse().map_err(Error::internal)).transpose()?,
        block_number: row.maybe_count("block_number")?,
        lease_until: row.time("lease_until")?,
        created_at: row.time("created_at")?,
        signed_at: row.maybe_time("signed_at")?,
        passed_at: row.maybe_time("passed_at")?,
        replaces: row.maybe_parsed("replaces")?,
        replaced_by: row.maybe_parsed("replaced_by")?,
        bumps: row.count("bumps")?,
        confirmations: row.maybe_count("confirmations")?,
        confirmed_at: row.maybe_time("confirmed_at")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_open_is_what_is_not_final() {
        for status in Status::ALL {
            assert_eq!(OPEN_ON.contains(&format!("'{}'", status.as_str())), status.is_final(), "{status:?}");
        }
    }

    #[test]
    fn what_is_too_large_is_named() {
        assert_eq!(number("nonce", 7).unwrap(), 7);
        assert_eq!(number("nonce", u64::MAX).unwrap_err().detail(), "nonce: is too large");
    }
}
