//! People's approval: nothing that needs it is signed without, and a yes is to one transaction, by people who may give it.

use std::sync::Arc;

use alloy_primitives::{Address, Bytes, U256, hex};
use alloy_sol_types::SolValue as _;
use domain::{IntentId, PrincipalId, Role};
use futures::future::join_all;
use signer_protocol::approval::{ApprovalPolicy, ApproveIntent, Approved, Cause, DenyIntent, Simulated};
use signer_protocol::attested::Attested;
use signer_protocol::intent::{Intent, Release, Submit, Transfer};
use signer_protocol::record::{AgentSettings, Change, Guardrails};
use signer_protocol::{Reason, Refusal};

use super::intents::{Desk, pay, place, with};
use super::{Actor, edited, ether, guardrail, reason};

const COIN: Address = Address::repeat_byte(0x70);
const OTHER: Address = Address::repeat_byte(0x36);

pub fn policy() -> ApprovalPolicy {
    ApprovalPolicy {
        always: false,
        above: None,
        new_recipient: false,
        contract_call: false,
        simulation: false,
        approvals: 1,
        wait_seconds: 3600,
        passkey: false,
    }
}

pub fn always() -> ApprovalPolicy {
    ApprovalPolicy { always: true, ..policy() }
}

pub fn asking(approval: ApprovalPolicy) -> Guardrails {
    Guardrails { approval: Some(approval), ..Default::default() }
}

impl Desk {
    pub async fn approve(&self, by: &Actor, intent: &Attested<Intent>) -> Result<Approved, Refusal> {
        let (by, intent) = (by.caller(), intent.clone());
        self.w.signer.approve_intent(ApproveIntent { by, intent, passkey: None }).await
    }

    pub async fn deny(&self, by: &Actor, intent: &Attested<Intent>) -> Result<(), Refusal> {
        let (by, intent) = (by.caller(), intent.clone());
        self.w.signer.deny_intent(DenyIntent { by, intent }).await
    }

    async fn causes(&self, transfer: Transfer, simulated: Simulated) -> Vec<Cause> {
        let (by, key, at, id) = (self.agent.caller(), self.key.clone(), place(&self.key), IntentId::new());
        let submitted = self.w.signer.submit(Submit { by, id, key, at, transfer, simulated }).await;
        submitted.unwrap().peek().unwrap().approval.map_or_else(Vec::new, |needed| needed.causes)
    }
}

fn coins(to: Address) -> Transfer {
    let args = (to, U256::from(5)).abi_encode_params();
    let data: Bytes = [hex!("a9059cbb").as_slice(), &args].concat().into();
    Transfer { to: Some(COIN), data, gas_limit: 60_000, ..pay("0") }
}

#[tokio::test]
async fn nothing_that_needs_approval_is_signed_without() {
    let mut d = Desk::new(asking(always())).await;
    let intent = d.submit(pay("1")).await.unwrap();
    assert_eq!(reason(d.sign(&intent, 0).await), Reason::ApprovalRequired);
    let approved = d.approve(&d.owner, &intent).await.unwrap();
    assert!(approved.is_enough() && approved == Approved { given: 1, needed: 1 });
    // What was answered survives a power cut.
    d.w = d.w.after_power_cut();
    d.sign(&intent, 0).await.unwrap();
    assert_eq!(reason(d.approve(&d.owner, &intent).await), Reason::Conflict, "it was signed");
    assert_eq!(reason(d.deny(&d.owner, &intent).await), Reason::Conflict, "it was signed");
}

#[tokio::test]
async fn two_different_people_are_two() {
    let d = Desk::new(asking(ApprovalPolicy { approvals: 2, ..always() })).await;
    let admin = d.w.person(&d.owner, Role::Admin).await;
    let intent = d.submit(pay("1")).await.unwrap();
    assert!(!d.approve(&d.owner, &intent).await.unwrap().is_enough());
    let again = d.approve(&d.owner, &intent).await.unwrap();
    assert_eq!(again, Approved { given: 1, needed: 2 }, "the same person counts once");
    assert_eq!(reason(d.sign(&intent, 0).await), Reason::ApprovalRequired);
    assert_eq!(d.approve(&admin, &intent).await.unwrap(), Approved { given: 2, needed: 2 });
    d.sign(&intent, 0).await.unwrap();
}

