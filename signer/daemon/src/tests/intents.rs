//! Transactions: nothing is signed that a guardrail, a person or the ledger forbids.

use alloy_consensus::transaction::SignerRecoverable as _;
use alloy_consensus::{Transaction as _, TxEnvelope};
use alloy_eips::eip2718::Decodable2718 as _;
use alloy_primitives::{Address, Bytes};
use domain::{AccessList, Accessed, IntentId, PathGlob, SecretPath, SecretType, VaultId};
use signer_protocol::attested::Attested;
use signer_protocol::intent::{Fees, Intent, KeyAt, Release, Sign, SignedTransaction, Submit, Transfer};
use signer_protocol::key::SigningKey;
use signer_protocol::record::{AgentSettings, Change, Guardrails};
use signer_protocol::sealing::DestroyVaultKey;
use signer_protocol::{Reason, Refusal};

use super::{Actor, Vault, World, edited, ether, guardrail, reason, settings};

pub const GWEI: u128 = 1_000_000_000;
const FRIEND: Address = Address::repeat_byte(0x35);

/// An organisation with a vault, a key in it, and an agent that uses it.
pub struct Desk {
    pub w: World,
    pub owner: Actor,
    pub agent: Actor,
    pub vault: Vault,
    pub key: Attested<SigningKey>,
}

pub fn fees(max: u128, tip: u128) -> Fees {
    Fees::Eip1559 { max_fee_per_gas: max, max_priority_fee_per_gas: tip }
}

pub fn pay(value: &str) -> Transfer {
    Transfer {
        chain_id: 8453,
        to: Some(FRIEND),
        value: ether(value),
        data: Bytes::new(),
        gas_limit: 21_000,
        fees: fees(30 * GWEI, 2 * GWEI),
        replaces: None,
        access_list: Default::default(),
    }
}

pub fn with(guardrails: Guardrails) -> AgentSettings {
    AgentSettings { intents: true, guardrails, ..settings() }
}

pub fn daily(limit: &str) -> Guardrails {
    Guardrails { daily_limit: Some(ether(limit)), ..Default::default() }
}

impl Desk {
    pub async fn new(guardrails: Guardrails) -> Self {
        let w = World::new();
        let owner = w.owner().await;
        let vault = w.vault(&owner).await;
        let key = Self::store(&w, &owner, &vault, "keys/base-signer", 0x46).await;
        let agent = w.agent(&owner, with(guardrails)).await;
        Self { w, owner, agent, vault, key }
    }

    pub async fn store(w: &World, by: &Actor, vault: &Vault, path: &str, byte: u8) -> Attested<SigningKey> {
        let label = vault.label(path, SecretType::PrivateKey);
        let sealed = w.seal(by, vault, label, &format!("{byte:02x}").repeat(32)).await.unwrap();
        sealed.signing_key.unwrap()
    }

    pub async fn submit(&self, transfer: Transfer) -> Result<Attested<Intent>, Refusal> {
        self.submit_as(&self.agent, transfer).await
    }

    pub async fn submit_as(&self, agent: &Actor, transfer: Transfer) -> Result<Attested<Intent>, Refusal> {
        let (by, key, at) = (agent.caller(), self.key.clone(), place(&self.key));
        self.w
            .signer
            .submit(Submit {
                by,
                id: IntentId::new(),
                key,
                at,
                transfer,
                simulated: signer_protocol::approval::Simulated::None,
            })
            .await
    }

    pub fn signing(&self, intent: &Attested<Intent>, nonce: u64) -> Sign {
        let fees = intent.peek().unwrap().transfer.fees;
        let (intent, agent, key) = (intent.clone(), self.agent.record.clone(), self.key.clone());
        Sign { intent, agent, key, nonce, fees }
    }

    pub async fn sign(&self, intent: &Attested<Intent>, nonce: u64) -> Result<SignedTransaction, Refusal> {
        self.w.signer.sign(self.signing(intent, nonce)).await
    }

    pub async fn spent(&self) -> String {
        self.w.signer.spent(self.agent.agent_id()).await.unwrap().to_ether()
    }

    pub async fn change(&mut self, change: Change) {
        self.agent.record = self.w.change(&self.owner, &self.agent, change).await.unwrap();
        self.w.signer.confirm(self.agent.record.clone()).await.unwrap();
    }
}

