//! Shares: who may give one, who may open one, and what ends it.

use std::time::Duration;

use domain::{PathGlob, Role, SecretType, ShareId, UserId, VaultId};
use signer_protocol::attested::Attested;
use signer_protocol::people::{EndOrganisation, SuspendAgents};
use signer_protocol::record::{AgentSettings, Change};
use signer_protocol::sealing::{DestroyVaultKey, Label};
use signer_protocol::sharing::{EndShare, OpenShared, Recipient, Share, ShareGrant};
use signer_protocol::wire::Blob;
use signer_protocol::{Reason, Refusal};

use super::{Actor, Vault, World, edited, reason, settings};

const YEAR: u64 = 366 * 24 * 60 * 60;

/// A value in a vault, and what a share of it says unless a test says otherwise.
struct Stage {
    w: World,
    owner: Actor,
    vault: Vault,
    label: Label,
    sealed: Blob,
}

impl Stage {
    async fn new(kind: SecretType) -> Self {
        let w = World::new();
        let owner = w.owner().await;
        let vault = w.vault(&owner).await;
        let label = vault.label("api/token", kind);
        let sealed = w.seal(&owner, &vault, label.clone(), "hunter2").await.unwrap().value.unwrap();
        Self { w, owner, vault, label, sealed }
    }

    fn ask(&self, by: &Actor, recipient: Recipient) -> Share {
        Share {
            by: by.caller(),
            id: ShareId::unguessable(),
            vault_key: self.vault.key.clone(),
            label: self.label.clone(),
            recipient,
            passphrase: None,
            addresses: Vec::new(),
            expires_at: self.w.clock.now().plus(Duration::from_secs(3600)),
        }
    }

    async fn share(&self, by: &Actor, recipient: Recipient) -> Result<Attested<ShareGrant>, Refusal> {
        self.w.signer.share(self.ask(by, recipient)).await
    }

    fn to_open(&self, grant: &Attested<ShareGrant>, sharer: &Actor, by: Option<&Actor>) -> OpenShared {
        OpenShared {
            grant: grant.clone(),
            sharer: sharer.record.clone(),
            vault_key: self.vault.key.clone(),
            sealed: self.sealed.clone(),
            by: by.map(Actor::caller),
            passphrase: None,
            address: Some([192, 0, 2, 1].into()),
        }
    }

    async fn open(&self, grant: &Attested<ShareGrant>, by: Option<&Actor>) -> Result<String, Refusal> {
        self.opened(self.to_open(grant, &self.owner, by)).await
    }

    async fn opened(&self, request: OpenShared) -> Result<String, Refusal> {
        let value = self.w.signer.open_shared(request).await?;
        Ok(String::from_utf8(value.expose().to_vec()).unwrap())
    }

    async fn end(&self, by: &Actor, grant: &Attested<ShareGrant>) -> Result<(), Refusal> {
        self.w.signer.end_share(EndShare { by: by.caller(), grant: grant.clone() }).await
    }
}

#[tokio::test]
async fn a_share_opens_for_its_recipient_alone() {
    let s = Stage::new(SecretType::ApiKey).await;
    let (stranger, other) = (s.w.owner().await, s.w.owner().await);
    let (bot, spy) = (s.w.agent(&s.owner, settings()).await, s.w.agent(&s.owner, settings()).await);
    let outside = s.w.agent(&stranger, settings()).await;

    let grant = s.share(&s.owner, Recipient::Anyone).await.unwrap();
    assert_eq!(s.open(&grant, None).await.unwrap(), "hunter2");
    assert_eq!(s.open(&grant, Some(&stranger)).await.unwrap(), "hunter2");

    // A person, of whatever organisation.
    let grant = s.share(&s.owner, Recipient::User(stranger.user())).await.unwrap();
    assert_eq!(s.open(&grant, Some(&stranger)).await.unwrap(), "hunter2");
    assert_eq!(reason(s.open(&grant, None).await), Reason::Unauthenticated);
    for somebody in [&other, &s.owner, &bot] {
        assert_eq!(reason(s.open(&grant, Some(somebody)).await), Reason::Forbidden);
    }

    let grant = s.share(&s.owner, Recipient::Agent(bot.agent_id())).await.unwrap();
    assert_eq!(s.open(&grant, Some(&bot)).await.unwrap(), "hunter2");
    for somebody in [&spy, &s.owner, &outside] {
        assert_eq!(reason(s.open(&grant, Some(somebody)).await), Reason::Forbidden);
    }
    // An agent of another organisation is none that a share reaches.
    let grant = s.share(&s.owner, Recipient::Agent(outside.agent_id())).await.unwrap();
    assert_eq!(reason(s.open(&grant, Some(&outside)).await), Reason::Forbidden);

    // Whose address it is, the gateway knows; that it is a person, the signer does.
    let grant = s.share(&s.owner, Recipient::Email([7; 32])).await.unwrap();
    assert_eq!(s.open(&grant, Some(&stranger)).await.unwrap(), "hunter2");
    assert_eq!(reason(s.open(&grant, Some(&bot)).await), Reason::Forbidden);
    assert_eq!(reason(s.open(&grant, None).await), Reason::Unauthenticated);
}