#[tokio::test]
async fn who_may_not_approve() {
    let d = Desk::new(asking(always())).await;
    let intent = d.submit(pay("1")).await.unwrap();
    let member = d.w.person(&d.owner, Role::Member).await;
    let stranger = d.w.owner().await;
    for by in [&member, &stranger, &d.agent] {
        assert_eq!(reason(d.approve(by, &intent).await), Reason::Forbidden);
        assert_eq!(reason(d.deny(by, &intent).await), Reason::Forbidden);
    }
    for by in [d.w.by_key(&d.owner).await, d.w.device(&d.owner).await] {
        assert_eq!(reason(d.approve(&by, &intent).await), Reason::Forbidden, "not in person");
        assert_eq!(reason(d.deny(&by, &intent).await), Reason::Forbidden, "not in person");
    }
    assert_eq!(reason(d.sign(&intent, 0).await), Reason::ApprovalRequired);
}

/// A yes is to what was shown: the statement, byte for byte, and no other under its id.
#[tokio::test]
async fn a_yes_is_to_one_transaction() {
    let d = Desk::new(asking(always())).await;
    let (shown, other) = (d.submit(pay("1")).await.unwrap(), d.submit(pay("2")).await.unwrap());
    let forged = edited(&shown, "1000000000000000000", "9000000000000000000");
    assert_eq!(reason(d.approve(&d.owner, &forged).await), Reason::Tampered);
    assert_eq!(reason(d.deny(&d.owner, &forged).await), Reason::Tampered);
    d.approve(&d.owner, &shown).await.unwrap();
    assert_eq!(reason(d.sign(&other, 0).await), Reason::ApprovalRequired);
    // Neither by an approval that is cut out of it.
    let bare = edited(&other, "\"people\":1", "\"people\":0");
    assert_eq!(reason(d.sign(&bare, 0).await), Reason::Tampered);
}

/// Whoever gives an approved intent up can't have another accepted in its place.
#[tokio::test]
async fn an_id_that_people_have_decided_on_is_no_others() {
    let d = Desk::new(asking(always())).await;
    let first = d.submit(pay("1")).await.unwrap();
    d.approve(&d.owner, &first).await.unwrap();
    d.w.signer.release(Release { intent: first.clone() }).await.unwrap();
    let (by, key, at) = (d.agent.caller(), d.key.clone(), place(&d.key));
    let id = first.peek().unwrap().id;
    let (transfer, simulated) = (pay("1"), Simulated::None);
    let again = d.w.signer.submit(Submit { by, id, key, at, transfer, simulated }).await;
    assert_eq!(reason(again), Reason::Conflict);
    assert_eq!(reason(d.approve(&d.owner, &first).await), Reason::Conflict, "it was given up");
    assert_eq!(reason(d.sign(&first, 0).await), Reason::Conflict);
}

#[tokio::test]
async fn a_denied_transaction_gives_its_room_back_and_stays_denied() {
    let d = Desk::new(Guardrails { daily_limit: Some(ether("1")), ..asking(always()) }).await;
    let intent = d.submit(pay("1")).await.unwrap();
    assert_eq!(reason(d.submit(pay("1")).await), guardrail("tx_daily_limit_eth"), "what waits counts");
    d.approve(&d.owner, &intent).await.unwrap();
    let admin = d.w.person(&d.owner, Role::Admin).await;
    d.deny(&admin, &intent).await.unwrap();
    d.deny(&d.owner, &intent).await.unwrap();
    assert_eq!(d.spent().await, "0");
    let refusal = d.approve(&admin, &intent).await.unwrap_err();
    assert!(refusal.reason == Reason::Conflict && refusal.detail.contains("denied"), "{refusal}");
    let refusal = d.sign(&intent, 0).await.unwrap_err();
    assert!(
        refusal.reason == Reason::Conflict && refusal.detail.contains("denied"),
        "not as one that expired: {refusal}"
    );
    d.submit(pay("1")).await.unwrap();
}