/// Where a key lies, by its own statement.
pub fn place(key: &Attested<SigningKey>) -> KeyAt {
    let key = key.peek().unwrap();
    KeyAt { vault: key.vault, path: key.path, version: key.version }
}

#[tokio::test]
async fn a_transfer_is_submitted_and_signed() {
    let d = Desk::new(daily("1")).await;
    let intent = d.submit(pay("0.25")).await.unwrap();
    assert_eq!(d.spent().await, "0.25");
    let signed = d.sign(&intent, 7).await.unwrap();
    assert_eq!(d.spent().await, "0.25");
    let decoded = TxEnvelope::decode_2718_exact(&signed.raw.0).unwrap();
    let from = d.key.peek().unwrap().address;
    assert_eq!((decoded.recover_signer().unwrap(), signed.from), (from, from));
    assert_eq!((decoded.nonce(), decoded.value(), decoded.to()), (7, ether("0.25").0, Some(FRIEND)));
    assert_eq!(signed.hash, *decoded.tx_hash());
    // Lower fees than the caps are fine, of the same kind.
    let intent = d.submit(pay("0.25")).await.unwrap();
    let lower = Sign { fees: fees(20 * GWEI, GWEI), ..d.signing(&intent, 8) };
    let signed = d.w.signer.sign(lower).await.unwrap();
    let decoded = TxEnvelope::decode_2718_exact(&signed.raw.0).unwrap();
    assert_eq!(decoded.max_fee_per_gas(), 20 * GWEI);
}

#[tokio::test]
async fn asked_again_the_answer_is_the_same_byte_for_byte() {
    let mut d = Desk::new(daily("1")).await;
    let intent = d.submit(pay("0.25")).await.unwrap();
    let first = d.sign(&intent, 7).await.unwrap();
    // With other fees, after a restart, past the intent's expiry, by an agent that was stopped since.
    d.w = d.w.restarted();
    d.w.wait(600);
    d.change(Change::Deactivate).await;
    let again = Sign { fees: fees(GWEI, GWEI), ..d.signing(&intent, 7) };
    let again = d.w.signer.sign(again).await.unwrap();
    assert_eq!((again.raw, again.hash), (first.raw, first.hash));
    assert_eq!(d.spent().await, "0.25");
    assert_eq!(reason(d.sign(&intent, 8).await), Reason::Conflict, "one intent, one nonce");
}

#[tokio::test]
async fn a_hundred_at_once_are_signed_alike() {
    let d = Desk::new(daily("1")).await;
    let intent = d.submit(pay("1")).await.unwrap();
    let asked = (0..100).map(|_| d.sign(&intent, 7));
    let answers = futures::future::join_all(asked).await;
    let first = answers[0].clone().unwrap().raw;
    assert!(answers.into_iter().all(|answer| answer.unwrap().raw == first));
    assert_eq!(d.spent().await, "1");
}

#[tokio::test]
async fn guardrails_refuse_at_submission() {
    let d = Desk::new(Guardrails {
        allowed_chains: vec![8453],
        to_allowlist: vec![FRIEND],
        max_value: Some(ether("1")),
        daily_limit: Some(ether("1.5")),
        max_fee: Some(ether("0.001")),
        ..Default::default()
    })
    .await;
    for (name, transfer) in [
        ("tx_allowed_chains", Transfer { chain_id: 1, ..pay("0.1") }),
        ("tx_to_allowlist", Transfer { to: Some(Address::ZERO), ..pay("0.1") }),
        ("tx_max_value_eth", pay("1.000000000000000001")),
        ("tx_max_fee_eth", Transfer { gas_limit: 50_000, ..pay("0.1") }),
    ] {
        assert_eq!(reason(d.submit(transfer).await), guardrail(name));
    }
    d.submit(pay("1")).await.unwrap();
    let refusal = d.submit(pay("0.6")).await.unwrap_err();
    assert_eq!(refusal.reason, guardrail("tx_daily_limit_eth"));
    assert!(refusal.detail.contains("0.6 ether asked, 0.5 left of 1.5"), "{refusal}");
    d.submit(pay("0.5")).await.unwrap();
}

