//! The ledger's tables and their keys. All integers in keys are big-endian, so that they sort.

use alloy_primitives::{Address, U256};
use domain::{AgentId, ApiKeyId, OrgId, PrincipalId, Role, Time, VaultId};
use redb::{Database, Key, ReadableTable as _, TableDefinition, Value, WriteTransaction};

use super::spending::written;
use crate::tally::Tally;

/// The newest format that this signer knows. 1 had no keys of vaults; 2 no people but owners, no second factors, and no
/// organisation that was ended or stopped; 3 no ended shares and no signed heads; 4 counted
/// native value alone; 5 had one root key for ever, no forgotten heads, no approvals, no recipients and no passkeys.
pub const FORMAT: u64 = 6;

/// Kind of record (a person's, an agent's, an API key's), then its UUID.
pub type RecordKey = [u8; 17];
/// What is guessed at (a code, a password), then whose it is.
pub type GuessKey = [u8; 17];
/// Address, chain, nonce.
pub type NonceKey = [u8; 36];
/// Agent, time in milliseconds, then the nonce.
pub type SpendKey = [u8; 60];
/// Agent, address.
pub type RecipientKey = [u8; 36];

pub const META: TableDefinition<'static, &str, u64> = TableDefinition::new("meta");
/// The newest version seen of a record, and its SHA-256.
pub const FLOORS: TableDefinition<'static, RecordKey, (u64, [u8; 32])> = TableDefinition::new("floors");
pub const FOUNDED: TableDefinition<'static, [u8; 16], ()> = TableDefinition::new("founded");
/// Ended tokens, until they expire (milliseconds).
pub const REVOKED: TableDefinition<'static, [u8; 16], i64> = TableDefinition::new("revoked");
/// Organisation and vault: two organisations can't touch each other's ids.
pub const DESTROYED: TableDefinition<'static, [u8; 32], ()> = TableDefinition::new("destroyed");
/// Organisation and vault, and the SHA-256 of the statement of the vault's one key.
pub const VAULT_KEYS: TableDefinition<'static, [u8; 32], [u8; 32]> = TableDefinition::new("vault_keys");
/// Statements that were wrapped anew by a later root: by the SHA-256 of the new one, that of the first that said the same, and
/// the root. Of a vault's key that was made under a later root, its own.
pub const REWRAPPED: TableDefinition<'static, [u8; 32], ([u8; 32], u32)> = TableDefinition::new("rewrapped");
/// In `META`: the newest root key, and since when it is in use (milliseconds).
pub const ROOT: &str = "root";
pub const ROOT_SINCE: &str = "root_since";
/// In `META`: when nothing was left under the root before it (milliseconds), and what was under the newest then.
pub const ROOT_FINISHED: &str = "root_finished";
pub const COUNTED: [&str; 4] =
    ["root_vault_keys", "root_signing_keys", "root_second_factors", "root_webhook_keys"];
/// In `META`, of a ledger that was of format 1: since when it keeps vaults' keys, in milliseconds.
pub const KEYS_SINCE: &str = "vault_keys_since";
/// In `META`: how many changes there were.
pub const SEQUENCE: &str = "sequence";
/// In `META`: which history this is, at random. A ledger that was restored begins another with its first use, so that two
/// that went apart are never taken for older and newer.
pub const LINE: &str = "line";
/// In `META`: was restored, and not used since.
pub const RESTORED: &str = "restored";
/// Organisations that were ended.
pub const ENDED: TableDefinition<'static, [u8; 16], ()> = TableDefinition::new("ended");
/// Organisations whose agents are stopped.
pub const SUSPENDED: TableDefinition<'static, [u8; 16], ()> = TableDefinition::new("suspended");
/// A person's organisation and rank in it, as their newest record says. Of people who were last seen by a signer of
/// format 2 there is none: each was the owner of their own organisation.
pub const SEATS: TableDefinition<'static, [u8; 16], ([u8; 16], u8)> = TableDefinition::new("seats");
/// Invitations that were taken up: by whom, and from which version of their record (0: a new person).
pub const INVITATIONS: TableDefinition<'static, [u8; 16], ([u8; 16], u64)> =
    TableDefinition::new("invitations");