#[tokio::test]
async fn a_yes_comes_in_time_and_leaves_time_to_sign() {
    let d = Desk::new(asking(ApprovalPolicy { wait_seconds: 60, ..always() })).await;
    let [soon, late, never] = [pay("1"), pay("1"), pay("1")].map(|transfer| d.submit(transfer));
    let [soon, late, never] = [soon.await.unwrap(), late.await.unwrap(), never.await.unwrap()];
    d.w.wait(59);
    d.approve(&d.owner, &soon).await.unwrap();
    d.w.wait(1);
    let refusal = d.approve(&d.owner, &late).await.unwrap_err();
    assert!(refusal.reason == Reason::Conflict && refusal.detail.contains("over"), "{refusal}");
    d.w.wait(299);
    d.sign(&soon, 0).await.unwrap();
    assert_eq!(d.spent().await, "3", "what waits counts until it ends");
    d.w.wait(1);
    assert_eq!(d.spent().await, "1");
    assert_eq!(reason(d.sign(&late, 1).await), Reason::Conflict);
    assert_eq!(reason(d.deny(&d.owner, &never).await), Reason::Conflict);
}

/// Who may not decide any more by the time of the signature has not decided.
#[tokio::test]
async fn the_yes_of_somebody_who_was_demoted_or_removed_does_not_count() {
    for change in [Change::SetRole(Role::Member), Change::Deactivate] {
        let d = Desk::new(asking(ApprovalPolicy { approvals: 2, ..always() })).await;
        let admin = d.w.person(&d.owner, Role::Admin).await;
        let intent = d.submit(pay("1")).await.unwrap();
        d.approve(&admin, &intent).await.unwrap();
        let changed = d.w.change(&d.owner, &admin, change).await.unwrap();
        d.w.signer.confirm(changed).await.unwrap();
        assert_eq!(d.approve(&d.owner, &intent).await.unwrap(), Approved { given: 1, needed: 2 });
        assert_eq!(reason(d.sign(&intent, 0).await), Reason::ApprovalRequired);
        let another = d.w.person(&d.owner, Role::Owner).await;
        assert!(d.approve(&another, &intent).await.unwrap().is_enough());
        d.sign(&intent, 0).await.unwrap();
    }
}

#[tokio::test]
async fn each_cause_asks_for_approval() {
    use Simulated::{Failed, None, Succeeded};
    let d = Desk::new(asking(ApprovalPolicy { above: Some(ether("1")), ..policy() })).await;
    assert_eq!(d.causes(pay("1"), None).await, []);
    assert_eq!(d.causes(pay("1.000000000000000001"), None).await, [Cause::Above]);
    let d = Desk::new(asking(ApprovalPolicy { contract_call: true, ..policy() })).await;
    assert_eq!(d.causes(pay("1"), None).await, []);
    assert_eq!(d.causes(coins(OTHER), Succeeded).await, [Cause::ContractCall]);
    let d = Desk::new(asking(ApprovalPolicy { simulation: true, ..policy() })).await;
    assert_eq!(d.causes(pay("1"), Succeeded).await, []);
    for ended in [None, Failed] {
        assert_eq!(d.causes(pay("1"), ended).await, [Cause::Simulation]);
    }
    let d = Desk::new(asking(ApprovalPolicy { above: Some(ether("1")), simulation: true, ..always() })).await;
    let causes = d.causes(pay("2"), Failed).await;
    assert_eq!(causes, [Cause::Always, Cause::Above, Cause::Simulation]);
    let d = Desk::new(Guardrails::default()).await;
    assert_eq!(d.causes(coins(OTHER), Failed).await, [], "no policy, no approval");
}