#[tokio::test]
async fn who_can_not_open_a_value_can_not_share_it() {
    let s = Stage::new(SecretType::ApiKey).await;
    let stranger = s.w.owner().await;
    assert_eq!(reason(s.share(&stranger, Recipient::Anyone).await), Reason::Forbidden);
    let elsewhere = AgentSettings { vault_ids: vec![VaultId::new()], ..settings() };
    let agent = s.w.agent(&s.owner, elsewhere).await;
    assert_eq!(reason(s.share(&agent, Recipient::Anyone).await), Reason::Forbidden);
    let scopes = vec![PathGlob::parse("scopes", "db/*").unwrap()];
    let agent = s.w.agent(&s.owner, AgentSettings { scopes, ..settings() }).await;
    assert_eq!(reason(s.share(&agent, Recipient::User(s.owner.user())).await), Reason::Forbidden);
    // Another vault's key, and a vault that is gone.
    let other = s.w.vault(&s.owner).await;
    let asked = Share { vault_key: other.key, ..s.ask(&s.owner, Recipient::Anyone) };
    assert_eq!(reason(s.w.signer.share(asked).await), Reason::Tampered);
    let destroy = DestroyVaultKey { by: s.owner.caller(), key: s.vault.key.clone(), passkey: None };
    s.w.signer.destroy_vault_key(destroy).await.unwrap();
    assert_eq!(reason(s.share(&s.owner, Recipient::Anyone).await), Reason::Destroyed);
}

#[tokio::test]
async fn a_share_has_its_terms() {
    let s = Stage::new(SecretType::ApiKey).await;
    let now = s.w.clock.now();
    for expires_at in [now, now.plus(Duration::from_secs(YEAR + 60))] {
        let asked = Share { expires_at, ..s.ask(&s.owner, Recipient::Anyone) };
        assert_eq!(reason(s.w.signer.share(asked).await), Reason::Invalid);
    }
    let addresses = vec!["192.0.2.0/24".parse().unwrap(); 1001];
    let asked = Share { addresses, ..s.ask(&s.owner, Recipient::Anyone) };
    assert_eq!(reason(s.w.signer.share(asked).await), Reason::Invalid);
    let asked = Share { passphrase: Some(vec![1; 8].into()), ..s.ask(&s.owner, Recipient::Anyone) };
    assert_eq!(reason(s.w.signer.share(asked).await), Reason::Invalid);
}

#[tokio::test]
async fn no_key_goes_to_whoever_has_a_link_nor_to_or_from_an_agent_that_submits() {
    for kind in [SecretType::PrivateKey, SecretType::SshKey] {
        let s = Stage::new(kind).await;
        let signs = s.w.agent(&s.owner, AgentSettings { intents: true, ..settings() }).await;
        let plain = s.w.agent(&s.owner, settings()).await;
        assert_eq!(reason(s.share(&s.owner, Recipient::Anyone).await), Reason::Forbidden);
        assert_eq!(reason(s.share(&signs, Recipient::User(s.owner.user())).await), Reason::Forbidden);
        // Nor by calling it something else: the value does not open as that.
        let label = Label { kind: SecretType::Note, ..s.label.clone() };
        let asked = Share { label, ..s.ask(&signs, Recipient::Anyone) };
        let grant = s.w.signer.share(asked).await.unwrap();
        assert_eq!(reason(s.opened(s.to_open(&grant, &signs, None)).await), Reason::Tampered);

        let grant = s.share(&s.owner, Recipient::Agent(signs.agent_id())).await.unwrap();
        assert_eq!(reason(s.open(&grant, Some(&signs)).await), Reason::Forbidden);
        let grant = s.share(&s.owner, Recipient::Agent(plain.agent_id())).await.unwrap();
        assert_eq!(s.open(&grant, Some(&plain)).await.unwrap(), "hunter2");
        // Who shared a key and submits transactions from now on.
        let grant = s.share(&plain, Recipient::User(s.owner.user())).await.unwrap();
        let change = Change::Update(AgentSettings { intents: true, ..settings() });
        let plain = plain.with_record(s.w.change(&s.owner, &plain, change).await.unwrap());
        let asked = s.to_open(&grant, &plain, Some(&s.owner));
        assert_eq!(reason(s.opened(asked).await), Reason::Forbidden);
    }
}