/// Devices' grants that were used, until they expire (milliseconds).
pub const GRANTS: TableDefinition<'static, [u8; 16], i64> = TableDefinition::new("device_grants");
/// The last time step (RFC 6238 §4.2) whose code a person has used.
pub const STEPS: TableDefinition<'static, [u8; 16], u64> = TableDefinition::new("totp_steps");
/// Used recovery codes, by their HMAC.
pub const RECOVERY: TableDefinition<'static, [u8; 32], ()> = TableDefinition::new("recovery_codes");
/// Wrong guesses in a row, and until when no more are looked at (milliseconds).
pub const GUESSES: TableDefinition<'static, GuessKey, (u32, i64)> = TableDefinition::new("guesses");
/// People whose second factor an operator took away: the digest of which, or zeros until that one is seen.
pub const FORGOTTEN: TableDefinition<'static, [u8; 16], [u8; 32]> = TableDefinition::new("forgotten_factors");
/// The same of people's passkeys.
pub const FORGOTTEN_PASSKEYS: TableDefinition<'static, [u8; 16], [u8; 32]> =
    TableDefinition::new("forgotten_passkeys");
/// How much a person has made by a passkey: agents that submit transactions, API keys, invitations of
/// owners and admins.
pub const MADE: TableDefinition<'static, [u8; 16], u64> = TableDefinition::new("made_by_passkey");
/// Shares that were ended, until they would have expired (milliseconds).
pub const ENDED_SHARES: TableDefinition<'static, [u8; 16], i64> = TableDefinition::new("ended_shares");
/// The last head of each organisation's audit chain that was signed: sequence, hash, when (milliseconds).
pub const HEADS: TableDefinition<'static, [u8; 16], (u64, [u8; 32], i64)> =
    TableDefinition::new("audit_heads");
/// Heads that an operator had forgotten: organisation, when (milliseconds); then sequence, hash, and when it was signed.
pub const FORGOTTEN_HEADS: TableDefinition<'static, [u8; 24], (u64, [u8; 32], i64)> =
    TableDefinition::new("forgotten_audit_heads");
/// Accepted transfers that wait for their signature (JSON).
pub const HOLDS: TableDefinition<'static, [u8; 16], &[u8]> = TableDefinition::new("holds");
/// Signed intents (JSON).
pub const SIGNED: TableDefinition<'static, [u8; 16], &[u8]> = TableDefinition::new("signed");
/// Used nonces (JSON).
pub const NONCES: TableDefinition<'static, NonceKey, &[u8]> = TableDefinition::new("nonces");
/// What counts of the last 24 hours (JSON).
pub const SPENT: TableDefinition<'static, SpendKey, &[u8]> = TableDefinition::new("spent");
/// The same up to format 4: wei, big-endian.
const SPENDS: TableDefinition<'static, SpendKey, [u8; 32]> = TableDefinition::new("spends");
/// What people said of intents that wait for them (JSON), until the intent has expired.
pub const APPROVALS: TableDefinition<'static, [u8; 16], &[u8]> = TableDefinition::new("approvals");
/// To whom each agent has had something signed, on any chain. Those from before format 6 are new.
pub const RECIPIENTS: TableDefinition<'static, RecipientKey, ()> = TableDefinition::new("recipients");

/// What is done with each table, whatever its types.
pub trait Each {
    type Error;

    fn table<K: Key + 'static, V: Value + 'static>(
        &mut self,
        table: TableDefinition<'static, K, V>,
    ) -> Result<(), Self::Error>;
}

/// All tables: the one list of them.
pub fn each<T: Each>(does: &mut T) -> Result<(), T::Error> {
    does.table(META)?;
    does.table(FLOORS)?;
    does.table(FOUNDED)?;
    does.table(REVOKED)?;
    does.table(DESTROYED)?;
    does.table(VAULT_KEYS)?;
    does.table(REWRAPPED)?;
    does.table(ENDED)?;
    does.table(SUSPENDED)?;
    does.table(SEATS)?;
    does.table(INVITATIONS)?;
    does.table(GRANTS)?;
    does.table(STEPS)?;
    does.table(RECOVERY)?;
    does.table(GUESSES)?;
    does.table(FORGOTTEN)?;
    does.table(ENDED_SHARES)?;
    does.table(HEADS)?;
    does.table(FORGOTTEN_HEADS)?;
    does.table(HOLDS)?;
    does.table(SIGNED)?;
    does.table(NONCES)?;
    does.table(SPENT)?;
    does.table(APPROVALS)?;
    does.table(RECIPIENTS)?;
    does.table(FORGOTTEN_PASSKEYS)?;
    does.table(MADE)
}

/// Opening a table makes it.
impl Each for &WriteTransaction {
    type Error = redb::Error;

    fn table<K: Key + 'static, V: Value + 'static>(
        &mut self,
        table: TableDefinition<'static, K, V>,
    ) -> Result<(), redb::Error> {
        self.open_table(table).map(drop).map_err(redb::Error::from)
    }
}