#[tokio::test]
async fn a_recipient_is_known_once_something_signed_went_there() {
    let mut d = Desk::new(asking(ApprovalPolicy { new_recipient: true, ..policy() })).await;
    let causes = async |d: &Desk, transfer| d.causes(transfer, Simulated::None).await;
    let first = d.submit(pay("1")).await.unwrap();
    assert_eq!(causes(&d, pay("1")).await, [Cause::NewRecipient], "what is accepted is not signed");
    d.approve(&d.owner, &first).await.unwrap();
    d.sign(&first, 0).await.unwrap();
    d.w = d.w.after_power_cut();
    assert_eq!(causes(&d, pay("9")).await, []);
    assert_eq!(causes(&d, Transfer { chain_id: 1, ..pay("9") }).await, [], "on any chain");
    let own = d.key.peek().unwrap().address;
    assert_eq!(causes(&d, Transfer { to: Some(own), ..pay("1") }).await, [], "its own address");
    // A token's recipient and the token itself, each.
    let tokens = d.submit(coins(OTHER)).await.unwrap();
    d.approve(&d.owner, &tokens).await.unwrap();
    d.sign(&tokens, 1).await.unwrap();
    assert_eq!(causes(&d, coins(OTHER)).await, []);
    assert_eq!(causes(&d, Transfer { to: Some(OTHER), ..pay("1") }).await, []);
    assert_eq!(causes(&d, coins(Address::repeat_byte(0x37))).await, [Cause::NewRecipient]);
    // What can't be read may go anywhere.
    let opaque = Transfer { data: hex!("12345678").into(), ..coins(OTHER) };
    let malformed = Transfer { data: hex!("a9059cbb01").into(), ..coins(OTHER) };
    assert_eq!(causes(&d, opaque).await, [Cause::NewRecipient]);
    assert_eq!(causes(&d, malformed).await, [Cause::NewRecipient]);
    // Another agent has recipients of its own.
    d.agent = d.w.agent(&d.owner, with(asking(ApprovalPolicy { new_recipient: true, ..policy() }))).await;
    assert_eq!(causes(&d, pay("1")).await, [Cause::NewRecipient]);
}

#[tokio::test]
async fn a_tightened_policy_counts_for_what_waits() {
    let two = asking(ApprovalPolicy { approvals: 2, ..always() });
    let passkey = asking(ApprovalPolicy { passkey: true, ..always() });
    for (before, after) in [
        (Guardrails::default(), asking(always())),
        (asking(always()), two),
        (asking(always()), passkey),
        (Guardrails::default(), asking(ApprovalPolicy { new_recipient: true, ..policy() })),
    ] {
        let mut d = Desk::new(before).await;
        let intent = d.submit(pay("1")).await.unwrap();
        if intent.peek().unwrap().approval.is_some() {
            d.approve(&d.owner, &intent).await.unwrap();
        }
        d.change(Change::Update(with(after))).await;
        assert_eq!(reason(d.sign(&intent, 0).await), guardrail("tx_approval_policy"));
    }
    // A loosened one does not: what was accepted with it needs it.
    let mut d = Desk::new(asking(always())).await;
    let intent = d.submit(pay("1")).await.unwrap();
    d.change(Change::Update(with(Guardrails::default()))).await;
    assert_eq!(reason(d.sign(&intent, 0).await), Reason::ApprovalRequired);
}