#[tokio::test]
async fn only_an_intents_agent_submits_and_only_with_what_it_reaches() {
    let d = Desk::new(Guardrails::default()).await;
    assert_eq!(reason(d.submit_as(&d.owner, pay("1")).await), Reason::Forbidden);
    let plain = d.w.agent(&d.owner, settings()).await;
    assert_eq!(reason(d.submit_as(&plain, pay("1")).await), Reason::Forbidden);
    let elsewhere = AgentSettings { vault_ids: vec![VaultId::new()], ..with(Guardrails::default()) };
    let scopes = vec![PathGlob::parse("scopes", "other/**").unwrap()];
    let outside = AgentSettings { scopes, ..with(Guardrails::default()) };
    for settings in [elsewhere, outside] {
        let agent = d.w.agent(&d.owner, settings).await;
        assert_eq!(reason(d.submit_as(&agent, pay("1")).await), Reason::Forbidden);
    }
    let stranger = d.w.owner().await;
    let theirs = d.w.agent(&stranger, with(Guardrails::default())).await;
    assert_eq!(reason(d.submit_as(&theirs, pay("1")).await), Reason::Forbidden);
}

#[tokio::test]
async fn a_hundred_submissions_against_a_limit_of_fourteen_give_fourteen() {
    let d = Desk::new(daily("14")).await;
    let asked = (0..100).map(|_| d.submit(pay("1")));
    let answers = futures::future::join_all(asked).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 14);
    assert!(
        answers.into_iter().filter_map(Result::err).all(|no| no.reason == guardrail("tx_daily_limit_eth"))
    );
    assert_eq!(d.spent().await, "14");
}

#[tokio::test]
async fn an_edited_or_borrowed_intent_is_refused() {
    let d = Desk::new(daily("100")).await;
    let account = Accessed { address: Address::repeat_byte(0x77), storage_keys: Vec::new() };
    let access_list = AccessList::new(vec![account]).unwrap();
    let intent = d.submit(Transfer { access_list, gas_limit: 30_000, ..pay("1") }).await.unwrap();
    let friend = FRIEND.to_string().to_lowercase();
    let thief = Address::repeat_byte(0x66).to_string();
    let listed = Address::repeat_byte(0x77).to_string();
    let edits = [
        (friend.as_str(), thief.as_str()),
        ("1000000000000000000", "9000000000000000000"),
        (listed.as_str(), thief.as_str()),
    ];
    for (from, to) in edits {
        let forged = edited(&intent, from, to);
        assert_eq!(reason(d.sign(&forged, 0).await), Reason::Tampered);
    }
    // Another agent's record in place of the intent's.
    let other = d.w.agent(&d.owner, with(Guardrails::default())).await;
    let borrowed = Sign { agent: other.record.clone(), ..d.signing(&intent, 0) };
    assert_eq!(reason(d.w.signer.sign(borrowed).await), Reason::Tampered);
    // A widened guardrail in the agent's own.
    let widened = edited(&d.agent.record, "100000000000000000000", "900000000000000000000");
    let widened = Sign { agent: widened, ..d.signing(&intent, 0) };
    assert_eq!(reason(d.w.signer.sign(widened).await), Reason::Tampered);
}

#[tokio::test]
async fn a_swapped_key_is_refused() {
    let d = Desk::new(Guardrails::default()).await;
    let intent = d.submit(pay("1")).await.unwrap();
    let there = d.w.vault(&d.owner).await;
    let stranger = d.w.owner().await;
    let theirs = d.w.vault(&stranger).await;
    let mut keys = vec![
        Desk::store(&d.w, &d.owner, &d.vault, "keys/base-signer", 0x47).await,
        Desk::store(&d.w, &d.owner, &d.vault, "keys/other", 0x46).await,
        Desk::store(&d.w, &d.owner, &there, "keys/base-signer", 0x46).await,
        Desk::store(&d.w, &stranger, &theirs, "keys/base-signer", 0x46).await,
    ];
    let (wrapped, other) = (d.key.peek().unwrap().wrapped, keys[0].peek().unwrap().wrapped);
    let json = |blob| serde_json::to_string(blob).unwrap();
    keys.push(edited(&d.key, &json(&wrapped), &json(&other)));
    for key in keys {
        let swapped = Sign { key, ..d.signing(&intent, 0) };
        assert_eq!(reason(d.w.signer.sign(swapped).await), Reason::Tampered);
    }
    d.sign(&intent, 0).await.unwrap();
}

