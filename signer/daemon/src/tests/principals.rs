//! Records: who may make and change them, and that no older or altered one counts.

use domain::{AgentId, OrgId, PrincipalId, Role, UserId};
use signer_protocol::Reason;
use signer_protocol::people::Login;
use signer_protocol::record::{AgentSettings, Change, FoundOrganisation, Guardrails};

use super::{Actor, World, address, agent_key, edited, ether, password, reason, settings};

#[tokio::test]
async fn a_rolled_back_record_is_refused() {
    let w = World::new();
    let owner = w.owner().await;
    let agent = w.agent(&owner, settings()).await;
    let newer = w.change(&owner, &agent, Change::Update(settings())).await.unwrap();
    // Until the new one is seen, the old one counts: a gateway may die in between.
    w.sign_in(&agent.record, &agent.credential).await.unwrap();
    w.signer.confirm(newer.clone()).await.unwrap();
    assert_eq!(reason(w.sign_in(&agent.record, &agent.credential).await), Reason::RolledBack);
    w.sign_in(&newer, &agent.credential).await.unwrap();

    let w = w.restarted();
    assert_eq!(reason(w.sign_in(&agent.record, &agent.credential).await), Reason::RolledBack);
    w.sign_in(&newer, &agent.credential).await.unwrap();
}

#[tokio::test]
async fn of_two_records_of_one_version_only_the_first_seen_counts() {
    let w = World::new();
    let owner = w.owner().await;
    let agent = w.agent(&owner, settings()).await;
    let tight = w.change(&owner, &agent, Change::Deactivate).await.unwrap();
    let loose = w.change(&owner, &agent, Change::Update(settings())).await.unwrap();
    w.signer.confirm(tight).await.unwrap();
    assert_eq!(reason(w.signer.confirm(loose).await), Reason::RolledBack);
}

#[tokio::test]
async fn an_edited_record_is_refused() {
    let w = World::new();
    let owner = w.owner().await;
    let limits = Guardrails { max_value: Some(ether("1")), ..Default::default() };
    let agent = w.agent(&owner, AgentSettings { intents: true, guardrails: limits, ..settings() }).await;
    for (from, to) in [
        ("\"max_value\":\"1000000000000000000\"", "\"max_value\":null"),
        ("\"intents\":true", "\"intents\":false"),
        ("\"version\":1", "\"version\":2"),
        ("\"role\":null", "\"role\":\"owner\""),
    ] {
        let forged = edited(&agent.record, from, to);
        assert_eq!(reason(w.sign_in(&forged, &agent.credential).await), Reason::Tampered, "{to}");
        assert_eq!(reason(w.signer.confirm(forged).await), Reason::Tampered, "{to}");
    }
}

#[tokio::test]
async fn a_statement_of_another_kind_is_no_record() {
    let w = World::new();
    let owner = w.owner().await;
    let vault = w.vault(&owner).await;
    let disguised = signer_protocol::Attested::from_bytes(vault.key.as_bytes().to_vec());
    assert_eq!(reason(w.signer.confirm(disguised).await), Reason::Tampered);
    let short = signer_protocol::Attested::from_bytes(vec![0; 31]);
    assert_eq!(reason(w.signer.confirm(short).await), Reason::Tampered);
}

#[tokio::test]
async fn a_record_of_another_signer_is_refused() {
    let (ours, theirs) = (World::new(), World::new());
    let stranger = theirs.owner().await;
    assert_eq!(reason(ours.sign_in(&stranger.record, &stranger.credential).await), Reason::Tampered);
}

#[tokio::test]
async fn an_organisation_is_founded_once() {
    let w = World::new();
    let owner = w.owner().await;
    let PrincipalId::User(user) = owner.id else { panic!("no person") };
    let found = |org, owner| {
        w.signer.found_organisation(FoundOrganisation {
            org,
            owner,
            email: address(),
            login: Login::Proof(password(9)),
        })
    };
    assert_eq!(reason(found(owner.org, UserId::new()).await), Reason::Conflict);
    assert_eq!(reason(found(OrgId::new(), user).await), Reason::Conflict);
    let w = w.restarted();
    let found = |org, owner| {
        w.signer.found_organisation(FoundOrganisation {
            org,
            owner,
            email: address(),
            login: Login::Proof(password(9)),
        })
    };
    assert_eq!(reason(found(owner.org, UserId::new()).await), Reason::Conflict);
}