#[tokio::test]
async fn an_edited_grant_is_refused_and_one_opens_its_own_value_alone() {
    let s = Stage::new(SecretType::ApiKey).await;
    let stranger = s.w.owner().await;
    let grant = s.share(&s.owner, Recipient::User(s.owner.user())).await.unwrap();
    for (from, to) in [
        (s.owner.user().to_string(), stranger.user().to_string()),
        ("\"version\":1".to_owned(), "\"version\":2".to_owned()),
        ("\"expires_at\":\"2".to_owned(), "\"expires_at\":\"3".to_owned()),
    ] {
        let grant = edited(&grant, &from, &to);
        assert_eq!(reason(s.open(&grant, Some(&s.owner)).await), Reason::Tampered);
    }
    let other = s.w.vault(&s.owner).await;
    let asked = OpenShared { vault_key: other.key.clone(), ..s.to_open(&grant, &s.owner, Some(&s.owner)) };
    assert_eq!(reason(s.opened(asked).await), Reason::Tampered);
    let label = s.vault.label("api/other", SecretType::ApiKey);
    let sealed = s.w.seal(&s.owner, &s.vault, label, "else").await.unwrap().value.unwrap();
    let asked = OpenShared { sealed, ..s.to_open(&grant, &s.owner, Some(&s.owner)) };
    assert_eq!(reason(s.opened(asked).await), Reason::Tampered);
    // Somebody else's record in the sharer's place.
    let asked = s.to_open(&grant, &stranger, Some(&s.owner));
    assert_eq!(reason(s.opened(asked).await), Reason::Tampered);
}

#[tokio::test]
async fn the_ceilings_of_whoever_reads_hold() {
    let s = Stage::new(SecretType::ApiKey).await;
    let scopes = vec![PathGlob::parse("scopes", "db/*").unwrap()];
    let bound = s.w.agent(&s.owner, AgentSettings { scopes, ..settings() }).await;
    let elsewhere = AgentSettings { vault_ids: vec![VaultId::new()], ..settings() };
    let elsewhere = s.w.agent(&s.owner, elsewhere).await;
    for agent in [&bound, &elsewhere] {
        let grant = s.share(&s.owner, Recipient::Agent(agent.agent_id())).await.unwrap();
        assert_eq!(reason(s.open(&grant, Some(agent)).await), Reason::Forbidden);
    }
}

#[tokio::test]
async fn a_passphrase_is_needed_and_guesses_are_limited() {
    let s = Stage::new(SecretType::ApiKey).await;
    let passphrase = |seed: u8| Some(vec![seed; 32].into());
    let asked = Share { passphrase: passphrase(1), ..s.ask(&s.owner, Recipient::Anyone) };
    let grant = s.w.signer.share(asked).await.unwrap();
    // The same passphrase of another share is another verifier.
    let asked = Share { passphrase: passphrase(1), ..s.ask(&s.owner, Recipient::Anyone) };
    let other = s.w.signer.share(asked).await.unwrap().peek().unwrap();
    assert_ne!(grant.peek().unwrap().passphrase, other.passphrase);
    let with = |passphrase| OpenShared { passphrase, ..s.to_open(&grant, &s.owner, None) };
    assert_eq!(reason(s.opened(with(None)).await), Reason::Unauthenticated);
    for _ in 0..19 {
        assert_eq!(reason(s.opened(with(passphrase(2))).await), Reason::Unauthenticated);
    }
    // What was right ends the count.
    assert_eq!(s.opened(with(passphrase(1))).await.unwrap(), "hunter2");
    for _ in 0..20 {
        assert_eq!(reason(s.opened(with(passphrase(2))).await), Reason::Unauthenticated);
    }
    assert!(matches!(reason(s.opened(with(passphrase(1))).await), Reason::Locked(900)));
    s.w.wait(901);
    assert_eq!(s.opened(with(passphrase(1))).await.unwrap(), "hunter2");
}

#[tokio::test]
async fn an_address_must_be_listed() {
    let s = Stage::new(SecretType::ApiKey).await;
    let addresses = vec!["192.0.2.0/24".parse().unwrap()];
    let grant = s.w.signer.share(Share { addresses, ..s.ask(&s.owner, Recipient::Anyone) }).await.unwrap();
    for (address, opens) in [
        (Some("192.0.2.9"), true),
        (Some("::ffff:192.0.2.9"), true),
        (Some("192.0.3.1"), false),
        (Some("2001:db8::1"), false),
        (None, false),
    ] {
        let address = address.map(|text: &str| text.parse().unwrap());
        let opened = s.opened(OpenShared { address, ..s.to_open(&grant, &s.owner, None) }).await;
        if opens {
            assert_eq!(opened.unwrap(), "hunter2");
        } else {
            assert_eq!(reason(opened), Reason::Forbidden);
        }
    }
}