#[tokio::test]
async fn an_approved_transaction_still_meets_its_guardrails_and_its_agent() {
    let mut d = Desk::new(asking(always())).await;
    let [tight, stopped] = [d.submit(pay("1")).await.unwrap(), d.submit(pay("1")).await.unwrap()];
    for intent in [&tight, &stopped] {
        d.approve(&d.owner, intent).await.unwrap();
    }
    d.change(Change::Update(with(Guardrails { max_value: Some(ether("0.5")), ..asking(always()) }))).await;
    assert_eq!(reason(d.sign(&tight, 0).await), guardrail("tx_max_value_eth"));
    d.change(Change::Deactivate).await;
    assert_eq!(reason(d.sign(&stopped, 0).await), Reason::Forbidden);
}

#[tokio::test]
async fn a_policy_asks_for_something() {
    let d = Desk::new(Guardrails::default()).await;
    for (bad, says) in [
        (policy(), "when people approve"),
        (ApprovalPolicy { approvals: 0, ..always() }, "1 to 10"),
        (ApprovalPolicy { approvals: 11, ..always() }, "1 to 10"),
        (ApprovalPolicy { wait_seconds: 59, ..always() }, "60 to 604800"),
        (ApprovalPolicy { wait_seconds: 604_801, ..always() }, "60 to 604800"),
    ] {
        let settings = AgentSettings { ..with(asking(bad)) };
        let refusal = d.w.change(&d.owner, &d.agent, Change::Update(settings)).await.unwrap_err();
        assert!(refusal.reason == Reason::Invalid && refusal.detail.contains(says), "{refusal}");
    }
}

/// A denial and a signature never both happen, whoever comes first.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_denial_and_a_signature_at_once_one_happens() {
    let d = Arc::new(Desk::new(asking(ApprovalPolicy { approvals: 3, ..always() })).await);
    let mut people = vec![d.owner.clone()];
    for _ in 0..5 {
        people.push(d.w.person(&d.owner, Role::Admin).await);
    }
    for round in 0..6_u64 {
        let intent = d.submit(pay("1")).await.unwrap();
        let tasks = (0..50).map(|n: usize| {
            let (d, intent, who) = (d.clone(), intent.clone(), people[n % people.len()].clone());
            tokio::spawn(async move {
                match n % 10 {
                    3 if n > 40 || round % 2 == 1 => ("deny", d.deny(&who, &intent).await.map(|()| 0)),
                    6..=9 => ("sign", d.sign(&intent, round).await.map(|_| 0)),
                    _ => ("approve", d.approve(&who, &intent).await.map(|approved| approved.given)),
                }
            })
        });
        let done: Vec<_> = join_all(tasks).await.into_iter().map(|task| task.unwrap()).collect();
        let did = |what| done.iter().any(|(did, outcome)| *did == what && outcome.is_ok());
        let given = done.iter().filter_map(|(_, outcome)| outcome.as_ref().ok()).max().copied();
        assert!(given.is_some_and(|given| given as usize <= people.len()), "a person's yes counted twice");
        assert!(!(did("deny") && did("sign")), "denied and signed");
        assert_eq!(d.sign(&intent, round).await.is_ok(), !did("deny") && given >= Some(3));
    }
}

/// A person from before the ledger kept seats is the owner of their organisation; their yes counts.
#[tokio::test]
async fn an_owner_without_a_seat_approves() {
    let d = Desk::new(asking(always())).await;
    let intent = d.submit(pay("1")).await.unwrap();
    let Desk { w, owner, agent, vault, key } = d;
    let super::World { signer, clock, keys, folder } = w;
    drop(signer);
    let db = redb::Database::open(folder.path().join(crate::ledger::FILE)).unwrap();
    let tx = db.begin_write().unwrap();
    let seats = redb::TableDefinition::<[u8; 16], ([u8; 16], u8)>::new("seats");
    let PrincipalId::User(user) = owner.id else { panic!("a person") };
    tx.open_table(seats).unwrap().remove(user.as_bytes()).unwrap();
    tx.commit().unwrap();
    drop(db);
    let d = Desk { w: super::World::over(folder, keys, clock), owner, agent, vault, key };
    d.approve(&d.owner, &intent).await.unwrap();
    d.sign(&intent, 0).await.unwrap();
}