#[tokio::test]
async fn an_organisation_is_founded_with_a_password() {
    let w = World::new();
    for credential in
        [agent_key(1), signer_protocol::record::Credential { secret: vec![1; 31].into(), ..password(1) }]
    {
        let request = FoundOrganisation {
            org: OrgId::new(),
            owner: UserId::new(),
            email: address(),
            login: Login::Proof(credential),
        };
        assert_eq!(reason(w.signer.found_organisation(request).await), Reason::Invalid);
    }
}

#[tokio::test]
async fn an_agent_changes_no_record() {
    let w = World::new();
    let owner = w.owner().await;
    let agent = w.agent(&owner, settings()).await;
    let other = w.agent(&owner, settings()).await;
    for change in [Change::Update(settings()), Change::RotateKey(agent_key(7)), Change::Deactivate] {
        assert_eq!(reason(w.change(&agent, &other, change.clone()).await), Reason::Forbidden);
        assert_eq!(reason(w.change(&agent, &agent, change).await), Reason::Forbidden);
    }
    let made = w.create_agent(&agent, AgentId::new(), &agent_key(7), settings()).await;
    assert_eq!(reason(made), Reason::Forbidden);
}

#[tokio::test]
async fn a_member_changes_only_the_agents_that_it_made() {
    let w = World::new();
    let owner = w.owner().await;
    let (mia, max) = (w.person(&owner, Role::Member).await, w.person(&owner, Role::Member).await);
    let admin = w.person(&owner, Role::Admin).await;
    let agent = w.agent(&mia, settings()).await;
    assert_eq!(agent.record.peek().unwrap().created_by.map(PrincipalId::User), Some(mia.id));
    assert_eq!(reason(w.change(&max, &agent, Change::Update(settings())).await), Reason::Forbidden);
    for by in [&mia, &admin, &owner] {
        w.change(by, &agent, Change::Update(settings())).await.unwrap();
    }
}

#[tokio::test]
async fn nobody_changes_a_record_of_another_organisation() {
    let w = World::new();
    let (ours, theirs) = (w.owner().await, w.owner().await);
    let agent = w.agent(&theirs, settings()).await;
    assert_eq!(reason(w.change(&ours, &agent, Change::Deactivate).await), Reason::Forbidden);
}

#[tokio::test]
async fn a_persons_record_is_no_agents() {
    let w = World::new();
    let owner = w.owner().await;
    let member = w.person(&owner, Role::Member).await;
    for change in [Change::Update(settings()), Change::RotateKey(agent_key(1))] {
        assert_eq!(reason(w.change(&owner, &member, change.clone()).await), Reason::Forbidden);
        assert_eq!(reason(w.change(&member, &member, change).await), Reason::Forbidden);
    }
}

#[tokio::test]
async fn an_agents_id_is_used_once() {
    let w = World::new();
    let (owner, stranger) = (w.owner().await, w.owner().await);
    let agent = w.agent(&owner, settings()).await;
    for by in [&owner, &stranger] {
        let again = w.create_agent(by, agent.agent_id(), &agent_key(1), settings()).await;
        assert_eq!(reason(again), Reason::Conflict);
    }
    // Two records made before either was seen: the first seen wins.
    let id = AgentId::new();
    let ours = w.create_agent(&owner, id, &agent_key(1), settings()).await.unwrap();
    let theirs = w.create_agent(&stranger, id, &agent_key(2), settings()).await.unwrap();
    w.signer.confirm(ours).await.unwrap();
    assert_eq!(reason(w.signer.confirm(theirs).await), Reason::RolledBack);
}

#[tokio::test]
async fn settings_have_bounds() {
    let w = World::new();
    let owner = w.owner().await;
    let agent = w.agent(&owner, settings()).await;
    let crowded = Guardrails { allowed_chains: (1..=1001).collect(), ..Default::default() };
    for bad in [
        AgentSettings { token_ttl_seconds: 59, ..settings() },
        AgentSettings { token_ttl_seconds: 86_401, ..settings() },
        AgentSettings { guardrails: crowded, ..settings() },
    ] {
        assert_eq!(reason(w.change(&owner, &agent, Change::Update(bad.clone())).await), Reason::Invalid);
        let made = w.create_agent(&owner, AgentId::new(), &agent_key(1), bad).await;
        assert_eq!(reason(made), Reason::Invalid);
    }
}