#[tokio::test]
async fn an_ended_or_expired_share_stays_ended() {
    let s = Stage::new(SecretType::ApiKey).await;
    let (member, stranger) = (s.w.person(&s.owner, Role::Member).await, s.w.owner().await);
    let admin = s.w.person(&s.owner, Role::Admin).await;
    let bot = s.w.agent(&s.owner, settings()).await;
    let grant = s.share(&s.owner, Recipient::Anyone).await.unwrap();
    for somebody in [&member, &stranger, &bot] {
        assert_eq!(reason(s.end(somebody, &grant).await), Reason::Forbidden);
    }
    s.open(&grant, None).await.unwrap();
    s.end(&s.owner, &grant).await.unwrap();
    assert_eq!(reason(s.open(&grant, None).await), Reason::Destroyed);
    // Its sharer's, and owners' and admins'.
    let of_bot = s.share(&bot, Recipient::Anyone).await.unwrap();
    s.end(&bot, &of_bot).await.unwrap();
    let of_member = s.share(&member, Recipient::Anyone).await.unwrap();
    s.end(&admin, &of_member).await.unwrap();
    let later = s.share(&s.owner, Recipient::Anyone).await.unwrap();
    let Stage { w, owner, vault, label, sealed } = s;
    let s = Stage { w: w.restarted(), owner, vault, label, sealed };
    for (grant, sharer) in [(&grant, &s.owner), (&of_bot, &bot), (&of_member, &member)] {
        assert_eq!(reason(s.opened(s.to_open(grant, sharer, None)).await), Reason::Destroyed);
    }
    s.open(&later, None).await.unwrap();
    s.w.wait(3600);
    assert_eq!(reason(s.open(&later, None).await), Reason::Destroyed);
}

#[tokio::test]
async fn what_a_sharer_may_not_do_any_more_ends_what_they_shared() {
    let s = Stage::new(SecretType::ApiKey).await;
    let changes = [
        Change::Deactivate,
        Change::Update(AgentSettings { active: false, ..settings() }),
        Change::Update(AgentSettings { vault_ids: vec![VaultId::new()], ..settings() }),
        Change::Update(AgentSettings {
            scopes: vec![PathGlob::parse("scopes", "db/*").unwrap()],
            ..settings()
        }),
        Change::Update(AgentSettings { expires_at: Some(s.w.clock.now()), ..settings() }),
    ];
    for change in changes {
        let bot = s.w.agent(&s.owner, settings()).await;
        let grant = s.share(&bot, Recipient::Anyone).await.unwrap();
        s.opened(s.to_open(&grant, &bot, None)).await.unwrap();
        let changed = bot.with_record(s.w.change(&s.owner, &bot, change).await.unwrap());
        assert_eq!(reason(s.opened(s.to_open(&grant, &changed, None)).await), Reason::Forbidden);
        // Nor with the record from before.
        assert_eq!(reason(s.opened(s.to_open(&grant, &bot, None)).await), Reason::RolledBack);
    }
    let bot = s.w.agent(&s.owner, settings()).await;
    let (of_bot, of_owner) = (
        s.share(&bot, Recipient::Anyone).await.unwrap(),
        s.share(&s.owner, Recipient::Anyone).await.unwrap(),
    );
    let suspend = |suspended| SuspendAgents { by: s.owner.caller(), suspended };
    s.w.signer.suspend_agents(suspend(true)).await.unwrap();
    assert_eq!(reason(s.opened(s.to_open(&of_bot, &bot, None)).await), Reason::Forbidden);
    s.open(&of_owner, None).await.unwrap();
    s.w.signer.suspend_agents(suspend(false)).await.unwrap();
    s.opened(s.to_open(&of_bot, &bot, None)).await.unwrap();
    s.w.signer.end_organisation(EndOrganisation { by: s.owner.caller(), passkey: None }).await.unwrap();
    assert_eq!(reason(s.open(&of_owner, None).await), Reason::Destroyed);
}

#[tokio::test]
async fn a_destroyed_vault_ends_what_was_shared_from_it() {
    let s = Stage::new(SecretType::ApiKey).await;
    let grant = s.share(&s.owner, Recipient::User(UserId::new())).await.unwrap();
    let open = s.share(&s.owner, Recipient::Anyone).await.unwrap();
    let destroy = DestroyVaultKey { by: s.owner.caller(), key: s.vault.key.clone(), passkey: None };
    s.w.signer.destroy_vault_key(destroy).await.unwrap();
    assert_eq!(reason(s.open(&open, None).await), Reason::Destroyed);
    assert_eq!(reason(s.open(&grant, Some(&s.owner)).await), Reason::Destroyed);
}