#[tokio::test]
async fn a_released_intent_is_not_signed() {
    let d = Desk::new(daily("1")).await;
    let intent = d.submit(pay("1")).await.unwrap();
    assert_eq!(reason(d.submit(pay("1")).await), guardrail("tx_daily_limit_eth"));
    d.w.signer.release(Release { intent: intent.clone() }).await.unwrap();
    d.w.signer.release(Release { intent: intent.clone() }).await.unwrap();
    assert_eq!(d.spent().await, "0");
    assert_eq!(reason(d.sign(&intent, 0).await), Reason::Conflict);
    // Its room is free, and what was signed can't be given up.
    let intent = d.submit(pay("1")).await.unwrap();
    d.sign(&intent, 0).await.unwrap();
    assert_eq!(reason(d.w.signer.release(Release { intent }).await), Reason::Conflict);
    assert_eq!(d.spent().await, "1");
}

/// A database in which the rows of two keys were swapped shows an agent a key that it may not use.
#[tokio::test]
async fn a_key_of_another_place_is_refused_at_submission() {
    let d = Desk::new(daily("10")).await;
    let there = place(&d.key);
    let elsewhere = [
        KeyAt { vault: VaultId::new(), ..there.clone() },
        KeyAt { path: SecretPath::parse("keys/other").unwrap(), ..there.clone() },
        KeyAt { version: there.version + 1, ..there },
    ];
    for at in elsewhere {
        let (by, id, key) = (d.agent.caller(), IntentId::new(), d.key.clone());
        let submitted =
            d.w.signer
                .submit(Submit {
                    by,
                    id,
                    key,
                    at,
                    transfer: pay("1"),
                    simulated: signer_protocol::approval::Simulated::None,
                })
                .await;
        assert_eq!(reason(submitted), Reason::Tampered);
    }
    assert_eq!(d.spent().await, "0");
}

/// Whoever gives up an intent and submits a smaller one under its id can't sign the larger one with its hold.
#[tokio::test]
async fn a_hold_belongs_to_one_intent() {
    let d = Desk::new(daily("10")).await;
    let id = IntentId::new();
    let submit = async |value: &str| {
        let (by, key, at) = (d.agent.caller(), d.key.clone(), place(&d.key));
        d.w.signer
            .submit(Submit {
                by,
                id,
                key,
                at,
                transfer: pay(value),
                simulated: signer_protocol::approval::Simulated::None,
            })
            .await
    };
    let large = submit("10").await.unwrap();
    assert_eq!(reason(submit("1").await), Reason::Conflict);
    d.w.signer.release(Release { intent: large.clone() }).await.unwrap();
    let small = submit("1").await.unwrap();
    assert_eq!(reason(d.sign(&large, 0).await), Reason::Conflict);
    d.sign(&small, 0).await.unwrap();
    assert_eq!(reason(d.sign(&large, 0).await), Reason::Conflict);
}

#[tokio::test]
async fn an_expired_intent_is_not_signed() {
    let d = Desk::new(daily("1")).await;
    let intent = d.submit(pay("1")).await.unwrap();
    d.w.wait(301);
    assert_eq!(d.spent().await, "0");
    assert_eq!(reason(d.sign(&intent, 0).await), Reason::Conflict);
    d.submit(pay("1")).await.unwrap();
}

/// Its agent's row, put back to an older one, keeps it from being signed, and not from being given up.
#[tokio::test]
async fn an_expired_intent_has_expired_whatever_record_comes_with_it() {
    let mut d = Desk::new(daily("1")).await;
    let intent = d.submit(pay("1")).await.unwrap();
    let rolled_back = d.signing(&intent, 0);
    d.change(Change::Update(with(daily("1")))).await;
    d.w.wait(299);
    assert_eq!(reason(d.w.signer.sign(rolled_back.clone()).await), Reason::RolledBack);
    d.w.wait(1);
    assert_eq!(reason(d.w.signer.sign(rolled_back).await), Reason::Conflict);
    d.w.signer.release(Release { intent }).await.unwrap();
}