#[tokio::test]
async fn a_deactivated_agent_needs_a_new_key_to_come_back() {
    let w = World::new();
    let owner = w.owner().await;
    let mut agent = w.agent(&owner, settings()).await;
    agent.record = w.change(&owner, &agent, Change::Deactivate).await.unwrap();
    w.signer.confirm(agent.record.clone()).await.unwrap();
    agent.record = w.change(&owner, &agent, Change::Update(settings())).await.unwrap();
    assert_eq!(reason(w.sign_in(&agent.record, &agent.credential).await), Reason::Unauthenticated);
    agent.record = w.change(&owner, &agent, Change::RotateKey(agent_key(8))).await.unwrap();
    assert_eq!(reason(w.sign_in(&agent.record, &agent.credential).await), Reason::Unauthenticated);
    w.sign_in(&agent.record, &agent_key(8)).await.unwrap();
}

#[tokio::test]
async fn what_an_owner_or_admin_has_stopped_its_maker_does_not_let_go_on() {
    let w = World::new();
    let owner = w.owner().await;
    let (mia, admin) = (w.person(&owner, Role::Member).await, w.person(&owner, Role::Admin).await);
    let key = w.by_key(&owner).await;
    let active = |active| Change::Update(AgentSettings { active, ..settings() });
    let changed = async |by: &Actor, agent: &Actor, change: Change| {
        let record = w.change(by, agent, change).await.unwrap();
        w.signer.confirm(record.clone()).await.unwrap();
        agent.with_record(record)
    };
    for (by, stop) in [
        (&owner, active(false)),
        (&admin, active(false)),
        (&key, active(false)),
        (&admin, Change::Deactivate),
    ] {
        for paused in [false, true] {
            let mut agent = w.agent(&mia, settings()).await;
            if paused {
                agent = changed(&mia, &agent, active(false)).await;
            }
            agent = changed(by, &agent, stop.clone()).await;
            assert!(agent.record.peek().unwrap().stopped_by_manager);
            // What its maker may do to it still changes nothing of that.
            for harmless in [active(false), Change::Deactivate] {
                agent = changed(&mia, &agent, harmless).await;
                for refused in [active(true), Change::RotateKey(agent_key(7))] {
                    assert_eq!(reason(w.change(&mia, &agent, refused).await), Reason::Forbidden);
                }
            }
            // Nor does a new key by somebody who may.
            agent = changed(&admin, &agent, Change::RotateKey(agent_key(8))).await;
            assert_eq!(reason(w.change(&mia, &agent, active(true)).await), Reason::Forbidden);
            agent = changed(&owner, &agent, active(true)).await;
            // From then on it is its maker's again, who stops it and lets it go on.
            for own in [Change::RotateKey(agent_key(9)), active(false), active(true)] {
                agent = changed(&mia, &agent, own).await;
            }
            w.sign_in(&agent.record, &agent_key(9)).await.unwrap();
        }
    }
    // Who makes an agent and rules as well stops it as its maker.
    let own = changed(&admin, &w.agent(&admin, settings()).await, active(false)).await;
    assert!(!own.record.peek().unwrap().stopped_by_manager);
}

/// To stop an agent anything of its person's is enough; to let it go on, they must have logged in.
#[tokio::test]
async fn a_stopped_agent_goes_on_by_a_person_who_logged_in_alone() {
    let w = World::new();
    let owner = w.owner().await;
    let agent = w.agent(&owner, settings()).await;
    let (key, device) = (w.by_key(&owner).await, w.device(&owner).await);
    let active = |active| Change::Update(AgentSettings { active, ..settings() });
    let paused = w.change(&key, &agent, active(false)).await.unwrap();
    w.signer.confirm(paused.clone()).await.unwrap();
    let paused = agent.with_record(paused);
    for by in [&key, &device] {
        assert_eq!(reason(w.change(by, &paused, active(true)).await), Reason::Forbidden);
        // What else programs do to it they do still.
        w.change(by, &paused, active(false)).await.unwrap();
    }
    let resumed = w.change(&owner, &paused, active(true)).await.unwrap();
    let resumed = w.again(&agent, resumed).await;
    w.change(&key, &resumed, active(true)).await.unwrap();
}