/// Makes the tables that are missing, and answers with the format that was there before. A newer one is left alone.
pub fn create(db: &Database, now: Time) -> Result<Option<u64>, redb::Error> {
    let tx = db.begin_write()?;
    let (found, begun) = {
        let meta = tx.open_table(META)?;
        let number = |key| Ok::<_, redb::Error>(meta.get(key)?.map(|found| found.value()));
        (number("format")?, number(LINE)?.is_some() && number(RESTORED)?.is_none())
    };
    if found.is_some_and(|found| found > FORMAT || (found == FORMAT && begun)) {
        tx.abort()?;
        return Ok(found);
    }
    {
        let mut meta = tx.open_table(META)?;
        meta.insert("format", FORMAT)?;
        if found == Some(1) {
            meta.insert(KEYS_SINCE, u64::try_from(now.millis()).unwrap_or_default())?;
        }
        if !begun {
            meta.insert(LINE, random()?)?;
            meta.remove(RESTORED)?;
            // The database beside it may hold what was wrapped before.
            meta.remove(ROOT_FINISHED)?;
        }
    }
    each(&mut &tx)?;
    count_anew(&tx)?;
    tx.commit()?;
    Ok(found)
}

fn random() -> Result<u64, redb::Error> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| redb::Error::Io(std::io::Error::other(error)))?;
    Ok(u64::from_be_bytes(bytes))
}

/// What was spent before more than native value was counted.
fn count_anew(tx: &WriteTransaction) -> Result<(), redb::Error> {
    let before = tx.open_table(SPENDS)?;
    let mut now = tx.open_table(SPENT)?;
    for entry in before.iter()? {
        let (key, value) = entry?;
        let counted = Tally::native(U256::from_be_bytes(value.value()));
        now.insert(key.value(), written(&counted)?.as_slice())?;
    }
    tx.delete_table(before)?;
    Ok(())
}

pub fn principal(id: PrincipalId) -> RecordKey {
    match &id {
        PrincipalId::User(id) => record(0, id.as_bytes()),
        PrincipalId::Agent(id) => record(1, id.as_bytes()),
    }
}

pub fn api_key(id: ApiKeyId) -> RecordKey {
    record(2, id.as_bytes())
}

fn record(kind: u8, uuid: &[u8; 16]) -> RecordKey {
    let mut key = [kind; 17];
    key[1..].copy_from_slice(uuid);
    key
}

/// Higher is more; 0 for nobody.
pub fn rank(role: Option<Role>) -> u8 {
    match role {
        None => 0,
        Some(Role::Member) => 1,
        Some(Role::Admin) => 2,
        Some(Role::Owner) => 3,
    }
}

pub fn vault(org: OrgId, vault: VaultId) -> [u8; 32] {
    let mut key = [0; 32];
    key[..16].copy_from_slice(org.as_bytes());
    key[16..].copy_from_slice(vault.as_bytes());
    key
}

pub fn forgotten_head(org: OrgId, at: i64) -> [u8; 24] {
    let mut key = [0; 24];
    key[..16].copy_from_slice(org.as_bytes());
    key[16..].copy_from_slice(&at.to_be_bytes());
    key
}

pub fn nonce(from: Address, chain_id: u64, nonce: u64) -> NonceKey {
    let mut key = [0; 36];
    key[..20].copy_from_slice(from.as_slice());
    key[20..28].copy_from_slice(&chain_id.to_be_bytes());
    key[28..].copy_from_slice(&nonce.to_be_bytes());
    key
}

pub fn spend(agent: &[u8; 16], at: i64, nonce: &NonceKey) -> SpendKey {
    let mut key = [0; 60];
    key[..16].copy_from_slice(agent);
    key[16..24].copy_from_slice(&at.to_be_bytes());
    key[24..].copy_from_slice(nonce);
    key
}

pub fn recipient(agent: AgentId, address: Address) -> RecipientKey {
    let mut key = [0; 36];
    key[..16].copy_from_slice(agent.as_bytes());
    key[16..].copy_from_slice(address.as_slice());
    key
}

/// Agent, time and nonce of a spend.
pub fn spend_parts(key: &SpendKey) -> ([u8; 16], i64, NonceKey) {
    let mut parts = ([0; 16], [0; 8], [0; 36]);
    parts.0.copy_from_slice(&key[..16]);
    parts.1.copy_from_slice(&key[16..24]);
    parts.2.copy_from_slice(&key[24..]);
    (parts.0, i64::from_be_bytes(parts.1), parts.2)
}