#[tokio::test]
async fn a_stopped_agents_intent_is_not_signed() {
    let mut d = Desk::new(Guardrails::default()).await;
    let intents = [d.submit(pay("1")).await.unwrap(), d.submit(pay("1")).await.unwrap()];
    let earlier = d.signing(&intents[0], 0);
    d.change(Change::Update(settings())).await;
    assert_eq!(reason(d.sign(&intents[0], 0).await), Reason::Forbidden, "intents were switched off");
    assert_eq!(reason(d.w.signer.sign(earlier).await), Reason::RolledBack);
    d.change(Change::Update(with(Guardrails::default()))).await;
    d.change(Change::RotateKey(super::agent_key(9))).await;
    assert_eq!(reason(d.sign(&intents[0], 0).await), Reason::Forbidden, "the key was rotated");
    d.change(Change::Deactivate).await;
    assert_eq!(reason(d.sign(&intents[1], 0).await), Reason::Forbidden);
}

#[tokio::test]
async fn tightened_guardrails_count_for_what_waits() {
    for (tight, name) in [
        (Guardrails { allowed_chains: vec![1], ..Default::default() }, "tx_allowed_chains"),
        (Guardrails { to_allowlist: vec![Address::ZERO], ..Default::default() }, "tx_to_allowlist"),
        (Guardrails { max_value: Some(ether("0.9")), ..Default::default() }, "tx_max_value_eth"),
        (Guardrails { max_fee: Some(ether("0")), ..Default::default() }, "tx_max_fee_eth"),
        (daily("0.9"), "tx_daily_limit_eth"),
    ] {
        let mut d = Desk::new(Guardrails::default()).await;
        let intent = d.submit(pay("1")).await.unwrap();
        d.change(Change::Update(with(tight))).await;
        assert_eq!(reason(d.sign(&intent, 0).await), guardrail(name));
    }
}

#[tokio::test]
async fn a_key_that_was_taken_out_of_reach_signs_nothing_that_waits() {
    let scopes = |scope: &str| vec![PathGlob::parse("scopes", scope).unwrap()];
    let (narrow, wide) = (scopes("other/**"), scopes("keys/**"));
    for (settings, goes_on) in [
        (AgentSettings { vault_ids: vec![VaultId::new()], ..with(Guardrails::default()) }, false),
        (AgentSettings { scopes: narrow, ..with(Guardrails::default()) }, false),
        (AgentSettings { scopes: wide, ..with(Guardrails::default()) }, true),
    ] {
        let mut d = Desk::new(Guardrails::default()).await;
        let intent = d.submit(pay("1")).await.unwrap();
        d.change(Change::Update(settings)).await;
        match d.sign(&intent, 0).await {
            Ok(_) => assert!(goes_on),
            refused => assert!(!goes_on && reason(refused) == Reason::Forbidden),
        }
    }
}

#[tokio::test]
async fn a_destroyed_vaults_key_signs_nothing() {
    let d = Desk::new(Guardrails::default()).await;
    let intent = d.submit(pay("1")).await.unwrap();
    let request = DestroyVaultKey { by: d.owner.caller(), key: d.vault.key.clone(), passkey: None };
    d.w.signer.destroy_vault_key(request).await.unwrap();
    assert_eq!(reason(d.sign(&intent, 0).await), Reason::Destroyed);
    assert_eq!(reason(d.submit(pay("1")).await), Reason::Destroyed);
}

#[tokio::test]
async fn fees_stay_within_what_was_accepted() {
    let d = Desk::new(Guardrails::default()).await;
    let intent = d.submit(pay("1")).await.unwrap();
    for (fees, expected) in [
        (fees(30 * GWEI + 1, GWEI), guardrail("tx_max_fee_eth")),
        (fees(30 * GWEI, 2 * GWEI + 1), guardrail("tx_max_fee_eth")),
        (fees(GWEI, 2 * GWEI), Reason::Invalid),
        (Fees::Legacy { gas_price: GWEI }, Reason::Invalid),
    ] {
        let asked = Sign { fees, ..d.signing(&intent, 0) };
        assert_eq!(reason(d.w.signer.sign(asked).await), expected, "{fees:?}");
    }
    let dear = Transfer { fees: Fees::Legacy { gas_price: 48_000 * GWEI }, ..pay("1") };
    assert_eq!(reason(d.submit(dear).await), guardrail("tx_max_fee_eth"), "above the signer's own cap");
}
